"""Emails about calls through a real mail server: confirmations, reminders, changes and cancellations."""

import asyncio
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import pytest

from everafter.core.db import connection
from everafter.core.settings import Settings
from everafter.mail.jobs import send_due
from everafter.mail.model import Key, Links, Rendered
from everafter.mail.rules import render_message
from everafter.mail.sending_queries import claim, defer, mark_handing
from everafter.playbook.loading import playbook_path, read_playbook
from everafter.support.booking import book_call
from everafter.support.changes import cancel_call, reschedule_call
from everafter.support.model import BookedAnswer, CallRequest
from everafter.support.notices import remind_hours
from helpers_mail import Sink, sending, sink, sql, with_pool


def add_people(database: str) -> uuid.UUID:
    """A CSM who works around the clock, and a supplier."""
    sql(
        database,
        "UPDATE users SET email = 'ada@example.org', name = 'Ada', work_from = '00:00', work_until = '00:00',"
        " work_days = '{1,2,3,4,5,6,7}'",
    )
    supplier = uuid.uuid4()
    sql(
        database,
        "INSERT INTO suppliers (id, name, email, timezone) VALUES (%s, 'Rosa Flowers', 'rosa@example.com', 'Europe/Berlin')",
        supplier,
    )
    return supplier


def book(settings: Settings, supplier: uuid.UUID, ahead: timedelta) -> BookedAnswer:
    """Book a call `ahead` from now, rounded up to the grid."""
    at = datetime.now(UTC).replace(second=0, microsecond=0) + ahead
    at += timedelta(minutes=-at.minute % 15)

    async def run() -> BookedAnswer:
        async with connection(str(settings.database_url)) as conn:
            return await book_call(
                conn, settings, CallRequest(supplier, "check_in", at, "Forms"), datetime.now(UTC)
            )

    return asyncio.run(run())


def send(settings: Settings, inbox: Sink) -> None:
    using = sending(settings, inbox)
    with_pool(str(settings.database_url), lambda pool: send_due(pool, using))


def pass_time(database: str, by: timedelta) -> None:
    """Let time pass by moving all dates into the past."""
    sql(
        database,
        "UPDATE outbox SET send_after = send_after - %s, expires_at = expires_at - %s",
        by,
        by,
    )


def by_template(database: str) -> list[tuple[str, str]]:
    return [
        (a, b)
        for a, b in sql(
            database, "SELECT template, status FROM outbox ORDER BY send_after, template, to_email"
        )
    ]


def parts(message: EmailMessage) -> dict[str, Any]:
    return {part.get_content_type(): part for part in message.walk()}


def to(inbox: Sink, address: str) -> list[EmailMessage]:
    return [message for recipient, message in inbox.messages if recipient == address]


def test_each_confirmation_and_reminder_is_sent_once(settings: Settings) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    with sink() as inbox:
        booked = book(settings, supplier, timedelta(hours=30))
        for _ in range(2):
            send(settings, inbox)
        assert len(to(inbox, "rosa@example.com")) == 1 and len(to(inbox, "ada@example.org")) == 1
        pass_time(database, timedelta(hours=7))  # 23 hours before
        for _ in range(2):
            send(settings, inbox)
        assert len(to(inbox, "rosa@example.com")) == 2
        pass_time(database, timedelta(hours=22.5))  # half an hour before
        for _ in range(2):
            send(settings, inbox)
        pass_time(database, timedelta(hours=2))
        send(settings, inbox)
    hers = to(inbox, "rosa@example.com")
    local = booked.starts_at.astimezone(ZoneInfo("Europe/Berlin"))
    when = f"{local:%A} {local.day} {local:%B}, {local:%H:%M}"
    assert [message["Subject"] for message in hers] == [f"Your call on {when} (Europe/Berlin)"] * 3
    assert all(
        booked.manage_url in str(parts(message)["text/plain"].get_content()) for message in hers
    )
    assert "Your call is coming up" in str(parts(hers[1])["text/html"].get_content())
    assert set(inbox.count().values()) == {1}, "each row of the outbox once"
    assert to(inbox, "ada@example.org")[0]["Subject"].startswith(
        "Booked: Check-in with Rosa Flowers"
    )


