"""From a playbook's text to a Playbook, and from its conditions to expressions. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from everafter.playbook.model import Playbook, Trigger
from everafter.playbook.syntax import read_toml

TERMS_SCHEMA: dict[str, Any] = {
    "trigger": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "priority": pl.Int64(),
    "cooldown_days": pl.Int64(),
    "essential": pl.Boolean(),
    "holdout": pl.Float64(),
}
"""What the eligibility check needs to know of a trigger."""


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


def list_terms(triggers: Mapping[str, Trigger]) -> pl.DataFrame:
    """TERMS_SCHEMA of these triggers, by name."""
    return pl.DataFrame(
        [
            (name, t.action, t.channel, t.priority, t.cooldown_days, t.essential, t.holdout)
            for name, t in triggers.items()
        ],
        schema=TERMS_SCHEMA,
        orient="row",
    )
