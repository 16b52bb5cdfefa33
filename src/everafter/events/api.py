"""Ingest over HTTP in the Segment dialect, and reading events, rejects and event types."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import psycopg
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from everafter.core.admission import READS_BODY, Admission
from everafter.core.cursor import read_cursor, write_cursor
from everafter.core.db import Connection, Pool
from everafter.core.errors import InputError, OverloadedError, UnauthorizedError
from everafter.core.ids import SupplierId
from everafter.core.openapi import problems
from everafter.core.probes import Counters
from everafter.core.web import (
    EXCEPTION_HANDLERS,
    AnyRequest,
    KeyLookup,
    read_basic_user,
    read_bearer,
    scope,
)
from everafter.events import queries
from everafter.events.body import find_keys, read_body
from everafter.events.browser_rules import (
    BATCH_PATHS,
    KEY_PARAMETERS,
    POSTHOG_PATHS,
    SHORT_PATHS,
)
from everafter.events.describe import BatchOperation, CallOperation, PostHogOperation
from everafter.events.forms import unwrap_form
from everafter.events.ingest import BatchResult, store_batch
from everafter.events.model import CANONICAL, Checked
from everafter.events.posthog import decode_posthog
from everafter.events.rules import check_events
from everafter.events.segment import CALLS, Received, decode_request
from everafter.suppliers.model import BadTrait, TraitUpdate
from everafter.suppliers.rules import read_traits

# Larger bodies are read and checked in a thread, to keep the event loop free.
_THREAD_BYTES = 256 * 1024


class RejectedEvent(msgspec.Struct, rename={"message_id": "messageId"}):
    """An event, trait or value that was rejected. index: the event's position in the batch."""

    index: int
    message_id: str | None
    code: str
    message: str


class Ingested(msgspec.Struct):
    """The result of a batch. accepted: events stored durably."""

    success: bool
    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


# ── ingest ────────────────────────────────────────────────────────────────────────────────────────


Decode = Callable[[bytes, datetime], Received]


async def ingest(request: AnyRequest, decode: Decode) -> Response[Ingested]:
    """Ingest one request; the response is sent after the commit."""
    state = request.app.state
    key = _find_key(request)
    admission: Admission = state.admission
    admission.count_address(request)
    if key is None or not state.key_cache.is_live(key):
        admission.check_failures(request)
    try:
        return await _ingest(request, decode, key, admission)
    except UnauthorizedError:
        admission.count_failure(request)
        raise


async def _ingest(
    request: AnyRequest, decode: Decode, key: str | None, admission: Admission
) -> Response[Ingested]:
    state = request.app.state
    counters: Counters = state.counters
    if key is not None:
        await _require_ingest_key(state, key)
        admission.count_key(key)
    with admission.enter(request, key) as hold:
        body = await read_body(request.stream(), request.headers.get("content-encoding", ""), hold)
        body = unwrap_form(body, hold)
        if key is None:
            await _check_body_keys(state, find_keys(body))
        received_at = datetime.now(UTC)
        names: dict[str, str] = state.playbook.event_names
        if len(body) > _THREAD_BYTES:
            prepared = await asyncio.to_thread(_prepare, body, decode, received_at, names)
        else:
            prepared = _prepare(body, decode, received_at, names)
        if key is None:
            await _require_ingest_key(state, prepared.received.key)
            admission.count_key(prepared.received.key or "")
        async with admission.work:
            outcome = await _store(state.ingest_pool, prepared)
    state.trigger_fold()
    result = _describe(prepared, outcome)
    for what in ("accepted", "duplicates"):
        counters.add("everafter_ingest_events_total", getattr(result, what), f'result="{what}"')
    counters.add("everafter_ingest_events_total", len(result.rejected), 'result="rejected"')
    return Response(result)


class _Prepared(msgspec.Struct):
    """A request that was decoded and checked, but not stored."""

    received: Received
    checked: Checked
    updates: list[TraitUpdate]
    bad_traits: list[tuple[int, BadTrait]]


def _prepare(
    body: bytes, decode: Decode, received_at: datetime, names: dict[str, str]
) -> _Prepared:
    received = decode(body, received_at)
    checked = check_events(
        received.raw,
        received_at=received_at,
        sent_at=received.sent_at,
        live=True,
        event_names=names,
    )
    updates: list[TraitUpdate] = []
    bad_traits: list[tuple[int, BadTrait]] = []
    if received.identified:
        rows = checked.good.select(
            "row", "supplier_id", "occurred_at", "external_id", "message_id"
        ).iter_rows()
        places = {row: place for row, *place in rows}
        for one in received.identified:
            if one.row not in places:
                continue
            traits, bad = read_traits(one.traits)
            supplier_id, at, external_id, message_id = places[one.row]
            updates.append(
                TraitUpdate(supplier_id, traits, at, external_id, received_at, one.row, message_id)
            )
            bad_traits += [(one.row, trait) for trait in bad]
    return _Prepared(received, checked, updates, bad_traits)


