"""From a playbook's text to a Playbook, and from its conditions to expressions. Pure."""

import msgspec
import polars as pl

from everafter.playbook.model import Playbook
from everafter.playbook.syntax import read_toml


def to_playbook(text: str) -> Playbook:
    """The playbook of a text in which `check_playbook` found no error."""
    return msgspec.convert(read_toml(text).data, Playbook)


def compile_condition(when: str) -> pl.Expr:
    """A condition over signals as a Boolean expression that is never null: an unknown result is
    false."""
    return pl.sql_expr(when).fill_null(False)


def compile_conditions(playbook: Playbook) -> dict[str, pl.Expr]:
    """The conditions of the enabled triggers, by trigger."""
    return {name: compile_condition(t.when) for name, t in playbook.triggers.items() if t.enabled}
