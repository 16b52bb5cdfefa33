"""Sending through a real SMTP server: each reply and its effect on the row."""

import asyncio
import re
import uuid
from dataclasses import replace
from typing import Any

import pytest

from everafter.core.settings import Settings
from everafter.mail import jobs, outbox_queries, sending_queries, suppression_queries
from everafter.mail.jobs import send_due, sweep_outbox
from everafter.mail.model import Key, Tally
from everafter.mail.rules import MAX_ATTEMPTS
from helpers_mail import (
    Sink,
    add_message,
    add_messages,
    get,
    sending,
    sink,
    sql,
    wait_until,
    with_connection,
    with_pool,
)


def send(settings: Settings, inbox: Sink, *, senders: int = 2, **options: Any) -> Tally:
    """Send due messages through the server."""
    with_server = sending(settings, inbox, **options)
    assert settings.database_url is not None
    return with_pool(
        settings.database_url, lambda pool: send_due(pool, with_server, senders=senders)
    )


def sweep(database: str) -> None:
    with_connection(database, lambda conn: sending_queries.sweep(conn, MAX_ATTEMPTS))


def test_a_message_arrives_complete(settings: Settings, database: str) -> None:
    key = add_message(database, name="Żółw & Söhne")
    with sink() as inbox:
        assert send(settings, inbox) == Tally(accepted=1)
        assert send(settings, inbox) == Tally()
    [(to, message)] = inbox.messages
    assert to == "clients@example.com"
    assert str(message["From"]) == "Nora Lind <nora@care.example>"
    assert str(message["To"]) == "Żółw & Söhne <clients@example.com>"
    assert message["Subject"] == "3 forms are still waiting for an answer"
    assert message["Message-ID"] == f"<{key.id}@care.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Unsubscribe"].startswith("<http://testserver/u/")
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None and html is not None
    assert "  14  couples on your list" in text.get_content().replace("\r\n", "\n")
    assert ">14</td>" in html.get_content()
    row = get(database, key)
    assert (row.status, row.attempt, row.smtp_reply, row.status_reason) == (
        "accepted",
        1,
        "250 2.0.0 taken",
        None,
    )
    assert row.accepted_at is not None and row.lease_until is None
    assert row.subject == message["Subject"]
    assert row.body_text == text.get_content().replace("\r\n", "\n")


def test_the_bytes_are_what_mail_clients_expect(settings: Settings, database: str) -> None:
    """Compare raw bytes: after parsing, an address inside an encoded word looks the same."""
    add_message(database, name="Ż" * 100)
    far = replace(settings, base_url="https://success." + "a-long-name." * 8 + "example")
    with sink() as inbox:
        send(far, inbox)
    head, _, _ = inbox.raw[0].partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.replace(b"\r\n ", b" ").split(b"\r\n"))
    assert re.fullmatch(
        rb"<https://success\.(a-long-name\.){8}example/u/[\w-]{64}>", headers[b"List-Unsubscribe"]
    )
    assert re.fullmatch(rb"<[0-9a-f-]{36}@care\.example>", headers[b"Message-ID"])
    assert inbox.raw[0].isascii() and max(map(len, inbox.raw[0].split(b"\r\n"))) <= 998
    assert b"\n" not in inbox.raw[0].replace(b"\r\n", b"") and b"\r" not in inbox.raw[0].replace(
        b"\r\n", b""
    )
    others = [line for line in head.split(b"\r\n") if not line.startswith(b"List-Unsubscribe:")]
    assert max(map(len, others)) <= 78


def test_a_line_of_one_dot_does_not_end_the_message(settings: Settings, database: str) -> None:
    key = add_message(database)
    body = "Before.\n.\n..\nQUIT\n.hidden\nAfter.\n"
    sql(
        database, "UPDATE outbox SET subject = 'Dots', body_text = %s, body_html = '<p>.</p>'", body
    )
    with sink() as inbox:
        assert send(settings, inbox).accepted == 1
    text = inbox.messages[0][1].get_body(("plain",))
    assert text is not None and text.get_content().replace("\r\n", "\n") == body
    assert get(database, key).status == "accepted"


def test_transactional_mail_cannot_be_unsubscribed_and_needs_no_consent(
    settings: Settings, database: str
) -> None:
    add_message(database, template="payment_failed", topic="transactional", consent=False)
    with sink() as inbox:
        assert send(settings, inbox).accepted == 1
    [(_, message)] = inbox.messages
    assert "List-Unsubscribe" not in message and "List-Unsubscribe-Post" not in message


