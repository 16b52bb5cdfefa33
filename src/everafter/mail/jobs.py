"""The worker: it sends what is due, once, and does what has to be done from time to time.

RELIABILITY, 'Email, once': claim (lease on the database's clock) → RCPT accepted → `handing`
committed while the row is still this attempt's → DATA → the answer written down. Every step before
DATA may fail and be repeated; nothing after it is."""

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
from everafter.mail import queries
from everafter.mail.answer_rules import classify_refusal
from everafter.mail.model import Claim, Key, Rendered, RenderError, Tally
from everafter.mail.overrides import check_overrides
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
_REFUSALS_TO_HOLD = (
    5  # messages, one after the other, at which the server refused us: then all wait a little
)
_POLL_SECONDS = 1.0
_CLAIM_LEASE_SECONDS = 120.0  # short: before `handing` a second worker can do no harm, so a crash delays a message little
_PERSIST_SECONDS = 15.0
_IDLE_SECONDS = 10.0


async def sweep_outbox(pool: Pool) -> str | None:
    """Expire what is stale, requeue lapsed claims, show hand-overs without an answer."""
    async with pool.connection() as conn:
        cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.SWEEP_OUTBOX])
        if (row := await cursor.fetchone()) is None or not row[0]:
            return None
        swept = await queries.sweep(conn, MAX_ATTEMPTS)
    said = [
        f"{swept.expired} expired" if swept.expired else "",
        f"{swept.requeued} given back to the queue" if swept.requeued else "",
        f"{swept.in_doubt} in doubt (everafter mail list --status in_doubt)"
        if swept.in_doubt
        else "",
    ]
    return ", ".join(filter(None, said)) or None


async def read_bounces(pool: Pool, settings: Settings) -> str | None:
    """Read the bounces in the mailbox that EVERAFTER_SMTP_URL names (`bounces=PATH`), if it names
    one."""
    path = url_options(settings.smtp_url).get("bounces") if settings.smtp_url else None
    if not path:
        return None
    sender = sender_of(settings.mail_from, settings.base_url).addr_spec
    tally = await read_mailbox(pool, settings.secret, Path(path), sender)
    return ", ".join(f"{number} {outcome}" for outcome, number in tally.items()) or None


