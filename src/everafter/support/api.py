"""Booking calls with the success team, and what was said in them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, QueryParameter

from everafter.core.bodies import BODY_ERRORS
from everafter.core.cursor import read_cursor, write_cursor
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
NO_SUPPLIER = "there is no such supplier"
NO_CALL = "this supplier has no such call"


@get(
    "/api/support/slots",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listSlots",
    summary="Free times for a call",
    responses=problems(
        not_found=NO_SUPPLIER, unprocessable_entity="no such call type, or a `from` that is no date"
    ),
)
async def list_call_slots(
    conn: NamedDependency[Connection],
    supplier_id: FromQuery[SupplierId],
    type: Annotated[  # noqa: A002 the contract's name
        str,
        QueryParameter(description="The kind of call.", schema_extra={"enum": list(CALL_TYPES)}),
    ],
    start: Annotated[
        str | None,
        QueryParameter(
            name="from",
            description=(
                "A date, or a time as in `starts_at`. A date begins at midnight in the supplier's"
                " time zone. Default: now."
            ),
            schema_extra={"examples": ["2026-12-01"]},
        ),
    ] = None,
    days: Annotated[
        int, QueryParameter(ge=1, le=MAX_DAYS, description="How many days from there.")
    ] = DEFAULT_DAYS,
    timezone: Annotated[
        str | None,
        QueryParameter(
            max_length=64,
            description="The IANA time zone to show them in. Default: the supplier's.",
        ),
    ] = None,
) -> SlotsAnswer:
    """Times on a 15-minute grid inside a CSM's working hours and off their holidays, at least two
    hours ahead, free with the CSM's pause after."""
    now = datetime.now(UTC)
    call = get_call_type(type)
    contact = await get_contact(conn, supplier_id)
    if unknown_zone(timezone):
        raise UnprocessableError(
            f"timezone: {timezone!r} is not known{suggest_zones(timezone or '')}",
            reason="unknown_zone",
        )
    zone = find_zone(timezone or contact.timezone)
    begin = now if start is None else read_from(start, zone.key)
    if begin >= now + timedelta(days=HORIZON_DAYS):
        raise UnprocessableError(
            f"from: {start} is too far off: calls are booked at most {HORIZON_DAYS} days ahead"
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
            "the time is taken: `next_free` has the next free ones; or the Idempotency-Key is in"
            " flight"
        ),
        unprocessable_entity=(
            "no such call type, or a time that can never be had: `reason` is past, too_soon,"
            " too_far, off_grid, outside_hours, dst_gap, dst_overlap or unknown_zone, and"
            " `next_free` has times that can; or the Idempotency-Key came with another body"
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
    """Book the time, or without `starts_at` the first free one. The supplier gets a confirmation
    with the invitation.

    Two can never hold the same time of one CSM; where another CSM is free then, that one takes the
    call."""

    async def effect() -> tuple[int, BookedAnswer]:
        return 201, await book_call(conn, state.settings, data, datetime.now(UTC))

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/support/calls/{file_name:str}",
    tags=TAGS,
    operation_id="getCallInvitation",
    summary="The invitation to a call",
    media_type="text/calendar",
    responses=problems(not_found="no such call, or not the token of this call"),
    opt={FROM_MAIL: True},
)
async def get_invitation(
    conn: NamedDependency[Connection],
    state: State,
    file_name: Annotated[str, PathParameter(description="The call's `interaction_id` and `.ics`.")],
    token: Annotated[str, QueryParameter(description="As in `ics_url`; it means a key.")],
) -> Response[str]:
    """The call for a calendar, as `ics_url` gives it: an iTIP REQUEST, or CANCEL. Needs no key: the
    token opens this one call."""
    missing = NotFoundError(
        "there is no such call, or the link is not the whole one from the confirmation"
    )
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
            "the time is taken: `next_free` has the next free ones; or the call is over or"
            " cancelled: `reason`"
        ),
        unprocessable_entity=(
            "a time that can never be had: `reason` and `next_free` as when booking"
        ),
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
    """Give it another time, if possible with the same CSM; both get the new invitation, which
    replaces the old one.

    The old time is let go only when the new one is held. The time it has already is no change.
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
    responses=problems(not_found=NO_CALL, conflict="the call is over: `reason`"),
)
async def cancel(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    interaction_id: FromPath[UUID],
    data: JSONBody[CancelRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[Interaction]:
    """Call it off: its time is free again, and both sides are told. A call that is cancelled
    already stays so."""

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
    summary="Say what became of a call",
    responses=problems(
        not_found=NO_CALL,
        conflict="the call has not begun, or was cancelled before it did: `reason`",
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
    """Held, missed by the supplier, or cancelled; another word later corrects it."""

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
        QueryParameter(
            max_length=200, description="`next_cursor` of the page before, as it was given."
        ),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")] = 50,
) -> InteractionsAnswer:
    """Newest first, a page at a time."""
    await get_contact(conn, supplier_id)
    found = await list_interactions(conn, supplier_id, read_cursor(cursor, _read_place), limit + 1)
    more = len(found) > limit
    last = found[limit - 1] if more else None
    return InteractionsAnswer(
        found[:limit], write_cursor(last.created_at, last.interaction_id) if last else None
    )


def _read_place(text: str) -> tuple[datetime, UUID]:
    at, _, interaction_id = text.partition(" ")
    return datetime.fromisoformat(at).astimezone(UTC), UUID(interaction_id)


handlers = [
    list_call_slots,
    schedule_call,
    get_invitation,
    reschedule,
    cancel,
    post_outcome,
    list_supplier_interactions,
]
