"""Decode requests in the Segment dialect: events, traits, and calls that are ignored."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from everafter.core import lenient
from everafter.core.errors import InputError, TooLargeError
from everafter.core.ids import find_supplier_id, number_text
from everafter.core.values import read_moment
from everafter.events import model

MAX_EVENTS = 10_000
CALLS = ("track", "identify", "group", "page", "screen", "alias")


class Envelope(msgspec.Struct):
    """The outer object of a batch. Only `batch` must be valid."""

    batch: Any = None
    sent_at: Any = msgspec.field(default=None, name="sentAt")
    write_key: Any = msgspec.field(default=None, name="writeKey")
    api_key: Any = None
    token: Any = None
    context: Any = None


class Item(msgspec.Struct):
    """One call. `properties` and `traits` are decoded when they are checked."""

    type: Any = None
    message_id: Any = msgspec.field(default=None, name="messageId")
    user_id: Any = msgspec.field(default=None, name="userId")
    group_id: Any = msgspec.field(default=None, name="groupId")
    timestamp: Any = None
    original_timestamp: Any = msgspec.field(default=None, name="originalTimestamp")
    event: Any = None
    name: Any = None
    category: Any = None
    context: Any = None
    properties: msgspec.Raw = msgspec.Raw()
    traits: msgspec.Raw = msgspec.Raw()


class _BatchEnvelope(Envelope):
    batch: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Identified:
    """The traits of an identify or group call for a supplier."""

    row: int
    traits: dict[str, Any]


@dataclass(slots=True)
class Received:
    """A decoded request.

    sent_at: when it was sent, by the sender's clock; null when that is missing or unreadable.
    raw: RAW_SCHEMA, including identify and group calls with a null type.
    message_ids: the id of each call in the batch, as sent; null when it had none.
    ignored: calls that need no handling. unreadable: (index, reason).
    """

    key: str | None
    sent_at: datetime | None
    raw: pl.DataFrame
    message_ids: list[str | None]
    identified: list[Identified] = field(default_factory=list[Identified])
    ignored: int = 0
    unreadable: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


_BATCH_DECODER = msgspec.json.Decoder(_BatchEnvelope)
_SINGLE_DECODER = msgspec.json.Decoder(Envelope)
_ITEM_DECODER = msgspec.json.Decoder(Item)
_VALUE_DECODER = msgspec.json.Decoder()


def decode_request(body: bytes, call: str | None) -> Received:
    """Decode a request; single values that are not JSON are lost (see core/lenient.py).

    Args:
        body: decompressed.
        call: the kind of a single call; null for a batch.

    Raises:
        InputError: the body is not a JSON object.
        TooLargeError: more than MAX_EVENTS.
    """
    text = lenient.read_text(body)
    envelope = _decode(text, call)
    if call is None and envelope.batch is msgspec.UNSET:
        raise InputError('batch is missing; the body is {"batch": [events]}')
    items: list[msgspec.Raw] = envelope.batch if call is None else [msgspec.Raw(text.encode())]
    if len(items) > MAX_EVENTS:
        raise TooLargeError(f"{len(items)} events in one request; at most {MAX_EVENTS}")
    reader = _Reader(_group_of(envelope.context), call)
    for row, item in enumerate(items):
        reader.read(row, item)
    keys = (envelope.write_key, envelope.api_key, envelope.token)
    return Received(
        next((key for key in keys if isinstance(key, str) and key), None),
        read_moment(envelope.sent_at),
        pl.DataFrame(reader.columns, schema=model.RAW_SCHEMA),
        reader.message_ids,
        reader.identified,
        reader.ignored,
        reader.unreadable,
    )


def _decode(text: str, call: str | None) -> Envelope:
    decoder = _SINGLE_DECODER if call else _BATCH_DECODER
    try:
        return lenient.decode(text, decoder)
    except RecursionError as error:
        raise InputError("the body is nested too deeply") from error
    except msgspec.ValidationError as error:
        if not call and "$.batch" in str(error):
            raise InputError("batch is not a list of events") from error
        raise InputError(
            f"the body is not a JSON object of a Segment call or batch: {error}"
        ) from error
    except msgspec.DecodeError as error:
        raise InputError(f"the body is not JSON: {error}") from error


def _group_of(context: Any) -> Any:
    return context.get("groupId") if isinstance(context, dict) else None


class _Reader:
    """Collects the columns of a batch, call by call."""

    def __init__(self, group_id: Any, call: str | None) -> None:
        self._group_id = group_id
        self._call = call
        self.columns: dict[str, list[Any]] = {name: [] for name in model.RAW_SCHEMA}
        self.message_ids: list[str | None] = []
        self.identified: list[Identified] = []
        self.ignored = 0
        self.unreadable: list[tuple[int, str]] = []

    def read(self, row: int, raw: msgspec.Raw) -> None:
        try:
            item: Item = lenient.decode(raw, _ITEM_DECODER)
        except (msgspec.DecodeError, RecursionError) as error:
            self.message_ids.append(None)
            self.unreadable.append((row, f"the event is not a readable JSON object: {error}"))
            return
        message_id = _text(item.message_id)
        self.message_ids.append(message_id)
        call = self._call or item.type
        take = _TAKERS.get(call) if isinstance(call, str) else None
        if take is None:
            known = ", ".join(CALLS)
            self.unreadable.append((row, f"type is not one of {known}"))
            return
        take(self, row, item, message_id or str(uuid.uuid4()))

    def track(self, row: int, item: Item, message_id: str) -> None:
        self._add(
            row,
            item,
            message_id,
            item.event if isinstance(item.event, str) else "",
            _raw_text(item.properties),
        )

    def view(self, row: int, item: Item, message_id: str) -> None:
        """page and screen: an event with the name in its properties."""
        properties = _object(item.properties)
        named = {"name": item.name, "category": item.category}
        merged = {
            name: value for name, value in named.items() if isinstance(value, str) and value
        } | (properties or {})
        text = (
            _raw_text(item.properties)
            if properties is None
            else msgspec.json.encode(merged).decode()
        )
        kind = self._call or item.type
        self._add(row, item, message_id, kind, text)

    def identify(self, row: int, item: Item, message_id: str) -> None:
        """Traits of the supplier; ignored if they describe another person in its team."""
        traits = _object(item.traits)
        if traits is None:
            self.unreadable.append((row, "traits is not a JSON object"))
            return
        if (
            not traits
            and isinstance(item.context, dict)
            and isinstance(item.context.get("traits"), dict)
        ):
            traits = item.context["traits"]  # where RudderStack's SDKs put them
        supplier, user = self._supplier(item), _id(item.user_id)
        if supplier == user or find_supplier_id(supplier) == find_supplier_id(user):
            self.identified.append(Identified(row, traits))
        self._add(row, item, message_id, None, None)

    def group(self, row: int, item: Item, message_id: str) -> None:
        traits = _object(item.traits)
        if traits is None:
            self.unreadable.append((row, "traits is not a JSON object"))
            return
        self.identified.append(Identified(row, traits))
        self._add(row, item, message_id, None, None)

    def alias(self, row: int, item: Item, message_id: str) -> None:
        """Ignored: it links an anonymous visitor to a user, and suppliers are never anonymous."""
        self.ignored += 1

    def _supplier(self, item: Item) -> str | None:
        return (
            _id(item.group_id)
            or _id(_group_of(item.context))
            or _id(self._group_id)
            or _id(item.user_id)
        )

    def _add(
        self, row: int, item: Item, message_id: str, kind: str | None, properties: str | None
    ) -> None:
        columns = self.columns
        columns["row"].append(row)
        columns["supplier_id"].append(self._supplier(item))
        columns["message_id"].append(message_id)
        columns["type"].append(kind)
        columns["occurred_at"].append(_when(item))
        columns["properties"].append(properties)


_TAKERS: dict[str, Callable[[_Reader, int, Item, str], None]] = {
    "track": _Reader.track,
    "identify": _Reader.identify,
    "group": _Reader.group,
    "page": _Reader.view,
    "screen": _Reader.view,
    "alias": _Reader.alias,
}


def _when(item: Item) -> str | None:
    """The time of the call as text: `timestamp`, or `originalTimestamp` if only that is readable;
    null without either."""
    value, other = item.timestamp, item.original_timestamp
    if _is_absent(value) or (
        not _is_absent(other) and read_moment(value) is None and read_moment(other) is not None
    ):
        value = other
    if _is_absent(value):
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_absent(value: Any) -> bool:
    """Whether a value is null, blank or lost (NaN)."""
    return value is None or (
        isinstance(value, str) and (not value.strip() or lenient.lost(value) is not None)
    )


def _text(value: Any) -> str | None:
    """A message's id as text; null when it is absent. Values that are neither text nor a whole
    number become their JSON, which identifies the message as well."""
    if _is_absent(value):
        return None
    if isinstance(value, str):
        return value
    whole = number_text(value) if isinstance(value, int | float) else None
    return whole or msgspec.json.encode(value).decode()


def _id(value: Any) -> str | None:
    """A supplier's id as text; null when it is absent. Invalid ids get the prefix `NOT_AN_ID`, and
    fail the check."""
    text = _text(value)
    if (
        text is None
        or isinstance(value, str)
        or (isinstance(value, int | float) and number_text(value))
    ):
        return text
    return f"{model.NOT_AN_ID}{text}"


def _raw_text(raw: msgspec.Raw) -> str | None:
    return bytes(raw).decode() or None


def _object(raw: msgspec.Raw) -> dict[str, Any] | None:
    """A JSON object; empty when it is absent or null, null when it is not an object."""
    if not bytes(raw):
        return {}
    try:
        value = lenient.decode(raw, _VALUE_DECODER)
    except (msgspec.DecodeError, RecursionError):
        return None
    return {} if value is None else value if isinstance(value, dict) else None
