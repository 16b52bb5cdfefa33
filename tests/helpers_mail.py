"""A real SMTP server on loopback that treats recipients by their names, and rows for the outbox."""

import asyncio
import contextlib
import email
import email.policy
import ssl
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Any, TypeVar

import psycopg
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from psycopg.types.json import Jsonb

from everafter.core.db import Connection, Pool, connection, make_pool
from everafter.core.email_address import read_email
from everafter.core.settings import Settings
from everafter.mail import outbox_queries
from everafter.mail.model import Key, Message

T = TypeVar("T")

TYPICAL: dict[str, Any] = {
    "name": "Golden Hour Photography",
    "vendor_type": "photographer",
    "plan": "studio",
    "country": "GB",
    "mrr_minor": 7900,
    "tenure_days": 412.3,
    "subscription": "active",
    "days_since_login": 9.4,
    "days_inactive": 8.1,
    "login_days_28d": 11,
    "login_days_84d": 47,
    "inactivity_probability": 0.02,
    "unusual_inactivity": False,
    "evidence_logins": 0.4,
    "evidence_uses": -0.3,
    "expected_uses_low": 22.0,
    "expected_uses_high": 41.0,
    "clients_total": 14,
    "clients_active_30d": 9,
    "client_activity": 0.643,
    "clients_lost_13w": 1,
    "client_loss_rate": 0.067,
    "weddings_90d": 3,
    "weddings_365d": 12,
    "days_to_next_wedding": 12,
    "forms_sent_13w": 21,
    "forms_answered_13w": 16,
    "form_completion_rate": 0.762,
    "forms_waiting": 3,
    "journey_emails_13w": 30,
    "journey_open_rate": 0.5,
    "features_adopted": 4,
    "feature_adoption": 0.8,
    "feature_uses_4w": 122,
    "feature_use_ratio": 0.9,
    "tickets_open": 1,
    "tickets_4w": 2,
    "payment_past_due": False,
    "days_past_due": None,
    "payments_failed_13w": 0,
    "limit_ratio": 0.927,
    "onboarding_steps_done": 3,
    "onboarding_steps_due": 5,
    "onboarding_days_behind": 4.2,
    "fully_activated": False,
    "onboarding_state": "stuck",
    "onboarding_missed": "day3",
    "season_index": 0.9,
    "off_season": False,
    "client_season": 0.92,
    "stage": "mature",
    "health_score": 58.2,
    "risk_level": "at_risk",
    "coverage": 1.0,
    "churn_risk": 0.44,
    "churn_evidence": 0.2,
    "churn_level": "medium",
    "churn_probability_45d": 0.061,
    "churn_probability_90d": 0.098,
}


class _Server(SMTP):
    """aiosmtpd that drops the connection at DATA for `cut@` recipients."""

    sink: "Sink"

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 the library's name
        if self.envelope and any(to.startswith("cut") for to in self.envelope.rcpt_tos):
            self.sink.cuts += 1
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


class _Controller(Controller):
    def __init__(self, sink: "Sink", **kwargs: Any) -> None:
        self._sink = sink
        super().__init__(sink, hostname="127.0.0.1", port=0, **kwargs)

    def factory(self) -> SMTP:
        server = _Server(self.handler, **self.SMTP_kwargs)
        server.sink = self._sink
        return server

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[
            1
        ]  # the library would try to connect to port 0
        super()._trigger_server()


