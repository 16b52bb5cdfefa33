"""Checks of [triggers.*] and [tips.*]: templates, holdouts, and conditions that are always true.
Pure."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from everafter.playbook.conditions import check_condition
from everafter.playbook.findings import Finding, list_names, table
from everafter.playbook.places import Path
from everafter.playbook.recommendation_rules import check_template
from everafter.playbook.rules import compile_condition
from everafter.signals.model import SIGNAL_SCHEMA, SIGNALS

_OTHER_CHANNELS = ("task", "tip", "call")


def check_triggers(triggers: dict[str, Any], templates: frozenset[str] | None) -> Iterator[Finding]:
    """Check [triggers.*], except their conditions and sentences.

    Args:
        templates: the email templates that exist; null: not checked.
    """
    for name in triggers:
        path, trigger = ("triggers", name), table(triggers, name)
        yield from _template(path, trigger, templates)
        yield from _measurable(path, trigger)
        yield from _true_of_a_new_supplier(path, trigger)


def check_tips(tips: dict[str, Any]) -> Iterator[Finding]:
    """Check the parts of [tips.*] that triggers have too."""
    for name in tips:
        path, tip = ("tips", name), table(tips, name)
        yield from _measurable(path, tip)
        yield from _true_of_a_new_supplier(path, tip)


def _template(
    path: Path, trigger: dict[str, Any], templates: frozenset[str] | None
) -> Iterator[Finding]:
    channel, template = trigger.get("channel"), trigger.get("template")
    if channel == "email" and template is None:
        message = f"trigger {path[-1]!r} sends email and has no template"
        hint = f"templates: {list_names(templates)}" if templates else 'template = "we_miss_you"'
        yield Finding(path, message, hint)
    elif isinstance(template, str) and channel in _OTHER_CHANNELS:
        message = f"channel {channel!r} sends no email, so the template is never used"
        yield Finding((*path, "template"), message, 'channel = "email", or no template', "warning")
    elif isinstance(template, str) and templates is not None:
        yield from check_template((*path, "template"), template, templates)


def _measurable(path: Path, trigger: dict[str, Any]) -> Iterator[Finding]:
    """Whether the effect of the trigger can be measured."""
    essential, holdout = trigger.get("essential") is True, trigger.get("holdout")
    where = (*path, "holdout")
    if holdout == 0 and not essential and trigger.get("enabled") is not False:
        message = "nobody is in the holdout, so the effect cannot be measured"
        hint = "set a small one (0.05), or essential = true for billing and urgent tasks"
        yield Finding(where, message, hint, "warning")
    if essential and isinstance(holdout, int | float) and holdout > 0:
        message = "essential triggers have no holdout"
        yield Finding(where, message, "remove holdout", "warning")
    if holdout == 1 and not essential:
        message = "everybody is in the holdout, so it never acts"
        yield Finding(where, message, "use enabled = false instead", "warning")
    when, success = trigger.get("when"), trigger.get("success")
    if isinstance(when, str) and isinstance(success, str) and when.split() == success.split():
        message = "success is the same as when, so it is reached at once"
        hint = "name what should be different afterwards"
        yield Finding((*path, "success"), message, hint, "warning")


def _true_of_a_new_supplier(path: Path, trigger: dict[str, Any]) -> Iterator[Finding]:
    when = trigger.get("when")
    if trigger.get("enabled") is False or not isinstance(when, str):
        return
    if any(remark.level == "error" for remark in check_condition(when)):
        return
    if _NEW_SUPPLIER.select(compile_condition(when)).to_series()[0]:
        message = "this is true of a supplier of whom nothing is known"
        hint = "require something that must be known, such as tenure_days >= 7"
        yield Finding((*path, "when"), message, hint, "warning")


def _describe_new_supplier() -> pl.DataFrame:
    """A supplier on the day it was added, before any event: counts are 0, and what can be null
    is."""
    never_null = {"coverage": 0.0, "season_index": 1.0, "churn_risk": 0.0, "churn_level": "low"}
    values = {
        signal.name: None
        if signal.null != "never null"
        else never_null.get(signal.name, False if signal.dtype == pl.Boolean() else 0)
        for signal in SIGNALS
    }
    return pl.DataFrame([values], schema=SIGNAL_SCHEMA)


_NEW_SUPPLIER = _describe_new_supplier()
