"""Bounces, complaints and messages that only look like them, from a pipe, a mailbox and a provider."""

import base64
import mailbox
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from everafter.core.email_address import read_email
from everafter.core.settings import Settings
from everafter.mail.jobs import read_bounces
from everafter.mail.model import Key
from everafter.mail.report_rules import read_report
from everafter.mail.reports import record_report
from everafter.mail.rules import message_token, message_token_key, one_click_token
from helpers_mail import add_message, get, sink, sql, with_connection, with_pool
from helpers_server import Server, serving
from test_mail_send import send

TO = "ann@studio.example"


@pytest.fixture
def database(module_database: str) -> str:
    sql(module_database, "TRUNCATE outbox, suppressions, mail_trouble, mail_events")
    return module_database


@pytest.fixture
def settings(module_settings: Settings) -> Settings:
    return module_settings


def sent(settings: Settings, database: str, to: str = TO, **more: Any) -> tuple[Key, bytes]:
    """A sent message and its bytes."""
    key = add_message(database, to, **more)
    with sink() as inbox:
        assert send(settings, inbox).accepted == 1
    return key, inbox.raw[0]


def status_block(to: str = TO, status: str = "5.1.1", diagnostic: str = "smtp; 550 5.1.1 user unknown", action: str = "failed",
                 original: str | None = None) -> str:  # fmt: skip
    first = f"Original-Recipient: rfc822;{original}\r\n" if original else ""
    more = f"Diagnostic-Code: {diagnostic}\r\n" if diagnostic else ""
    kind = "rfc822" if to.isascii() else "utf-8"
    return f"{first}Final-Recipient: {kind}; {to}\r\nAction: {action}\r\nStatus: {status}\r\n{more}"


def report_of(
    raw: bytes, *blocks: str, returned: str = "text/rfc822-headers", kind: str = "delivery-status"
) -> bytes:
    """A delivery report as mail servers write it: a text, blocks, and the original message."""
    gives_back = raw.partition(b"\r\n\r\n")[0] + b"\r\n" if "headers" in returned else raw
    fields = "\r\n".join(
        [
            "Reporting-MTA: dns; mx.example\r\nArrival-Date: Tue, 1 Dec 2026 09:00:00 +0000\r\n",
            *blocks,
        ]
    )
    return (
        b"From: MAILER-DAEMON@mx.example\r\nTo: nora@care.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"
        b"Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="edge"\r\n\r\n'
        b"--edge\r\nContent-Type: text/plain\r\n\r\nI am sorry.\r\n\r\n"
        b"--edge\r\nContent-Type: message/"
        + kind.encode()
        + b"\r\n\r\n"
        + fields.encode()
        + b"\r\n"
        b"--edge\r\nContent-Type: "
        + returned.encode()
        + b"\r\n\r\n"
        + gives_back
        + b"\r\n--edge--\r\n"
    )


def complaint_of(raw: bytes, kind: str = "abuse") -> bytes:
    return (
        b"From: fbl@provider.example\r\nSubject: FW: hello\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=feedback-report; boundary="edge"\r\n\r\n'
        b"--edge\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n"
        b"--edge\r\nContent-Type: message/feedback-report\r\n\r\n"
        b"Feedback-Type: " + kind.encode() + b"\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"
        b"Original-Rcpt-To: <redacted@provider.example>\r\n\r\n"
        b"--edge\r\nContent-Type: message/rfc822\r\n\r\n" + raw + b"\r\n--edge--\r\n"
    )


def take(settings: Settings, database: str, raw: bytes) -> str:
    now = datetime.now(UTC)
    return with_connection(
        database, lambda conn: record_report(conn, settings.secret, raw, "nora@care.example", now)
    )


def suppressed(database: str) -> list[tuple[Any, ...]]:
    return sql(database, "SELECT email, topic, source FROM suppressions ORDER BY email, topic")


