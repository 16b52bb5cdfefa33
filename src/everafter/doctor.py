"""`everafter doctor`: check the installation and say what to do. Changes nothing."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import psycopg
import typer
from rich.table import Table
from rich.text import Text

from everafter.accounts import checks as accounts_checks
from everafter.activity import checks as activity_checks
from everafter.certificates import checks as certificates_checks
from everafter.core.checks import Check, Status, TableCheck
from everafter.core.db import MIN_VERSION, Connection, connection, database_url, list_migrations
from everafter.core.embedded import has_embedded
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.files import is_open
from everafter.core.formatting import plural
from everafter.core.settings import Settings, read_settings
from everafter.core.tables import make_console, print_table
from everafter.core.unknown_settings import describe_unknown
from everafter.daily import checks as daily_checks
from everafter.events import checks as events_checks
from everafter.feeds import checks as feeds_checks
from everafter.learning import checks as learning_checks
from everafter.mail import checks as mail_checks
from everafter.mail.checks import check_settings
from everafter.playbook.checks import check_playbook
from everafter.support import checks as support_checks

TABLE_CHECKS: tuple[TableCheck, ...] = (
    events_checks.check_feed,
    feeds_checks.check_feeds,
    activity_checks.check_folding,
    daily_checks.check_run,
    learning_checks.check_training,
    mail_checks.check_mail,
    events_checks.check_rejects,
    activity_checks.check_features,
    support_checks.check_calls,
    accounts_checks.check_people,
)
"""The slices' checks, in the order of their lines."""

SEPARATE_CHECKS: dict[str, TableCheck] = {
    "coach keys": accounts_checks.check_coach_keys,
    "certificates": certificates_checks.check_certificates,
}
"""Checks after those, each of which may fail alone. By the name of the line."""

_WORST: tuple[Status, ...] = ("bad", "warn", "ok")
_STYLES: dict[Status, str] = {"ok": "green", "warn": "yellow", "bad": "bold red"}
_GIGABYTE = 1024**3


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
    print_table(make_console(), table)


async def examine(now: datetime, env: dict[str, str] | None = None) -> list[Check]:
    """Run all checks. A check that fails itself is reported, and does not prevent the others."""
    settings, errors = read_settings(env, make=False)
    checks = [Check("settings", "bad", error.message, "correct the variable") for error in errors]
    checks += [
        Check("settings", "warn", sentence, "correct the variable, or remove it")
        for sentence in describe_unknown(os.environ if env is None else env)
    ]
    checks += run_check("settings", lambda: check_settings(settings, only_problems=bool(errors)))
    checks += run_check("playbook", lambda: [check_playbook(settings)])
    checks += run_check("disk", lambda: [check_disk(settings.data)])
    checks += run_check("files", lambda: check_files(settings))
    if any(error.message.startswith("EVERAFTER_DATABASE_URL") for error in errors):
        return checks
    return [*checks, *await _examine_server(settings, now)]


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
        if settings.database_url is None and not has_embedded(settings.data):
            found = f"none yet: the embedded one will be created in {settings.data / 'postgres'}"
            return [
                Check(
                    "database",
                    "warn",
                    found,
                    "everafter migrate creates it, as does any command that writes",
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
    checks = [version, schema, *await _check_tables(conn, settings, now)]
    for name, check in SEPARATE_CHECKS.items():
        try:
            async with conn.transaction():
                checks += await check(conn, settings, now)
        except psycopg.Error as error:
            checks.append(_failed(name, error))
    return checks


async def _check_tables(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """All checks of the tables, or one line if they cannot be read."""
    try:
        async with conn.transaction():
            return [line for check in TABLE_CHECKS for line in await check(conn, settings, now)]
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        return [
            Check(
                "tables",
                "bad",
                f"they differ from what this version creates: {reason}",
                "restore a backup",
            )
        ]


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
