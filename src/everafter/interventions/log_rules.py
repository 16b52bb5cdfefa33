"""The intervention log's address and words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from urllib.parse import urlencode

from everafter.core.errors import InputError
from everafter.core.formatting import said, sentence
from everafter.interventions.log_model import (
    DAYS_OFFERED,
    INTERVENTION_STATUSES,
    LogView,
    TriggerCount,
)
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.model import TIP_PREFIX

_HOLDOUT = "left alone on purpose, so that the difference we make can be seen"


def parse_log_view(params: Mapping[str, str]) -> LogView:
    """The view an address asks for.

    Raises:
        InputError: a value that is not one of those there are.
    """
    status: Any = params.get("status", "")
    if status and status not in INTERVENTION_STATUSES:
        raise InputError(
            f"status: there is no {status[:40]!r}; there are {', '.join(INTERVENTION_STATUSES)}"
        )
    days, page = params.get("days", "") or "7", params.get("page", "") or "1"
    if days not in {str(offered) for offered in DAYS_OFFERED}:
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, DAYS_OFFERED))}")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page) <= 100_000:
        raise InputError(f"page: {page[:20]!r} is not a page number")
    return LogView(
        trigger=params.get("trigger", "").replace("\0", "")[:100],
        status=status,
        reason=params.get("reason", "").replace("\0", "")[:100],
        days=int(days),
        page=int(page),
    )


def log_query(view: LogView, **changes: Any) -> str:
    """The query of a view with some things changed, without what says nothing.

    >>> log_query(LogView(trigger="early_inactivity", page=4), status="skipped")
    'trigger=early_inactivity&status=skipped'
    """
    changed, default = replace(view, **({"page": 1} | changes)), LogView()
    said_of = {field.name: getattr(changed, field.name) for field in fields(LogView)}
    return urlencode(
        {name: value for name, value in said_of.items() if value != getattr(default, name)}
    )


def describe_trigger(trigger: str) -> str:
    """A trigger's name as words; a tip's says that it is one.

    >>> describe_trigger("no_login_7_days"), describe_trigger("tip_first_form")
    ('No login 7 days', 'Tip: first form')
    """
    if trigger.startswith(TIP_PREFIX):
        return f"Tip: {said(trigger.removeprefix(TIP_PREFIX))}"
    return sentence(said(trigger))


def describe_reason(status: str, reason: str) -> str:
    """Why a proposal came to its end, as people are told; a reason that is not ours is said by its
    own name.

    >>> describe_reason("skipped", "frequency_cap")
    "the week's messages go to triggers of higher priority"
    """
    if status == "holdout":
        return _HOLDOUT
    if status == "skipped":
        return SKIP_REASONS.get(reason, said(reason))
    return reason


def count_triggers(counts: Sequence[tuple[str, str, str, int]]) -> list[TriggerCount]:
    """(trigger, status, reason code, number) summed up by trigger, the busiest first."""
    found: dict[str, TriggerCount] = {}
    for trigger, status, reason, number in counts:
        before = found.get(trigger, TriggerCount(trigger, 0, 0, []))
        if status == "triggered":
            found[trigger] = replace(before, triggered=before.triggered + number)
        elif status == "holdout":
            found[trigger] = replace(before, holdout=before.holdout + number)
        else:
            found[trigger] = replace(before, skipped=[*before.skipped, (reason, number)])
    return sorted(
        (
            replace(count, skipped=sorted(count.skipped, key=lambda pair: -pair[1]))
            for count in found.values()
        ),
        key=lambda count: (-count.total, count.trigger),
    )