# ── bounces ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ("text/rfc822-headers", "delivery-status"),
        ("message/rfc822", "delivery-status"),
        ("text/plain", "delivery-status"),
        ("message/global", "global-delivery-status"),
        ("message/global-headers", "global-delivery-status"),
    ],
)
def test_a_bounce_ends_the_message_and_suppresses_the_address_once(
    settings: Settings, database: str, returned: str, kind: str
) -> None:
    key, raw = sent(settings, database)
    waiting = add_message(database, TO, topic="transactional", template="call_reminder")
    bounce = report_of(raw, status_block(), returned=returned, kind=kind)
    assert take(settings, database, bounce) == "recorded"
    row = get(database, key)
    assert (row.status, row.status_reason) == (
        "bounced",
        "delivery report: 5.1.1 550 5.1.1 user unknown",
    )
    assert suppressed(database) == [(TO, "*", "bounce")]
    assert get(database, waiting).status == "suppressed"
    assert take(settings, database, bounce) == "duplicate"
    assert sql(database, "SELECT type, source, code FROM mail_events") == [
        ("bounce", "report", "5.1.1")
    ]


@pytest.mark.parametrize(
    ("block", "status", "type_", "stops"),
    [
        (
            status_block(status="5.2.2", diagnostic="smtp; 552 5.2.2 mailbox full"),
            "bounced",
            "soft_bounce",
            False,
        ),
        (
            status_block(status="4.4.7", diagnostic="smtp; 451 4.7.1 greylisted"),
            "bounced",
            "soft_bounce",
            False,
        ),
        (status_block(status="5.0.0", diagnostic=""), "bounced", "bounce", False),
        (
            status_block(status="5.7.1", diagnostic="smtp; 550 5.7.1 blocked by reputation"),
            "bounced",
            "bounce",
            False,
        ),
        (
            status_block(status="5.1.1", diagnostic="smtp; 550 sender nora@care.example unknown"),
            "bounced",
            "bounce",
            False,
        ),
        (status_block(status="5.1.1", diagnostic=""), "bounced", "bounce", True),
        (
            status_block(status="5.1.10", diagnostic="smtp; 550 5.1.10 not found"),
            "bounced",
            "bounce",
            True,
        ),
        (status_block("ANN@Studio.Example"), "bounced", "bounce", True),
        (status_block("<ann@studio.example>"), "bounced", "bounce", True),
        (
            status_block(action="delayed", status="4.4.1", diagnostic="smtp; 451 later"),
            "accepted",
            "delayed",
            False,
        ),
        (status_block(action="delayed", status="5.1.1"), "accepted", "delayed", False),
        (
            status_block(action="delivered", status="2.0.0", diagnostic=""),
            "accepted",
            "delivered",
            False,
        ),
        (
            status_block(action="relayed (to a server without DSN)", status="2.0.0", diagnostic=""),
            "accepted",
            "delivered",
            False,
        ),
        (
            status_block(action="expanded", status="2.0.0", diagnostic=""),
            "accepted",
            "delivered",
            False,
        ),
        # forwarded: the other address is dead, ours is not
        (status_block("elsewhere@mail.example"), "bounced", "bounce", False),
        (status_block("elsewhere@mail.example", original=TO), "bounced", "bounce", True),
    ],
)
def test_each_kind_of_report_has_its_effect(
    settings: Settings, database: str, block: str, status: str, type_: str, *, stops: bool
) -> None:
    key, raw = sent(settings, database)
    assert take(settings, database, report_of(raw, block)) == "recorded"
    assert get(database, key).status == status
    assert sql(database, "SELECT type FROM mail_events") == [(type_,)]
    assert bool(suppressed(database)) == stops


def test_only_our_recipient_of_several_counts(settings: Settings, database: str) -> None:
    key, raw = sent(settings, database)
    others = [
        status_block("bob@studio.example"),
        status_block("carl@studio.example", action="delayed"),
    ]
    assert take(settings, database, report_of(raw, *others)) == "unmatched"
    assert get(database, key).status == "accepted" and suppressed(database) == []
    assert take(settings, database, report_of(raw, *others, status_block())) == "recorded"
    assert suppressed(database) == [(TO, "*", "bounce")]


def test_non_ascii_addresses_match_in_each_form(settings: Settings, database: str) -> None:
    for to, block in (
        ("käthe@spaß.example", r"k\x{E4}the@spaß.example"),
        ("žofie@studio.example", "žofie@studio.example"),
        ("hana..t@docomo.example", '"hana..t"@docomo.example'),
        ("info@spaß.example", "info@xn--spa-7ka.example"),
    ):
        _, raw = sent(settings, database, to)
        assert (
            take(
                settings,
                database,
                report_of(raw, status_block(block), kind="global-delivery-status"),
            )
            == "recorded"
        )
    assert len(suppressed(database)) == 4


