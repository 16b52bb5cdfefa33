"""`everafter demo`: generate sample data, score its history and serve it."""

import asyncio
import base64
import contextlib
import errno
import hashlib
import hmac
import os
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from everafter.accounts.passwords import hash_password, verify_password
from everafter.accounts.queries import find_credentials, upsert_user
from everafter.core.db import connection, database_url, migrate
from everafter.core.errors import ConflictError, InputError
from everafter.core.formatting import noun, plural
from everafter.core.i18n import format_clock, format_date_long, format_number, format_short_date
from everafter.core.settings import Settings, load_settings
from everafter.daily.model import RunSummary
from everafter.demo import jobs, platform_queries, queries
from everafter.demo.coach import show_tips
from everafter.demo.export import write_export
from everafter.demo.model import Market, World
from everafter.demo.queries import DemoState
from everafter.demo.rules import DAILY_DAYS, plan_moments
from everafter.demo.simulator import simulate
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.loading import load_playbook

SIGN_IN = "team@example.com"
PORT = 8100
"""Differs from the port of `everafter serve`, so that both can run at the same time."""
_PORTS_TRIED = 50
_LINE_EVERY = 10
"""Without a terminal, print a progress line after this many days."""
_COACH_KEY_ID = UUID("a15e0000-0000-4000-8000-00000000c0ac")


@dataclass(frozen=True, slots=True)
class Access:
    """The password of `SIGN_IN`, and the keys by scope that are not revoked.

    coach_key: the sample platform's, null when it is revoked.
    """

    password: str
    keys: dict[str, str]
    coach_key: str | None = None


def register(app: typer.Typer) -> None:
    @app.command("demo")
    def demo_command(
        suppliers: Annotated[
            int, typer.Option(min=20, max=20_000, help="number of suppliers")
        ] = 400,
        months: Annotated[int, typer.Option(min=4, max=36, help="length of the history")] = 12,
        host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="the next free port is used when it is in use")
        ] = PORT,
        daily: Annotated[
            int,
            typer.Option(
                min=1, max=400, help="number of days scored daily; older history is scored weekly"
            ),
        ] = DAILY_DAYS,
        seed: Annotated[int, typer.Option(min=0, help="each seed gives another platform")] = 7,
        fresh: Annotated[
            bool,
            typer.Option("--fresh", help="Delete the existing sample data and start again."),
        ] = False,
        no_serve: Annotated[
            bool, typer.Option("--no-serve", help="Only generate the data, do not serve.")
        ] = False,
        export: Annotated[
            Path | None,
            typer.Option(
                metavar="FOLDER", help="Only write the data as files for `everafter import`."
            ),
        ] = None,
    ) -> None:
        """Generate a year of sample data, score it and serve the dashboard. Takes about half a
        minute."""
        console = Console(highlight=False)
        now = datetime.now(UTC)
        world = World(now.date(), suppliers, months, seed)
        if export is not None:
            for path in write_export(simulate_world(world, now), export):
                console.print(f"wrote {escape(str(path))}", soft_wrap=True)
            return
        settings = load_settings()
        url, access = asyncio.run(_prepare(settings, world, now, console, daily=daily, fresh=fresh))
        if no_serve:
            _print_access(console, access, None)
            return
        _serve(settings, url, host, port, console, access)


def simulate_world(world: World, now: datetime) -> Market:
    """Simulate the world up to the end of the day of `now`."""
    return simulate(world.suppliers, now.date(), world.months, world.seed, anchor=world.anchor)


async def _prepare(
    settings: Settings, asked: World, now: datetime, console: Console, *, daily: int, fresh: bool
) -> tuple[str, Access]:
    playbook = load_playbook(settings)
    # in parallel with the start of PostgreSQL, in case there is no demo yet
    simulating = asyncio.create_task(asyncio.to_thread(simulate_world, asked, now))
    with _step(console, "Starting PostgreSQL"):
        url = await asyncio.to_thread(database_url, settings)
        if fresh:
            await _drop_demo(url)
        await migrate(url)
        state = await _read_state(url)
    _check_suppliers(state)
    world = state.world or asked
    if state.world and (world.suppliers, world.months, world.seed) != (
        asked.suppliers,
        asked.months,
        asked.seed,
    ):
        console.print(
            f"[yellow]The existing sample data has {plural(world.suppliers, 'supplier')},"
            f" {plural(world.months, 'month')} and seed {world.seed}, and is kept."
            " To use the given options, add --fresh.[/yellow]"
        )
    if state.world:
        console.print(
            f"Resuming the sample data of {format_date_long(world.anchor)}."
            " To start again, add --fresh."
        )
    size = f"{plural(world.suppliers, 'supplier')} over {plural(world.months, 'month')}"
    with _step(console, f"Simulating {size}"):
        market = await simulating
        if world != asked:
            market = await asyncio.to_thread(simulate_world, world, now)
    moments = plan_moments(world, state.scored_at, now, daily)
    with _history_bar(console, len(moments)) as done:
        summary = await jobs.generate(
            url, playbook, market, world, moments, state.events_until, done
        )
    if summary is None:
        async with connection(url, autocommit=True) as conn:
            await jobs.load(conn, market, world, state.events_until, now)
    else:
        await show_tips(url, playbook, summary.as_of)
    access = await _ensure_access(url, settings.secret)
    await _report(console, url, world, market, summary or state.summary)
    return url, access


