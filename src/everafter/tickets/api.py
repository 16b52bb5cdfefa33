"""The API of tickets and of contacts that were not booked calls."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, PathParameter, QueryParameter

from everafter.core.bodies import BODY_ERRORS
from everafter.core.cursor import read_cursor, write_cursor
from everafter.core.db import Connection
from everafter.core.errors import UnprocessableError
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.ids import SupplierId, read_id
from everafter.core.openapi import problems
from everafter.core.web import AnyRequest, scope
from everafter.support.model import Interaction
from everafter.tickets import changes, queries
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.model import (
    ACTIONS,
    ActionRequest,
    ChangeAnswer,
    Clock,
    ClockAnswer,
    ClocksAnswer,
    Evaluated,
    InteractionRequest,
    TicketAnswer,
    TicketRequest,
    TicketsAnswer,
    Transition,
)
from everafter.tickets.model import State as TicketState

TAGS = ["Support"]
NO_TICKET = "there is no such supplier, or no such ticket of it"
IN_FLIGHT = "or the Idempotency-Key is in flight"
OTHER_BODY = "or the Idempotency-Key came with another body"


@post(
    "/api/support/tickets",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="openTicket",
    exception_handlers=BODY_ERRORS,
    summary="Open a ticket",
    responses=problems(
        not_found="there is no such supplier",
        conflict=f"a ticket of that id is open already; {IN_FLIGHT}",
        unprocessable_entity=(
            "an empty subject, a `ticket_id` that cannot be one, an `at` in the future;"
            f" {OTHER_BODY}"
        ),
    ),
)
async def open_ticket(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[TicketRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[TicketAnswer]:
    """Open a ticket, as the event `ticket_opened` does, and return its clocks. A resolved ticket is
    reopened."""

    async def effect() -> tuple[int, TicketAnswer]:
        return 201, _answer(
            await changes.open_ticket(
                conn, state.playbook.support, state.followers, data, datetime.now(UTC)
            )
        )

    return await answer_once(request, conn, idempotency_key, effect)


@post(
    "/api/support/tickets/{ticket_id:str}/{action:str}",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="actOnTicket",
    status_code=200,
    exception_handlers=BODY_ERRORS,
    summary="Reply to a ticket, let it wait, resume or resolve it",
    responses=problems(
        not_found=NO_TICKET,
        conflict=(
            f"the action is not possible in the ticket's state, given in `state`; {IN_FLIGHT}"
        ),
        unprocessable_entity=f"no such action, or an `at` in the future; {OTHER_BODY}",
    ),
)
async def act_on_ticket(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    ticket_id: FromPath[str],
    action: Annotated[str, PathParameter(schema_extra={"enum": list(ACTIONS)})],
    data: JSONBody[ActionRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[TicketAnswer]:
    """Change a ticket, as the events `ticket_replied`, `ticket_waiting`, `ticket_resumed` and
    `ticket_resolved` do, and return its clocks."""
    transition = _read_action(action)

    async def effect() -> tuple[int, TicketAnswer]:
        support = state.playbook.support
        return 200, _answer(
            await changes.act(
                conn,
                support,
                state.followers,
                data.supplier_id,
                ticket_id,
                transition,
                data.at,
                datetime.now(UTC),
            )
        )

    return await answer_once(request, conn, idempotency_key, effect)


@get(
    "/api/support/tickets",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listTickets",
    summary="Tickets with their clocks",
    responses=problems(not_found="there is no such supplier"),
)
async def list_tickets(
    conn: NamedDependency[Connection],
    state: State,
    supplier_id: FromQuery[SupplierId | None] = None,
    ticket_state: Annotated[
        TicketState | None,
        QueryParameter(name="state", description="Only tickets in this state; default: all."),
    ] = None,
    cursor: Annotated[
        str | None,
        QueryParameter(max_length=1000, description="`next_cursor` of the previous page."),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Maximum number of tickets.")
    ] = 50,
) -> TicketsAnswer:
    """List tickets of one supplier or of all, the latest opened first."""
    if supplier_id is not None:
        await queries.require_supplier(conn, supplier_id)
    found = await queries.list_tickets(
        conn, supplier_id, ticket_state, read_cursor(cursor, _read_place), limit + 1
    )
    evaluated = evaluate_tickets(found[:limit], state.playbook.support, datetime.now(UTC))
    return TicketsAnswer(
        [_answer(one) for one in evaluated],
        _write_place(evaluated[-1]) if len(found) > limit and evaluated else None,
    )


@get(
    "/api/support/tickets/{ticket_id:str}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="getTicket",
    summary="One ticket",
    responses=problems(not_found=NO_TICKET),
)
async def get_ticket(
    conn: NamedDependency[Connection],
    state: State,
    ticket_id: FromPath[str],
    supplier_id: FromQuery[SupplierId],
) -> TicketAnswer:
    """Return a ticket, its changes, and its clocks as of now."""
    return _answer(
        await changes.get_ticket(
            conn, state.playbook.support, supplier_id, ticket_id, datetime.now(UTC)
        )
    )


@post(
    "/api/support/interactions",
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordInteraction",
    exception_handlers=BODY_ERRORS,
    summary="Record a contact that was not a booked call",
    responses=problems(
        not_found="there is no such supplier",
        conflict="the Idempotency-Key is in flight",
        unprocessable_entity=f"the notes are empty; {OTHER_BODY}",
    ),
)
async def record_interaction(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    data: JSONBody[InteractionRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[Interaction]:
    """Record a chat, a visit or a call that was not booked, with notes and an outcome."""
    notes, outcome = changes.clean(data.notes), changes.clean(data.outcome)
    if notes is None:
        raise UnprocessableError("notes: they are empty")

    async def effect() -> tuple[int, Interaction]:
        await queries.require_supplier(conn, data.supplier_id)
        contact = InteractionRequest(data.supplier_id, data.type, notes, outcome)
        return 201, await queries.insert_interaction(conn, contact)

    return await answer_once(request, conn, idempotency_key, effect)


def _read_action(text: str) -> Transition:
    if found := ACTIONS.get(text):
        return found
    raise UnprocessableError(f"there is no action {text[:40]!r}; there are {', '.join(ACTIONS)}")


def _answer(one: Evaluated) -> TicketAnswer:
    ticket, course = one.ticket, one.course
    return TicketAnswer(
        ticket.supplier_id,
        ticket.external_id,
        ticket.ticket_id,
        ticket.subject,
        ticket.priority,
        course.state,
        course.opened_at,
        course.answered_at,
        course.waiting_since,
        course.resolved_at,
        course.reopened,
        ClocksAnswer(_clock(one.first_reply), _clock(one.resolution)),
        [ChangeAnswer(change.at, change.transition) for change in ticket.changes],
    )


def _clock(clock: Clock) -> ClockAnswer:
    return ClockAnswer(
        clock.state,
        round(clock.limit / 3600, 4),
        round(clock.used / 3600, 4),
        clock.due_at,
        clock.stopped_at,
    )


def _write_place(one: Evaluated) -> str:
    return write_cursor(one.course.opened_at, one.ticket.supplier_id, one.ticket.ticket_id)


def _read_place(text: str) -> tuple[datetime, UUID, str]:
    at, supplier_id, ticket_id = text.split(" ", 2)
    if read_id(ticket_id) is None:
        raise ValueError
    return datetime.fromisoformat(at).astimezone(UTC), UUID(supplier_id), ticket_id


handlers = [open_ticket, act_on_ticket, list_tickets, get_ticket, record_interaction]
