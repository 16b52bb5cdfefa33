"""What a provider reports over the API, and what is answered."""

from typing import Annotated

from msgspec import Meta, Struct

_TYPE = "`bounce`, `delayed`, `complaint` or `delivered`."
_AT = (
    "When it happened: ISO 8601, UTC if it has no offset. A time that cannot be read counts as now."
)
_CODE = (
    "Enhanced status code (RFC 3463). Only a clear one about the recipient suppresses the address."
)


class MailEventRequest(Struct, frozen=True):
    """One thing that became of one message."""

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
            description="The server's words.",
            examples=["550 5.1.1 user unknown"],
        ),
    ] = ""
    at: Annotated[str | None, Meta(description=_AT, examples=["2026-11-02T10:00:00Z"])] = None


MOST_EVENTS = 1000
"""How many are taken at once."""

MailEvents = Annotated[
    list[MailEventRequest],
    Meta(max_length=MOST_EVENTS, description="Events in the order in which they happened."),
]


class MailEventAnswer(Struct, frozen=True):
    """What became of one event: `recorded`, `known`, `unmatched` or `refused`, and why where it was
    not taken."""

    result: str
    reason: str = ""


class MailEventsAnswer(Struct, frozen=True):
    """One answer for each event, in their order."""

    results: list[MailEventAnswer]
