"""The page where a supplier moves or cancels a call. Everyone with the link from the confirmation
can do so.

GET changes nothing, because mail scanners open every link; changes are POSTs of forms.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from everafter.branding.loading import load_brand
from everafter.branding.page_rules import page_brand
from everafter.branding.rules import branded_sender, sender_of
from everafter.core.bodies import read_form
from everafter.core.db import Connection
from everafter.core.errors import ConflictError, EverafterError, UnprocessableError
from everafter.core.formatting import format_period, format_utc, format_zone
from everafter.core.pages import page, see_other
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest
from everafter.core.zones import find_zone
from everafter.support.booking import find_slots
from everafter.support.changes import cancel_call, reschedule_call, type_of
from everafter.support.ics import read_manage_token
from everafter.support.manage_rules import describe_state, list_free_days
from everafter.support.model import HORIZON_DAYS, BookedCall, call_title
from everafter.support.notices import ics_link
from everafter.support.queries import get_booked_call
from everafter.support.rules import refuse_time, unknown_zone

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_SEARCH_DAYS = 21
_MESSAGES = {
    "taken": "That time has just been taken. These are free:",
    "past": "That time is over. These are free:",
    "too_soon": "That is too soon: please choose a time at least two hours from now:",
    "too_far": f"Calls can be booked at most {HORIZON_DAYS} days ahead. These are free:",
    "unreadable": "That is not a valid time. These are free:",
}


@get("/calls/{token:str}")
async def show_call(
    request: AnyRequest, token: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[Any]:
    """Show the call and free times; with `at`, ask for confirmation to move it there."""
    call = await _find(conn, state.settings, token)
    if call is None:
        return _not_found(request)
    query = request.query_params
    return await _show(
        request,
        conn,
        token,
        call,
        begin=_read_day(query.get("from")),
        chosen=_read_time(query.get("at")),
        done=query.get("done", ""),
    )


@post("/calls/{token:str}/move", status_code=303, request_max_body_size=16_384)
async def move_call(
    request: AnyRequest, token: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[Any]:
    """Move the call to `starts_at`. Repeating it changes nothing."""
    call = await _find(conn, state.settings, token)
    if call is None:
        return _not_found(request)
    starts_at = _read_time(str((await read_form(request)).get("starts_at", "")))
    if starts_at is None:
        return await _show(request, conn, token, call, problem="unreadable", status=422)
    try:
        async with conn.transaction():
            await reschedule_call(
                conn, state.settings, call.contact.id, call.id, starts_at, datetime.now(UTC)
            )
    except (ConflictError, UnprocessableError) as error:
        return await _show(
            request,
            conn,
            token,
            call,
            begin=starts_at.date(),
            problem=_reason(error),
            status=error.status,
        )
    return see_other(f"/calls/{token}?done=moved")


@post("/calls/{token:str}/cancel", status_code=303, request_max_body_size=16_384)
async def cancel(
    request: AnyRequest, token: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[Any]:
    """Cancel the call. Repeating it changes nothing."""
    call = await _find(conn, state.settings, token)
    if call is None:
        return _not_found(request)
    reason = str((await read_form(request)).get("reason", ""))[:500]
    try:
        async with conn.transaction():
            await cancel_call(
                conn, state.settings, call.contact.id, call.id, datetime.now(UTC), reason=reason
            )
    except ConflictError as error:
        return await _show(request, conn, token, call, problem=_reason(error), status=error.status)
    return see_other(f"/calls/{token}")


async def _find(conn: Connection, settings: Settings, token: str) -> BookedCall | None:
    found = read_manage_token(settings.secret, token)
    if found is None:
        return None
    try:
        return await get_booked_call(conn, *found)
    except EverafterError:  # deleted since
        return None


async def _show(
    request: AnyRequest,
    conn: Connection,
    token: str,
    call: BookedCall,
    *,
    begin: date | None = None,
    chosen: datetime | None = None,
    done: str = "",
    problem: str = "",
    status: int = 200,
) -> Response[Any]:
    settings: Settings = request.app.state.settings
    now, zone = datetime.now(UTC), find_zone(call.contact.timezone)
    call_state = describe_state(call, now)
    view: dict[str, Any] = {"days": [], "later": None, "chosen": None, "begin": begin}
    if call_state == "coming":
        view |= await _times(conn, call, begin, chosen, now)
        if chosen and chosen != call.starts_at and not view["chosen"]:
            refusal = refuse_time(chosen, now)
            problem = problem or (refusal.reason if refusal else "taken")
    return page(
        request,
        "support/templates/call.html",
        status_code=status,
        token=token,
        call=call,
        title=call_title(call.type),
        when=format_period(call.starts_at, call.ends_at, zone),
        zone=format_zone(zone, call.starts_at),
        lost_zone=unknown_zone(call.contact.timezone) or (None if call.contact.timezone else ""),
        call_state=call_state,
        moved=done == "moved" and call_state == "coming" and call.sequence > 0,
        problem=_MESSAGES.get(problem, _MESSAGES["taken"])
        if problem and call_state == "coming"
        else "",
        ics=ics_link(settings, call.contact.id, call.id).removeprefix(settings.base_url),
        **_branded(settings),
        **view,
    )


async def _times(
    conn: Connection, call: BookedCall, begin: date | None, chosen: datetime | None, now: datetime
) -> dict[str, Any]:
    """Free times from `begin`; if there are none for three weeks, the next ones after that."""
    zone = find_zone(call.contact.timezone)
    first = min(
        max(begin or date.min, now.date() - timedelta(days=1)),
        now.date() + timedelta(days=HORIZON_DAYS),
    )
    start = max(datetime.combine(first, time(), zone).astimezone(UTC), now)
    start = min(start, now + timedelta(days=HORIZON_DAYS - 1))
    kind = type_of(call)
    slots = await find_slots(conn, call.contact, kind, start, now, days=_SEARCH_DAYS, moving=call)
    if not slots:
        slots = await find_slots(
            conn, call.contact, kind, start, now, days=HORIZON_DAYS, moving=call
        )
    slots = [slot for slot in slots if slot.starts_at != call.starts_at]
    days, later = list_free_days(slots, zone, call.csm_email)
    if later is None and days:
        later = days[-1].day + timedelta(days=1)
        beyond = datetime.combine(later, time(), zone).astimezone(UTC)
        if not await find_slots(
            conn, call.contact, kind, beyond, now, days=HORIZON_DAYS, limit=1, moving=call
        ):
            later = None
    one = None
    if chosen and chosen != call.starts_at and not refuse_time(chosen, now):
        exact = await find_slots(
            conn, call.contact, kind, chosen, now, days=1, limit=1, moving=call, any_hour=True
        )
        if exact and exact[0].starts_at == chosen:
            slot = exact[0]
            one = {
                "value": format_utc(slot.starts_at),
                "when": format_period(slot.starts_at, slot.ends_at, zone),
                "zone": format_zone(zone, slot.starts_at),
                "csm": slot.csm.name,
                "another": slot.csm.email != call.csm_email,
            }
    return {"days": days, "later": later, "chosen": one}


def _not_found(request: AnyRequest) -> Response[Any]:
    return page(
        request,
        "support/templates/no_call.html",
        status_code=404,
        **_branded(request.app.state.settings),
    )


def _branded(settings: Settings) -> dict[str, Any]:
    """The platform's brand, the address for replies, and headers that allow the logo."""
    brand = load_brand(settings)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    shown = page_brand(brand, sender.display_name or sender.addr_spec)
    policy = _HEADERS["Content-Security-Policy"].replace(
        "img-src 'self'", f"img-src 'self' {shown.img_src}".rstrip()
    )
    headers = {**_HEADERS, "Content-Security-Policy": policy}
    return {"brand": shown, "sender_email": brand.reply_to or sender.addr_spec, "headers": headers}


def _reason(error: EverafterError) -> str:
    return str(error.extra.get("reason", "taken"))


def _read_time(text: str | None) -> datetime | None:
    """Parse an instant as written by the links and forms of this page."""
    try:
        value = datetime.fromisoformat(text or "")
        return value.astimezone(UTC) if value.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _read_day(text: str | None) -> date | None:
    try:
        day = date.fromisoformat(text or "")
    except ValueError:
        return None
    return day if 2000 < day.year < 2200 else None


handlers = [
    Router(path="/", route_handlers=[show_call, move_call, cancel], include_in_schema=False)
]
