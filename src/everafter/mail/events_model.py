"""Requests and responses of `POST /api/mail/events`."""

from typing import Annotated

from msgspec import Meta, Struct

_TYPE = "`bounce`, `delayed`, `complaint` or `delivered`."
_AT = (
    "When it happened: ISO 8601, UTC if it has no offset. An invalid time is replaced by the"
    " current time."
)
_CODE = (
    "Enhanced status code (RFC 3463). Only a code that is clearly about the recipient suppresses"
    " the address."
)


class MailEventRequest(Struct, frozen=True):
    """An event about one message."""

    type: Annotated[str, Meta(max_length=40, description=_TYPE, examples=["bounce"])]
    message_id: Annotated[
        str,
        Meta(
            max_length=300,
            description="The message's Message-ID, with or without brackets.",
            examples=["<0b8e7c52-0000-4000-8000-000000000001@care.example>"],
        ),
    ]
    email: Annotated[
        str, Meta(max_length=320, description="Its recipient.", examples=["hello@studio.example"])
    ]
    code: Annotated[str, Meta(max_length=20, description=_CODE, examples=["5.1.1"])] | None = None
    reason: Annotated[
        str,
        Meta(
            max_length=10_000,
            description="The reply of the mail server.",
            examples=["550 5.1.1 user unknown"],
        ),
    ] = ""
    at: Annotated[str | None, Meta(description=_AT, examples=["2026-11-02T10:00:00Z"])] = None


MOST_EVENTS = 1000
"""Events per request."""

MailEvents = Annotated[
    list[MailEventRequest],
    Meta(max_length=MOST_EVENTS, description="Events in the order in which they happened."),
]


class MailEventAnswer(Struct, frozen=True):
    """The result of one event: `recorded`, `duplicate`, `unmatched` or `rejected`. reason: why it
    was not recorded."""

    result: str
    reason: str = ""


class MailEventsAnswer(Struct, frozen=True):
    """One result per event, in the order of the request."""

    results: list[MailEventAnswer]
