"""Send due messages exactly once, and the periodic duties of email.

Steps: claim the message with a lease on the database's clock; RCPT is accepted; commit `handing` if
this attempt still holds the row; DATA; record the reply. Each step before DATA can fail and be
repeated. Nothing after it is repeated.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import os
import random
import secrets
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from everafter.branding.loading import load_brand
from everafter.branding.model import Brand
from everafter.branding.rules import branded_sender, sender_of
from everafter.certificates.typefaces import why_not_for
from everafter.core.db import DATABASE_ERRORS, Connection, Pool
from everafter.core.email_address import read_email, travelling_form
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.locks import Lock
from everafter.core.settings import Settings
from everafter.mail import sending_queries, suppression_queries
from everafter.mail.model import Claim, Key, Rendered, RenderError, Tally
from everafter.mail.overrides import check_overrides
from everafter.mail.reply_rules import classify_refusal
from everafter.mail.reports import read_mailbox
from everafter.mail.rules import (
    MAX_ATTEMPTS,
    describe,
    links_of,
    render_message,
    retry_seconds,
    url_options,
)
from everafter.mail.smtp import (
    MailServer,
    MailServerError,
    NotHandedError,
    NotOfferedError,
    RefusedError,
    Session,
    UnknownOutcomeError,
    build_message,
    mail_server,
)

log = logging.getLogger("everafter.work")

_BATCH = 50
_REJECTIONS_TO_HOLD = 5
"""Consecutive messages for which the server rejects our mail, after which sending is held."""
_POLL_SECONDS = 1.0
_CLAIM_LEASE_SECONDS = 120.0
"""Short: before `handing` a second worker does no harm, so that a crash delays a message little."""
_PERSIST_SECONDS = 15.0
_IDLE_SECONDS = 10.0


async def sweep_outbox(pool: Pool) -> str | None:
    """Expire overdue messages, requeue lapsed claims, and mark unanswered messages as in doubt."""
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.SWEEP_OUTBOX])
        if (row := await cursor.fetchone()) is None or not row[0]:
            return None
        swept = await sending_queries.sweep(conn, MAX_ATTEMPTS)
    parts = {
        "expired": swept.expired,
        "returned to the queue": swept.requeued,
        "in doubt (everafter mail list --status in_doubt)": swept.in_doubt,
    }
    return ", ".join(f"{number} {what}" for what, number in parts.items() if number) or None


async def read_bounces(pool: Pool, settings: Settings) -> str | None:
    """Read bounces from the mailbox in EVERAFTER_SMTP_URL (`bounces=PATH`), if there is one."""
    path = url_options(settings.smtp_url).get("bounces") if settings.smtp_url else None
    if not path:
        return None
    sender = sender_of(settings.mail_from, settings.base_url).addr_spec
    tally = await read_mailbox(pool, settings.secret, Path(path), sender)
    return ", ".join(f"{number} {outcome}" for outcome, number in tally.items()) or None


# ── one message ───────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Sender:
    """Sends messages over one connection, one after the other.

    rejection: why the server rejected our mail at the last message; null: it did not. accepted:
    whether the last message was accepted.
    """

    pool: Pool
    settings: Settings
    server: MailServer
    owner: str
    tally: Tally
    session: Session = field(init=False)
    rejection: str | None = None
    accepted: bool = False

    def __post_init__(self) -> None:
        self.session = Session(self.server)

    async def send(self, key: Key) -> None:
        """Send one message and record its result.

        Raises:
            MailServerError: the server cannot be used; the message is still queued.
        """
        self.rejection, self.accepted = None, False
        await self.session.open()
        lease = min(_CLAIM_LEASE_SECONDS, self.server.lease_seconds)
        async with self.pool.connection() as conn:
            claimed = await sending_queries.claim(conn, key, self.owner, lease)
        if claimed is None:
            return
        if claimed.status != "claimed":
            self.tally.skipped += 1
            return
        try:
            brand = await asyncio.to_thread(load_brand, self.settings, check_overrides)
            rendered, message = self._compose(claimed, brand)
            recipient = read_email(claimed.to_email)
        except (RenderError, ValueError) as error:
            reason = f"cannot be rendered: {error}"
            log.error(
                "message %s cannot be rendered; `everafter mail show` has the reason", claimed.id
            )
            self.tally.dead += 1
            await self._persist(lambda conn: sending_queries.mark_dead(conn, claimed, reason))
            return
        try:
            await self.session.offer(recipient)
            if await self._may_hand_over(claimed, rendered):
                reply = await self.session.hand_over(message)
                self.tally.accepted += 1
                self.accepted = True
                await self._persist(
                    lambda conn: sending_queries.mark_accepted(conn, claimed, reply)
                )
        except RefusedError as refused:
            await self._handle_refusal(claimed, refused)
        except NotOfferedError as error:
            reason = str(error)
            log.error(
                "message %s cannot be sent by this server; `everafter mail show` has the reason",
                claimed.id,
            )
            self.tally.dead += 1
            await self._persist(lambda conn: sending_queries.mark_dead(conn, claimed, reason))
        except NotHandedError as error:
            await self._defer(
                claimed, f"the connection was lost before the message was started: {error}"
            )
        except UnknownOutcomeError as error:
            self.tally.unknown += 1
            log.warning("message %s was sent without a reply: %s", claimed.id, error)
        except MailServerError:
            await self._give_back(claimed)
            raise

    def _compose(self, claimed: Claim, brand: Brand) -> tuple[Rendered, bytes]:
        settings = self.settings
        key = Key(claimed.supplier_id, claimed.id)
        sender = branded_sender(self.server.sender, brand)
        links = links_of(settings.base_url, settings.secret, key, claimed.topic, sender)
        if (
            claimed.subject is not None
            and claimed.body_text is not None
            and claimed.body_html is not None
        ):
            rendered = Rendered(claimed.subject, claimed.body_text, claimed.body_html)
        else:
            rendered = render_message(claimed.template, describe(claimed), links, brand)
        if links.certificate in rendered.html and (
            reason := why_not_for(describe(claimed)["name"], brand.name or links.sender)
        ):
            raise RenderError(f"the linked certificate cannot be printed: {reason}")
        message = build_message(claimed, rendered, links, sender, dt.datetime.now(dt.UTC), brand)
        return rendered, message

    async def _may_hand_over(self, claimed: Claim, rendered: Rendered) -> bool:
        """Commit `handing`. If that fails, withdraw the offer to the server."""
        began = time.monotonic()
        try:
            async with self.pool.connection() as conn:
                status = await sending_queries.mark_handing(
                    conn, claimed, rendered, self.server.lease_seconds
                )
        except DATABASE_ERRORS:
            await self.session.reset()
            await self._give_back(claimed)
            raise
        if status == "handing" and time.monotonic() - began < self.server.lease_seconds / 2:
            return True
        await self.session.reset()
        if status in {"expired", "suppressed"}:
            self.tally.skipped += 1
        else:  # held by another attempt, paused, or this process was suspended for too long
            await self._give_back(claimed)
        return False

    async def _handle_refusal(self, claimed: Claim, refused: RefusedError) -> None:
        await self.session.reset()
        sender = self.server.sender.addr_spec
        classification = classify_refusal(
            refused.step, refused.code, refused.text, travelling_form(claimed.to_email), sender
        )
        if classification == "defer":
            await self._defer(claimed, str(refused))
            return
        if classification == "sender_rejected":
            await self._defer_for_sender(claimed, refused)
            return
        log.warning(
            "message %s was rejected permanently by the mail server: %s", claimed.id, refused.code
        )
        self.tally.dead += 1

        async def end(conn: Connection) -> None:
            reason = f"rejected: {refused}"
            ended = await sending_queries.mark_dead(conn, claimed, reason, str(refused))
            if ended and classification == "bad_address":
                await suppression_queries.suppress(
                    conn, claimed.to_email, "*", reason, "mail server"
                )

        await self._persist(end)

    async def _defer_for_sender(self, claimed: Claim, refused: RefusedError) -> None:
        """Defer a message because the server rejects all our mail, until that is fixed or the
        message expires."""
        self.tally.deferred += 1
        self.rejection = reason = f"the mail server rejects our mail: {refused}"
        seconds = retry_seconds(claimed.attempt, random.random())  # noqa: S311 jitter

        async def defer(conn: Connection) -> None:
            if await sending_queries.defer(conn, claimed, str(refused), seconds, reason):
                await sending_queries.note_trouble(conn, reason)

        await self._persist(defer)

    async def _defer(self, claimed: Claim, reason: str) -> None:
        if claimed.attempt >= MAX_ATTEMPTS:
            self.tally.dead += 1
            await self._persist(
                lambda conn: sending_queries.mark_dead(conn, claimed, f"gave up: {reason}", reason)
            )
            return
        self.tally.deferred += 1
        seconds = retry_seconds(claimed.attempt, random.random())  # noqa: S311 jitter
        await self._persist(lambda conn: sending_queries.defer(conn, claimed, reason, seconds))

    async def _give_back(self, claimed: Claim) -> None:
        self.tally.returned += 1
        await self._persist(
            lambda conn: sending_queries.defer(
                conn, claimed, "returned to the queue before it was sent", 5
            )
        )

    async def _persist(self, write: Callable[[Connection], Awaitable[object]]) -> None:
        """Record a result; retry while the database restarts. Without the record the message would
        be in doubt."""
        until = time.monotonic() + _PERSIST_SECONDS
        while True:
            try:
                async with self.pool.connection() as conn:
                    await write(conn)
                return
            except DATABASE_ERRORS as error:
                if time.monotonic() > until:
                    log.error(
                        "a result could not be recorded; the message will be in doubt: %s", error
                    )
                    return
                await asyncio.sleep(0.5)


# ── many messages ─────────────────────────────────────────────────────────────────────────────


class _Queue:
    """Distributes due messages to several senders, in batches. After an error of the server or the
    database it holds them back for a while."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keys: deque[Key] = deque()
        self._lock = asyncio.Lock()
        self._next_poll = 0.0
        self._errors = 0
        self._rejections = 0  # consecutive, since a message was last accepted
        self._cleared = False  # whether mail_trouble is known to be empty
        self._held_until = 0.0

    async def next(self, *, now: bool) -> Key | None:
        """The next message; null: none was due within the last second, or at this moment with
        `now`."""
        async with self._lock:
            if time.monotonic() < self._held_until:
                return None
            if not self._keys and (now or time.monotonic() >= self._next_poll):
                async with self._pool.connection() as conn:
                    self._keys.extend(await sending_queries.list_due(conn, _BATCH))
                if not self._keys:
                    self._next_poll = time.monotonic() + _POLL_SECONDS
            return self._keys.popleft() if self._keys else None

    async def record(self, sender: _Sender) -> None:
        """Note the result of the message that `sender` just processed.

        Raises:
            MailServerError: the server rejected our mail at each of the last few messages.
        """
        if sender.rejection is not None:
            self._rejections += 1
            self._cleared = False
            if self._rejections >= _REJECTIONS_TO_HOLD:
                raise MailServerError(sender.rejection)
            return
        self._errors = 0
        if not sender.accepted:
            return
        self._rejections = 0
        if not self._cleared:
            async with self._pool.connection() as conn:
                await sending_queries.clear_trouble(conn)
            self._cleared = True

    async def hold(self, error: Exception) -> None:
        """Hold all messages after an error of the server or the database: twice as long each time,
        at most one minute."""
        if time.monotonic() < self._held_until:
            return
        # before any await, so that senders that fail together count as one error
        self._errors += 1
        jitter = 0.75 + random.random() / 4  # noqa: S311 not a secret
        seconds = min(60.0, 2.0 ** min(self._errors, 6)) * jitter
        self._held_until = time.monotonic() + seconds
        log.warning("sending is held for %.0f s: %s", seconds, error)
        if isinstance(error, MailServerError):
            self._cleared = False
            await _note_trouble(self._pool, error)


