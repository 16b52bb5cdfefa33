"""The support page: urgent tickets first, calls of the days around now, and resolution times."""

import asyncio
import re
import uuid
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.datastructures import FormMultiDict, State
from litestar.di import NamedDependency

from everafter.accounts.access import check_form
from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.errors import ConflictError, ForbiddenError, InputError
from everafter.core.formatting import format_duration, format_local
from everafter.core.ids import read_supplier_id
from everafter.core.pages import page, see_other
from everafter.core.web import AnyRequest
from everafter.playbook.labels import vendor_type_title
from everafter.playbook.model import Playbook, Support
from everafter.tickets import changes, page_rules, queries
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.model import ACTIONS, CLOCK_LABELS, Evaluated, Ticket
from everafter.tickets.page_model import (
    CALL_DAYS,
    MOST_RESOLVED,
    NO_PRIORITY,
    NO_VENDOR_TYPE,
    SHOW_LABELS,
    Queue,
    Show,
    View,
    Week,
)

MOST_OPEN = 20_000
_MOST_NOTES = 5_000
_KEPT_FROM = 2_000
_KEPT = timedelta(minutes=5)
_BACK = re.compile(r"/(support|suppliers/[0-9a-f-]{36})(\?[\x21-\x7e]{0,600})?(#[a-z-]{1,40})?")
_OUTCOMES = {"held": "Took place", "no_show": "They did not come"}


