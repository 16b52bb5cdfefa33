"""`everafter doctor`: check the installation and say what to do. Changes nothing."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import psycopg
import typer
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table
from rich.text import Text

from everafter.accounts.keys import CoachKey, list_coach_keys
from everafter.activity.model import MAX_OTHER_FEATURES
from everafter.certificates.queries import list_honoured_names
from everafter.core.db import MIN_VERSION, Connection, connection, database_url, list_migrations
from everafter.core.errors import DatabaseUnavailableError, EverafterError, InputError
from everafter.core.files import is_open
from everafter.core.formatting import plural
from everafter.core.holidays import knows_holidays
from everafter.core.settings import Settings, read_settings
from everafter.core.unknown_settings import describe_unknown
from everafter.mail.smtp import mail_server
from everafter.playbook.loading import load_playbook, playbook_path

Status = Literal["ok", "warn", "bad"]
_WORST: tuple[Status, ...] = ("bad", "warn", "ok")
_STYLES: dict[Status, str] = {"ok": "green", "warn": "yellow", "bad": "bold red"}
_GIGABYTE = 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. do: what to do about it; empty when nothing."""

    name: str
    status: Status
    found: str
    do: str = ""


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    def doctor_command(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    ) -> None:
        """Check the installation and say what to do. Exit code 1 when something is bad, else 0."""
        checks = asyncio.run(examine(datetime.now(UTC)))
        worst = next(
            status
            for status in _WORST
            if status == "ok" or any(check.status == status for check in checks)
        )
        if as_json:
            typer.echo(
                msgspec.json.encode(
                    {"status": worst, "checks": [asdict(check) for check in checks]}
                ).decode()
            )
        else:
            _print(checks)
        raise typer.Exit(1 if worst == "bad" else 0)


