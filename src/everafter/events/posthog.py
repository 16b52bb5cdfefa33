"""Convert PostHog's dialect to Segment's."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from everafter.core import lenient
from everafter.core.errors import InputError
from everafter.core.values import read_moment, read_number
from everafter.events.segment import Received, decode_request

_CALLS = {
    "$pageview": "page",
    "$screen": "screen",
    "$create_alias": "alias",
    "$identify": "identify",
    "$set": "identify",
}
# The kind of PostHog group that is a supplier; without one the distinct id is the supplier.
_GROUP = "supplier"
_DECODER = msgspec.json.Decoder()
# posthog-js sends the age in milliseconds of an event that waited; greater values are not ages.
_LONGEST_OFFSET = 90 * 86_400_000


def decode_posthog(body: bytes, received_at: datetime) -> Received:
    """Read a body of `/batch`, `/capture`, `/e` or `/i/v0/e`: an envelope with a batch, a list, or
    one event.

    Raises:
        InputError, TooLargeError: as for `decode_request`.
    """
    text = lenient.read_text(body)
    try:
        value = lenient.decode(text, _DECODER)
        try:
            segment = msgspec.json.encode(_as_segment(value, received_at))
        except RecursionError:
            segment = msgspec.json.encode(
                _as_segment(_DECODER.decode(lenient.flatten(text)), received_at)
            )
    except RecursionError as error:
        raise InputError("the body is nested too deeply") from error
    except msgspec.DecodeError as error:
        raise InputError(f"the body is not JSON: {error}") from error
    return decode_request(segment, None)


def _as_segment(value: Any, received_at: datetime) -> dict[str, Any]:
    """The same batch in Segment's dialect."""
    envelope: dict[str, Any] = value if isinstance(value, dict) else {}
    events: Any = envelope.get("batch", [value]) if isinstance(value, dict) else value
    if not isinstance(events, list):
        raise InputError("batch is not a list of events")
    tokens = [_token(one) for one in (envelope, *events) if isinstance(one, dict)]
    sent_at = envelope.get("sentAt") or envelope.get("sent_at")
    clock = read_moment(sent_at) or received_at
    return {
        "batch": [_convert(event, clock) if isinstance(event, dict) else event for event in events],
        "sentAt": sent_at,
        "writeKey": next((token for token in tokens if token), None),
    }


def _token(one: dict[str, Any]) -> str | None:
    properties = one.get("properties")
    inner = properties.get("token") if isinstance(properties, dict) else None
    return next(
        (
            key
            for key in (one.get("api_key"), one.get("token"), inner)
            if isinstance(key, str) and key
        ),
        None,
    )


def _convert(event: dict[str, Any], clock: datetime) -> dict[str, Any]:
    """Convert one event to a Segment call; unexpected values are kept for the check to report.

    Args:
        event: as sent.
        clock: when it was sent, by the sender's clock; for events that have only an age.
    """
    given = event.get("properties")
    properties: dict[str, Any] = given if isinstance(given, dict) else {}
    name = event.get("event")
    groups = properties.get("$groups")
    call: dict[str, Any] = {
        "type": _CALLS.get(name, "track") if isinstance(name, str) else "track",
        "event": name,
        "messageId": event.get("uuid") or properties.get("$insert_id"),
        "userId": properties.get("distinct_id")
        if event.get("distinct_id") in (None, "")
        else event["distinct_id"],
        "groupId": groups.get(_GROUP) if isinstance(groups, dict) else None,
        "timestamp": event.get("timestamp"),
    }
    age = read_number(event.get("offset"))
    if not call["timestamp"] and age is not None and 0 <= age <= _LONGEST_OFFSET:
        call["timestamp"] = (clock - timedelta(milliseconds=age)).isoformat()
    if name == "$groupidentify" and properties.get("$group_type", _GROUP) != _GROUP:
        call["type"] = "alias"  # a group that is not a supplier is ignored
    elif name == "$groupidentify":
        call |= {
            "type": "group",
            "groupId": properties.get("$group_key"),
            "traits": properties.get("$group_set") or {},
        }
    elif call["type"] == "identify":
        once, now = (event.get(key) or properties.get(key) or {} for key in ("$set_once", "$set"))
        call["traits"] = (
            {**once, **now} if isinstance(once, dict) and isinstance(now, dict) else now
        )
    elif given is None or isinstance(given, dict):
        kept = {
            key: item
            for key, item in properties.items()
            if key[:1] != "$" and key not in {"distinct_id", "token"}
        }
        call |= {
            "properties": kept,
            "name": properties.get("$screen_name") or properties.get("$pathname"),
        }
    else:
        call["properties"] = given
    return call
