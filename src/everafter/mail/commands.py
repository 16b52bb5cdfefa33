"""`everafter mail …`."""

import asyncio
import json
import sys
import uuid
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from everafter.branding.loading import load_brand
from everafter.branding.rules import sender_of
from everafter.core.commands import read_with_connection, run_with_connection
from everafter.core.db import Connection, database_url, make_pool, migrate
from everafter.core.errors import (
    ConflictError,
    EverafterError,
    InputError,
    NotFoundError,
)
from everafter.core.ids import read_supplier_id
from everafter.core.options import refuse_together
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
from everafter.core.texts import show_controls
from everafter.mail import outbox_queries, sending_queries, suppression_queries
from everafter.mail.model import STATUS_MEANING, Key, Message, RenderError
from everafter.mail.overrides import check_overrides
from everafter.mail.report_rules import MOST_BYTES
from everafter.mail.reports import OUTCOME_MEANING, Outcome, read_mailbox, record_report
from everafter.mail.rules import message_id, preview

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]
IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The id of the message, or its first characters.")
]

out = Console(highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the mail commands."""
    mail = typer.Typer(
        no_args_is_help=True, help="Inspect the outbox, and resolve messages in doubt."
    )
    mail.command("list")(list_command)
    mail.command("show")(show_command)
    mail.command("resolve")(resolve_command)
    mail.command("pause")(pause_command)
    mail.command("resume")(resume_command)
    mail.command("allow")(allow_command)
    mail.command("suppressed")(suppressed_command)
    mail.command("bounce")(bounce_command)
    mail.command("bounces")(bounces_command)
    app.add_typer(mail, name="mail")


# ── everafter mail ────────────────────────────────────────────────────────────────────────────


def list_command(
    status: Annotated[
        str | None, typer.Option(help=f"Only this status: {', '.join(STATUS_MEANING)}.")
    ] = None,
    supplier: Annotated[
        str | None, typer.Option(metavar="ID", help="Only messages of this supplier id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    as_json: JsonOption = False,
) -> None:
    """List messages, newest first."""
    if status is not None and status not in STATUS_MEANING:
        raise InputError(
            f"--status {status}: unknown status; expected one of {', '.join(STATUS_MEANING)}"
        )
    supplier_id = read_supplier_id(supplier) if supplier else None
    lines, counts, paused, trouble = read_with_connection(
        lambda conn: _read_list(conn, status, supplier_id, limit)
    )
    if as_json:
        _print_json(
            {
                "paused": paused,
                "trouble": trouble and asdict(trouble),
                "counts": counts,
                "messages": [asdict(line) for line in lines],
            }
        )
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "created", "supplier", "template", "status", "reason"):
        table.add_column(column, no_wrap=column in {"id", "created", "status"})
    for line in lines:
        cells = (
            str(line.id)[:8],
            f"{line.created_at:%Y-%m-%d}",
            line.supplier or "(deleted)",
            line.template,
            line.status,
            line.status_reason or "",
        )
        table.add_row(*(Text(show_controls(cell)) for cell in cells))
    print_table(make_console(), table)
    out.print(
        Text(
            "  ".join(f"{name}: {number}" for name, number in counts.items())
            or "the outbox is empty"
        ),
        style="dim",
    )
    if paused:
        out.print(Text(f"sending is paused: {paused}"), style="yellow")
    if trouble:
        since = f"{trouble.since:%Y-%m-%d %H:%M} UTC"
        out.print(Text(f"since {since}: {trouble.reason}"), style="red")


async def _read_list(
    conn: Connection, status: Any, supplier_id: uuid.UUID | None, limit: int
) -> Any:
    lines = await outbox_queries.list_outbox(
        conn, status=status, supplier_id=supplier_id, limit=limit
    )
    trouble = await sending_queries.get_trouble(conn)
    return (
        lines,
        await outbox_queries.count_by_status(conn),
        await sending_queries.get_pause(conn),
        trouble,
    )


def show_command(
    id: IdArgument,  # noqa: A002
    html: Annotated[bool, typer.Option("--html", help="Print the HTML part.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one message as it was sent, or as it would be sent now."""
    refuse_together(html=html, json=as_json)
    message = read_with_connection(lambda conn: _find(conn, id))
    settings = load_settings(make=False)
    brand = load_brand(settings, check_overrides)
    rendered, problem = None, ""
    try:
        rendered = preview(
            message,
            mail_from=settings.mail_from,
            base_url=settings.base_url,
            secret=settings.secret,
            brand=brand,
        )
    except RenderError as error:
        if html:
            raise
        problem = error.message
    if as_json:
        found = asdict(rendered) if rendered else {"problem": problem}
        _print_json(asdict(message) | {"preview": message.subject is None, **found})
        return
    if rendered and html:
        sys.stdout.write(rendered.html)
        return
    facts = {
        "To": f"{message.to_name} <{message.to_email}>",
        "Subject": rendered.subject if rendered else None,
        "Status": f"{message.status}: {STATUS_MEANING[message.status]}",
        "Reason": message.status_reason,
        "Reply": message.smtp_reply,
        "Attempts": str(message.attempt) if message.attempt else None,
        "Not before": f"{message.send_after:%Y-%m-%d %H:%M} UTC",
        "Not after": f"{message.expires_at:%Y-%m-%d %H:%M} UTC",
        "Accepted": f"{message.accepted_at:%Y-%m-%d %H:%M:%S} UTC" if message.accepted_at else None,
        "Template": f"{message.template} ({message.topic})",
        "Supplier": (
            f"{message.supplier or '(deleted)'} ({message.external_id or message.supplier_id})"
        ),
        "Message-ID": message_id(
            message.id, sender_of(settings.mail_from, settings.base_url).addr_spec
        ),
    }
    for name, value in facts.items():
        if value:
            out.print(Text.assemble((f"{name + ':':<12}", "dim"), show_controls(value)))
    if rendered:
        out.print(Text("\n" + rendered.text))
    else:
        out.print(Text(f"\nthis message cannot be rendered: {problem}"), style="red")


def resolve_command(
    id: IdArgument,  # noqa: A002
    sent: Annotated[
        bool, typer.Option("--sent", help="It was sent, according to the mail server's log.")
    ] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="It was not sent, or may arrive twice: send it again.")
    ] = False,
) -> None:
    """Resolve a message in doubt. First search the mail server's log for its Message-ID."""
    if sent == resend:
        raise InputError("expected either --sent or --resend")

    async def resolve(conn: Connection) -> Message:
        message = await _find(conn, id)
        key = Key(message.supplier_id, message.id)
        change = outbox_queries.resolve_sent if sent else outbox_queries.resolve_resend
        if not await change(conn, key, "the command line"):
            raise ConflictError(
                f"message {message.id} is {message.status}, not in_doubt: nothing to resolve"
            )
        return message

    message = run_with_connection(resolve)
    typer.echo(f"{message.id}: {'marked as sent' if sent else 'queued again'}")