def test_a_base64_status_is_decoded(settings: Settings, database: str) -> None:
    _, raw = sent(settings, database)
    fields = "Reporting-MTA: dns; mx.example\r\n\r\n" + status_block()
    coded = base64.encodebytes(fields.encode()).replace(b"\n", b"\r\n")
    head, _, rest = report_of(raw, "@").partition(b"Content-Type: message/delivery-status\r\n\r\n")
    tail = rest[rest.index(b"--edge") :]
    kind = (
        b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    assert take(settings, database, head + kind + coded + tail) == "recorded"
    assert suppressed(database) == [(TO, "*", "bounce")]


def test_a_report_resolves_a_message_in_doubt(settings: Settings, database: str) -> None:
    key, raw = sent(settings, database)
    sql(database, "UPDATE outbox SET status = 'in_doubt', accepted_at = NULL")
    assert (
        take(settings, database, report_of(raw, status_block(action="delayed", status="4.0.0")))
        == "recorded"
    )
    row = get(database, key)
    assert row.status == "accepted" and row.accepted_at is not None


# ── complaints ────────────────────────────────────────────────────────────────────────────────────


def test_a_complaint_stops_all_but_transactional_mail(settings: Settings, database: str) -> None:
    key, raw = sent(settings, database)
    assert take(settings, database, complaint_of(raw)) == "recorded"
    assert take(settings, database, complaint_of(raw)) == "duplicate"
    assert suppressed(database) == [(TO, "success", "complaint")]
    assert get(database, key).status == "accepted"
    booked = add_message(database, TO, topic="transactional", template="call_reminder")
    with sink() as inbox:
        assert send(settings, inbox).accepted == 1
    assert get(database, booked).status == "accepted"


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "dmarc", "", "nonsense"])
def test_other_feedback_is_not_a_complaint(settings: Settings, database: str, kind: str) -> None:
    _, raw = sent(settings, database)
    assert take(settings, database, complaint_of(raw, kind)) == "ignored"
    assert suppressed(database) == []


# ── what is none, and what is forged ──────────────────────────────────────────────────────────────


def test_other_mail_is_not_a_report(settings: Settings, database: str) -> None:
    key, raw = sent(settings, database)
    quoted = b"".join(b"> " + line + b"\r\n" for line in raw.split(b"\r\n")[:30])
    for message in (
        b"Subject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nBack in May. 550 5.1.1 user unknown\r\n"
        + quoted,
        b"Subject: Re: hello\r\n\r\nWho is that?\r\n" + quoted,
        b"Subject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\n"
        + report_of(raw, status_block()),
        b"Subject: Undelivered\r\n\r\nFinal-Recipient: rfc822; ann@studio.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        + raw,
        b"",
        b"\0\xff" * 1000,
        b"Content-Type: multipart/report; boundary=a\r\n\r\n--a\r\nContent-Type: message/delivery-status\r\n\r\n--a--",
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
            for n in range(2000)
        ),
    ):
        assert take(settings, database, message) in {"ignored", "unmatched"}
    assert get(database, key).status == "accepted" and suppressed(database) == [] == sql(
        database, "SELECT * FROM mail_events"
    )


