"""Request bodies of ingest in the OpenAPI document: they are read as streams, so the handlers have
no parameter that describes them."""

from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from everafter.events.segment import CALLS

# Without types: a wrong type rejects its event, which the response lists, and not the request.
_CALL_SCHEMA = Schema(
    properties={
        "type": Schema(description=f"which call: {', '.join(CALLS)}"),
        "userId": Schema(
            description="the supplier's id: any text of 1 to 200 characters, or a whole number"
        ),
        "groupId": Schema(description="the supplier's id, when userId is a person in its team"),
        "messageId": Schema(description="identifies repetitions, which are stored once"),
        "timestamp": Schema(description="ISO 8601; UTC when it has no zone"),
        "event": Schema(description="for track: the event's name"),
        "name": Schema(description="for page and screen"),
        "properties": Schema(description="for track, page and screen"),
        "traits": Schema(description="for identify and group: facts about the supplier"),
    },
)


@dataclass
class BatchOperation(Operation):
    """The body of a batch."""

    def __post_init__(self) -> None:
        self.request_body = _describe_body(
            {
                "batch": Schema(type=OpenAPIType.ARRAY, items=_CALL_SCHEMA),
                "sentAt": Schema(
                    description="when it was sent by the sender's clock, to correct its times"
                ),
                "writeKey": Schema(description="an ingest key, when no header carries it"),
            },
            required=["batch"],
        )


@dataclass
class CallOperation(Operation):
    """The body of one call."""

    def __post_init__(self) -> None:
        self.request_body = _describe_body(_CALL_SCHEMA.properties or {})


@dataclass
class PostHogOperation(Operation):
    """The body of PostHog's SDKs: an envelope, a list or an event."""

    def __post_init__(self) -> None:
        event = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "event": Schema(description="the event's name"),
                "distinct_id": Schema(
                    description="the supplier's id, unless there is a group of kind `supplier`"
                ),
                "uuid": Schema(description="identifies repetitions, which are stored once"),
                "timestamp": Schema(description="ISO 8601; UTC when it has no zone"),
                "properties": Schema(
                    description="the event's properties; may contain `token` and `distinct_id`"
                ),
                "batch": Schema(
                    type=OpenAPIType.ARRAY,
                    items=Schema(),
                    description="events; the other fields then belong to the envelope",
                ),
                "api_key": Schema(description="an ingest key, when no header carries it"),
                "sent_at": Schema(
                    description="when it was sent by the sender's clock, to correct its times"
                ),
            },
        )
        schema = Schema(
            any_of=[event, Schema(type=OpenAPIType.ARRAY, items=Schema(), description="events")]
        )
        self.request_body = RequestBody(
            content={"application/json": OpenAPIMediaType(schema=schema)}, required=True
        )


def _describe_body(properties: dict[str, Any], required: list[str] | None = None) -> RequestBody:
    schema = Schema(type=OpenAPIType.OBJECT, properties=properties, required=required)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)
