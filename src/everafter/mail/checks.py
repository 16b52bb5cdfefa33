"""What `everafter doctor` checks of email: the mail server, the outbox, and what came back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from psycopg.rows import class_row

from everafter.core.checks import Check, Status, format_age
from everafter.core.db import Connection
from everafter.core.errors import EverafterError
from everafter.core.formatting import plural
from everafter.core.settings import Settings
from everafter.mail.smtp import mail_server


def check_settings(settings: Settings, *, only_problems: bool = False) -> Iterator[Check]:
    """The mail server, and where links lead. only_problems: leave out the line for no mail
    server."""
    try:
        server = mail_server(settings)
    except EverafterError as error:
        yield Check("settings", "bad", error.message, "fix EVERAFTER_SMTP_URL")
        return
    host = urlsplit(settings.base_url).hostname or ""
    if server is None:
        if not only_problems:
            yield Check("settings", "ok", "EVERAFTER_SMTP_URL is not set: mail stays in the outbox")
    elif host in {"localhost", "::1"} or host.startswith("127."):
        found = (
            f"mail leaves through {server.place}, with links to {settings.base_url} that only this"
            " machine can open"
        )
        yield Check(
            "settings", "warn", found, "set EVERAFTER_BASE_URL to the address suppliers can reach"
        )
    else:
        yield Check(
            "settings",
            "ok",
            f"mail leaves through {server.place} as {server.sender}; links lead to"
            f" {settings.base_url}",
        )


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What is known of the outbox.

    Attributes:
        paused: why sending is paused; null: it is not.
        due_since: since when the oldest due message waits; null: none is due.
        trouble, trouble_since: why the mail server rejects our mail, and since when; null: it
            does not.
        bounced, complaints, dead: of the last seven days.
    """

    paused: str | None
    due_since: datetime | None
    queued: int
    in_doubt: int
    trouble: str | None
    trouble_since: datetime | None
    bounced: int
    complaints: int
    dead: int


async def check_mail(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether messages leave, and whether they arrive as far as is known."""
    async with conn.cursor(row_factory=class_row(MailFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (SELECT reason FROM mail_pause) AS paused,
              (
                SELECT min(send_after)
                FROM outbox
                WHERE status = 'queued' AND send_after <= now()
              ) AS due_since,
              (SELECT count(*) FROM outbox WHERE status = 'queued') AS queued,
              (SELECT count(*) FROM outbox WHERE status = 'in_doubt') AS in_doubt,
              (SELECT reason FROM mail_trouble WHERE id = 1) AS trouble,
              (SELECT since FROM mail_trouble WHERE id = 1) AS trouble_since,
              (
                SELECT count(*)
                FROM mail_events
                WHERE type = 'bounce' AND received_at > now() - interval '7 days'
              ) AS bounced,
              (
                SELECT count(*)
                FROM mail_events
                WHERE type = 'complaint' AND received_at > now() - interval '7 days'
              ) AS complaints,
              (
                SELECT count(*)
                FROM outbox
                WHERE status = 'dead' AND created_at > now() - interval '7 days'
              ) AS dead
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return list(describe_mail(facts, now, sends=settings.smtp_url is not None))


def describe_mail(facts: MailFacts, now: datetime, *, sends: bool) -> Iterator[Check]:
    """The lines on email. sends: whether a mail server is set."""
    yield _describe_outbox(facts, now, sends=sends)
    if sends and facts.trouble is not None and facts.trouble_since is not None:
        yield Check(
            "mail server",
            "bad",
            f"since {format_age(now - facts.trouble_since)} {facts.trouble}",
            "correct EVERAFTER_SMTP_URL or the mail server; waiting messages are retried"
            " automatically",
        )
    if facts.bounced or facts.complaints:
        yield _describe_bounces(facts)
    if facts.in_doubt:
        yield Check(
            "mail in doubt",
            "warn",
            f"{plural(facts.in_doubt, 'message')} may or may not have been sent",
            "everafter mail list --status in_doubt, then everafter mail resolve",
        )
    if facts.dead:
        found = f"{plural(facts.dead, 'message')} of the last week rejected permanently"
        yield Check("dead mail", "warn", found, "everafter mail list --status dead shows why")


def _describe_outbox(facts: MailFacts, now: datetime, *, sends: bool) -> Check:
    if facts.paused is not None:
        remedy = "everafter mail resume, to resume sending"
        return Check("mail", "warn", f"paused: {facts.paused}", remedy)
    if not sends:
        queued = plural(facts.queued, "message")
        return Check("mail", "ok", f"{queued} in the outbox; no mail server is set")
    if facts.due_since is None:
        return Check("mail", "ok", "nothing is overdue")
    age = now - facts.due_since
    status: Status = (
        "bad" if age > timedelta(hours=2) else "warn" if age > timedelta(minutes=15) else "ok"
    )
    remedy = (
        ""
        if status == "ok"
        else "is everafter work running? Its log shows the mail server's replies"
    )
    return Check("mail", status, f"the oldest due message waits for {format_age(age)}", remedy)


def _describe_bounces(facts: MailFacts) -> Check:
    bounces, complaints = (
        plural(facts.bounced, "bounce"),
        plural(facts.complaints, "complaint"),
    )
    found = f"{bounces} and {complaints} in the last week"
    if not facts.complaints:
        return Check("bounces", "ok", found)
    remedy = "everafter mail suppressed lists the suppressed addresses with the reason"
    return Check("bounces", "warn", found, remedy)