def test_a_forged_report_suppresses_nobody(settings: Settings, database: str) -> None:
    """Knowing an address and a Message-ID is not enough without the token."""
    key, raw = sent(settings, database)
    other, other_raw = sent(settings, database, "bob@studio.example")
    token = message_token(settings.secret, key)
    assert f"X-Everafter: {token}".encode() in raw
    forged = {
        "no token": re.sub(rb"X-Everafter: .*\r\n", b"", raw),
        "another secret": raw.replace(token.encode(), message_token("another", key).encode()),
        "the link to unsubscribe": raw.replace(
            token.encode(), one_click_token(settings.secret, key).encode()
        ),
        "a changed one": raw.replace(
            token.encode(), (token[:10] + ("A" if token[10] != "A" else "B") + token[11:]).encode()
        ),
        "two of ours": raw.replace(
            b"X-Everafter:",
            f"X-Everafter: {message_token(settings.secret, other)}\r\nX-Everafter:".encode(),
        ),
    }
    for name, bytes_ in forged.items():
        assert take(settings, database, report_of(bytes_, status_block())) == "unmatched", name
        assert take(settings, database, complaint_of(bytes_)) == "unmatched", name
    # a true token of one message, and another's address: that message alone is noted, and nobody is suppressed
    assert take(settings, database, report_of(other_raw, status_block(TO))) == "recorded"
    assert suppressed(database) == []
    assert [get(database, one).status for one in (key, other)] == ["accepted", "bounced"]


@pytest.mark.parametrize("status", ["queued", "claimed", "dead", "suppressed", "expired"])
def test_a_message_that_was_never_sent_cannot_bounce(
    settings: Settings, database: str, status: str
) -> None:
    key, raw = sent(settings, database)
    sql(database, "UPDATE outbox SET status = %s", status)
    assert take(settings, database, report_of(raw, status_block())) == "unmatched"
    assert get(database, key).status == status and suppressed(database) == []


def test_a_token_identifies_its_row_only(settings: Settings) -> None:
    key = Key(*(UUID(int=n) for n in (7, 8)))
    token = message_token("secret", key)
    assert message_token_key("secret", token) == key
    assert message_token_key("secret", one_click_token("secret", key)) is None
    assert [
        message_token_key("secret", text) for text in ("", "é", token[:-4], token + "AAAA")
    ] == [None] * 4


@examples(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_bytes_can_be_parsed(data: st.DataObject) -> None:
    whole = report_of(
        b"X-Everafter: " + b"A" * 64 + b"\r\n\r\nx", status_block(), status_block("b@c.example")
    )
    place = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 40))
    read_report(whole[:place] + data.draw(st.binary(max_size=60)) + whole[place + length :])


# ── the entrances ─────────────────────────────────────────────────────────────────────────────────


def pipe(
    settings: Settings, database: str, raw: bytes, folder: Path
) -> subprocess.CompletedProcess[bytes]:
    env = {
        "PATH": os.environ["PATH"],
        "EVERAFTER_DATABASE_URL": database,
        "EVERAFTER_DATA": str(folder),
        "EVERAFTER_SECRET": settings.secret,
    }
    command = [str(Path(sys.executable).with_name("everafter")), "mail", "bounce"]
    return subprocess.run(command, input=raw, env=env, capture_output=True, timeout=120)


def test_the_pipe_command_returns_sysexits_codes(
    settings: Settings, database: str, tmp_path: Path
) -> None:
    long = replace(settings, secret="a-secret-for-tests-that-is-as-long-as-one-must-be")
    key, raw = sent(long, database)
    done = pipe(long, database, report_of(raw, status_block()), tmp_path)
    assert (done.returncode, done.stdout.partition(b":")[0]) == (0, b"recorded"), done.stderr
    assert get(database, key).status == "bounced"
    done = pipe(long, database, b"Subject: hello\r\n\r\nhello\r\n" + b"x" * 6_000_000, tmp_path)
    assert (done.returncode, done.stdout.partition(b":")[0]) == (0, b"ignored")
    assert pipe(long, database, b"", tmp_path).returncode == 65
    assert (
        pipe(
            long, "postgresql://nobody@127.0.0.1:1/none", report_of(raw, status_block()), tmp_path
        ).returncode
        == 75
    )


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_a_mailbox_is_read_once(
    settings: Settings, database: str, tmp_path: Path, kind: str
) -> None:
    key, raw = sent(settings, database)
    path = tmp_path / "box"
    box = mailbox.Maildir(path) if kind == "maildir" else mailbox.mbox(path)
    for message in (
        report_of(raw, status_block()),
        b"Subject: hi\r\n\r\nFrom me\r\n",
        complaint_of(raw),
    ):
        box.add(message)
    box.close()
    url = f"smtp://127.0.0.1:1?bounces={path}"
    work = replace(settings, smtp_url=url, mail_from=read_email("nora@care.example"))
    read = lambda: with_pool(database, lambda pool: read_bounces(pool, work))  # noqa: E731
    assert sorted((read() or "").split(", ")) == ["1 ignored", "2 recorded"]
    assert get(database, key).status == "bounced"
    assert suppressed(database) == [(TO, "*", "bounce"), (TO, "success", "complaint")]
    assert read() is None
    box = mailbox.Maildir(path) if kind == "maildir" else mailbox.mbox(path)
    assert len(box) == 3, "nothing is thrown away"
    box.close()