def _print(checks: list[Check]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        found = Text.assemble(check.found, ("\n→ " + check.do if check.do else "", "bold"))
        table.add_row(Text(check.status, style=_STYLES[check.status]), check.name, found)
    Console(highlight=False).print(table)


async def examine(now: datetime, env: dict[str, str] | None = None) -> list[Check]:
    """Run all checks. A check that fails itself is reported, and does not prevent the others."""
    settings, errors = read_settings(env, make=False)
    checks = [Check("settings", "bad", error.message, _SETTINGS_REMEDY) for error in errors]
    checks += [
        Check("settings", "warn", sentence, _SETTINGS_REMEDY)
        for sentence in describe_unknown(os.environ if env is None else env)
    ]
    checks += run_check("settings", lambda: check_settings(settings, only_problems=bool(errors)))
    checks += run_check("playbook", lambda: [check_playbook(settings)])
    checks += run_check("disk", lambda: [check_disk(settings.data)])
    checks += run_check("files", lambda: check_files(settings))
    if any(error.message.startswith("EVERAFTER_DATABASE_URL") for error in errors):
        return checks
    return [*checks, *await _examine_server(settings, now)]


_SETTINGS_REMEDY = "correct the environment; docs/install.md lists every setting"


def run_check(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Run a check; an unexpected error becomes a failed check."""
    found: list[Check] = []
    try:
        found.extend(look())
    except Exception as error:
        found.append(_failed(name, error))
    return found


def _failed(name: str, error: Exception) -> Check:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return Check(name, "bad", f"this check failed: {reason}", "correct that, and run doctor again")


async def _examine_server(settings: Settings, now: datetime) -> list[Check]:
    try:
        if (
            settings.database_url is None
            and not (settings.data / "postgres" / "PG_VERSION").exists()
        ):
            found = f"none yet: the embedded one will be created in {settings.data / 'postgres'}"
            return [
                Check(
                    "database",
                    "warn",
                    found,
                    "everafter migrate creates it, as does any command that needs it",
                )
            ]
        url = await asyncio.to_thread(database_url, settings)
        async with connection(url) as conn:
            return await _examine_database(conn, settings, now)
    except (DatabaseUnavailableError, psycopg.OperationalError) as error:
        remedy = (
            "start it, or correct EVERAFTER_DATABASE_URL"
            if settings.database_url
            else "read the log named here"
        )
        if "or newer" in str(error):
            remedy = (
                f"move the database to PostgreSQL {MIN_VERSION} or newer, or name another in"
                " EVERAFTER_DATABASE_URL"
            )
        return [Check("database", "bad", " ".join(str(error).split()), remedy)]
    except Exception as error:
        return [_failed("database", error)]


# ── checks without the database ───────────────────────────────────────────────────────────────────


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


def check_playbook(settings: Settings) -> Check:
    """Whether the playbook in force is valid."""
    try:
        playbook = load_playbook(settings)
    except InputError as error:
        lines = error.message.splitlines()
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        return Check(
            "playbook",
            "bad",
            " ".join(lines[:2]) + more,
            f"everafter playbook check {playbook_path(settings)}",
        )
    enabled = sum(trigger.enabled for trigger in playbook.triggers.values())
    return Check(
        "playbook", "ok", f"{playbook.name}: {len(playbook.segments)} segments, {enabled} triggers"
    )


def check_disk(data: Path) -> Check:
    """Free space under EVERAFTER_DATA, or where it will be created."""
    place = next(folder for folder in (data, *data.parents) if folder.exists())
    if not place.is_dir():
        return Check(
            "disk",
            "bad",
            f"{place} is a file, so no folder can be created there",
            "name another in EVERAFTER_DATA",
        )
    free = shutil.disk_usage(place).free / _GIGABYTE
    status: Status = "bad" if free < 1 else "warn" if free < 5 else "ok"
    shown = f"{free:,.1f} GB free under {data}"
    if status == "ok" and not os.access(place, os.W_OK | os.X_OK):
        return Check(
            "disk",
            "bad",
            f"{place} cannot be written to",
            "let the user that runs Everafter write there",
        )
    return Check(
        "disk", status, shown, "" if status == "ok" else "free space, or move EVERAFTER_DATA"
    )


def check_files(settings: Settings) -> Iterator[Check]:
    """Whether only the owner can read files with suppliers' data or secrets; no line if so."""
    data = settings.data
    if not data.exists():
        return
    found = [
        path
        for path in (data, data / "secret", *sorted((data / "rejects").glob("*")))
        if path.exists() and is_open(path)
    ]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        yield Check(
            "files",
            "warn",
            f"others can read {found[0]}{more}",
            f"chmod -R go-rwx {data}, or a folder for it alone",
        )


# ── the database ──────────────────────────────────────────────────────────────────────────────────


async def _examine_database(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    version = check_version(conn.info.server_version, embedded=settings.database_url is None)
    if version.status == "bad":
        return [version]
    cursor = await conn.execute("SELECT to_regclass('everafter.migrations') IS NOT NULL")
    row = await cursor.fetchone()
    applied: dict[int, str] = {}
    if row and row[0]:
        cursor = await conn.execute("SELECT version, sha256 FROM migrations")
        applied = dict(await cursor.fetchall())
    schema = check_schema(applied)
    if schema.status == "bad":
        return [version, schema]
    checks = [version, schema]
    try:
        async with conn.transaction(), conn.cursor(row_factory=dict_row) as facts_cursor:
            await facts_cursor.execute(_FACTS)
            facts = await facts_cursor.fetchone() or {}
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        checks.append(
            Check(
                "tables",
                "bad",
                f"they differ from what this version creates: {reason}",
                "restore a backup",
            )
        )
    else:
        checks += check_facts(facts, now, sends=settings.smtp_url is not None)
    if settings.secret:
        try:
            async with conn.transaction():
                checks += check_coach_keys(await list_coach_keys(conn, settings.secret))
        except psycopg.Error as error:
            checks.append(_failed("coach keys", error))
    try:
        async with conn.transaction():
            names = await list_honoured_names(conn)
    except psycopg.Error as error:
        checks.append(_failed("certificates", error))
    else:
        checks += await asyncio.to_thread(check_certificates, names)
    return checks


def check_certificates(names: list[str]) -> list[Check]:
    """Whether all certificates that were earned can be printed; no line if so. Blocks."""
    if not names:
        return []
    from everafter.certificates.typefaces import why_not_for  # imports typst

    reasons = [(name, reason) for name in names if (reason := why_not_for(name))]
    if not reasons:
        return []
    name, reason = reasons[0]
    found = f"{plural(len(reasons), 'certificate')} not sent or shown; for {name[:60]!r}: {reason}"
    return [
        Check(
            "certificates",
            "warn",
            found,
            "install a typeface with these characters, for example the package fonts-noto-cjk",
        )
    ]


def check_coach_keys(keys: list[CoachKey]) -> Iterator[Check]:
    """Whether the live coach keys belong to the current secret; no line if all do."""
    if lost := [key for key in keys if not key.is_ours]:
        found = (
            f"{plural(len(lost), 'live coach key')} of another EVERAFTER_SECRET: tokens signed with"
            " them are refused"
        )
        yield Check(
            "coach keys",
            "warn",
            found,
            "restore the secret, or everafter key create --scope coach, and revoke the old ones",
        )


def check_version(version: int, *, embedded: bool) -> Check:
    """`version` as libpq numbers it: 160004 is 16.4."""
    shown = f"PostgreSQL {version // 10_000}.{version % 10_000}{' (embedded)' if embedded else ''}"
    if version // 10_000 < MIN_VERSION:
        return Check("database", "bad", shown, f"Everafter needs PostgreSQL {MIN_VERSION} or newer")
    return Check("database", "ok", f"{shown} answers")


def check_schema(applied: dict[int, str]) -> Check:
    """Compare the applied migrations (version → sha256) with those of this program."""
    known = {
        number: (name, hashlib.sha256(text.encode()).hexdigest())
        for number, name, text in list_migrations()
    }
    if applied.keys() - known.keys():
        return Check(
            "schema",
            "bad",
            "the database was migrated by a newer Everafter",
            "install that version",
        )
    changed = [known[number][0] for number, sha in applied.items() if known[number][1] != sha]
    if changed:
        return Check(
            "schema",
            "bad",
            f"{changed[0]} differs from what was applied",
            "reinstall the version that created the database",
        )
    missing = [name for number, (name, _) in known.items() if number not in applied]
    if missing:
        return Check(
            "schema",
            "bad",
            f"{plural(len(missing), 'migration')} behind, {missing[0]} first",
            "everafter migrate",
        )
    return Check("schema", "ok", f"at {max(known)}, as this program requires")


_FACTS = """
SELECT
  (SELECT count(*) FROM suppliers) AS suppliers,
  (SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM events_pending) AS pending,
  (SELECT received_at FROM events_pending ORDER BY seq LIMIT 1) AS pending_since,
  (SELECT max(last_event_at) FROM supplier_activity) AS last_event_at,
  (SELECT max(as_of) FROM runs WHERE finished_at IS NOT NULL AND NOT replay) AS last_run,
  (SELECT min(started_at) FROM runs WHERE finished_at IS NULL) AS unfinished_since,
  (SELECT as_of FROM runs WHERE finished_at IS NULL
    ORDER BY started_at LIMIT 1) AS unfinished_as_of,
  (SELECT reason FROM mail_pause) AS mail_paused,
  (SELECT min(send_after) FROM outbox WHERE status = 'queued'
    AND send_after <= now()) AS mail_due_since,
  (SELECT count(*) FROM outbox WHERE status = 'queued') AS mail_queued,
  (SELECT count(*) FROM outbox WHERE status = 'in_doubt') AS mail_in_doubt,
  (SELECT reason FROM mail_trouble WHERE id = 1) AS mail_trouble,
  (SELECT since FROM mail_trouble WHERE id = 1) AS mail_trouble_since,
  (SELECT count(*) FROM mail_events WHERE type = 'bounce'
    AND received_at > now() - interval '7 days') AS mail_bounced,
  (SELECT count(*) FROM mail_events WHERE type = 'complaint'
    AND received_at > now() - interval '7 days') AS mail_complaints,
  (SELECT count(*) FROM outbox WHERE status = 'dead'
    AND created_at > now() - interval '7 days') AS mail_dead,
  (SELECT count(*) FROM rejects WHERE code <> 'unknown_supplier'
    AND received_at > now() - interval '7 days') AS rejected,
  (SELECT count(*) FROM rejects WHERE code = 'unknown_supplier') AS waiting,
  (SELECT count(*) FROM supplier_activity WHERE features_beyond) AS beyond,
  (SELECT array_agg(supplier_id::text) FROM
    (SELECT supplier_id FROM supplier_activity WHERE features_beyond
      ORDER BY supplier_id LIMIT 3) AS first) AS beyond_first,
  (SELECT count(*) FROM calendar_feeds) AS calendars,
  (SELECT array_agg(u.email || ': ' || f.failure ORDER BY u.email) FROM calendar_feeds f
    JOIN users u ON u.id = f.user_id
   WHERE f.failure IS NOT NULL) AS calendars_failed,
  (SELECT array_agg(
     format('%s: %s of its events, %s', u.email, f.unread, coalesce(f.unread_reasons[1],
       'reason unknown')) ORDER BY u.email
   )
   FROM calendar_feeds f JOIN users u ON u.id = f.user_id WHERE f.unread > 0) AS calendars_unread,
  (SELECT min(coalesce(read_at, '2000-01-01')) FROM calendar_feeds) AS calendars_read_since,
  (SELECT count(*) FROM users WHERE takes_calls) AS csms,
  (SELECT array_agg(DISTINCT holidays) FROM users WHERE takes_calls
    AND holidays IS NOT NULL) AS holidays,
  (SELECT count(*) FROM users WHERE password_hash IS NOT NULL) AS people,
  (SELECT count(*) FROM api_keys WHERE scope = 'ingest' AND revoked_at IS NULL) AS ingest_keys
"""


def check_facts(facts: dict[str, Any], now: datetime, *, sends: bool) -> Iterator[Check]:
    """Checks of the tables. facts: the columns of `_FACTS`. sends: whether a mail server is set."""
    yield _events(facts, now)
    yield _fold(facts, now)
    yield _run(facts, now)
    yield from _mail(facts, now, sends=sends)
    yield _rejects(facts)
    yield from _features(facts)
    yield _calls(facts, now)
    yield from _calendars(facts)
    yield _people(facts)


def _events(facts: dict[str, Any], now: datetime) -> Check:
    if not facts["suppliers"]:
        return Check(
            "events",
            "warn",
            "no suppliers yet",
            "everafter import, or send identify calls: docs/quickstart.md",
        )
    if facts["last_event_at"] is None:
        remedy = (
            "everafter key create --scope ingest, and point the platform's SDK here"
            if not facts["ingest_keys"]
            else ""
        )
        return Check(
            "events",
            "warn",
            f"{plural(facts['suppliers'], 'supplier')}, but no events",
            remedy or "is the feed connected?",
        )
    age = now - facts["last_event_at"]
    shown = f"{plural(facts['suppliers'], 'supplier')}; the last event is {_ago(age)} old"
    if age > timedelta(days=1):
        return Check(
            "events",
            "warn",
            shown,
            "is the feed connected? Without events, all suppliers look inactive",
        )
    return Check("events", "ok", shown)


def _fold(facts: dict[str, Any], now: datetime) -> Check:
    if facts["pending_since"] is None:
        return Check("folding", "ok", "nothing is pending")
    age = now - facts["pending_since"]
    shown = f"{plural(facts['pending'], 'event')} not yet folded, the oldest {_ago(age)} old"
    if age > timedelta(minutes=10):
        return Check(
            "folding",
            "bad",
            shown,
            "a server or a run folds them: is everafter serve up? Its log says why not",
        )
    return Check("folding", "warn" if age > timedelta(minutes=1) else "ok", shown)


def _run(facts: dict[str, Any], now: datetime) -> Check:
    stuck = facts["unfinished_since"]
    if stuck is not None and now - stuck > timedelta(hours=1):
        as_of: datetime = facts["unfinished_as_of"]
        # without --as-of a run scores today
        command = (
            "everafter run"
            if as_of.date() == now.date()
            else f"everafter run --as-of {as_of.isoformat()}"
        )
        return Check(
            "daily run",
            "bad",
            f"one began {_ago(now - stuck)} ago and did not end",
            f"{command} takes it up where it stopped",
        )
    if facts["last_run"] is None:
        status: Status = "warn" if facts["suppliers"] else "ok"
        return Check(
            "daily run",
            status,
            "none yet",
            "everafter run, or keep everafter work running" if facts["suppliers"] else "",
        )
    age = now - facts["last_run"]
    status = "bad" if age > timedelta(hours=50) else "warn" if age > timedelta(hours=26) else "ok"
    return Check(
        "daily run",
        status,
        f"the last was {_ago(age)} ago",
        "" if status == "ok" else "is everafter work running, or cron?",
    )


def _mail(facts: dict[str, Any], now: datetime, *, sends: bool) -> Iterator[Check]:
    if facts["mail_paused"] is not None:
        yield Check(
            "mail",
            "warn",
            f"paused: {facts['mail_paused']}",
            "everafter mail resume, to resume sending",
        )
    elif not sends:
        yield Check(
            "mail",
            "ok",
            f"{plural(facts['mail_queued'], 'message')} in the outbox; no mail server is set",
        )
    elif facts["mail_due_since"] is None:
        yield Check("mail", "ok", "nothing is overdue")
    else:
        age = now - facts["mail_due_since"]
        status: Status = (
            "bad" if age > timedelta(hours=2) else "warn" if age > timedelta(minutes=15) else "ok"
        )
        remedy = (
            ""
            if status == "ok"
            else "is everafter work running? Its log shows the mail server's replies"
        )
        yield Check("mail", status, f"the oldest due message waits for {_ago(age)}", remedy)
    if sends and facts["mail_trouble"] is not None:
        found = f"since {_ago(now - facts['mail_trouble_since'])} {facts['mail_trouble']}"
        yield Check(
            "mail server",
            "bad",
            found,
            "correct EVERAFTER_SMTP_URL or the mail server; waiting messages are retried"
            " automatically",
        )
    if facts["mail_bounced"] or facts["mail_complaints"]:
        bounced, complaints = (
            plural(facts["mail_bounced"], "bounce"),
            plural(facts["mail_complaints"], "complaint"),
        )
        found = f"{bounced} and {complaints} in the last week"
        status = "warn" if facts["mail_complaints"] else "ok"
        yield Check(
            "bounces",
            status,
            found,
            "everafter mail suppressed lists the suppressed addresses with the reason"
            if status == "warn"
            else "",
        )
    if facts["mail_in_doubt"]:
        found = f"{plural(facts['mail_in_doubt'], 'message')} may or may not have been sent"
        yield Check(
            "mail in doubt",
            "warn",
            found,
            "everafter mail list --status in_doubt, then everafter mail resolve",
        )
    if facts["mail_dead"]:
        found = f"{plural(facts['mail_dead'], 'message')} of the last week rejected permanently"
        yield Check("dead mail", "warn", found, "everafter mail list --status dead shows why")


def _rejects(facts: dict[str, Any]) -> Check:
    parts = [
        f"{facts['rejected']:,} rejected in the last week" if facts["rejected"] else "",
        f"{plural(facts['waiting'], 'event')} waiting for unknown suppliers"
        if facts["waiting"]
        else "",
    ]
    found = "; ".join(part for part in parts if part)
    if not found:
        return Check("rejects", "ok", "none")
    return Check("rejects", "warn", found, "GET /api/rejects lists them with their reasons")


def _features(facts: dict[str, Any]) -> Iterator[Check]:
    """Suppliers whose events name too many features; no line if there are none."""
    if not facts["beyond"]:
        return
    listed = ", ".join(facts["beyond_first"]) + (
        " …" if facts["beyond"] > len(facts["beyond_first"]) else ""
    )
    found = (
        f"{plural(facts['beyond'], 'supplier')} used more than {MAX_OTHER_FEATURES} features that"
        " the playbook does not name"
        f" ({listed}); the latest {MAX_OTHER_FEATURES} are kept, and no score is affected"
    )
    yield Check(
        "features",
        "warn",
        found,
        "does the platform put ids into `feature`? Name the page or the tool, not the item",
    )


def _calls(facts: dict[str, Any], now: datetime) -> Check:
    """Whether calls can be booked, and by what is known of the CSMs' own calendars and holidays."""
    if not facts["csms"]:
        return Check("calls", "warn", "nobody takes calls", "everafter csm set EMAIL --takes-calls")
    calendars = f", {plural(facts['calendars'], 'calendar')} read" if facts["calendars"] else ""
    shown = f"{plural(facts['csms'], 'CSM')}{calendars}"
    if failed := facts["calendars_failed"]:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return Check(
            "calls",
            "warn",
            f"a calendar cannot be read: {failed[0]}{more}",
            "everafter csm calendar EMAIL --read",
        )
    if unknown := [code for code in facts["holidays"] or [] if not knows_holidays(code)]:
        return Check(
            "calls",
            "warn",
            f"no holidays are known for {unknown[0]}",
            "everafter csm set EMAIL --holidays CODE",
        )
    since = facts["calendars_read_since"]
    if facts["calendars"] and now - since > timedelta(hours=1):
        return Check(
            "calls", "warn", f"{shown}, but one not for an hour", "is everafter work running?"
        )
    return Check("calls", "ok", shown)


def _calendars(facts: dict[str, Any]) -> Iterator[Check]:
    """Whether CSMs' calendars were read in full; no line if they were."""
    if unread := facts["calendars_unread"]:
        more = f" (and {plural(len(unread) - 1, 'other calendar')})" if len(unread) > 1 else ""
        remedy = (
            "they count as busy as far as they can be read; correct them there. everafter csm list"
            " shows all reasons"
        )
        yield Check("calendars", "warn", f"not read in full: {unread[0]}{more}", remedy)


def _people(facts: dict[str, Any]) -> Check:
    if not facts["people"]:
        return Check(
            "people",
            "warn",
            "nobody can sign in to the dashboard",
            "everafter user create EMAIL --name NAME --role admin",
        )
    return Check("people", "ok", f"{facts['people']:,} can sign in")


def _ago(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min" if minutes else "less than a minute"
    return f"{minutes // 60} h" if minutes < 72 * 60 else f"{minutes // 1440} days"
