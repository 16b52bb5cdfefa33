"""Apply support's actions to tickets. Each is stored as an event and folded, in the caller's
transaction."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import polars as pl

from everafter.activity.queries import Followers, fold_supplier
from everafter.core.db import Connection
from everafter.core.errors import ConflictError, NotFoundError, UnprocessableError
from everafter.core.ids import read_id
from everafter.events.model import EARLIEST, RAW_SCHEMA, STORED_SCHEMA
from everafter.events.queries import store_events
from everafter.events.rules import check_events
from everafter.playbook.model import Support
from everafter.tickets import queries
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.model import CHANGES_BY_TYPE, Evaluated, Ticket, TicketRequest, Transition
from everafter.tickets.rules import follow, why_not

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TYPES: dict[Transition, str] = {transition: kind for kind, transition in CHANGES_BY_TYPE.items()}
_CHANGES: dict[Transition, str] = {
    "opened": "be opened",
    "replied": "be replied to",
    "waiting": "be set to waiting",
    "resumed": "be resumed",
    "resolved": "be resolved",
}
_SKEW = timedelta(minutes=1)
_TICK = timedelta(microseconds=1)


async def open_ticket(
    conn: Connection,
    support: Support,
    followers: Followers,
    asked: TicketRequest,
    now: datetime,
) -> Evaluated:
    """Open a ticket, or a resolved one again.

    Raises:
        NotFoundError: no such supplier.
        ConflictError: a ticket of that id is open.
        UnprocessableError: an empty subject, an invalid id, an invalid moment.
    """
    ticket_id = str(uuid4()) if asked.ticket_id is None else str(asked.ticket_id)
    if ticket_id in (".", ".."):
        raise UnprocessableError("ticket_id: . and .. cannot be used in a path; choose another")
    subject = clean(asked.subject)
    if subject is None:
        raise UnprocessableError("subject: it is empty")
    properties = {"ticket_id": ticket_id, "subject": subject, "priority": clean(asked.priority)}
    return await _apply(
        conn, support, followers, asked.supplier_id, "opened", properties, asked.at, now
    )


async def act(
    conn: Connection,
    support: Support,
    followers: Followers,
    supplier_id: UUID,
    ticket_id: str,
    transition: Transition,
    at: datetime | None,
    now: datetime,
) -> Evaluated:
    """Reply to a ticket, set it to wait for the supplier, resume or resolve it.

    Raises:
        NotFoundError: no such supplier or ticket.
        ConflictError: the action is not possible in the ticket's state.
        UnprocessableError: an invalid moment.
    """
    known = read_id(ticket_id)
    if known is None:
        raise NotFoundError(f"there is no ticket {ticket_id[:60]!r} of this supplier")
    return await _apply(
        conn, support, followers, supplier_id, transition, {"ticket_id": known}, at, now
    )


async def get_ticket(
    conn: Connection, support: Support, supplier_id: UUID, ticket_id: str, now: datetime
) -> Evaluated:
    """Return a ticket with its clocks as of now.

    Raises:
        NotFoundError: no such supplier or ticket.
    """
    await queries.require_supplier(conn, supplier_id)
    known = read_id(ticket_id)
    ticket = await queries.find_ticket(conn, supplier_id, known) if known else None
    evaluated = evaluate_tickets([ticket], support, now) if ticket else []
    if not evaluated:
        raise NotFoundError(f"there is no ticket {ticket_id[:60]!r} of this supplier")
    return evaluated[0]


def clean(text: str | None) -> str | None:
    """Remove control characters; null if nothing is left."""
    return _CONTROL.sub(" ", text).strip() or None if text else None


async def _apply(
    conn: Connection,
    support: Support,
    followers: Followers,
    supplier_id: UUID,
    transition: Transition,
    properties: dict[str, str | None],
    at: datetime | None,
    now: datetime,
) -> Evaluated:
    """Check the change against the ticket's state, store it, and return the new state."""
    ticket_id = properties["ticket_id"] or ""
    await queries.require_supplier(conn, supplier_id)
    # holds the fold's lock, so that two actions on one ticket run one after the other
    await fold_supplier(conn, supplier_id, followers)
    ticket = await queries.find_ticket(conn, supplier_id, ticket_id)
    moment = _moment(at, ticket, now)
    course = follow(ticket.changes, moment) if ticket else None
    if transition != "opened" and (
        ticket is None or follow(ticket.changes, datetime.max.replace(tzinfo=UTC)) is None
    ):
        raise NotFoundError(f"there is no ticket {ticket_id[:60]!r} of this supplier")
    if reason := why_not(course, transition):
        raise ConflictError(
            f"ticket {ticket_id[:60]!r} cannot {_CHANGES[transition]} now: {reason}",
            state=course.state if course else None,
        )
    await _store(conn, supplier_id, transition, properties, moment, now)
    await fold_supplier(conn, supplier_id, followers)
    return await get_ticket(conn, support, supplier_id, ticket_id, now)


def _moment(at: datetime | None, ticket: Ticket | None, now: datetime) -> datetime:
    """Return the moment of the change: by default now, but after the last change, since the
    platform's clock may be ahead.
    """
    if at is None:
        return max(now, ticket.changes[-1].at + _TICK) if ticket and ticket.changes else now
    try:
        moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise UnprocessableError(f"at: {at.isoformat()} is out of range") from None
    if moment > now + _SKEW:
        raise UnprocessableError(f"at: {at.isoformat()} is in the future")
    if moment < EARLIEST:
        raise UnprocessableError(f"at: {at.isoformat()} is before {EARLIEST.year}")
    return min(moment, now)


async def _store(
    conn: Connection,
    supplier_id: UUID,
    transition: Transition,
    properties: dict[str, str | None],
    moment: datetime,
    now: datetime,
) -> None:
    raw = pl.DataFrame(
        {
            "row": [0],
            "supplier_id": [str(supplier_id)],
            "message_id": [f"everafter-{uuid4()}"],
            "type": [_TYPES[transition]],
            "occurred_at": [moment.isoformat()],
            "properties": [
                msgspec.json.encode(
                    {name: value for name, value in properties.items() if value}
                ).decode()
            ],
        },
        schema=RAW_SCHEMA,
    )
    checked = check_events(raw, received_at=now)
    if checked.rejects.height:
        raise UnprocessableError(checked.rejects["reason"][0])
    await store_events(conn, checked.good.select(list(STORED_SCHEMA)))
