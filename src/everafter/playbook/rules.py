"""What a playbook's text means: its mistakes, and its conditions as expressions. Pure."""

import polars as pl

from everafter.playbook.model import Playbook


def compile_condition(when: str) -> pl.Expr:
    """One condition over signals as a Boolean expression of the same length; an unknown answer (null) is "no"."""
    return pl.sql_expr(when).fill_null(False)


def compile_conditions(playbook: Playbook) -> dict[str, pl.Expr]:
    """The conditions of the enabled triggers, by trigger name."""
    return {name: compile_condition(t.when) for name, t in playbook.triggers.items() if t.enabled}