def test_the_invitation_is_sent_as_calendars_expect(settings: Settings) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    with sink() as inbox:
        booked = book(settings, supplier, timedelta(days=3))
        send(settings, inbox)

        async def change() -> None:
            async with connection(database) as conn:
                later = booked.starts_at + timedelta(hours=3)
                await reschedule_call(
                    conn, settings, supplier, booked.interaction_id, later, datetime.now(UTC)
                )

        async def drop() -> None:
            async with connection(database) as conn:
                await cancel_call(
                    conn, settings, supplier, booked.interaction_id, datetime.now(UTC), reason="Ill"
                )

        asyncio.run(change())
        send(settings, inbox)
        asyncio.run(drop())
        send(settings, inbox)
    for address in ("rosa@example.com", "ada@example.org"):
        seen: list[tuple[str, int, str]] = []
        for message in to(inbox, address):
            assert message.get_content_type() == "multipart/mixed"
            alternative, attachment = list(message.iter_parts())
            assert [part.get_content_type() for part in alternative.iter_parts()] == [
                "text/plain",
                "text/html",
                "text/calendar",
            ]
            inline = list(alternative.iter_parts())[2]
            method = inline.get_param("method")
            assert inline.get_content_charset() == "utf-8"
            assert (attachment.get_content_type(), attachment.get_filename()) == (
                "application/ics",
                "invite.ics",
            )
            raw = attachment.get_payload(decode=True)
            assert isinstance(raw, bytes) and raw.decode().replace(
                "\r\n", "\n"
            ) == inline.get_content().replace("\r\n", "\n")
            assert check_calendar(raw) == method
            [event] = icalendar.Calendar.from_ical(raw).walk("VEVENT")
            seen.append((str(method), int(event["SEQUENCE"]), str(event["UID"])))
        uid = f"{booked.interaction_id}@testserver"
        assert seen == [("REQUEST", 0, uid), ("REQUEST", 1, uid), ("CANCEL", 2, uid)]


def check_calendar(raw: bytes) -> str:
    """Check what RFC 5545 and 5546 (3.2.2, 3.2.5) require of a REQUEST or CANCEL; return the method."""
    assert raw.endswith(b"END:VCALENDAR\r\n") and b"\n" not in raw.replace(b"\r\n", b"")
    assert all(len(line) <= 75 for line in raw.split(b"\r\n"))
    calendar = icalendar.Calendar.from_ical(raw)
    assert (calendar["VERSION"], calendar["CALSCALE"]) == ("2.0", "GREGORIAN") and calendar[
        "PRODID"
    ]
    [event] = calendar.subcomponents
    assert event.name == "VEVENT" and not event.errors and not calendar.errors
    for name in (
        "UID",
        "DTSTAMP",
        "DTSTART",
        "DTEND",
        "ORGANIZER",
        "ATTENDEE",
        "SUMMARY",
        "SEQUENCE",
        "STATUS",
        "TRANSP",
    ):
        assert name in event, name
        assert not isinstance(event[name], list) or name == "ATTENDEE", f"{name} once"
    assert event["DTSTAMP"].dt.tzinfo and event["DTSTART"].dt < event["DTEND"].dt
    attendees = event["ATTENDEE"] if isinstance(event["ATTENDEE"], list) else [event["ATTENDEE"]]
    assert all(
        re.fullmatch(r"mailto:[^@\s]+@[^@\s]+", str(one))
        for one in (*attendees, event["ORGANIZER"])
    )
    assert event["STATUS"] == ("CANCELLED" if calendar["METHOD"] == "CANCEL" else "CONFIRMED")
    return str(calendar["METHOD"])


def test_reminders_in_the_past_are_not_queued(settings: Settings) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    booked = book(settings, supplier, timedelta(hours=5))
    due = sql(
        database, "SELECT send_after, expires_at FROM outbox WHERE template = 'call_reminder'"
    )
    assert due == [(booked.starts_at - timedelta(hours=1), booked.starts_at)]


def test_after_an_outage_there_is_one_reminder_and_none_after_the_start(settings: Settings) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    book(settings, supplier, timedelta(hours=30))
    with sink() as inbox:
        pass_time(database, timedelta(hours=29.5))
        send(settings, inbox)
        reminders = [
            m
            for m in to(inbox, "rosa@example.com")
            if "is coming up" in str(parts(m)["text/html"].get_content())
        ]
        assert len(reminders) == 1
    other = uuid.uuid4()
    sql(
        database,
        "INSERT INTO suppliers (id, name, email) VALUES (%s, 'Late', 'late@example.com')",
        other,
    )
    book(settings, other, timedelta(hours=33))
    with sink() as inbox:
        pass_time(database, timedelta(hours=34))
        send(settings, inbox)
        assert to(inbox, "late@example.com") == []


def test_moving_and_cancelling_withdraw_reminders(settings: Settings) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    moved, dropped = (
        book(settings, supplier, timedelta(days=4)),
        book(settings, supplier, timedelta(days=5)),
    )
    new = moved.starts_at + timedelta(days=10)

    async def run() -> None:
        async with connection(database) as conn:
            await reschedule_call(
                conn, settings, supplier, moved.interaction_id, new, datetime.now(UTC)
            )
            await cancel_call(conn, settings, supplier, dropped.interaction_id, datetime.now(UTC))

    asyncio.run(run())
    rows = sql(
        database,
        "SELECT send_after FROM outbox WHERE template = 'call_reminder' AND status = 'queued' ORDER BY 1",
    )
    assert rows == [(new - timedelta(hours=24),), (new - timedelta(hours=1),)]
    assert sql(
        database,
        "SELECT count(*) FROM outbox WHERE template = 'call_reminder' AND status = 'expired'",
    ) == [(4,)]


