"""The bytes on the wire: whatever the names are, the message has the headers that were set, and no other.

Each message is read by three readers: Python's (old and new policy) and one that shares no code with it.
"""

import email
import email.policy
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import getaddresses
from typing import Any
from uuid import UUID

import icalendar
import pytest

from everafter.core.email_address import read_email
from everafter.core.settings import Settings
from everafter.core.texts import clean_line
from everafter.mail.mime import (
    Entity,
    Header,
    UnsafeMessageError,
    address_header,
    attachment,
    check_bytes,
    literal_header,
    multipart,
    text_header,
    text_part,
)
from everafter.mail.rules import list_templates
from everafter.support.ics import write_csm_invitation, write_invitation
from everafter.support.model import Call
from helpers_hostile import NAMES, read_elsewhere
from helpers_mail import TYPICAL, add_message, get, sink
from test_mail_send import send

SENDER = read_email("nora@care.example", "Nora Lind")
RECIPIENT = "clients@example.com"
OWN = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Everafter",
]
UNSUBSCRIBE = ["List-Unsubscribe", "List-Unsubscribe-Post"]
MIME = ["MIME-Version", "Content-Type"]


def call_of(name: str, topic: str | None = None) -> Call:
    """A call in which every text is the name."""
    return Call(
        id=UUID(int=7),
        type="success_call",
        topic=topic,
        starts_at=datetime(2026, 12, 1, 9, 30, tzinfo=UTC),
        ends_at=datetime(2026, 12, 1, 9, 45, tzinfo=UTC),
        created_at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
        csm_name=name,
        csm_email="ada@care.example",
        supplier_name=name,
        supplier_email=RECIPIENT,
    )


def facts_of(name: str) -> dict[str, Any]:
    """All facts of templates, each text hostile."""
    texts = ("csm_name", "topic", "call_title", "reason", "supplier_name", "plan", "name")
    storable = name.replace("\0", "").encode("utf-8", "replace").decode()
    step = {
        "title": storable,
        "body": storable,
        "reason": storable,
        "action_label": storable,
        "action_url": "/clients/7",
    }
    return TYPICAL | dict.fromkeys(texts, storable) | {
        "starts_at": "2026-12-01T09:30:00Z",
        "ends_at": "2026-12-01T09:45:00Z",
        "was_starts_at": "2026-11-30T09:30:00Z",
        "timezone": "Europe/Berlin",
        "change": "moved",
        "ics_url": "https://care.example/call.ics",
        "manage_url": "https://care.example/calls/x",
        "supplier_url": "https://care.example/suppliers/x",
        "next_steps": [step],
        "ics": write_invitation(call_of(name, name), "care.example"),
    }  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One message: the input, and what arrived."""

    template: str
    name: str
    subject: str
    text: str
    raw: bytes
    ics: str


@pytest.fixture(scope="module")
def arrived(module_settings: Settings, module_database: str) -> list[Sent]:
    """Send every template with a hostile name, and every hostile name with some template, through a real server."""
    templates = list_templates()
    pairs = [(templates[number % len(templates)], name) for number, name in enumerate(NAMES)]
    pairs += [(template, NAMES[number % 15]) for number, template in enumerate(templates)]
    keys = {}
    for template, name in pairs:
        storable = name.replace("\0", "").encode("utf-8", "replace").decode()
        topic = "transactional" if template.startswith("call_") else "success"
        facts = facts_of(name)
        key = add_message(
            module_database, RECIPIENT, template=template, topic=topic, name=storable, facts=facts
        )
        keys[key] = (template, storable, facts["ics"])
    with sink() as inbox:
        assert send(module_settings, inbox, senders=2).accepted == len(keys)
    by_id = {email.message_from_bytes(raw)["Message-ID"]: raw for raw in inbox.raw}
    sent: list[Sent] = []
    for key, (template, name, ics) in keys.items():
        row = get(module_database, key)
        assert row.subject is not None and row.body_text is not None
        sent.append(
            Sent(template, name, row.subject, row.body_text, by_id[f"<{key.id}@care.example>"], ics)
        )
    return sent


def names_of(one: Sent) -> list[str]:
    return OWN + ([] if one.template.startswith("call_") else UNSUBSCRIBE) + MIME


def flat(text: str) -> str:
    return text.replace("\r\n", "\n").strip("\n")


def tight(name: str) -> str:
    """Python's new parser inserts spaces between the encoded words of a name, against RFC 2047, 6.2."""
    return name.replace(" ", "")


def test_pythons_old_parser_reads_the_message(arrived: list[Sent]) -> None:
    for one in arrived:
        read = email.message_from_bytes(one.raw)
        assert read.keys() == names_of(one), one.name
        assert [address for _, address in getaddresses([read["To"], read["From"]])] == [
            RECIPIENT,
            "nora@care.example",
        ]
        assert [part.get_content_type() for part in read.walk()] == [
            "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "application/ics",
        ]  # fmt: skip
        assert not any(part.defects for part in read.walk())


