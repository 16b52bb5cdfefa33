"""The ledger's address and words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from urllib.parse import urlencode

from everafter.coach.model import TIP_PREFIX
from everafter.core.errors import InputError
from everafter.core.words import said, sentence
from everafter.interventions.model import WITHHELD_REASONS
from everafter.portfolio.ledger_model import DAYS_OFFERED, VERDICT_STATUSES, LedgerView, TriggerCount

_HELD_OUT = "left alone on purpose, so that the difference we make can be seen"


def parse_ledger(params: Mapping[str, str]) -> LedgerView:
    """The view an address asks for.

    Raises:
        InputError: a value that is not one of those there are.
    """
    status: Any = params.get("status", "")
    if status and status not in VERDICT_STATUSES:
        raise InputError(f"status: there is no {status[:40]!r}; there are {', '.join(VERDICT_STATUSES)}")
    days, page = params.get("days", "") or "7", params.get("page", "") or "1"
    if days not in {str(offered) for offered in DAYS_OFFERED}:
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, DAYS_OFFERED))}")
    if not page.isascii() or not page.isdigit() or not 1 <= int(page) <= 100_000:
        raise InputError(f"page: {page[:20]!r} is not a page number")
    return LedgerView(
        trigger=params.get("trigger", "").replace("\0", "")[:100],
        status=status,
        reason=params.get("reason", "").replace("\0", "")[:100],
        days=int(days),
        page=int(page),
    )


def ledger_query(view: LedgerView, **changes: Any) -> str:
    """The query of a view with some things changed, without what says nothing.

    >>> ledger_query(LedgerView(trigger="early_silence", page=4), status="withheld")
    'trigger=early_silence&status=withheld'
    """
    changed, default = replace(view, **({"page": 1} | changes)), LedgerView()
    said_of = {field.name: getattr(changed, field.name) for field in fields(LedgerView)}
    return urlencode({name: value for name, value in said_of.items() if value != getattr(default, name)})


def say_trigger(trigger: str) -> str:
    """A trigger's name as words; a tip's says that it is one.

    >>> say_trigger("no_login_7_days"), say_trigger("tip_first_form")
    ('No login 7 days', 'Tip: first form')
    """
    if trigger.startswith(TIP_PREFIX):
        return f"Tip: {said(trigger.removeprefix(TIP_PREFIX))}"
    return sentence(said(trigger))


def say_reason(status: str, reason: str) -> str:
    """Why a proposal came to its end, as people are told; a reason that is not ours is said by its own name.

    >>> say_reason("withheld", "budget")
    "the week's messages are used up by more important ones"
    """
    if status == "held_out":
        return _HELD_OUT
    if status == "withheld":
        return WITHHELD_REASONS.get(reason, said(reason))
    return reason


def count_triggers(counts: Sequence[tuple[str, str, str, int]]) -> list[TriggerCount]:
    """(trigger, status, reason code, number) summed up by trigger, the busiest first."""
    found: dict[str, TriggerCount] = {}
    for trigger, status, reason, number in counts:
        before = found.get(trigger, TriggerCount(trigger, 0, 0, []))
        if status == "decided":
            found[trigger] = replace(before, decided=before.decided + number)
        elif status == "held_out":
            found[trigger] = replace(before, held_out=before.held_out + number)
        else:
            found[trigger] = replace(before, withheld=[*before.withheld, (reason, number)])
    return sorted(
        (replace(count, withheld=sorted(count.withheld, key=lambda pair: -pair[1])) for count in found.values()),
        key=lambda count: (-count.total, count.trigger),
    )
