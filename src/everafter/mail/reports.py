"""Bounces and complaints, from a pipe, a mailbox or a provider: the caller owns the transaction."""

import asyncio
import datetime as dt
import mailbox
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from everafter.core.db import Connection, Pool
from everafter.core.email_address import travelling_form
from everafter.core.errors import InputError
from everafter.mail import queries, report_queries
from everafter.mail.answer_rules import classify_bounce
from everafter.mail.model import Key, MailEvent, Recipient
from everafter.mail.report_rules import (
    EventType,
    RecipientReport,
    Report,
    clean_reason,
    event_id,
    read_report,
)
from everafter.mail.rules import message_token_key

Outcome = Literal["recorded", "known", "unmatched", "ignored"]

OUTCOME_MEANING: dict[Outcome, str] = {
    "recorded": "recorded, and acted on",
    "known": "reported before",
    "unmatched": "no message was sent from here to that recipient",
    "ignored": "neither a delivery report nor a complaint",
}


async def take_report(
    conn: Connection, secret: str, raw: bytes, sender: str, now: dt.datetime
) -> Outcome:
    """What a mail server sent back, as bytes.

    Args:
        sender: our own address; words about it are not words about the recipient.
    """
    report = read_report(raw)
    if report is None:
        return "ignored"
    keys = {key for token in report.tokens if (key := message_token_key(secret, token)) is not None}
    if len(keys) != 1:
        return "unmatched"  # no token of ours, or several: then it is unclear which message it is about
    sent = await report_queries.find_recipient(conn, keys.pop())
    if sent is None:
        return "unmatched"
    if report.complaint is not None:
        return await take_event(
            conn, sent, "complaint", "", report.complaint, "report", sender, now
        )
    found = _of_ours(report, sent)
    if found is None:
        return "unmatched"
    one, exact = found
    kind: EventType = (
        "bounce" if one.action == "failed" else "delayed" if one.action == "delayed" else "delivered"
    )  # fmt: skip
    return await take_event(
        conn, sent, kind, one.status, one.diagnostic, "report", sender, now, suppress=exact
    )


def _of_ours(report: Report, sent: Recipient) -> tuple[RecipientReport, bool] | None:
    """What the report says of our recipient, and whether it names that very address: a forwarded
    message is reported under another one, which says nothing of ours."""
    address = travelling_form(sent.to_email).lower()
    for one in report.recipients:
        if address in one.addresses:
            return one, True
    return (report.recipients[0], False) if len(report.recipients) == 1 else None


async def take_event(
    conn: Connection,
    sent: Recipient,
    kind: EventType,
    code: str,
    reason: str,
    source: Literal["report", "provider"],
    sender: str,
    at: dt.datetime,
    *,
    suppress: bool = True,
) -> Outcome:
    """Keep one thing said of a message, and do what follows from it, once.

    A bounce ends the message; the address is suppressed when the words are clearly about it. A
    complaint stops all but transactional mail."""
    key, words = Key(sent.supplier_id, sent.id), clean_reason(reason)
    classification = classify_bounce(code, reason, sent.to_email, sender)
    if kind == "bounce" and classification == "defer":
        kind = "soft_bounce"
    event = MailEvent(
        sent.supplier_id, sent.id, event_id(sent.id, kind, code, words), kind, source, code or None, words, at
    )  # fmt: skip
    if not await report_queries.keep_event(conn, event):
        return "known"
    said = f"reported later: {' '.join(filter(None, (code, words))) or kind}"
    if kind in {"bounce", "soft_bounce"}:
        await report_queries.mark_bounced(conn, key, said)
        if kind == "bounce" and classification == "bad_address" and suppress:
            await queries.suppress(
                conn, sent.to_email, "*", said, "bounce" if source == "report" else "provider"
            )
    elif kind == "complaint":
        await queries.suppress(
            conn, sent.to_email, "success", f"complained: {words or 'abuse'}", "complaint"
        )
    else:
        await report_queries.settle_doubt(conn, key, said)
    return "recorded"


# ── mailboxes ─────────────────────────────────────────────────────────────────────────────────────


async def read_mailbox(pool: Pool, secret: str, path: Path, sender: str) -> Counter[Outcome]:
    """Take every report that was not read yet out of a Maildir or an mbox file, and mark it as
    read.

    Raises:
        InputError: there is no such mailbox.
    """
    box = await asyncio.to_thread(_open_box, path)
    tally: Counter[Outcome] = Counter()
    try:
        for key in await asyncio.to_thread(_unread, box):
            raw = await asyncio.to_thread(box.get_bytes, key)
            async with pool.connection() as conn:
                tally[await take_report(conn, secret, raw, sender, dt.datetime.now(dt.UTC))] += 1
            await asyncio.to_thread(_mark_read, box, key)
    finally:
        await asyncio.to_thread(box.close)
    return tally


Box = mailbox.Maildir | mailbox.mbox


def _open_box(path: Path) -> Box:
    try:
        if (path / "new").is_dir():
            return mailbox.Maildir(path, create=False)
        if path.is_file():
            box = mailbox.mbox(path, create=False)
            try:
                box.lock()
            except BaseException:
                box.close()
                raise
            return box
    except (OSError, mailbox.Error) as error:
        raise InputError(f"the mailbox {path} cannot be read: {error}") from error
    raise InputError(
        f"there is no mailbox at {path}: expected a Maildir (with a folder `new`) or an mbox file"
    )


def _unread(box: Box) -> list[Any]:
    if isinstance(box, mailbox.Maildir):
        return [key for key in box.keys() if "S" not in box.get_message(key).get_flags()]  # noqa: SIM118 a mailbox
    return [key for key, message in box.items() if "R" not in message.get_flags()]


def _mark_read(box: Box, key: Any) -> None:
    message = box[key]
    if isinstance(message, mailbox.MaildirMessage):
        message.set_subdir("cur")
        message.add_flag("S")
    else:
        message.add_flag("RO")
    box[key] = message
    box.flush()
