"""Record bounces and complaints from a pipe, a mailbox or a provider. The caller owns the
transaction."""

import asyncio
import datetime as dt
import mailbox
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from everafter.core.db import Connection, Pool
from everafter.core.email_address import travelling_form
from everafter.core.errors import InputError
from everafter.mail import report_queries, suppression_queries
from everafter.mail.model import Key, MailEvent, Recipient
from everafter.mail.reply_rules import classify_bounce
from everafter.mail.report_rules import (
    EventType,
    RecipientReport,
    Report,
    clean_reason,
    event_id,
    read_report,
)
from everafter.mail.rules import message_token_key

Outcome = Literal["recorded", "duplicate", "unmatched", "ignored"]

OUTCOME_MEANING: dict[Outcome, str] = {
    "recorded": "recorded and processed",
    "duplicate": "recorded before",
    "unmatched": "no message was sent to that recipient",
    "ignored": "not a delivery report or complaint",
}

_EVENT_TYPES: dict[str, EventType] = {"failed": "bounce", "delayed": "delayed"}


async def record_report(
    conn: Connection, secret: str, raw: bytes, sender: str, now: dt.datetime
) -> Outcome:
    """Record a message that a mail server returned.

    Args:
        raw: the bytes of the message.
        sender: our own address; text about it is not about the recipient.
    """
    report = read_report(raw)
    if report is None:
        return "ignored"
    keys = {key for token in report.tokens if (key := message_token_key(secret, token)) is not None}
    if len(keys) != 1:
        return "unmatched"  # no token, or several, which is ambiguous
    sent = await report_queries.find_recipient(conn, keys.pop())
    if sent is None:
        return "unmatched"
    if report.complaint is not None:
        return await record_event(
            conn, sent, "complaint", "", report.complaint, "report", sender, now
        )
    found = _find_recipient(report, sent)
    if found is None:
        return "unmatched"
    one, exact = found
    kind = _EVENT_TYPES.get(one.action, "delivered")
    return await record_event(
        conn, sent, kind, one.status, one.diagnostic, "report", sender, now, suppress=exact
    )


def _find_recipient(report: Report, sent: Recipient) -> tuple[RecipientReport, bool] | None:
    """The part of the report about our recipient, and whether it names that address. The report on
    a forwarded message names another one, which says nothing about ours."""
    address = travelling_form(sent.to_email).lower()
    for one in report.recipients:
        if address in one.addresses:
            return one, True
    return (report.recipients[0], False) if len(report.recipients) == 1 else None


async def record_event(
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
    """Store an event, and apply it once.

    A bounce ends the message, and suppresses the address if it is clearly the cause. A complaint
    stops all mail except transactional mail.
    """
    key, text = Key(sent.supplier_id, sent.id), clean_reason(reason)
    classification = classify_bounce(code, reason, sent.to_email, sender)
    if kind == "bounce" and classification == "defer":
        kind = "soft_bounce"
    event = MailEvent(
        supplier_id=sent.supplier_id,
        outbox_id=sent.id,
        id=event_id(sent.id, kind, code, text),
        type=kind,
        source=source,
        code=code or None,
        reason=text,
        at=at,
    )
    if not await report_queries.add_event(conn, event):
        return "duplicate"
    explanation = f"delivery report: {' '.join(filter(None, (code, text))) or kind}"
    if kind in {"bounce", "soft_bounce"}:
        await report_queries.mark_bounced(conn, key, explanation)
        if kind == "bounce" and classification == "bad_address" and suppress:
            origin = "bounce" if source == "report" else "provider"
            await suppression_queries.suppress(conn, sent.to_email, "*", explanation, origin)
    elif kind == "complaint":
        complaint = f"complaint: {text or 'abuse'}"
        await suppression_queries.suppress(conn, sent.to_email, "success", complaint, "complaint")
    else:
        await report_queries.resolve_by_report(conn, key, explanation)
    return "recorded"


# ── mailboxes ─────────────────────────────────────────────────────────────────────────────────────


async def read_mailbox(pool: Pool, secret: str, path: Path, sender: str) -> Counter[Outcome]:
    """Record all unread reports of a Maildir or an mbox file, and mark them as read.

    Raises:
        InputError: the mailbox does not exist.
    """
    box = await asyncio.to_thread(_open_box, path)
    tally: Counter[Outcome] = Counter()
    try:
        for key in await asyncio.to_thread(_unread, box):
            raw = await asyncio.to_thread(box.get_bytes, key)
            async with pool.connection() as conn:
                tally[await record_report(conn, secret, raw, sender, dt.datetime.now(dt.UTC))] += 1
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
        f"no mailbox at {path}: expected a Maildir (with a folder `new`) or an mbox file"
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
