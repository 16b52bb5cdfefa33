"""Book, move and cancel calls, and list contacts with suppliers."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, QueryParameter

from everafter.core.bodies import BODY_ERRORS
from everafter.core.cursor import read_cursor, read_time_and_id, write_cursor
from everafter.core.db import Connection
from everafter.core.errors import NotFoundError, UnprocessableError
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.ids import SupplierId
from everafter.core.openapi import problems
from everafter.core.web import FROM_MAIL, AnyRequest, scope
from everafter.core.zones import find_zone
from everafter.support.booking import (
    answer_booked,
    answer_slots,
    book_call,
    find_slots,
    get_call_type,
)
from everafter.support.changes import cancel_call, record_outcome, reschedule_call
from everafter.support.ics import method_of, read_call_token
from everafter.support.model import (
    CALL_TYPES,
    DEFAULT_DAYS,
    HORIZON_DAYS,
    MAX_DAYS,
    BookedAnswer,
    CallRequest,
    CancelRequest,
    Interaction,
    InteractionsAnswer,
    OutcomeRequest,
    RescheduleRequest,
    SlotsAnswer,
)
from everafter.support.notices import invitation_to
from everafter.support.queries import (
    get_booked_call,
    get_contact,
    get_interaction,
    list_interactions,
)
from everafter.support.rules import read_from, suggest_zones, unknown_zone

TAGS = ["Support"]
NO_SUPPLIER = "unknown supplier"
NO_CALL = "this supplier has no such call"


@get(
    "/api/support/slots",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listSlots",
    summary="Free times for a call",
    responses=problems(
        not_found=NO_SUPPLIER, unprocessable_entity="unknown call type, or invalid `from`"
    ),
)
async def list_call_slots(
    conn: NamedDependency[Connection],
    supplier_id: FromQuery[SupplierId],
    type: Annotated[  # noqa: A002 the contract's name
        str,
        QueryParameter(description="The call type.", schema_extra={"enum": list(CALL_TYPES)}),
    ],
    start: Annotated[
        str | None,
        QueryParameter(
            name="from",
            description=(
                "A date, or a time as in `starts_at`. A date starts at midnight in the supplier's"
                " time zone. Default: now."
            ),
            schema_extra={"examples": ["2026-12-01"]},
        ),
    ] = None,
    days: Annotated[
        int, QueryParameter(ge=1, le=MAX_DAYS, description="The number of days.")
    ] = DEFAULT_DAYS,
    timezone: Annotated[
        str | None,
        QueryParameter(
            max_length=64,
            description="The IANA time zone of `local`. Default: the supplier's.",
        ),
    ] = None,
) -> SlotsAnswer:
    """Free times on a 15-minute grid, at least two hours ahead, within a CSM's working hours, with
    the CSM's buffer after the call."""
    now = datetime.now(UTC)
    call = get_call_type(type)
    contact = await get_contact(conn, supplier_id)
    if unknown_zone(timezone):
        raise UnprocessableError(
            f"timezone: unknown time zone {timezone!r}{suggest_zones(timezone or '')}",
            reason="unknown_zone",
        )
    zone = find_zone(timezone or contact.timezone)
    begin = now if start is None else read_from(start, zone.key)
    if begin >= now + timedelta(days=HORIZON_DAYS):
        raise UnprocessableError(
            f"from: {start} is too far ahead: calls are booked at most {HORIZON_DAYS} days ahead"
        )
    slots = await find_slots(conn, contact, call, max(begin, now), now, days=days)
    slots = [slot for slot in slots if slot.starts_at < begin + timedelta(days=days)]
    unknown = None if timezone else unknown_zone(contact.timezone)
    return SlotsAnswer(
        contact.id,
        contact.external_id,
        call.name,
        call.minutes,
        zone.key,
        answer_slots(slots, zone.key),
        unknown,
    )