@pytest.fixture(scope="module")
def provider(module_settings: Settings) -> Iterator[Server]:
    with serving(module_settings) as running:
        yield running


def test_provider_events_have_results_in_order(
    settings: Settings, database: str, provider: Server
) -> None:
    key, _ = sent(settings, database)
    fine, _ = sent(settings, database, "fine@studio.example")
    mid, fine_id = f"<{key.id}@care.example>", f"{fine.id}@care.example"
    events = [
        {
            "type": "bounce",
            "message_id": mid,
            "email": TO.upper(),
            "code": "5.1.1",
            "reason": "550 5.1.1 no\0 such user",
        },
        {
            "type": "bounce",
            "message_id": mid,
            "email": TO,
            "code": "5.1.1",
            "reason": "550 5.1.1 no  such user",
        },
        {
            "type": "delivered",
            "message_id": fine_id,
            "email": "fine@studio.example",
            "at": "0001-01-01T00:00:00+14:00",
        },
        {
            "type": "complaint",
            "message_id": fine_id,
            "email": "fine@studio.example",
            "at": "yesterday",
        },
        {"type": "bounce", "message_id": mid, "email": "other@studio.example", "code": "5.1.1"},
        {"type": "bounce", "message_id": "<7@provider.example>", "email": TO},
        {"type": "opened", "message_id": mid, "email": TO},
        {"type": "bounce", "message_id": mid, "email": TO, "code": "bad"},
        {"type": "bounce", "message_id": mid, "email": "\0\ufeff", "code": "5.1.1"},
    ]
    with provider.client("write") as client:
        answer = client.post("/api/mail/events", json=events)
        assert answer.status_code == 200, answer.text
        results = [one["result"] for one in answer.json()["results"]]
        assert results == [
            "recorded",
            "duplicate",
            "recorded",
            "recorded",
            "unmatched",
            "rejected",
            "rejected",
            "rejected",
            "unmatched",
        ]
        again = [
            one["result"] for one in client.post("/api/mail/events", json=events).json()["results"]
        ]
        assert again == ["duplicate", "duplicate", "duplicate", "duplicate", *results[4:]]
        assert client.post("/api/mail/events", json=[]).json() == {"results": []}
        assert client.post("/api/mail/events", json=[events[0]] * 1001).status_code == 400
        assert client.post("/api/mail/events", json={"events": events}).status_code == 400
        metrics = client.get("/metrics").text
    assert 'everafter_mail_events{type="complaint"} 1' in metrics
    assert [get(database, one).status for one in (key, fine)] == ["bounced", "accepted"]
    assert suppressed(database) == [
        (TO, "*", "provider"),
        ("fine@studio.example", "success", "complaint"),
    ]
    for scope in ("read", "ingest", None):
        with provider.client(scope) as client:  # pyright: ignore[reportArgumentType]
            assert client.post("/api/mail/events", json=events).status_code in {401, 403}


@pytest.mark.parametrize(
    "at", ["2026-05-04T10:00:00Z", "2026-05-04T12:00:00+02:00", "2026-05-04 10:00:00", "1777888800"]
)
def test_provider_event_times_accept_the_usual_formats(
    at: str, settings: Settings, database: str, provider: Server
) -> None:
    key, _ = sent(settings, database)
    event = {"type": "delivered", "message_id": f"<{key.id}@care.example>", "email": TO, "at": at}
    with provider.client("write") as client:
        assert (
            client.post("/api/mail/events", json=[event]).json()["results"][0]["result"]
            == "recorded"
        )
    found = sql(database, "SELECT at FROM mail_events WHERE outbox_id = %s", key.id)
    assert found[0][0].isoformat().startswith("2026-05-04T10:00:00"), found
