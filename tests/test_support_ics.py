"""The invitation, parsed by an independent library, and the tokens of its links."""

import base64
from datetime import UTC, datetime
from uuid import UUID, uuid4

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.core.texts import clean_line
from everafter.support.ics import read_call_token, sign_call, write_invitation
from everafter.support.model import Call

CALL = Call(
    id=UUID("0b8e7c52-0000-4000-8000-000000000001"),
    type="success_call",
    topic="Forms; clients, and the\ncalendar \\ gallery",
    starts_at=datetime(2026, 12, 1, 9, 30, tzinfo=UTC),
    ends_at=datetime(2026, 12, 1, 9, 45, tzinfo=UTC),
    created_at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
    csm_name='Ada "Countess" Lovelace',
    csm_email="ada@example.org",
    supplier_name="Blumen Müller; Söhne, Köln",
    supplier_email="mueller+wedding@example.org",
)


def read(text: str) -> icalendar.Component:
    calendar = icalendar.Calendar.from_ical(text)
    [event] = calendar.walk("VEVENT")
    assert not event.errors
    return event


def test_the_invitation_is_a_request_with_all_its_fields() -> None:
    text = write_invitation(CALL, "success.example.org")
    calendar, event = icalendar.Calendar.from_ical(text), read(text)
    assert (calendar["VERSION"], calendar["METHOD"]) == ("2.0", "REQUEST")
    assert event["UID"] == f"{CALL.id}@success.example.org"
    assert (event["DTSTAMP"].dt, event["DTSTART"].dt, event["DTEND"].dt) == (
        CALL.created_at,
        CALL.starts_at,
        CALL.ends_at,
    )
    assert (event["SEQUENCE"], event["STATUS"]) == (0, "CONFIRMED")
    assert event["SUMMARY"] == 'Success call with Ada "Countess" Lovelace'
    assert event["DESCRIPTION"] == CALL.topic
    assert event["ORGANIZER"] == "mailto:ada@example.org"
    assert event["ATTENDEE"] == "mailto:mueller+wedding@example.org"
    assert event["ATTENDEE"].params["CN"] == "Blumen Müller; Söhne, Köln"
    assert event["ATTENDEE"].params["RSVP"] == "TRUE"
    assert event["ATTENDEE"].params["PARTSTAT"] == "NEEDS-ACTION"


def test_a_supplier_without_an_address_gets_a_publish_not_a_request() -> None:
    call = Call(
        **{**{name: getattr(CALL, name) for name in CALL.__struct_fields__}, "supplier_email": None}
    )
    text = write_invitation(call, "success.example.org")
    assert icalendar.Calendar.from_ical(text)["METHOD"] == "PUBLISH"
    assert "ATTENDEE" not in read(text)


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(deadline=None)
@given(topic=anything, csm=anything, supplier=anything)
def test_no_text_can_inject_lines(topic: str, csm: str, supplier: str) -> None:
    call = Call(
        CALL.id,
        "check_in",
        topic,
        CALL.starts_at,
        CALL.ends_at,
        CALL.created_at,
        csm,
        "a@example.org",
        supplier,
        "s@example.org",
    )
    raw = write_invitation(call, "h").encode()
    assert raw.endswith(b"\r\n")
    lines = raw.split(b"\r\n")[:-1]
    assert all(len(line) <= 75 for line in lines)
    assert all(line.decode() for line in lines), "no line is cut inside a character"
    assert not any(control in line for line in lines for control in (b"\r", b"\n", b"\0"))
    names = [
        line.split(b":")[0].split(b";")[0].decode() for line in lines if not line.startswith(b" ")
    ]
    assert names == [
        *(
            "BEGIN",
            "VERSION",
            "PRODID",
            "CALSCALE",
            "METHOD",
            "BEGIN",
            "UID",
            "DTSTAMP",
            "SEQUENCE",
            "DTSTART",
            "DTEND",
        ),
        *(
            "SUMMARY",
            "ORGANIZER",
            *(["DESCRIPTION"] if clean_line(topic) else []),
            "ATTENDEE",
            "STATUS",
            "TRANSP",
            "END",
            "END",
        ),
    ]
    assert read(raw.decode())["ATTENDEE"] == "mailto:s@example.org"


def test_a_token_is_valid_for_its_call_only() -> None:
    supplier, call = uuid4(), uuid4()
    token = sign_call("secret", supplier, call)
    assert read_call_token("secret", call, token) == supplier
    assert read_call_token("secret", uuid4(), token) is None
    assert read_call_token("another", call, token) is None


@pytest.mark.parametrize("token", ["", "a", "!!!!", "é", "A" * 43, "A" * 10_000])
def test_other_texts_are_not_tokens(token: str) -> None:
    assert read_call_token("secret", CALL.id, token) is None


@settings(deadline=None)
@given(bit=st.integers(0, 255))
def test_a_token_with_a_changed_bit_is_invalid(bit: int) -> None:
    supplier = UUID(int=7)
    raw = bytearray(base64.urlsafe_b64decode(sign_call("secret", supplier, CALL.id) + "="))
    raw[bit // 8] ^= 1 << bit % 8
    forged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    assert read_call_token("secret", CALL.id, forged) is None