@get("/support", include_in_schema=False)
async def show_support(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show open tickets by urgency, calls, and resolution times."""
    now, view, playbook = (
        datetime.now(UTC),
        page_rules.parse_view(request.query_params),
        state.playbook,
    )
    zone = ZoneInfo(playbook.support.timezone)
    opened = await queries.list_open(conn, MOST_OPEN)

    def evaluate() -> tuple[int, Queue, dict[str, Any]]:
        tickets = evaluate_tickets(opened, playbook.support, now)
        return (
            len(tickets),
            page_rules.make_queue(tickets, view, zone, now),
            _offers(tickets, view, playbook),
        )

    total, queue, offers = await asyncio.to_thread(evaluate)  # sorting 20,000 alone takes 56 ms
    weeks = await _weeks(conn, state, zone, now)
    return page(
        request,
        "tickets/templates/support.html",
        viewer=viewer,
        may_act=viewer.may_act,
        view=view,
        queue=queue,
        total=total,
        capped=len(opened) == MOST_OPEN,
        here=request.url.path + (f"?{page_rules.view_query(view, page=queue.page)}".rstrip("?")),
        coming=await queries.list_coming_calls(conn, now, now + timedelta(days=CALL_DAYS)),
        control=await queries.list_unannounced_calls(conn, now),
        weeks=weeks,
        charts=[page_rules.draw_weeks(weeks, width) for width in (640, 360)],
        weeks_text=page_rules.describe_weeks(weeks),
        support=playbook.support,
        vendor_type_title=partial(vendor_type_title, playbook=playbook),
        **offers,
        **_words(view, zone, now),
    )


@post("/support/tickets", status_code=303, request_max_body_size=16_384, include_in_schema=False)
async def act_on_ticket(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Reply to a ticket, set it to wait, resume or resolve it."""
    form = await check_form(request, viewer)
    _may_act(viewer)
    transition = ACTIONS.get(_text(form, "action"))
    if transition is None:
        raise InputError(f"action: say one of {', '.join(ACTIONS)}")
    supplier_id = read_supplier_id(_text(form, "supplier_id"))
    await changes.act(
        conn,
        state.playbook.support,
        state.followers,
        supplier_id,
        _text(form, "ticket_id"),
        transition,
        None,
        datetime.now(UTC),
    )
    return see_other(_back(form))


@post("/support/calls", status_code=303, request_max_body_size=65_536, include_in_schema=False)
async def close_call(
    request: AnyRequest, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[Any]:
    """Record the outcome of a call."""
    form = await check_form(request, viewer)
    _may_act(viewer)
    outcome, notes = _text(form, "outcome"), changes.clean(_text(form, "notes"))
    if outcome not in _OUTCOMES:
        raise InputError(f"outcome: say one of {', '.join(_OUTCOMES)}")
    if notes and len(notes) > _MOST_NOTES:
        raise InputError(f"notes: {len(notes):,} characters; at most {_MOST_NOTES:,}")
    supplier_id, call_id = read_supplier_id(_text(form, "supplier_id")), _uuid(form, "call_id")
    await queries.require_supplier(conn, supplier_id)
    if not await queries.close_call(
        conn, supplier_id, call_id, outcome, notes, viewer.user_id, datetime.now(UTC)
    ):
        raise ConflictError(
            "this call is not waiting for an outcome: it has not begun, was called off, or"
            " somebody else was faster"
        )
    return see_other(_back(form))


async def _weeks(conn: Connection, state: State, zone: ZoneInfo, now: datetime) -> list[Week]:
    """Read the weekly resolution times. With thousands of tickets this takes up to a second, so
    they are cached for some minutes.
    """
    kept: tuple[datetime, list[Week]] | None = state.get("ticket_weeks")
    if kept is not None and now - kept[0] < _KEPT:
        return kept[1]
    support: Support = state.playbook.support
    since = datetime.combine(page_rules.first_monday(now, zone), time(), zone).astimezone(UTC)
    resolved: list[Ticket] = await queries.list_resolved(conn, since, MOST_RESOLVED)
    weeks = await asyncio.to_thread(
        lambda: page_rules.sum_weeks(evaluate_tickets(resolved, support, now), zone, now)
    )
    state["ticket_weeks"] = (now, weeks) if len(resolved) > _KEPT_FROM else None
    return weeks


def _offers(tickets: list[Evaluated], view: View, playbook: Playbook) -> dict[str, Any]:
    """Return the options of the filters, with the chosen ones."""
    priorities = {page_rules.priority_of(one.ticket.priority) for one in tickets} | {
        view.priority
    } - {""}
    vendor_types = {one.ticket.vendor_type or NO_VENDOR_TYPE for one in tickets} | {view.vendor} - {
        ""
    }
    order = list(playbook.support.clocks)

    def rank(name: str) -> tuple[int, str]:
        return (order.index(name) if name in order else len(order), name)

    return {"priorities": sorted(priorities, key=rank), "vendor_types": sorted(vendor_types)}


def _words(view: View, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    def format_local_time(at: datetime) -> str:
        return format_local(at, zone, now)

    def tab_query(show: Show) -> str:
        return page_rules.view_query(view, show=show)

    def page_query(number: int) -> str:
        return page_rules.view_query(view, page=number)

    return {
        "show_labels": SHOW_LABELS,
        "clock_labels": CLOCK_LABELS,
        "outcomes": _OUTCOMES,
        "no_priority": NO_PRIORITY,
        "no_vendor_type": NO_VENDOR_TYPE,
        "zone": zone.key,
        "format_local": format_local_time,
        "format_duration": format_duration,
        "tab_query": tab_query,
        "page_query": page_query,
    }


def _may_act(viewer: Viewer) -> None:
    if not viewer.may_act:
        raise ForbiddenError("observers may look, and leave decisions to others")


def _text(form: FormMultiDict, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _uuid(form: FormMultiDict, name: str) -> uuid.UUID:
    try:
        return uuid.UUID(_text(form, name))
    except ValueError:
        raise InputError(f"{name}: {_text(form, name)[:60]!r} is no id") from None


def _back(form: FormMultiDict) -> str:
    """Return the address of the page of the form; never another site's."""
    back = _text(form, "back")
    return back if _BACK.fullmatch(back) else "/support"


handlers = [show_support, act_on_ticket, close_call]