def test_an_invitation_is_sent_as_alternative_and_attachment(
    settings: Settings, database: str
) -> None:
    ics = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:Anruf über Formulare\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    facts = {
        "name": "A",
        "starts_at": "2026-11-24T14:30:00Z",
        "ends_at": "2026-11-24T14:45:00Z",
        "ics": ics,
    }
    add_message(database, template="call_booked", topic="transactional", facts=facts)
    with sink() as inbox:
        send(settings, inbox)
    [(_, message)] = inbox.messages
    parts = {part.get_content_type(): part for part in message.walk()}
    assert list(parts) == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "application/ics",
    ]  # fmt: skip
    assert parts["text/calendar"]["Content-Type"].params["method"] == "REQUEST"
    assert "Anruf über Formulare" in parts["text/calendar"].get_content()
    assert parts["application/ics"].get_filename() == "invite.ics"
    assert parts["application/ics"].get_content().decode() == ics


@pytest.mark.parametrize(
    ("who", "status", "reply"),
    [
        ("greylist", "queued", "451 4.7.1 come again in a minute"),
        ("later", "queued", "452 4.2.2 the mailbox is full"),
        ("cut", "queued", "the connection was lost before the message was started"),
        ("nobody", "dead", "550 5.1.1 no such mailbox here"),
        ("relay", "queued", "550 relay access denied"),
        ("policy", "queued", "550 5.7.1 not by our policy"),
        ("never", "dead", "554 5.6.0 not like this"),
        ("lost", "handing", None),
        ("odd", "handing", None),
    ],
)
def test_each_reply_has_its_effect(
    settings: Settings, database: str, who: str, status: str, reply: str | None
) -> None:
    key, other = (
        add_message(database, f"{who}1@example.com"),
        add_message(database, "fine@example.com"),
    )
    with sink() as inbox:
        tally = send(settings, inbox, senders=1)
        assert send(settings, inbox) == Tally(), "it must wait before it is tried again"
    row = get(database, key)
    assert row.status == status
    assert (row.smtp_reply or "").startswith(reply or "") and (row.smtp_reply is None) == (
        reply is None
    )
    assert get(database, other).status == "accepted", "another message must not suffer"
    assert tally.accepted == 1
    assert inbox.count()[str(key.id)] == (1 if status == "handing" else 0)
    suppressed = sql(database, "SELECT email, topic FROM suppressions")
    assert suppressed == ([("nobody1@example.com", "*")] if who == "nobody" else [])
    if status == "queued":
        assert 55 < (row.send_after - row.created_at).total_seconds() < 80, (
            "the first wait is about a minute"
        )


def test_a_bad_address_is_suppressed(settings: Settings, database: str) -> None:
    add_message(database, "nobody1@example.com")
    later = add_message(database, "Nobody1@Example.com", topic="transactional", send_after="1 hour")
    with sink() as inbox:
        send(settings, inbox)
        sql(database, "UPDATE outbox SET send_after = now() WHERE id = %s", later.id)
        send(settings, inbox)
    assert get(database, later).status == "suppressed"


def test_a_deferred_message_is_sent_later_with_the_same_text(
    settings: Settings, database: str
) -> None:
    key = add_message(database, "later1@example.com")
    with sink() as inbox:
        send(settings, inbox)
        first = get(database, key)
        sql(
            database,
            "UPDATE outbox SET send_after = now(), to_email = 'well@example.com', facts = '{}' WHERE id = %s",
            key.id,
        )
        assert send(settings, inbox).accepted == 1
    row = get(database, key)
    assert (row.attempt, row.body_text) == (2, first.body_text)
    assert inbox.count() == {str(key.id): 1}


def test_deferring_ends_after_the_last_attempt(settings: Settings, database: str) -> None:
    key = add_message(database, "greylist1@example.com")
    sql(database, "UPDATE outbox SET attempt = %s WHERE id = %s", MAX_ATTEMPTS - 1, key.id)
    with sink() as inbox:
        assert send(settings, inbox).dead == 1
    assert get(database, key).status_reason == "gave up: 451 4.7.1 come again in a minute"


def test_a_message_that_cannot_be_rendered_ends_alone(settings: Settings, database: str) -> None:
    wrong = [
        add_message(database, template="no_such_template"),
        add_message(database, facts={"clients_total": "many"}),
        add_message(database, "not an address"),
        add_message(database, "a@example.com\r\nBcc: all@example.com"),
        add_message(database, "<a@example.com>, b@example.com"),
        add_message(database, "käthe@[127.0.0.1]"),
    ]
    good = add_message(database, "kaethe@bücher.example")
    with sink() as inbox:
        assert send(settings, inbox) == Tally(accepted=1, dead=len(wrong))
    assert [get(database, key).status for key in wrong] == ["dead"] * len(wrong)
    assert all(
        (get(database, key).status_reason or "").startswith("cannot be rendered: ") for key in wrong
    )
    assert get(database, good).status == "accepted"
    assert [to for to, _ in inbox.messages] == ["kaethe@xn--bcher-kva.example"]