def test_pythons_new_parser_reads_the_message(arrived: list[Sent]) -> None:
    for one in arrived:
        read = email.message_from_bytes(one.raw, policy=email.policy.default)
        assert read.keys() == names_of(one), one.name
        [to] = read["To"].addresses
        assert (tight(to.display_name), to.addr_spec) == (
            tight(clean_line(one.name, 100)),
            RECIPIENT,
        )
        assert read["Subject"] == one.subject
        body = read.get_body(("plain",))
        assert body is not None and flat(body.get_content()) == flat(one.text)
        [file] = read.iter_attachments()
        assert (file.get_filename(), file.get_content().decode()) == ("invite.ics", one.ics)


def test_another_parser_reads_the_message(arrived: list[Sent]) -> None:
    found, _ = read_elsewhere([one.raw for one in arrived], [])
    for one, read in zip(arrived, found, strict=True):
        assert read["headers"] == [name.lower() for name in names_of(one)], one.name
        assert [(to["name"], to["address"]) for to in read["to"]] == [
            (clean_line(one.name, 100), RECIPIENT)
        ]
        assert (read["from"]["name"], read["from"]["address"]) == ("Nora Lind", "nora@care.example")
        assert read["cc"] == read["bcc"] == []
        assert read["subject"] == one.subject
        assert flat(read["text"]) == flat(one.text)
        assert [file["type"] for file in read["files"]] == ["text/calendar", "application/ics"]
        assert read["files"][1]["name"] == "invite.ics"


def test_the_bytes_are_plain(arrived: list[Sent]) -> None:
    for one in arrived:
        assert one.raw.isascii() and b"\0" not in one.raw
        rest = one.raw.replace(b"\r\n", b"")
        assert b"\r" not in rest and b"\n" not in rest
        assert max(map(len, one.raw.split(b"\r\n"))) <= 998
        head = one.raw.partition(b"\r\n\r\n")[0]
        others = [line for line in head.split(b"\r\n") if not line.startswith(b"List-Unsubscribe:")]
        assert max(map(len, others)) <= 78


def test_two_calendar_parsers_read_the_invitation() -> None:
    written: list[tuple[str, str]] = []
    for name in NAMES:
        call = call_of(name, name)
        written.append((name, write_invitation(call, "care.example")))
        written.append(
            (name, write_csm_invitation(call, "care.example", (name, "nora@care.example")))
        )
    _, elsewhere = read_elsewhere([], [text for _, text in written])
    for (name, text), other in zip(written, elsewhere, strict=True):
        assert max(len(line) for line in text.encode().split(b"\r\n")) <= 75
        [event] = icalendar.Calendar.from_ical(text).walk("VEVENT")
        assert not event.errors and (other["events"], other["components"]) == (1, ["vevent"])
        fixed = {
            "uid",
            "dtstamp",
            "sequence",
            "dtstart",
            "dtend",
            "summary",
            "organizer",
            "attendee",
            "status",
            "transp",
        }
        shown = clean_line(name)
        assert set(other["properties"]) == fixed | ({"description"} if shown else set()), name
        attendees = (
            event["ATTENDEE"] if isinstance(event["ATTENDEE"], list) else [event["ATTENDEE"]]
        )
        people = [(str(one.params["CN"]), str(one)) for one in [*attendees, event["ORGANIZER"]]]
        assert [tuple(pair) for pair in other["people"]] == people
        assert {cn for cn, _ in people} <= {
            shown.replace("\\", "/"),
            RECIPIENT,
            "ada@care.example",
            "nora@care.example",
        }
        assert {address for _, address in people} <= {
            f"mailto:{RECIPIENT}", "mailto:ada@care.example", "mailto:nora@care.example",
        }  # fmt: skip
        assert other["summary"] == str(event["SUMMARY"])
        assert clean_line(other["description"] or "") == shown
        assert (other["description"] or "") == str(event.get("DESCRIPTION", ""))


# ── the writer's parts ────────────────────────────────────────────────────────────────────────────


def whole(*headers: Header, body: Entity | None = None) -> Entity:
    parts = [body or text_part("Hello.")]
    fixed = [address_header("From", SENDER), address_header("To", read_email(RECIPIENT)), *headers]
    return multipart("mixed", "0", parts, *fixed, literal_header("MIME-Version", "1.0"))


def file_name(name: str) -> str:
    """File systems reject these characters; replacing them also breaks encoded words."""
    return re.sub(r'[/\\:*?"<>|]', "_", clean_line(name + ".pdf"))