# ── one message ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Sender:
    """Takes messages one after the other over one connection."""

    pool: Pool
    settings: Settings
    server: MailServer
    owner: str
    tally: Tally
    session: Session = field(init=False)
    refusal: str | None = (
        None  # why the server refused us at the last message; null when it did not
    )
    accepted: bool = False  # whether the last message was taken

    def __post_init__(self) -> None:
        self.session = Session(self.server)

    async def send(self, key: Key) -> None:
        """Take one message through to its end. Raises MailServerError before anything is claimed,
        or with the claim given back."""
        self.refusal, self.accepted = None, False
        await self.session.open()
        lease = min(_CLAIM_LEASE_SECONDS, self.server.lease_seconds)
        async with self.pool.connection() as conn:
            claimed = await queries.claim(conn, key, self.owner, lease)
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
            reason = f"cannot be made: {error}"
            log.error("message %s cannot be made; `everafter mail show` says why", claimed.id)
            self.tally.dead += 1
            await self._persist(lambda conn: queries.mark_dead(conn, claimed, reason))
            return
        try:
            await self.session.offer(recipient)
            if await self._may_hand_over(claimed, rendered):
                reply = await self.session.hand_over(message)
                self.tally.accepted += 1
                self.accepted = True
                await self._persist(lambda conn: queries.mark_accepted(conn, claimed, reply))
        except RefusedError as refused:
            await self._refused(claimed, refused)
            return
        except NotOfferedError as error:
            reason = str(error)
            log.error(
                "message %s cannot be sent through this mail server; `everafter mail show` says why",
                claimed.id,
            )
            self.tally.dead += 1
            await self._persist(lambda conn: queries.mark_dead(conn, claimed, reason))
        except NotHandedError as error:
            await self._put_off(
                claimed, f"the connection was lost before the message was begun: {error}"
            )
        except UnknownOutcomeError as error:
            self.tally.unknown += 1
            log.warning("message %s was handed over and not answered: %s", claimed.id, error)
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
            raise RenderError(f"the certificate it leads to cannot be printed: {reason}")
        message = build_message(claimed, rendered, links, sender, dt.datetime.now(dt.UTC), brand)
        return rendered, message

    async def _may_hand_over(self, claimed: Claim, rendered: Rendered) -> bool:
        """Commit `handing`. Whatever comes instead of it, what was offered to the server is taken
        back."""
        began = time.monotonic()
        try:
            async with self.pool.connection() as conn:
                status = await queries.mark_handing(
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
        else:  # no longer ours, paused, or this process was frozen: then whoever sees the row next shall have it
            await self._give_back(claimed)
        return False

    async def _refused(self, claimed: Claim, refused: RefusedError) -> None:
        await self.session.reset()
        sender = self.server.sender.addr_spec
        classification = classify_refusal(
            refused.step, refused.code, refused.text, travelling_form(claimed.to_email), sender
        )
        if classification == "defer":
            await self._put_off(claimed, str(refused))
            return
        if classification == "ours":
            await self._put_off_for_us(claimed, refused)
            return
        log.warning(
            "message %s was refused for good by the mail server: %s", claimed.id, refused.code
        )
        self.tally.dead += 1

        async def end(conn: Connection) -> None:
            if (
                await queries.mark_dead(conn, claimed, f"refused: {refused}", str(refused))
                and classification == "bad_address"
            ):
                await queries.suppress(
                    conn, claimed.to_email, "*", f"refused: {refused}", "mail server"
                )

        await self._persist(end)

    async def _put_off_for_us(self, claimed: Claim, refused: RefusedError) -> None:
        """The server would refuse any message of ours: it waits until that is corrected, or until
        it expires."""
        self.tally.deferred += 1
        self.refusal = f"the mail server refuses us: {refused}"
        seconds = retry_seconds(claimed.attempt, random.random())  # noqa: S311 spreading load, not a secret
        reason = self.refusal

        async def put_off(conn: Connection) -> None:
            if await queries.defer(conn, claimed, str(refused), seconds, reason):
                await queries.note_trouble(conn, reason)

        await self._persist(put_off)

    async def _put_off(self, claimed: Claim, reason: str) -> None:
        if claimed.attempt >= MAX_ATTEMPTS:
            self.tally.dead += 1
            await self._persist(
                lambda conn: queries.mark_dead(conn, claimed, f"given up: {reason}", reason)
            )
            return
        self.tally.deferred += 1
        seconds = retry_seconds(claimed.attempt, random.random())  # noqa: S311 spreading load, not a secret
        await self._persist(lambda conn: queries.defer(conn, claimed, reason, seconds))

    async def _give_back(self, claimed: Claim) -> None:
        self.tally.returned += 1
        await self._persist(
            lambda conn: queries.defer(conn, claimed, "given back before it was handed over", 5)
        )

    async def _persist(self, write: Callable[[Connection], Awaitable[object]]) -> None:
        """Write an outcome down, trying on through a database that restarts: an outcome forgotten
        is a message in doubt."""
        until = time.monotonic() + _PERSIST_SECONDS
        while True:
            try:
                async with self.pool.connection() as conn:
                    await write(conn)
                return
            except DATABASE_ERRORS as error:
                if time.monotonic() > until:
                    log.error(
                        "an outcome could not be written down; the message will be in doubt: %s",
                        error,
                    )
                    return
                await asyncio.sleep(0.5)


# ── many messages ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Due:
    """Hands out due messages to several senders, in batches; after trouble that is not a message's
    own it hands out none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keys: deque[Key] = deque()
        self._lock = asyncio.Lock()
        self._look_again = 0.0
        self._troubles = 0
        self._refusals = 0  # one after the other, since a message was last taken
        self._cleared = False  # whether the database is known to hold no trouble
        self._held_until = 0.0

    async def next(self, *, now: bool) -> Key | None:
        """The next one; null when nothing is due, as found at most a second ago (or just `now`)."""
        async with self._lock:
            if time.monotonic() < self._held_until:
                return None
            if not self._keys and (now or time.monotonic() >= self._look_again):
                async with self._pool.connection() as conn:
                    self._keys.extend(await queries.list_due(conn, _BATCH))
                if not self._keys:
                    self._look_again = time.monotonic() + _POLL_SECONDS
            return self._keys.popleft() if self._keys else None

    async def well(self, sender: "_Sender") -> None:
        """A message went through its steps. Raises MailServerError when the server refused us at
        each of the last few."""
        if sender.refusal is not None:
            self._refusals += 1
            self._cleared = False
            if self._refusals >= _REFUSALS_TO_HOLD:
                raise MailServerError(sender.refusal)
            return
        self._troubles = 0
        if not sender.accepted:
            return
        self._refusals = 0
        if not self._cleared:
            async with self._pool.connection() as conn:
                await queries.clear_trouble(conn)
            self._cleared = True

    async def hold(self, error: Exception) -> None:
        """The server or the database is away: wait, twice as long each time, a minute at most."""
        if time.monotonic() < self._held_until:
            return
        # before anything is awaited: senders that fail together are one trouble
        self._troubles += 1
        seconds = min(60.0, 2.0 ** min(self._troubles, 6)) * (0.75 + random.random() / 4)  # noqa: S311 as above
        self._held_until = time.monotonic() + seconds
        log.warning("nothing is sent for %.0f s: %s", seconds, error)
        if isinstance(error, MailServerError):
            self._cleared = False
            await _keep_trouble(self._pool, error)


async def send_due(
    pool: Pool,
    settings: Settings,
    *,
    senders: int = 4,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Send what is due until nothing is, or, with `stop`, go on until that is set.

    Returns:
        What became of the messages taken.

    Raises: SettingsError: EVERAFTER_SMTP_URL is wrong. InputError: the platform's email templates
        cannot be used. MailServerError: none is set; or, without `stop`, it cannot be used, and
        what was not sent stays queued. DatabaseUnavailableError: without `stop`, the database went
        away."""
    server = mail_server(settings)
    if server is None:
        raise MailServerError("EVERAFTER_SMTP_URL is not set: mail stays in the outbox")
    await asyncio.to_thread(
        load_brand, settings, check_overrides
    )  # what cannot be used ends the worker at once
    with contextlib.suppress(
        *(() if stop is None else DATABASE_ERRORS)
    ):  # a worker waits for its database
        async with pool.connection() as conn:
            await queries.respell_suppressions(conn)
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    tally, due = Tally(), _Due(pool)
    crew = [_Sender(pool, settings, server, owner, tally) for _ in range(senders)]
    ends = await asyncio.gather(
        *(_drain(sender, due) if stop is None else _serve(sender, due, stop) for sender in crew),
        return_exceptions=True,
    )
    for end in ends:
        if isinstance(end, DATABASE_ERRORS):
            raise DatabaseUnavailableError(f"the database does not answer: {end}") from end
        if end is not None:
            raise end
    return tally


async def _drain(sender: _Sender, due: _Due) -> None:
    try:
        while key := await due.next(now=True):
            await sender.send(key)
            await due.well(sender)
    except MailServerError as error:
        await _keep_trouble(sender.pool, error)
        raise
    finally:
        await sender.session.close()


async def _keep_trouble(pool: Pool, error: MailServerError) -> None:
    with contextlib.suppress(*DATABASE_ERRORS):
        async with pool.connection() as conn:
            await queries.note_trouble(conn, error.message)


async def _serve(sender: _Sender, due: _Due, stop: asyncio.Event) -> None:
    idle_since = time.monotonic()
    try:
        while not stop.is_set():
            try:
                if key := await due.next(now=False):
                    await sender.send(key)
                    await due.well(sender)
                    idle_since = time.monotonic()
                    continue
                if time.monotonic() - idle_since > _IDLE_SECONDS:
                    await sender.session.close()
            except (MailServerError, *DATABASE_ERRORS) as error:
                await due.hold(error)
            except Exception:
                log.exception(
                    "a message could not be worked on; it goes back to the queue when its lease ends"
                )
                await sender.session.close()
            await _sleep(stop, _POLL_SECONDS)
    finally:
        await sender.session.close()


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