def test_changes_since_the_message_was_queued_count(settings: Settings, database: str) -> None:
    keys = {
        "unsubscribed": add_message(database, "Unsubscribed@Example.com"),
        "bounced": add_message(database, "dead@example.com", topic="transactional"),
        "no consent": add_message(database, consent=False),
        "too late": add_message(database, expires="-1 second"),
        "supplier deleted": add_message(database),
    }
    sql(database, "DELETE FROM suppliers WHERE id = %s", keys["supplier deleted"].supplier_id)
    sql(
        database,
        "INSERT INTO suppressions VALUES ('unsubscribed@example.com', 'success', 'x'), ('dead@example.com', '*', 'x')",
    )
    waiting = {
        "not yet": add_message(database, send_after="1 hour"),
        "a past day": add_message(database, status="replayed"),
    }
    still = add_message(
        database, "unsubscribed@example.com", template="payment_failed", topic="transactional"
    )
    with sink() as inbox:
        assert send(settings, inbox) == Tally(accepted=1, skipped=5)
    assert {name: get(database, key).status for name, key in keys.items()} == {
        "unsubscribed": "suppressed", "bounced": "suppressed", "no consent": "suppressed", "too late": "expired",
        "supplier deleted": "suppressed",
    }  # fmt: skip
    assert {name: get(database, key).status for name, key in waiting.items()} == {
        "not yet": "queued",
        "a past day": "replayed",
    }
    assert inbox.count() == {str(still.id): 1}