async def _drop_demo(url: str) -> None:
    """Drop the schema of a demo of any version. Keeps a database with other suppliers."""
    async with connection(url, autocommit=True) as conn:
        if await queries.is_demo_or_empty(conn):
            await queries.drop_schema(conn)


async def _read_state(url: str) -> DemoState:
    async with connection(url) as conn:
        return await queries.get_demo_state(conn)


def _check_suppliers(state: DemoState) -> None:
    """Refuse to add sample data to a database with other suppliers."""
    if state.suppliers and state.world is None:
        found = plural(state.suppliers, "supplier that is", "suppliers that are")
        raise ConflictError(
            f"this database has {found} not sample data;"
            " run the demo in another folder and without EVERAFTER_DATABASE_URL:"
            " EVERAFTER_DATA=.everafter-demo everafter demo"
        )


async def _ensure_access(url: str, secret: str) -> Access:
    """Create a user and keys. They are derived from the secret, so they are the same at each start
    and not stored in plain text."""
    password = "-".join(
        _derived(secret, "password", 16)[place : place + 4] for place in range(0, 16, 4)
    )
    keys = {scope: f"ea_{scope}_demo{_derived(secret, scope, 32)}" for scope in ("ingest", "write")}
    async with connection(url) as conn:
        user = await find_credentials(conn, SIGN_IN)
        if user is None or not await verify_password(password, user.password_hash):
            hashed = await asyncio.to_thread(hash_password, password)
            await upsert_user(conn, SIGN_IN, "Robin Hale", "admin", hashed)
        active = {
            scope: key for scope, key in keys.items() if await queries.ensure_key(conn, key, scope)
        }
        await platform_queries.ensure_csms(conn)
        coach_key = await platform_queries.ensure_coach_key(conn, secret, _COACH_KEY_ID)
    return Access(password, active, coach_key)


def _derived(secret: str, purpose: str, length: int) -> str:
    digest = hmac.new(
        secret.encode(), f"everafter demo {purpose}".encode(), hashlib.sha256
    ).digest()
    return base64.b32encode(digest).decode().lower()[:length]


# ── output ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _step(console: Console, title: str) -> Generator[None]:
    """Show a spinner on a terminal, and print the time when the step is done."""
    started = datetime.now(UTC)
    with console.status(title):
        yield
    console.print(f"{title} [dim]{(datetime.now(UTC) - started).total_seconds():.1f} s[/dim]")


@contextmanager
def _history_bar(console: Console, total: int) -> Generator[Callable[[datetime], None]]:
    if not total:
        yield lambda _: None
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[day]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    started = datetime.now(UTC)
    days = f"{plural(total, 'day')} of the history"
    if not console.is_terminal:
        console.print(f"Scoring {days} ...")
    with bar:
        task = bar.add_task(f"Scoring {days}", total=total, day="importing older events")

        def done(moment: datetime) -> None:
            bar.update(task, advance=1, day=format_short_date(moment))
            place = round(bar.tasks[0].completed)
            if not console.is_terminal and place % _LINE_EVERY == 0 and place < total:
                console.print(f"  {place} of {total}: {format_date_long(moment)}")

        yield done
    seconds = (datetime.now(UTC) - started).total_seconds()
    console.print(f"Scored {days} [dim]{seconds:.1f} s[/dim]")


async def _report(
    console: Console, url: str, world: World, market: Market, summary: RunSummary | None
) -> None:
    suppliers = market.suppliers.height
    console.print(
        f"\n[bold]{format_number(suppliers)}[/bold] {noun(suppliers, 'supplier')},"
        f" {plural(market.events.height, 'event')}, {plural(world.months, 'month')} of history."
        " All of it is sample data."
    )
    if summary is not None:
        as_of = summary.as_of
        moment = f"{format_date_long(as_of)}, {format_clock(as_of)} UTC"
        console.print(f"\n[bold]Daily run of {moment}[/bold]")
        console.print(_summary_table(summary))
    async with connection(url) as conn:
        queued, replayed = await queries.count_waiting_mail(conn)
    console.print(
        f"\nThe outbox has {plural(queued, 'queued message')} and {replayed:,} of past days."
        " The demo sends none of them; see Messages in the dashboard."
    )