async def _store(pool: Pool, prepared: _Prepared) -> BatchResult:
    for attempt in (1, 2, 3):
        try:
            async with pool.connection() as conn:
                return await store_batch(conn, prepared.checked, prepared.updates, source="http")
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            # batches lock in one order, so this needs an unusual mix: late events of a new supplier
            if attempt == 3:
                raise
    raise AssertionError


def _describe(prepared: _Prepared, outcome: BatchResult) -> Ingested:
    ids = prepared.received.message_ids
    rejected = [
        RejectedEvent(row, ids[row], code, reason)
        for row, code, reason in outcome.rejects.select("row", "code", "reason").iter_rows()
    ]
    rejected += [
        RejectedEvent(row, ids[row], "unreadable", why) for row, why in prepared.received.unreadable
    ]
    rejected += [
        RejectedEvent(row, ids[row], "bad_trait", bad.reason) for row, bad in prepared.bad_traits
    ]
    values = prepared.checked.bad_values
    rejected += [RejectedEvent(bad.row, ids[bad.row], "bad_value", bad.reason) for bad in values]
    accepted = outcome.stored.new + prepared.received.ignored
    return Ingested(
        True, accepted, outcome.stored.duplicates, sorted(rejected, key=lambda one: one.index)
    )


def _find_key(request: AnyRequest) -> str | None:
    """The key from the headers or the URL; null: the body may contain it."""
    header = request.headers.get("authorization", "")
    parameters = (
        (request.query_params.get(name) for name in KEY_PARAMETERS)
        if request.scope["query_string"]
        else ()
    )
    return (
        read_bearer(header)
        or read_basic_user(header)
        or next((key for key in parameters if key), None)
    )


async def _require_ingest_key(state: State, key: str | None) -> None:
    if key is None:
        raise UnauthorizedError(
            "send an ingest key: as Basic user name, as Bearer token, or as writeKey in the body or"
            " URL"
        )
    keys: KeyLookup = state.key_cache
    if await keys.find_scope(state.ingest_pool, key) != "ingest":
        raise UnauthorizedError(
            "this is not an active ingest key; `everafter key create --scope ingest` makes one"
        )


async def _check_body_keys(state: State, found: list[str] | None) -> None:
    """Refuse a large body without a live key before decoding it."""
    keys: KeyLookup = state.key_cache
    if found is None:
        return
    for key in found:
        if await keys.find_scope(state.ingest_pool, key) == "ingest":
            return
    await _require_ingest_key(state, found[0] if found else None)


def _counted(handler: Any) -> Any:
    def handle(request: AnyRequest, error: Any) -> Response[bytes]:
        counters: Counters = request.app.state.counters
        answer: Response[bytes] = handler(request, error)
        if isinstance(error, OverloadedError):
            answer.headers["X-RateLimit-Reset"] = answer.headers["Retry-After"]
        counters.add("everafter_ingest_refused_total", 1, f'status="{answer.status_code}"')
        return answer

    return handle


_INGEST: dict[str, Any] = {
    "status_code": 200,
    "exception_handlers": {kind: _counted(handler) for kind, handler in EXCEPTION_HANDLERS.items()},
    "request_max_body_size": None,  # read_body limits it
    "opt": {READS_BODY: True},
    "tags": ["ingest"],
    "security": [{"ingestKey": []}, {"ingestKeyAsUser": []}, {"ingestKeyInAddress": []}],
    "responses": problems(
        forbidden="pages of this origin may not send events: `EVERAFTER_INGEST_ORIGINS`",
        request_entity_too_large="more than 4 MB, gzip or not, or more than 10,000 events",
        too_many_requests="too many requests with this key or from this address;"
        " `Retry-After` says when to retry",
    ),
}


def _decode_batch(body: bytes, received_at: datetime) -> Received:
    return decode_request(body, None)


def _handle_batch(path: str) -> HTTPRouteHandler:
    async def ingest_batch(request: AnyRequest) -> Response[Ingested]:
        return await ingest(request, _decode_batch)

    ingest_batch.__doc__ = (
        "Ingest a batch of Segment calls. 200: accepted events are stored durably, and rejected"
        " ones are listed."
    )
    return post(
        path,
        operation_id=_name_operation(path),
        operation_class=BatchOperation,
        summary="Ingest a batch",
        **_INGEST,
    )(ingest_batch)


def _handle_call(path: str, call: str) -> HTTPRouteHandler:
    def decode(body: bytes, received_at: datetime) -> Received:
        return decode_request(body, call)

    async def ingest_call(request: AnyRequest) -> Response[Ingested]:
        return await ingest(request, decode)

    ingest_call.__doc__ = f"Ingest one Segment {call} call. 200: it is stored durably."
    return post(
        path,
        operation_id=_name_operation(path),
        operation_class=CallOperation,
        summary=f"Ingest one {call} call",
        **_INGEST,
    )(ingest_call)


