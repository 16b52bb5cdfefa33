"""The log page's query string, and its texts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

from everafter.core.errors import InputError
from everafter.core.formatting import humanize, plural, sentence
from everafter.interventions.log_model import (
    DAYS_OFFERED,
    STATUSES,
    LogEntry,
    LogView,
    TriggerCount,
)
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.model import TIP_PREFIX, Playbook

_HOLDOUT = "control group: not treated, so that the effect can be measured"
_LONGEST_FILTER = 100
_MOST_PAGES = 100_000


def parse_log_view(params: Mapping[str, str]) -> LogView:
    """Read the view from a query string.

    Raises:
        InputError: a value that is not offered.
    """
    status: Any = params.get("status", "")
    if status and status not in STATUSES:
        raise InputError(f"status: {status[:40]!r} is not one of {', '.join(STATUSES)}")
    days, page = params.get("days", "") or "7", params.get("page", "") or "1"
    if days not in {str(offered) for offered in DAYS_OFFERED}:
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, DAYS_OFFERED))}")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page) <= _MOST_PAGES:
        raise InputError(f"page: {page[:20]!r} is not a page number")
    return LogView(
        trigger=_clean(params.get("trigger", "")),
        status=status,
        reason=_clean(params.get("reason", "")),
        days=int(days),
        page=int(page),
    )


def _clean(text: str) -> str:
    return text.replace("\0", "")[:_LONGEST_FILTER]


def log_query(view: LogView, **changes: Any) -> str:
    """The query string of a view with some fields changed, without those that have their default.

    >>> log_query(LogView(trigger="early_inactivity", page=4), status="skipped")
    'trigger=early_inactivity&status=skipped'
    """
    changed, default = replace(view, **({"page": 1} | changes)), LogView()
    values = {field.name: getattr(changed, field.name) for field in fields(LogView)}
    return urlencode(
        {name: value for name, value in values.items() if value != getattr(default, name)}
    )


def describe_trigger(trigger: str) -> str:
    """A trigger's name as text; a tip's begins with "Tip".

    >>> describe_trigger("no_login_7_days"), describe_trigger("tip_first_form")
    ('No login 7 days', 'Tip: first form')
    """
    if trigger.startswith(TIP_PREFIX):
        return f"Tip: {humanize(trigger.removeprefix(TIP_PREFIX))}"
    return sentence(humanize(trigger))


def describe_reason(status: str, reason: str) -> str:
    """Why an entry has its status. A skip reason that is not in SKIP_REASONS reads as its own name.

    >>> describe_reason("skipped", "frequency_cap")
    "this week's messages went to more urgent triggers"
    """
    if status == "holdout":
        return _HOLDOUT
    if status == "skipped":
        return SKIP_REASONS.get(reason, humanize(reason))
    return reason


def explain_entry(entry: LogEntry, cooldowns: Mapping[str, int]) -> str:
    """Why an entry has its status; for a cooldown, since when and for how long.

    Args:
        cooldowns: the cooldown of each trigger, in days; missing: unknown.
    """
    if entry.status != "skipped" or entry.reason != "cooldown":
        return describe_reason(entry.status, entry.reason)
    acted, in_holdout = entry.acted_on or date.min, entry.holdout_on or date.min
    last = max(acted, in_holdout)
    if last == date.min:
        return describe_reason(entry.status, entry.reason)
    ago = f"{plural((entry.evaluated_on - last).days, 'day')} ago"
    what = f"acted {ago}" if acted >= in_holdout else f"in the holdout {ago}"
    days = cooldowns.get(entry.trigger)
    return what + (f"; cooldown {plural(days, 'day')}" if days else "; still in its cooldown")


def list_cooldowns(playbook: Playbook) -> dict[str, int]:
    """The cooldown of each trigger of the playbook, in days."""
    return {name: trigger.cooldown_days for name, trigger in playbook.triggers.items()} | {
        TIP_PREFIX + name: tip.cooldown_days for name, tip in playbook.tips.items()
    }


def count_triggers(counts: Sequence[tuple[str, str, str, int]]) -> list[TriggerCount]:
    """(trigger, status, skip reason or '', number) summed by trigger, the largest total first."""
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
            replace(count, skipped=sorted(count.skipped, key=lambda pair: (-pair[1], pair[0])))
            for count in found.values()
        ),
        key=lambda count: (-count.total, count.trigger),
    )