def pause_command(
    reason: Annotated[
        str, typer.Argument(help="The reason, shown by `everafter doctor` and the dashboard.")
    ],
) -> None:
    """Stop sending in all workers until `everafter mail resume`."""
    run_with_connection(lambda conn: sending_queries.pause(conn, reason))
    typer.echo("sending is paused; messages past their expiry will not be sent")


def resume_command() -> None:
    """Resume sending."""
    resumed = run_with_connection(sending_queries.resume)
    typer.echo("sending resumed" if resumed else "sending was not paused")


def allow_command(email: str) -> None:
    """Remove an address from the suppression list, if its owner asks to get mail again."""
    count = run_with_connection(lambda conn: suppression_queries.lift_suppressions(conn, email))
    if not count:
        raise NotFoundError(f"{email} is not on the suppression list")
    typer.echo(f"{email} can get mail again")


def suppressed_command(
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    as_json: JsonOption = False,
) -> None:
    """List suppressed addresses, the latest first. `everafter mail allow` removes one."""
    lines = read_with_connection(lambda conn: suppression_queries.list_suppressions(conn, limit))
    if as_json:
        _print_json([asdict(line) for line in lines])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("since", "email", "topic", "source", "reason"):
        table.add_column(column)
    for line in lines:
        cells = (f"{line.created_at:%Y-%m-%d}", line.email, line.topic, line.source, line.reason)
        table.add_row(*(Text(show_controls(cell)) for cell in cells))
    print_table(make_console(), table)


# ── delivery reports ──────────────────────────────────────────────────────────────────────────

_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the mail server keeps the message and retries
_NO_DATA = 65  # EX_DATAERR


def bounce_command() -> None:
    """Record one bounce or complaint from stdin, for the pipe of a mail server.

    Exit codes: 0 if it was recorded or is not a report, 75 if the database is unavailable (try
    again later), 65 if stdin is empty.
    """
    raw = sys.stdin.buffer.read(MOST_BYTES)
    while sys.stdin.buffer.read(65536):
        pass  # otherwise the writer of the pipe gets an error
    if not raw.strip():
        typer.echo("no message on stdin", err=True)
        raise typer.Exit(_NO_DATA)
    try:
        settings = load_settings()
        sender = sender_of(settings.mail_from, settings.base_url).addr_spec
        now = datetime.now(UTC)
        outcome = run_with_connection(
            lambda conn: record_report(conn, settings.secret, raw, sender, now)
        )
    except (EverafterError, psycopg.Error, OSError) as error:
        typer.echo(f"not recorded; try again later: {error}", err=True)
        raise typer.Exit(_TRY_AGAIN) from error
    typer.echo(f"{outcome}: {OUTCOME_MEANING[outcome]}")


def bounces_command(
    path: Annotated[
        Path, typer.Argument(help="A Maildir (a folder with `new` in it) or an mbox file.")
    ],
) -> None:
    """Record the unread bounces and complaints of a mailbox, and mark them as read.

    The worker does this every minute if EVERAFTER_SMTP_URL has `bounces=PATH`.
    """
    tally = asyncio.run(_read_mailbox(path))
    typer.echo(
        ", ".join(f"{number} {outcome}" for outcome, number in tally.items())
        or "no unread messages"
    )


async def _read_mailbox(path: Path) -> Counter[Outcome]:
    settings = load_settings()
    url = database_url(settings)
    await migrate(url)
    async with make_pool(url, size=2) as pool:
        return await read_mailbox(
            pool, settings.secret, path, sender_of(settings.mail_from, settings.base_url).addr_spec
        )


async def _find(conn: Connection, prefix: str) -> Message:
    keys = await outbox_queries.find_keys(conn, prefix)
    if len(keys) > 1:
        raise InputError(f"several message ids start with {prefix}; give more characters")
    message = (
        await outbox_queries.get_message(conn, keys[0].supplier_id, keys[0].id) if keys else None
    )
    if message is None:
        raise NotFoundError(f"no message {prefix} in the outbox")
    return message


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False, indent=2) + "\n")