@post(
    "/api/support/schedule-call",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="scheduleCall",
    exception_handlers=BODY_ERRORS,
    summary="Book a call",
    responses=problems(
        not_found=NO_SUPPLIER,
        conflict=(
            "the time is taken, with free times in `next_free`;"
            " or a request with this Idempotency-Key is in progress"
        ),
        unprocessable_entity=(
            "unknown call type; or the time cannot be booked: `reason` is past, too_soon, too_far,"
            " off_grid, outside_hours, dst_gap, dst_overlap or unknown_zone, and `next_free` has"
            " free times; or the Idempotency-Key was used with another body"
        ),
    ),
)
async def schedule_call(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[CallRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[BookedAnswer]:
    """Book a call at `starts_at`, or at the first free time. The supplier gets a confirmation with
    an invitation.

    A CSM is never booked twice. If another CSM is free at that time, that CSM takes the call.
    """

    async def effect() -> tuple[int, BookedAnswer]:
        return 201, await book_call(conn, state.settings, data, datetime.now(UTC))

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/support/calls/{file_name:str}",
    tags=TAGS,
    operation_id="getCallInvitation",
    summary="The invitation to a call",
    media_type="text/calendar",
    responses=problems(not_found="unknown call, or the token of another call"),
    opt={FROM_MAIL: True},
)
async def get_invitation(
    conn: NamedDependency[Connection],
    state: State,
    file_name: Annotated[str, PathParameter(description="The call's `interaction_id` and `.ics`.")],
    token: Annotated[str, QueryParameter(description="From `ics_url`; replaces an API key.")],
) -> Response[str]:
    """The call for a calendar (`ics_url`): an iTIP REQUEST, or CANCEL. It needs no API key: the
    token gives access to this call only."""
    missing = NotFoundError("unknown call, or incomplete link: copy the whole link from the email")
    name, dot, suffix = file_name.rpartition(".")
    try:
        call_id = UUID(name)
    except ValueError:
        raise missing from None
    supplier_id = (
        read_call_token(state.settings.secret, call_id, token) if dot and suffix == "ics" else None
    )
    if supplier_id is None:
        raise missing
    call = await get_booked_call(conn, supplier_id, call_id)
    invitation = invitation_to(state.settings, call)
    return Response(
        invitation,
        media_type=f"text/calendar; method={method_of(invitation)}",
        headers={
            "Content-Disposition": 'attachment; filename="call.ics"',
            "Cache-Control": "private, no-store",
            "Referrer-Policy": "no-referrer",
        },
    )


@post(
    "/api/support/calls/{interaction_id:uuid}/reschedule",
    status_code=200,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="rescheduleCall",
    exception_handlers=BODY_ERRORS,
    summary="Move a call",
    responses=problems(
        not_found=NO_CALL,
        conflict=(
            "the time is taken, with free times in `next_free`;"
            " or the call is over or cancelled (`reason`)"
        ),
        unprocessable_entity="the time cannot be booked: `reason` and `next_free` as for booking",
    ),
)
async def reschedule(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    interaction_id: FromPath[UUID],
    data: JSONBody[RescheduleRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[BookedAnswer]:
    """Move a call, if possible with the same CSM. Both sides get a new invitation, which replaces
    the old one.

    The old time is only released once the new one is taken. Moving it to its current time does
    nothing.
    """

    async def effect() -> tuple[int, BookedAnswer]:
        now = datetime.now(UTC)
        wanted = data.starts_at
        call = await reschedule_call(
            conn,
            state.settings,
            data.supplier_id,
            interaction_id,
            wanted,
            now,
            timezone=data.timezone,
        )
        return 200, answer_booked(state.settings, call)

    return await answer_once(request, conn, idempotency_key, effect)


@post(
    "/api/support/calls/{interaction_id:uuid}/cancel",
    status_code=200,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="cancelCall",
    exception_handlers=BODY_ERRORS,
    summary="Cancel a call",
    responses=problems(not_found=NO_CALL, conflict="the call is over (`reason`)"),
)
async def cancel(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    interaction_id: FromPath[UUID],
    data: JSONBody[CancelRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[Interaction]:
    """Cancel a call, release its time and notify both sides. Cancelling again does nothing."""

    async def effect() -> tuple[int, Interaction]:
        await cancel_call(
            conn,
            state.settings,
            data.supplier_id,
            interaction_id,
            datetime.now(UTC),
            reason=data.reason,
        )
        return 200, await get_interaction(conn, data.supplier_id, interaction_id)

    return await answer_once(request, conn, idempotency_key, effect)


@post(
    "/api/support/calls/{interaction_id:uuid}/outcome",
    status_code=200,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordCallOutcome",
    exception_handlers=BODY_ERRORS,
    summary="Record the outcome of a call",
    responses=problems(
        not_found=NO_CALL,
        conflict="the call has not started, or was cancelled before (`reason`)",
    ),
)
async def post_outcome(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    interaction_id: FromPath[UUID],
    data: JSONBody[OutcomeRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[Interaction]:
    """Held, not attended by the supplier, or cancelled. A later outcome replaces it."""

    async def effect() -> tuple[int, Interaction]:
        now = datetime.now(UTC)
        await record_outcome(
            conn,
            state.settings,
            data.supplier_id,
            interaction_id,
            data.outcome,
            now,
            notes=data.notes,
        )
        return 200, await get_interaction(conn, data.supplier_id, interaction_id)

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/support/interactions",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listInteractions",
    summary="A supplier's calls and other contacts",
    responses=problems(not_found=NO_SUPPLIER),
)
async def list_supplier_interactions(
    conn: NamedDependency[Connection],
    supplier_id: FromQuery[SupplierId],
    cursor: Annotated[
        str | None,
        QueryParameter(max_length=200, description="`next_cursor` of the previous page."),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Maximum number of results.")
    ] = 50,
) -> InteractionsAnswer:
    """Contacts of a supplier, newest first."""
    await get_contact(conn, supplier_id)
    before = read_cursor(cursor, read_time_and_id)
    found = await list_interactions(conn, supplier_id, before, limit + 1)
    more = len(found) > limit
    last = found[limit - 1] if more else None
    return InteractionsAnswer(
        found[:limit], write_cursor(last.created_at, last.interaction_id) if last else None
    )


handlers = [
    list_call_slots,
    schedule_call,
    get_invitation,
    reschedule,
    cancel,
    post_outcome,
    list_supplier_interactions,
]