def _summary_table(summary: RunSummary) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("left", "right", "left", "left"):
        table.add_column(justify=column)  # pyright: ignore[reportArgumentType] a literal union
    colours = {"healthy": "green", "at_risk": "yellow", "critical": "red"}
    for risk, colour in colours.items():
        count = summary.by_risk.get(risk, 0)
        share = count / max(1, summary.suppliers)
        table.add_row(
            risk.replace("_", " "),
            f"{count:,}",
            f"{share:.0%}",
            f"[{colour}]{'█' * round(40 * share)}[/]",
        )
    results = summary.interventions
    table.add_row("", "", "", "")
    table.add_row("triggered", f"{results.triggered:,}", "", _counts(results.by_trigger))
    table.add_row(
        "holdout",
        f"{results.holdout:,}",
        "",
        "[dim]control group: no message, to measure the effect[/dim]",
    )
    skipped = {SKIP_REASONS.get(reason, reason): count for reason, count in results.skipped.items()}
    table.add_row("skipped", f"{sum(skipped.values()):,}", "", f"[dim]{_counts(skipped)}[/dim]")
    return table


def _counts(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ordered)


def _print_access(
    console: Console, access: Access, base: str | None, platform: str | None = None
) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    if base:
        table.add_row("dashboard", f"[bold]{base}[/bold]")
    table.add_row("sign in", f"[bold]{SIGN_IN}[/bold]  password [bold]{access.password}[/bold]")
    for scope, key in access.keys.items():
        table.add_row(f"{scope} key", key)
    if platform:
        table.add_row(
            "coach",
            f"[bold]{platform}[/bold]  embedded in a sample platform, as suppliers see it",
        )
    console.print()
    console.print(table, soft_wrap=True)


# ── serving ───────────────────────────────────────────────────────────────────────────────────────


def _serve(
    settings: Settings, url: str, host: str, port: int, console: Console, access: Access
) -> None:
    # imported here because an export does not need the web application (half a second)
    from everafter.app import create_app
    from everafter.server import make_server, run_server

    with contextlib.closing(bind_next(host, port, console)) as listener:
        shown = f"[{host}]" if ":" in host else host
        base = f"http://{shown}:{listener.getsockname()[1]}"
        if not (os.environ.get("EVERAFTER_BASE_URL") or os.environ.get("EVERAFTER_BASE_URL_FILE")):
            settings = replace(settings, base_url=base)
        with _platform(settings, url, host, base, access) as platform:
            _print_access(console, access, base, platform)
            console.print(
                "\n[dim]Press Ctrl+C to stop. The next start resumes this data;"
                " --fresh starts again.[/dim]"
            )
            with contextlib.suppress(KeyboardInterrupt):
                application = create_app(settings, url)
                run_server(make_server(application), listener, settings, application)
    console.print("Stopped.")


@contextmanager
def _platform(
    settings: Settings, url: str, host: str, base: str, access: Access
) -> Generator[str | None]:
    """Serve the sample platform in a thread, on the next free port. Yields its URL, or null when
    its keys are revoked."""
    from everafter.demo.platform_pages import Wiring, create_platform
    from everafter.server import make_server

    if access.coach_key is None or "ingest" not in access.keys:
        yield None
        return
    port = int(base.rpartition(":")[2])
    with contextlib.closing(bind_next(host, port + 1, Console(quiet=True))) as listener:
        server = make_server(
            create_platform(
                url,
                Wiring(settings.base_url, access.keys["ingest"], access.coach_key),
                load_playbook(settings),
            )
        )
        thread = Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="platform", daemon=True
        )
        thread.start()
        try:
            yield f"{base.rpartition(':')[0]}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)


def bind_next(host: str, port: int, console: Console) -> socket.socket:
    """Bind a socket to `port` or the next free port, and print which one if it differs.

    Raises:
        InputError: this machine does not have the address, or none of the next ports is free.
    """
    from everafter.server import bind

    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)):
        if _is_in_use(host, candidate):
            continue
        if candidate != port:
            console.print(f"[yellow]Port {port} is in use; using {candidate}.[/yellow]")
        return bind(host, candidate)
    raise InputError(
        f"cannot listen on {host}: the ports {port} to {port + _PORTS_TRIED - 1} are all in use;"
        " choose another with --port"
    )


def _is_in_use(host: str, port: int) -> bool:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise InputError(
            f"cannot listen on {host} port {port}: {error.strerror or error}"
        ) from error
    return False