async def send_due(
    pool: Pool,
    settings: Settings,
    *,
    senders: int = 4,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Send all due messages; with `stop`, keep sending until it is set.

    Returns:
        Counts by result.

    Raises:
        SettingsError: EVERAFTER_SMTP_URL is invalid.
        InputError: the platform's email templates are invalid.
        MailServerError: no server is set; or, without `stop`, it cannot be used. Unsent messages
            stay queued.
        DatabaseUnavailableError: without `stop`, the database is unavailable.
    """
    server = mail_server(settings)
    if server is None:
        raise MailServerError("EVERAFTER_SMTP_URL is not set: mail stays in the outbox")
    # invalid templates stop the worker at the start
    await asyncio.to_thread(load_brand, settings, check_overrides)
    # a worker that runs until it is stopped waits for its database
    with contextlib.suppress(*(() if stop is None else DATABASE_ERRORS)):
        async with pool.connection() as conn:
            await suppression_queries.respell_suppressions(conn)
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    tally, queue = Tally(), _Queue(pool)
    results = await asyncio.gather(
        *(
            _drain(sender, queue) if stop is None else _serve(sender, queue, stop)
            for sender in [_Sender(pool, settings, server, owner, tally) for _ in range(senders)]
        ),
        return_exceptions=True,
    )
    for result in results:
        if isinstance(result, DATABASE_ERRORS):
            raise DatabaseUnavailableError(f"the database does not answer: {result}") from result
        if result is not None:
            raise result
    return tally


async def _drain(sender: _Sender, queue: _Queue) -> None:
    try:
        while key := await queue.next(now=True):
            await sender.send(key)
            await queue.record(sender)
    except MailServerError as error:
        await _note_trouble(sender.pool, error)
        raise
    finally:
        await sender.session.close()


async def _note_trouble(pool: Pool, error: MailServerError) -> None:
    with contextlib.suppress(*DATABASE_ERRORS):
        async with pool.connection() as conn:
            await sending_queries.note_trouble(conn, error.message)


async def _serve(sender: _Sender, queue: _Queue, stop: asyncio.Event) -> None:
    idle_since = time.monotonic()
    try:
        while not stop.is_set():
            try:
                if key := await queue.next(now=False):
                    await sender.send(key)
                    await queue.record(sender)
                    idle_since = time.monotonic()
                    continue
                if time.monotonic() - idle_since > _IDLE_SECONDS:
                    await sender.session.close()
            except (MailServerError, *DATABASE_ERRORS) as error:
                await queue.hold(error)
            except Exception:
                log.exception("a message failed; it returns to the queue when its lease ends")
                await sender.session.close()
            await _sleep(stop, _POLL_SECONDS)
    finally:
        await sender.session.close()


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