def _handle_posthog(path: str) -> HTTPRouteHandler:
    async def ingest_posthog(request: AnyRequest) -> Response[Ingested]:
        return await ingest(request, decode_posthog)

    ingest_posthog.__doc__ = (
        "Ingest what PostHog's SDKs send: a batch, a list of events, or one event."
    )
    return post(
        path,
        operation_id=_name_operation(path),
        operation_class=PostHogOperation,
        summary="Ingest PostHog events",
        **_INGEST,
    )(ingest_posthog)


def _name_operation(path: str) -> str:
    """`ingestBatch` for `/v1/batch`, `ingestPostHogE` for `/e`."""
    kind = "PostHog" if path in POSTHOG_PATHS else ""
    words = path.removeprefix("/v1").strip("/").split("/")
    return f"ingest{kind}{''.join(word.capitalize() for word in words)}"


# ── reading ──────────────────────────────────────────────────────────────────────────────────

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="Rows per page.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=600, description="`next_cursor` of the previous page.")
]


class Event(msgspec.Struct):
    """A stored event."""

    message_id: str
    type: str
    occurred_at: datetime
    received_at: datetime
    properties: dict[str, Any] | None


class EventPage(msgspec.Struct):
    """A page of a supplier's events, latest first."""

    events: list[Event]
    next_cursor: str | None


class Reject(msgspec.Struct):
    """Something that was rejected.

    payload: what was sent; null when it was too large. supplier_id: as sent; for an event that
    waits for its supplier the UUID, with the platform's own id in external_id.
    """

    id: int
    received_at: datetime
    source: str
    code: str
    reason: str
    supplier_id: str | None
    external_id: str | None
    message_id: str | None
    payload: Any


class RejectPage(msgspec.Struct):
    """A page of rejects, latest first."""

    rejects: list[Reject]
    next_cursor: str | None


class EventType(msgspec.Struct):
    """An event type that was received. canonical: whether scoring uses it."""

    type: str
    canonical: bool
    events: int
    first_at: datetime
    last_at: datetime


class EventTypes(msgspec.Struct):
    """All event types, most frequent first."""

    event_types: list[EventType]


_READ: dict[str, Any] = {"guards": [scope("read")], "tags": ["events"], "responses": problems()}


@get("/api/events", operation_id="listEvents", summary="List events", **_READ)
async def get_events(
    conn: NamedDependency[Connection],
    supplier_id: FromQuery[SupplierId],
    event_type: Annotated[str | None, QueryParameter(name="type", max_length=200)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> EventPage:
    """List a supplier's events, latest first."""
    before = read_cursor(cursor, _read_event_place)
    rows = await queries.list_events(conn, str(supplier_id), _storable(event_type), before, limit)
    last = rows[-1] if len(rows) == limit else None
    following = write_cursor(last["occurred_at"], last["message_id"]) if last else None
    return EventPage([Event(**row) for row in rows], following)


@get("/api/rejects", operation_id="listRejects", summary="List rejected events", **_READ)
async def get_rejects(
    conn: NamedDependency[Connection],
    code: Annotated[str | None, QueryParameter(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> RejectPage:
    """List rejected events with the reason, latest first. Events with the code `unknown_supplier`
    are stored as soon as the supplier is known."""
    before = read_cursor(cursor, _read_reject_place)
    rows = await queries.list_rejects(conn, _storable(code), before, limit)
    following = write_cursor(rows[-1]["id"]) if len(rows) == limit else None
    return RejectPage([Reject(**row) for row in rows], following)


@get("/api/event-types", operation_id="listEventTypes", summary="List event types", **_READ)
async def get_event_types(conn: NamedDependency[Connection]) -> EventTypes:
    """List all event types received so far, how often and when, including unknown ones."""
    rows = await queries.list_event_types(conn)
    return EventTypes([EventType(**row, canonical=row["type"] in CANONICAL) for row in rows])


def _storable(text: str | None) -> str | None:
    if text is not None and "\0" in text:
        raise InputError("a NUL character cannot be searched for")
    return text


def _read_event_place(text: str) -> tuple[datetime, str]:
    moment, _, message_id = text.partition(" ")
    return datetime.fromisoformat(moment), message_id


def _read_reject_place(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ValueError("not a row number")
    return int(text)


handlers: list[Any] = [
    *map(_handle_batch, BATCH_PATHS),
    *(_handle_call(f"/v1/{call}", call) for call in CALLS),
    *(_handle_call(f"/v1/{path}", call) for path, call in SHORT_PATHS.items()),
    *map(_handle_posthog, POSTHOG_PATHS),
    get_events,
    get_rejects,
    get_event_types,
]