@dataclass
class Sink:
    """Received messages. The start of a recipient's name decides the reply.

    greylist: 451 to RCPT · nobody: 550 5.1.1 · relay: 550 without a code · policy: 550 5.7.1 ·
    later: 452 to the message · never: 554 to the message · cut: connection lost at DATA · lost:
    connection lost after the message · odd: invalid code

    delay: seconds before the reply to a message.
    """

    delay: float = 0.0
    messages: list[tuple[str, EmailMessage]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    cuts: int = 0
    resets: int = 0
    logins: list[bytes] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(  # noqa: N802 the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answers = {
            "greylist": "451 4.7.1 come again in a minute",
            "nobody": "550 5.1.1 no such mailbox here",
            "relay": "550 relay access denied",
            "policy": "550 5.7.1 not by our policy",
        }
        if answer := answers.get(address.partition("@")[0].rstrip("0123456789")):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.resets += 1
        return "250 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        to = envelope.rcpt_tos[0]
        who = to.partition("@")[0].rstrip("0123456789")
        if who == "later":
            return "452 4.2.2 the mailbox is full"
        if who == "never":
            return "554 5.6.0 not like this"
        assert isinstance(envelope.content, bytes)
        self.messages.append(
            (to, email.message_from_bytes(envelope.content, policy=email.policy.default))
        )  # pyright: ignore
        self.raw.append(envelope.content)
        if self.delay:
            await asyncio.sleep(self.delay)
        if who == "lost":
            server.transport.abort()
        return "299 what" if who == "odd" else "250 2.0.0 taken"

    def count(self) -> Counter[str]:
        """The number of copies of each outbox row that arrived, by the id in the Message-ID."""
        return Counter(
            str(message["Message-ID"]).strip("<>").partition("@")[0]
            for _, message in list(self.messages)
        )

    def url(self, scheme: str = "smtp", user: str = "", **options: Any) -> str:
        """EVERAFTER_SMTP_URL of this server."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"{scheme}://{user}127.0.0.1:{self.port}?{query}"


@contextlib.contextmanager
def sink(*, delay: float = 0.0, users: dict[str, str] | None = None, tls: ssl.SSLContext | None = None, starttls: bool = False,
         timeout: float = 300) -> Iterator[Sink]:  # fmt: skip
    """Run a server; with `users`, it requires sign-in; with `tls`, it uses TLS (or offers STARTTLS)."""
    inbox = Sink(delay=delay)
    options: dict[str, Any] = {"timeout": timeout}
    if users is not None:

        def check(
            server: Any, session: Any, envelope: Any, mechanism: str, data: Any
        ) -> AuthResult:
            inbox.logins.append(data.login)
            return AuthResult(
                success=users.get(data.login.decode()) == data.password.decode(), handled=False
            )

        options |= {"authenticator": check, "auth_required": True}
    if tls and starttls:
        options |= {"tls_context": tls, "require_starttls": True}
    controller = _Controller(inbox, ssl_context=tls if tls and not starttls else None, **options)
    controller.start()
    try:
        inbox.port = controller.port
        yield inbox
    finally:
        controller.stop()


# ── the outbox ────────────────────────────────────────────────────────────────────────────────────────────────────────


def sql(database: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Execute a statement and commit; return its rows."""
    with psycopg.connect(
        database, options="-c search_path=everafter,public -c timezone=UTC"
    ) as conn:
        cursor = conn.execute(statement, values)  # pyright: ignore
        return cursor.fetchall() if cursor.description is not None else []


def add_message(database: str, to: str = "clients@example.com", *, template: str = "we_miss_you", topic: str = "success",
                consent: bool = True, facts: dict[str, Any] | None = None, send_after: str = "0", expires: str = "1 day",
                status: str = "queued", name: str = "Golden Hour", intervention: uuid.UUID | None = None,
                supplier: uuid.UUID | None = None) -> Key:  # fmt: skip
    """A supplier and one message to it; `send_after` and `expires` are intervals from now."""
    key = Key(supplier or uuid.uuid4(), uuid.uuid4())
    sql(
        database,
        "INSERT INTO suppliers (id, name, consent) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        key.supplier_id, name, consent,
    )  # fmt: skip
    sql(
        database,
        "INSERT INTO outbox (supplier_id, id, intervention_id, template, topic, to_email, to_name, facts, status, send_after,"
        " expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now() + %s::interval, now() + %s::interval)",
        key.supplier_id, key.id, intervention, template, topic, to, name, Jsonb(TYPICAL if facts is None else facts), status,
        send_after, expires,
    )  # fmt: skip
    return key


def add_messages(database: str, number: int) -> None:
    """Add messages of one supplier to different addresses."""
    supplier = uuid.uuid4()
    sql(database, "INSERT INTO suppliers (id, name) VALUES (%s, 'Golden Hour')", supplier)
    sql(
        database,
        "INSERT INTO outbox (supplier_id, id, template, topic, to_email, facts, expires_at)"
        " SELECT %s, gen_random_uuid(), 'we_miss_you', 'success', format('client%%s@example.com', n), %s, now() + interval '1 day'"
        " FROM generate_series(1, %s) n",
        supplier, Jsonb(TYPICAL), number,
    )  # fmt: skip


def get(database: str, key: Key) -> Message:
    """The current row."""

    async def read() -> Message | None:
        async with connection(database) as conn:
            return await outbox_queries.get_message(conn, key.supplier_id, key.id)

    message = asyncio.run(read())
    assert message is not None
    return message


def with_pool(database: str, do: Callable[[Pool], Awaitable[T]]) -> T:
    """Run `do` with a new pool."""

    async def run() -> T:
        async with make_pool(database) as pool:
            return await do(pool)

    return asyncio.run(run())


def with_connection(database: str, do: Callable[[Connection], Awaitable[T]]) -> T:
    """Run `do` in one transaction."""

    async def run() -> T:
        async with connection(database) as conn:
            return await do(conn)

    return asyncio.run(run())


def sending(settings: Settings, inbox: Sink, **options: Any) -> Settings:
    """The settings with the server of `inbox`."""
    return replace(
        settings,
        smtp_url=inbox.url(**options),
        mail_from=settings.mail_from or read_email("nora@care.example", "Nora Lind"),
    )


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until `holds` is true; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "the condition did not become true in time"
        time.sleep(0.01)


@contextlib.asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[int]:
    """A server that sends `answer` to each client and closes the connection."""

    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