@pytest.mark.parametrize("name", NAMES)
def test_an_attachment_can_have_any_name(name: str) -> None:
    made = whole(
        text_header("Subject", "x"),
        body=attachment(b"\0\xff" * 80, "application/pdf", name + ".pdf"),
    )
    raw = made.write()
    check_bytes(raw, made, SENDER, read_email(RECIPIENT))
    [part] = email.message_from_bytes(raw, policy=email.policy.default).iter_attachments()
    assert part.keys() == ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    assert part.get_filename() == file_name(name)
    assert part.get_content() == b"\0\xff" * 80


def test_another_parser_reads_the_file_names() -> None:
    raws = [
        whole(
            text_header("Subject", "x"), body=attachment(b"x", "application/pdf", name + ".pdf")
        ).write()
        for name in NAMES
    ]
    found, _ = read_elsewhere(raws, [])
    assert [read["files"][0]["name"] for read in found] == [file_name(name) for name in NAMES]


@pytest.mark.parametrize("text", [name for name in NAMES if clean_line(name)])
def test_subject_and_sender_can_be_any_text(text: str) -> None:
    sender = read_email("nora@care.example", text)
    headers = [
        address_header("From", sender),
        address_header("To", read_email(RECIPIENT)),
        text_header("Subject", text),
    ]
    made = multipart(
        "mixed", "0", [text_part(text)], *headers, literal_header("MIME-Version", "1.0")
    )
    raw = made.write()
    check_bytes(raw, made, sender, read_email(RECIPIENT))
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read["Subject"] == clean_line(text, 2500)
    assert tight(read["From"].addresses[0].display_name) == tight(clean_line(text, 100))


@pytest.mark.parametrize(
    "value", ["<https://x/\r\nBcc: a@b>", "<https://x/ y>", "<https://ü/>", "", "x" * 1000, "a\0"]
)
def test_an_invalid_link_is_not_written(value: str) -> None:
    with pytest.raises(UnsafeMessageError, match="List-Unsubscribe"):
        literal_header("List-Unsubscribe", value)


@pytest.mark.parametrize(
    "forged",
    [
        Header("Subject", ("x\r\nBcc: thief@x.example",)),
        Header("Subject", ("x\r\n\r\n<b>body</b>",)),
        Header("Subject", ("=?utf-8?q?x=0D=0ABcc:_a=40b?=",)),
        Header("Subject", ("=?utf-8?b?DQpCY2M6IGFAYg==?=",)),
        Header("Subject", ("=?utf-8?b?!?=",)),
        Header("Subject", ("x\rBcc: a@b",)),
        Header("Subject", ("x\0",)),
        Header("Subject", ("ü",)),
        Header("Subject", ("",)),
        Header("Sub ject", ("x",)),
        Header("Content-Type", ('multipart/mixed; boundary="other"',)),
    ],
)
def test_the_check_rejects_forged_headers(forged: Header) -> None:
    """The check shares no code with the writer."""
    made = whole(forged)
    with pytest.raises(UnsafeMessageError):
        check_bytes(made.write(), made, SENDER, read_email(RECIPIENT))


def test_the_check_rejects_other_addresses_and_parts() -> None:
    made = whole(text_header("Subject", "x"))
    raw = made.write()
    check_bytes(raw, made, SENDER, read_email(RECIPIENT))
    for changed in (
        raw.replace(b"To: clients@", b"To: thief@x.example, clients@"),
        raw.replace(b"Nora Lind <", b"Nora Lind <a@b>, <"),
        raw.replace(b"Hello.", b"--=_0\r\nContent-Type: text/html\r\n\r\nx"),
        raw.replace(b"Hello.", b"x" * 999),
        raw.replace(b"--=_0--", b"--=_1--"),
    ):
        assert changed != raw
        with pytest.raises(UnsafeMessageError):
            check_bytes(changed, made, SENDER, read_email(RECIPIENT))


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "..\n.\n",
        "a\r.\rb",
        "x" * 3000,
        "tail \t\n \n",
        "From me\n=20 =\n",
        "é" * 500,
        "\ud800",
        "\0",
    ],
)
def test_a_body_can_be_any_text(text: str) -> None:
    made = whole(text_header("Subject", "x"), body=text_part(text))
    raw = made.write()
    check_bytes(raw, made, SENDER, read_email(RECIPIENT))
    [part] = email.message_from_bytes(raw, policy=email.policy.default).iter_parts()
    want = text.replace("\r", "\n").encode("utf-8", "replace").decode()
    assert flat(part.get_content()) == flat(want)
    assert max(map(len, raw.split(b"\r\n"))) <= 78


def test_a_message_with_unsafe_headers_is_not_sent(settings: Settings, database: str) -> None:
    """An invalid setting that would corrupt the headers prevents sending."""
    key = add_message(database)
    with sink() as inbox:
        send(replace(settings, base_url="https://care.example/a b"), inbox)
    row = get(database, key)
    assert inbox.raw == [] and row.status == "dead"
    assert "List-Unsubscribe" in (row.status_reason or "")
