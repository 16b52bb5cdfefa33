"""Classification of replies, with the texts of real mail servers, and sending to servers that reject."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from everafter.core.db import Pool
from everafter.core.email_address import read_email
from everafter.core.settings import Settings
from everafter.doctor import examine
from everafter.mail.jobs import _Queue, send_due
from everafter.mail.reply_rules import classify_bounce, classify_refusal
from everafter.mail.smtp import MailServerError
from helpers_mail import add_message, get, sql, with_pool

TO, FROM = "ann@studio.example", "nora@care.example"

ANSWERS = [
    # ── who is not there ──
    ("recipient", "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the"
     " address for typos or unnecessary spaces. https://support.example/mail/?p=NoSuchUser&rate=1", "bad_address"),
    ("recipient", f"550 5.1.1 <{TO}>: Recipient address rejected: User unknown in virtual mailbox table", "bad_address"),
    ("recipient", f"550 5.1.1 <{TO}>: Recipient address rejected: User unknown in relay recipient table", "bad_address"),
    ("recipient", "550 5.1.1 <x>... User unknown", "bad_address"),
    ("recipient", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "bad_address"),
    ("recipient", "556 5.1.10 Recipient address has null MX", "bad_address"),
    ("recipient", "550 5.2.1 The email account that you tried to reach is disabled.", "bad_address"),
    ("recipient", "550 5.1.6 Mailbox has moved", "bad_address"),
    ("recipient", "553 5.1.3 The recipient address is not a valid RFC 5321 address.", "bad_address"),
    ("recipient", "550 #5.1.1 unknown user", "bad_address"),
    ("recipient", "550 Sorry, no mailbox here by that name. (#5.1.1)", "bad_address"),
    ("recipient", "550 No such user here", "bad_address"),
    ("recipient", f"550 <{TO}>: user unknown", "bad_address"),
    ("recipient", "550 mailbox not found", "bad_address"),
    ("recipient", f"553 sorry, no such recipient: {TO}", "bad_address"),
    ("data", "550 5.1.1 unknown recipient, as we see now", "bad_address"),
    # ── refused, and nothing is known of the address ──
    ("recipient", "550 5.4.1 Recipient address rejected: Access denied. [DB5EUR01.prod.example]", "dead"),
    ("recipient", "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)", "dead"),
    ("recipient", "550 Requested action not taken: mailbox unavailable", "dead"),
    ("recipient", "554 delivery error: dd This user doesn't have an account here [0]", "dead"),
    ("recipient", "550 Invalid Recipient - https://community.example/docs/DOC-1369#550 [kX1]", "dead"),
    ("recipient", "550 5.1.2 Domain not found", "dead"),
    ("recipient", "550 5.1.0 Address rejected.", "dead"),
    ("recipient", "550 #5.1.0 Address rejected.", "dead"),
    ("recipient", "550 Unrouteable address", "dead"),
    ("recipient", "550 5.0.0 rejected", "dead"),
    ("recipient", "550 rejected", "dead"),
    ("recipient", "501 syntax error in parameters", "dead"),
    ("recipient", "555 5.5.4 RCPT TO parameters not recognized", "dead"),
    ("data", "554 5.6.0 malformed", "dead"),
    ("data", "552 5.3.4 message is larger than allowed", "dead"),
    ("data", "554 5.7.1 this message looks like spam", "dead"),
    ("data", "550 no such user", "dead"),
    # ── they refuse us ──
    ("recipient", f"550 Verification failed for <{FROM}>. No such user here. Sender verify failed", "sender_rejected"),
    ("recipient", "550 Sender verify failed", "sender_rejected"),
    ("recipient", f"550 5.1.1 <{FROM}>: Sender address rejected: User unknown in local recipient table", "sender_rejected"),
    ("recipient", f"550 5.1.1 unknown user {FROM}", "sender_rejected"),
    ("recipient", "530 5.7.0 Must issue a STARTTLS command first", "sender_rejected"),
    ("recipient", "530 Authentication required", "sender_rejected"),
    ("recipient", "535 5.7.8 bad credentials", "sender_rejected"),
    ("recipient", "550 5.7.1 Relaying denied", "sender_rejected"),
    ("recipient", "550 relay not permitted, authentication required", "sender_rejected"),
    ("recipient", "554 5.7.1 <ann@studio.example>: Relay access denied", "sender_rejected"),
    ("recipient", "550 5.7.1 Unable to relay", "sender_rejected"),
    ("recipient", "550 Administrative prohibition", "sender_rejected"),
    ("recipient", "553 5.7.1 sender not owned by user", "sender_rejected"),
    ("recipient", "550 5.1.8 Bad sender's system address", "sender_rejected"),
    ("recipient", "501 5.1.7 Bad sender's mailbox address syntax", "sender_rejected"),
    ("recipient", "554 5.7.1 Service unavailable; Client host [192.0.2.4] blocked using zen.rbl.example", "sender_rejected"),
    ("recipient", "550 SC-001 mail from 192.0.2.4 was rejected: part of that network is on our block list", "sender_rejected"),
    ("recipient", "554 Blocked - see https://ipcheck.example/?ip=192.0.2.4", "sender_rejected"),
    ("recipient", "550 5.7.25 the IP address has no PTR record", "sender_rejected"),
    ("recipient", "550 no such user, because your server is on a blacklist", "sender_rejected"),
    ("recipient", "550 5.1.1 undeliverable address: host mx said: 550 blocked by reputation", "sender_rejected"),
    ("recipient", "571 Delivery not authorized", "sender_rejected"),
    ("recipient", "503 5.5.1 Error: need MAIL command", "sender_rejected"),
    ("recipient", "500 5.5.2 command not recognized", "sender_rejected"),
    ("data", "550 5.7.26 unauthenticated mail from care.example is not accepted: SPF and DKIM did not pass", "sender_rejected"),
    ("data", "554 5.7.9 not accepted for policy reasons", "sender_rejected"),
    ("data", "550 5.7.509 Access denied, the sending domain does not pass DMARC", "sender_rejected"),
    ("data", "554 5.5.1 Error: no valid recipients", "sender_rejected"),
    ("sender", "550 5.1.1 no such user", "sender_rejected"),
    ("sender", "553 5.1.8 domain of sender does not resolve", "sender_rejected"),
    ("sender", "554 5.7.1 go away", "sender_rejected"),
    ("sender", "530 5.7.1 Authentication required", "sender_rejected"),
    # ── not now ──
    ("recipient", "450 4.7.1 greylisted, come back later", "defer"),
    ("recipient", "451 4.3.0 temporary lookup failure", "defer"),
    ("recipient", "452 4.2.2 over quota", "defer"),
    ("recipient", "421 4.7.0 too many connections", "defer"),
    ("recipient", "450 4.1.1 user unknown, they say, but not yet for good", "defer"),
    ("recipient", "552 5.2.2 The email account that you tried to reach is over quota", "defer"),
    ("recipient", "550 5.2.2 mailbox full", "defer"),
    ("recipient", "552 Requested mail action aborted: exceeded storage allocation", "defer"),
    ("recipient", "550 5.2.1 receives mail at a rate that prevents more from being delivered", "defer"),
    ("recipient", "550 5.1.1 temporarily no such user", "defer"),
    ("data", "552 5.2.2 mailbox is full", "defer"),
    # The two codes contradict each other.
    ("recipient", "550 4.2.1 this mailbox takes no mail now", "defer"),
    ("data", "550 4.1.1 no such user", "defer"),
    ("data", "451 4.4.2 timeout", "defer"),
    ("sender", "451 4.7.1 try again later", "defer"),
]  # fmt: skip


@pytest.mark.parametrize(("step", "answer", "result"), ANSWERS)
def test_replies_are_classified(step: str, answer: str, result: str) -> None:
    code, _, text = answer.partition(" ")
    assert classify_refusal(step, int(code), text, TO, FROM) == result  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "to",
    [
        "spam@relay-policy.example",
        "sender@blocked.example",
        "full@rate.example",
        "550@5.7.1.example",
    ],
)
def test_words_in_the_recipients_address_are_ignored(to: str) -> None:
    assert (
        classify_refusal(
            "recipient", 550, f"5.1.1 <{to}>: Recipient address rejected: User unknown", to, FROM
        )
        == "bad_address"
    )
    assert classify_refusal("recipient", 550, f"<{to}>: no such user", to, FROM) == "bad_address"


@pytest.mark.parametrize(
    ("status", "diagnostic", "result"),
    [
        ("5.1.1", f"550 5.1.1 <{TO}>: Recipient address rejected: User unknown", "bad_address"),
        (
            "5.1.1",
            "550-5.1.1 The account does not exist. 550-5.1.1 Please check it. 550 5.1.1 https://x.example/?p=rate",
            "bad_address",
        ),
        ("5.1.1", "550 User unknown", "bad_address"),
        ("5.1.1", "", "bad_address"),
        ("5.0.0", "550 5.1.1 unknown", "bad_address"),
        ("5.1.10", "", "bad_address"),
        ("5.0.0", "", "dead"),
        ("5.4.4", "", "dead"),
        ("5.1.1", "550 5.7.1 blocked", "sender_rejected"),
        ("5.7.1", "", "sender_rejected"),
        ("5.1.1", f"550 sender {FROM} is not known", "sender_rejected"),
        ("5.2.2", "552 5.2.2 mailbox full", "defer"),
        ("5.4.7", "", "defer"),
        ("4.4.7", "", "defer"),
        ("5.4.7", "451 4.7.1 greylisted", "defer"),
        ("4.2.2", "452 4.2.2 full", "defer"),
        ("", "", "defer"),
        ("what", "ever", "defer"),
    ],
)
def test_delivery_reports_are_classified(status: str, diagnostic: str, result: str) -> None:
    assert classify_bounce(status, diagnostic, TO, FROM) == result


# ── whole conversations ───────────────────────────────────────────────────────────────────────────


@dataclass
class Script:
    """A server with scripted replies that counts accepted messages."""

    answers: dict[str, str] = field(default_factory=dict[str, str])
    taken: list[str] = field(default_factory=list[str])
    tried: int = 0
    port: int = 0

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        say = {
            "CONNECT": "220 here",
            "EHLO": "250-here\r\n250 AUTH PLAIN",
            "HELO": "250 here",
            "AUTH": "235 in",
            "END": "250 taken",
        }
        say |= {
            "MAIL": "250 ok",
            "RCPT": "250 ok",
            "DATA": "354 go",
            "RSET": "250 ok",
            "QUIT": "221 bye",
        } | self.answers

        async def answer(command: str) -> None:
            writer.write(say.get(command, "500 what").encode() + b"\r\n")
            await writer.drain()

        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer("CONNECT")
            while line := (await reader.readline()).decode():
                verb = line[:4].upper().strip()
                self.tried += verb == "MAIL"
                await answer(verb)
                if verb == "DATA" and say["DATA"].startswith("354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    await answer("END")
                    if say["END"].startswith("250"):
                        self.taken.append("message")
                if verb == "QUIT":
                    break
        writer.close()


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    """One server for the module; each test sets its replies."""
    one, loop = Script(), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(one.speak, "127.0.0.1", 0))
    one.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield one

    async def end() -> None:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    asyncio.run_coroutine_threadsafe(end(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def database(module_database: str) -> str:
    """The database of the module, emptied."""
    sql(module_database, "TRUNCATE outbox, suppressions, mail_trouble")
    return module_database


@pytest.fixture
def settings(module_settings: Settings) -> Settings:
    return module_settings


def set_up(settings: Settings, script: Script, **answers: str) -> Settings:
    script.answers, script.taken, script.tried = answers, [], 0
    url = f"smtp://u:p@127.0.0.1:{script.port}"
    return replace(settings, smtp_url=url, mail_from=read_email("nora@care.example"))


def go(settings: Settings) -> str | None:
    """Send due messages with one sender; return the error that stopped it, if any."""
    assert settings.database_url is not None
    try:
        with_pool(settings.database_url, lambda pool: send_due(pool, settings, senders=1))
    except MailServerError as error:
        return error.message
    return None


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("CONNECT", "554 5.7.1 your IP address is listed"),
        ("CONNECT", "421 too busy"),
        ("EHLO", "550 5.7.1 who are you"),
        ("AUTH", "535 5.7.8 bad credentials"),
        ("AUTH", "530 5.7.0 not like this"),
        ("AUTH", "454 4.7.0 later"),
    ],
)
def test_a_server_that_rejects_the_sender_fails_no_message(
    settings: Settings, database: str, script: Script, stage: str, answer: str
) -> None:
    more = {"HELO": answer} if stage == "EHLO" else {}
    refusing = set_up(settings, script, **{stage: answer}, **more)
    key = add_message(database, TO, template="call_reminder", topic="transactional")
    error = go(refusing)
    assert (
        error is not None
        and error.startswith("the mail server rejects our mail: ")
        and answer.partition(" ")[2] in error
    )
    assert (get(database, key).status, get(database, key).attempt) == ("queued", 0)
    assert sql(database, "SELECT reason FROM mail_trouble") == [(error,)]
    assert go(set_up(settings, script)) is None
    assert get(database, key).status == "accepted" and len(script.taken) == 1
    assert (
        sql(database, "SELECT * FROM mail_trouble")
        == []
        == sql(database, "SELECT * FROM suppressions")
    )


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("MAIL", "550 5.1.8 we do not know this sender"),
        ("RCPT", f"550 Verification of <{FROM}> failed: no such user here"),
        ("RCPT", "530 5.7.0 sign in first"),
        ("RCPT", "550 5.7.1 relaying denied"),
        ("DATA", "554 5.5.1 no valid recipients"),
        ("END", "550 5.7.26 SPF and DKIM did not pass"),
    ],
)
def test_a_rejected_sender_defers_messages_and_is_reported_until_fixed(
    settings: Settings, database: str, script: Script, stage: str, answer: str
) -> None:
    key = add_message(database, TO, template="call_reminder", topic="transactional")
    sql(database, "UPDATE outbox SET attempt = 50")
    refusing = set_up(settings, script, **{stage: answer})
    assert go(refusing) is None
    row = get(database, key)
    assert (row.status, row.status_reason) == (
        "queued",
        f"the mail server rejects our mail: {answer}",
    ), "however often it was tried"
    assert sql(database, "SELECT * FROM suppressions") == []
    checks = {check.name: check for check in look(refusing)}
    assert (
        checks["mail server"].status == "bad"
        and f"the mail server rejects our mail: {answer}" in checks["mail server"].found
    )
    booked = add_message(database, TO, template="call_reminder", topic="transactional")
    sql(database, "UPDATE outbox SET send_after = now()")
    assert go(set_up(settings, script)) is None
    assert [get(database, one).status for one in (key, booked)] == ["accepted", "accepted"]
    assert "mail server" not in {check.name for check in look(refusing)}


def look(settings: Settings):
    env = {
        "EVERAFTER_DATABASE_URL": str(settings.database_url),
        "EVERAFTER_DATA": str(settings.data),
        "EVERAFTER_SMTP_URL": str(settings.smtp_url),
        "EVERAFTER_SECRET": "a-secret-that-is-long-enough-for-anybody",
    }
    from datetime import UTC, datetime

    return asyncio.run(examine(datetime.now(UTC), env))


def test_sending_is_held_after_several_rejections_of_the_sender(
    settings: Settings, database: str, script: Script
) -> None:
    keys = [add_message(database, f"n{number}@studio.example") for number in range(20)]
    error = go(set_up(settings, script, RCPT="550 5.7.1 relaying denied"))
    assert error == "the mail server rejects our mail: 550 5.7.1 relaying denied"
    assert script.tried == 5
    assert {get(database, key).status for key in keys} == {"queued"}


@pytest.mark.parametrize(
    ("stage", "answer", "status", "suppressed"),
    [
        ("RCPT", "550 5.1.1 no such mailbox", "dead", True),
        ("RCPT", "550 5.2.1 disabled", "dead", True),
        ("END", "550 5.1.1 no such mailbox", "dead", True),
        ("RCPT", "550 5.4.1 Access denied", "dead", False),
        ("RCPT", "550 mailbox unavailable", "dead", False),
        ("RCPT", "552 5.2.2 full", "queued", False),
        ("RCPT", "452 4.2.2 full", "queued", False),
        ("END", "552 5.2.2 full", "queued", False),
        ("END", "554 5.6.0 not like this", "dead", False),
        (
            "RCPT",
            "550-5.1.1 The account\r\n550-5.1.1 does not exist.\r\n550 5.1.1 Goodbye",
            "dead",
            True,
        ),
    ],
)
def test_rejections_of_the_recipient(
    settings: Settings,
    database: str,
    script: Script,
    stage: str,
    answer: str,
    status: str,
    *,
    suppressed: bool,
) -> None:
    key = add_message(database, TO)
    assert go(set_up(settings, script, **{stage: answer})) is None
    assert get(database, key).status == status
    found = sql(database, "SELECT email, topic, source FROM suppressions")
    assert found == ([(TO, "*", "mail server")] if suppressed else [])
    assert sql(database, "SELECT * FROM mail_trouble") == []


# ── what a server can carry ───────────────────────────────────────────────────────────────────────


def test_a_non_ascii_address_needs_smtputf8_and_is_named_without_it(
    settings: Settings, database: str, script: Script
) -> None:
    refused, taken = "käthe@spaß.example", "żaneta@studio.example"
    key = add_message(database, refused)
    assert go(set_up(settings, script)) is None
    row = get(database, key)
    assert row.status == "dead" and "does not offer SMTPUTF8" in (row.status_reason or "")
    key = add_message(database, taken)
    assert (
        go(
            set_up(
                settings, script, EHLO="250-here\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250 AUTH PLAIN"
            )
        )
        is None
    )
    assert get(database, key).status == "accepted"
    assert sql(database, "SELECT * FROM suppressions") == []


def test_senders_that_fail_together_hold_the_queue_once(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def hold(pool: Pool) -> None:
        queue = _Queue(pool)
        await asyncio.gather(
            *(
                queue.hold(MailServerError("the mail server rejects our mail: 530 5.7.0"))
                for _ in range(4)
            )
        )

    with caplog.at_level("WARNING"):
        with_pool(database, hold)
    assert caplog.text.count("sending is held for") == 1