@pytest.mark.parametrize("then", ["suppress", "expire", "pause", "lease over", "another worker"])
def test_changes_between_claim_and_hand_over_count(
    settings: Settings, database: str, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    key = add_message(database)
    statements = {
        "suppress": "INSERT INTO suppressions VALUES ('clients@example.com', 'success', 'unsubscribed')",
        "expire": "UPDATE outbox SET expires_at = now()",
        "pause": "INSERT INTO mail_pause (id, reason) VALUES (1, 'a look first')",
        "lease over": "UPDATE outbox SET lease_until = now() - interval '1 second'",
        "another worker": "UPDATE outbox SET owner = 'somebody else', attempt = attempt + 1",
    }

    async def offer_late(self: Any, recipient: Any, offer: Any = jobs.Session.offer) -> None:
        await offer(self, recipient)
        await asyncio.to_thread(sql, database, statements[then])

    monkeypatch.setattr(jobs.Session, "offer", offer_late)
    with sink() as inbox:
        send(settings, inbox, senders=1)
        assert inbox.resets >= 1, "the recipient was offered, so it must be taken back"
    assert inbox.messages == []
    status = {"suppress": "suppressed", "expire": "expired", "another worker": "claimed"}.get(
        then, "queued"
    )
    assert get(database, key).status == status


def test_unsubscribing_does_not_block_and_cancels_queued_messages(
    settings: Settings, database: str
) -> None:
    keys = [
        add_message(database, "Ann@example.com"),
        add_message(database, "ann@EXAMPLE.com", send_after="2 days"),
    ]
    transactional = add_message(
        database, "ann@example.com", topic="transactional", template="payment_failed"
    )
    claimed = with_connection(
        database, lambda conn: sending_queries.claim(conn, keys[0], "a worker", 60)
    )
    assert claimed is not None
    assert (
        with_connection(
            database,
            lambda conn: suppression_queries.suppress(
                conn, "ann@example.com", "success", "unsubscribed"
            ),
        )
        == 2
    )
    assert [get(database, key).status for key in (*keys, transactional)] == [
        "suppressed",
        "suppressed",
        "queued",
    ]


def test_overdue_messages_expire_and_leases_end(settings: Settings, database: str) -> None:
    stale, lapsed, handed = (add_message(database) for _ in range(3))
    worn = add_message(database)
    sql(
        database,
        "UPDATE outbox SET expires_at = now(), status_reason = 'deferred: 451' WHERE id = %s",
        stale.id,
    )
    set_to = "UPDATE outbox SET status = %s, owner = 'stopped', attempt = %s, lease_until = now() - interval '1 second' WHERE id = %s"
    sql(database, set_to, "claimed", 1, lapsed.id)
    sql(database, set_to, "claimed", MAX_ATTEMPTS, worn.id)
    sql(database, set_to, "handing", 1, handed.id)
    summary = with_pool(database, lambda pool: sweep_outbox(pool))
    assert (
        summary
        == "1 expired, 1 returned to the queue, 1 in doubt (everafter mail list --status in_doubt)"
    )
    states = [get(database, key).status for key in (stale, lapsed, worn, handed)]
    assert states == ["expired", "queued", "dead", "in_doubt"]
    assert get(database, stale).status_reason == "not sent before its expiry; before: deferred: 451"
    assert with_pool(database, lambda pool: sweep_outbox(pool)) is None


def test_a_reply_after_the_lease_resolves_the_doubt(settings: Settings, database: str) -> None:
    add_message(database)

    async def late(pool: Any) -> Tally:
        async def meanwhile() -> None:
            await asyncio.to_thread(wait_until, lambda: inbox.messages)
            await asyncio.to_thread(
                sql, database, "UPDATE outbox SET lease_until = now() - interval '1 second'"
            )
            await asyncio.to_thread(sweep, database)
            assert await asyncio.to_thread(sql, database, "SELECT status FROM outbox") == [
                ("in_doubt",)
            ]

        tally, _ = await asyncio.gather(
            send_due(pool, sending(settings, inbox), senders=1), meanwhile()
        )
        return tally

    with sink(delay=1) as inbox:
        assert with_pool(database, late).accepted == 1
    assert sql(database, "SELECT status FROM outbox") == [("accepted",)]


def test_a_slow_server_leaves_the_message_in_doubt_and_it_is_not_sent_again(
    settings: Settings, database: str
) -> None:
    key = add_message(database)
    with sink(delay=3) as inbox:
        assert send(settings, inbox, timeout=0.3, lease=1) == Tally(unknown=1)
        sql(database, "UPDATE outbox SET lease_until = now() - interval '1 second'")
        sweep(database)
        assert send(settings, inbox, timeout=0.3, lease=1) == Tally()
    assert get(database, key).status == "in_doubt"
    assert inbox.count() == {str(key.id): 1}


def test_a_person_resolves_a_message_in_doubt(settings: Settings, database: str) -> None:
    sent, again = add_message(database), add_message(database, expires="1 minute")
    sql(database, "UPDATE outbox SET status = 'in_doubt', owner = 'stopped', attempt = 1")
    assert with_connection(database, lambda conn: outbox_queries.resolve_sent(conn, sent, "Nora"))
    assert with_connection(
        database, lambda conn: outbox_queries.resolve_resend(conn, again, "Nora")
    )
    assert not with_connection(
        database, lambda conn: outbox_queries.resolve_resend(conn, sent, "Nora")
    )
    with sink() as inbox:
        assert send(settings, inbox) == Tally(accepted=1)
    assert inbox.count() == {str(again.id): 1}
    assert get(database, sent).status_reason == "marked as sent by Nora"


def test_one_address_gets_one_copy_of_an_intervention(settings: Settings, database: str) -> None:
    supplier, intervention = uuid.uuid4(), uuid.uuid4()
    add_message(database, "ann@example.com", supplier=supplier, intervention=intervention)

    async def copy(conn: Any, email: str) -> bool:
        row = await (await conn.execute("SELECT now() + interval '1 day'")).fetchone()
        return await outbox_queries.enqueue(
            conn, Key(supplier, uuid.uuid4()), template="we_miss_you", topic="success", to_email=email, to_name="Ann",
            facts={}, expires_at=row[0], intervention_id=intervention,
        )  # fmt: skip

    assert not with_connection(database, lambda conn: copy(conn, "Ann@Example.com"))
    assert with_connection(database, lambda conn: copy(conn, "bob@example.com"))
    with sink() as inbox:
        assert send(settings, inbox).accepted == 2
    assert sorted(to for to, _ in inbox.messages) == ["ann@example.com", "bob@example.com"]


def test_two_workers_share_the_queue_without_duplicates(settings: Settings, database: str) -> None:
    add_messages(database, 120)

    async def both(pool: Any) -> list[Tally]:
        with_server = sending(settings, inbox)
        return list(
            await asyncio.gather(*(send_due(pool, with_server, senders=3) for _ in range(2)))
        )

    with sink() as inbox:
        tallies = with_pool(database, both)
    assert sum(tally.accepted for tally in tallies) == 120
    assert all(tally.accepted for tally in tallies)
    assert set(inbox.count().values()) == {1} and len(inbox.count()) == 120


def test_transactional_email_is_sent_before_success_email(
    settings: Settings, database: str
) -> None:
    add_messages(database, 30)
    booked = add_message(database, template="call_booked", topic="transactional")
    with sink() as inbox:
        send(settings, inbox, senders=1)
    assert str(booked.id) in inbox.messages[0][1]["Message-ID"]


def test_a_paused_outbox_sends_nothing(settings: Settings, database: str) -> None:
    key = add_message(database)
    with_connection(database, lambda conn: sending_queries.pause(conn, "the wrong playbook"))
    with sink() as inbox:
        assert send(settings, inbox) == Tally()
        assert with_connection(database, sending_queries.resume)
        assert send(settings, inbox).accepted == 1
    assert get(database, key).attempt == 1
