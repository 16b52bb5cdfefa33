"""PostHog's dialect, put into Segment's: the same events under other names."""

from datetime import datetime
from typing import Any

import msgspec

from everafter.core.errors import InputError
from everafter.events.segment import Received, decode_request

_CALLS = {"$pageview": "page", "$screen": "screen", "$create_alias": "alias", "$identify": "identify", "$set": "identify"}
# The kind of PostHog group that is a supplier; without one the distinct id is.
_GROUP = "supplier"


def decode_posthog(body: bytes, received_at: datetime) -> Received:
    """Read a body of `/batch`, `/capture`, `/e` or `/i/v0/e`: an envelope with a batch, a list, or one event.

    Raises:
        InputError, TooLargeError: as for `decode_request`.
    """
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8: {error}") from error
    except RecursionError as error:
        raise InputError("the body is nested too deeply") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(f"the body is not JSON: {error}") from error
    envelope: dict[str, Any] = value if isinstance(value, dict) else {}
    events: Any = envelope.get("batch", [value]) if envelope else value
    if not isinstance(events, list):
        raise InputError("batch is not a list of events")
    tokens = [_token(one) for one in (envelope, *events) if isinstance(one, dict)]
    segment = {
        "batch": [_convert(event) if isinstance(event, dict) else event for event in events],
        "sentAt": envelope.get("sentAt") or envelope.get("sent_at"),
        "writeKey": next((token for token in tokens if token), None),
    }
    return decode_request(msgspec.json.encode(segment), None, received_at)


def _token(one: dict[str, Any]) -> str | None:
    properties = one.get("properties")
    inner = properties.get("token") if isinstance(properties, dict) else None
    return next((key for key in (one.get("api_key"), one.get("token"), inner) if isinstance(key, str) and key), None)


def _convert(event: dict[str, Any]) -> dict[str, Any]:
    """One PostHog event as a Segment call. What is not as expected stays, for the check to name."""
    given = event.get("properties")
    properties: dict[str, Any] = given if isinstance(given, dict) else {}
    name = event.get("event")
    groups = properties.get("$groups")
    call: dict[str, Any] = {
        "type": _CALLS.get(name, "track") if isinstance(name, str) else "track",
        "event": name,
        "messageId": event.get("uuid") or properties.get("$insert_id"),
        "userId": properties.get("distinct_id") if event.get("distinct_id") in (None, "") else event["distinct_id"],
        "groupId": groups.get(_GROUP) if isinstance(groups, dict) else None,
        "timestamp": event.get("timestamp"),
    }
    if name == "$groupidentify":
        call |= {"type": "group", "groupId": properties.get("$group_key"), "traits": properties.get("$group_set") or {}}
    elif call["type"] == "identify":
        once, now = (event.get(key) or properties.get(key) or {} for key in ("$set_once", "$set"))
        call["traits"] = {**once, **now} if isinstance(once, dict) and isinstance(now, dict) else now
    elif given is None or isinstance(given, dict):
        kept = {key: item for key, item in properties.items() if key[:1] != "$" and key not in {"distinct_id", "token"}}
        call |= {"properties": kept, "name": properties.get("$screen_name") or properties.get("$pathname")}
    else:
        call["properties"] = given
    return call