def test_a_deferred_reminder_of_a_moved_call_is_not_retried(
    settings: Settings,
) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    call = book(settings, supplier, timedelta(days=4))
    due = sql(
        database,
        "UPDATE outbox SET send_after = now() WHERE template = 'call_reminder' RETURNING supplier_id, id",
    )
    key = Key(*due[0])

    async def run() -> None:
        async with connection(database, autocommit=True) as conn:
            claimed = await claim(conn, key, "worker", 60)
            assert (
                claimed
                and await mark_handing(conn, claimed, Rendered("s", "t", "h"), 60) == "handing"
            )
            async with connection(database) as other:
                new = call.starts_at + timedelta(days=10)
                await reschedule_call(
                    other, settings, supplier, call.interaction_id, new, datetime.now(UTC)
                )
            assert await defer(conn, claimed, "451 try again later", 0)
            again = await claim(conn, key, "worker", 60)
            assert again and again.status == "expired", "it speaks of a time that is given up"

    asyncio.run(run())


def test_the_playbook_sets_the_times_of_reminders(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    text = read_playbook(playbook_path(settings))
    path.write_text(re.sub(r"(?m)^remind_hours.*\n", "", text), encoding="utf-8")
    own = replace(settings, playbook=path)
    assert asyncio.run(remind_hours(own)) == (24, 1)
    line = "remind_hours = [48, 2.5, 0.5]\n"
    stripped = path.read_text(encoding="utf-8")
    path.write_text(
        stripped.replace("[support]\n", "[support]\n" + line, 1)
        if "[support]\n" in stripped
        else f"{stripped}\n[support]\n{line}",
        encoding="utf-8",
    )
    assert asyncio.run(remind_hours(own)) == (48, 2.5, 0.5)
    path.write_text("this is [no playbook", encoding="utf-8")
    assert asyncio.run(remind_hours(own)) == (24, 1), "calls can be booked while it is being edited"
    supplier = add_people(str(settings.database_url))
    path.write_text(stripped, encoding="utf-8")
    book(own, supplier, timedelta(days=3))
    assert sql(
        str(settings.database_url), "SELECT count(*) FROM outbox WHERE template = 'call_reminder'"
    ) == [(2,)]


def test_a_csm_without_a_real_address_gets_no_email_and_replies_go_to_the_sender(
    settings: Settings,
) -> None:
    database = str(settings.database_url)
    supplier = add_people(database)
    sql(database, "UPDATE users SET email = 'success@everafter.invalid'")
    book(settings, supplier, timedelta(days=2))
    rows = sql(database, "SELECT to_email, facts ->> 'ics' FROM outbox WHERE send_after <= now()")
    assert [row[0] for row in rows] == ["rosa@example.com"]
    [event] = icalendar.Calendar.from_ical(rows[0][1]).walk("VEVENT")
    assert str(event["ORGANIZER"]) == "mailto:success@testserver"


FACTS = {
    "name": "Rosa Flowers",
    "starts_at": "2026-11-24T14:30:00Z",
    "ends_at": "2026-11-24T14:45:00Z",
    "was_starts_at": "2026-11-23T09:00:00Z",
    "timezone": "Europe/London",
    "csm_name": "Nora Lind",
    "topic": "our forms",
    "call_title": "Check-in",
    "supplier_name": "Rosa Flowers",
    "manage_url": "https://care.example/calls/abc",
    "supplier_url": "https://care.example/suppliers/1",
}


@pytest.mark.parametrize(
    ("template", "more", "says"),
    [
        ("call_booked", {}, "If the time no longer suits you, pick another"),
        (
            "call_moved",
            {},
            "It was planned for Monday 23 November, 09:00 (Europe/London); that time is free again.",
        ),
        ("call_cancelled", {}, "is cancelled."),
        ("call_reminder", {}, "is on Tuesday 24 November, 14:30–14:45 (Europe/London)."),
        (
            "call_for_csm",
            {"change": "booked"},
            "Rosa Flowers booked a call with you on Tuesday 24 November, 14:30–14:45",
        ),
        (
            "call_for_csm",
            {"change": "moved"},
            "moved the call to Tuesday 24 November, 14:30–14:45 (Europe/London). It was planned for",
        ),
        ("call_for_csm", {"change": "cancelled", "reason": "Ill"}, "Their reason: Ill"),
        (
            "call_for_csm",
            {"change": "passed_on"},
            "a colleague takes it. Your time on Tuesday 24 November",
        ),
    ],
)
def test_the_text_of_each_email(template: str, more: dict[str, str], says: str) -> None:
    rendered = render_message(
        template, FACTS | more, Links("https://care.example/go/", None, "Nora Lind")
    )
    assert says in " ".join(rendered.text.split())
    assert not re.search(r"None|\.\.|[{}]", rendered.text + rendered.subject)
    assert "https://care.example/" in rendered.text
