"""`everafter demo`: a platform of sample data, its history scored, served."""

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
from everafter.core.settings import Settings, load_settings
from everafter.daily.model import RunSummary
from everafter.demo import jobs, platform_queries, queries
from everafter.demo.export import write_export
from everafter.demo.model import Market, World
from everafter.demo.queries import DemoState
from everafter.demo.rules import DAILY_DAYS, plan_moments
from everafter.demo.simulator import simulate
from everafter.interventions.model import SKIP_REASONS
from everafter.playbook.loading import load_playbook

SIGN_IN = "team@example.com"
PORT = 8100
"""Not the port of `everafter serve`, so that both can run side by side."""
_PORTS_TRIED = 50
_LINE_EVERY = 10
"""Where there is no terminal, a line is printed every so many days."""
_COACH_KEY_ID = UUID("a15e0000-0000-4000-8000-00000000c0ac")


@dataclass(frozen=True, slots=True)
class Access:
    """How to get in: the password of `SIGN_IN`, and keys by scope (those that were not revoked).

    coach_key: the platform's, null when it was revoked.
    """

    password: str
    keys: dict[str, str]
    coach_key: str | None = None


def register(app: typer.Typer) -> None:
    @app.command("demo")
    def demo_command(
        suppliers: Annotated[
            int, typer.Option(min=20, max=20_000, help="how many suppliers the platform has")
        ] = 400,
        months: Annotated[
            int, typer.Option(min=4, max=36, help="how far its history goes back")
        ] = 12,
        host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
        port: Annotated[
            int, typer.Option(min=0, max=65535, help="the next free one is taken when it is busy")
        ] = PORT,
        daily: Annotated[
            int,
            typer.Option(
                min=1, max=400, help="how many of the last days are scored each; older ones weekly"
            ),
        ] = DAILY_DAYS,
        seed: Annotated[int, typer.Option(min=0, help="another seed is another platform")] = 7,
        fresh: Annotated[
            bool,
            typer.Option("--fresh", help="Delete the sample data that is there and start again."),
        ] = False,
        no_serve: Annotated[
            bool, typer.Option("--no-serve", help="Do not serve at the end.")
        ] = False,
        export: Annotated[
            Path | None,
            typer.Option(
                metavar="FOLDER", help="Only write the platform's export, for `everafter import`."
            ),
        ] = None,
    ) -> None:
        """Show Everafter with a year of sample data, scored and served with a dashboard; takes
        about half a minute."""
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
    """The world as it is at `now`, its day told to the end."""
    return simulate(world.suppliers, now.date(), world.months, world.seed, anchor=world.anchor)


async def _prepare(
    settings: Settings, asked: World, now: datetime, console: Console, *, daily: int, fresh: bool
) -> tuple[str, Access]:
    playbook = load_playbook(settings)
    # most often there is no demo yet, and PostgreSQL takes as long to start as the simulation does
    simulating = asyncio.create_task(asyncio.to_thread(simulate_world, asked, now))
    with _step(console, "Starting PostgreSQL"):
        url = await asyncio.to_thread(database_url, settings)
        if fresh:
            await _forget(url)
        await migrate(url)
        state = await _find(url)
    _refuse_foreign(state)
    world = state.world or asked
    if state.world and (world.suppliers, world.months, world.seed) != (
        asked.suppliers,
        asked.months,
        asked.seed,
    ):
        console.print(
            f"[yellow]The sample data that is there has {world.suppliers} suppliers, {world.months} months and seed {world.seed},"
            " and is used as it is; --fresh starts again with the options given.[/yellow]"
        )
    if state.world:
        console.print(
            f"Resuming the sample data of {world.anchor:%d %B %Y} with what has happened since; --fresh starts again."
        )
    with _step(console, f"Simulating {world.suppliers} suppliers over {world.months} months"):
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
    access = await _let_in(url, settings.secret)
    await _report(console, url, world, market, summary or state.summary)
    return url, access


async def _forget(url: str) -> None:
    """Take a demo out with its tables, whichever version made them; what holds anybody else's
    suppliers stays."""
    async with connection(url, autocommit=True) as conn:
        if await queries.is_demo_or_empty(conn):
            await queries.drop_schema(conn)


async def _find(url: str) -> DemoState:
    async with connection(url) as conn:
        return await queries.get_demo_state(conn)


def _refuse_foreign(state: DemoState) -> None:
    """Never mix invented suppliers with real ones."""
    if state.suppliers and state.world is None:
        raise ConflictError(
            f"this database holds {state.suppliers:,} suppliers that are not the demo's, and the demo must not mix with them;"
            " give it a place of its own: EVERAFTER_DATA=.everafter-demo (and no EVERAFTER_DATABASE_URL) everafter demo"
        )


async def _let_in(url: str, secret: str) -> Access:
    """A sign-in and keys that are the same at every start of this installation, and kept nowhere in
    clear."""
    password = "-".join(
        _derived(secret, "password", 16)[place : place + 4] for place in range(0, 16, 4)
    )
    keys = {scope: f"ea_{scope}_demo{_derived(secret, scope, 32)}" for scope in ("ingest", "write")}
    async with connection(url) as conn:
        there = await find_credentials(conn, SIGN_IN)
        if there is None or not await verify_password(password, there.password_hash):
            hashed = await asyncio.to_thread(hash_password, password)
            await upsert_user(conn, SIGN_IN, "Robin Hale", "admin", hashed)
        live = {
            scope: key for scope, key in keys.items() if await queries.ensure_key(conn, key, scope)
        }
        await platform_queries.ensure_csms(conn)
        coach_key = await platform_queries.ensure_coach_key(conn, secret, _COACH_KEY_ID)
    return Access(password, live, coach_key)


def _derived(secret: str, purpose: str, length: int) -> str:
    digest = hmac.new(
        secret.encode(), f"everafter demo {purpose}".encode(), hashlib.sha256
    ).digest()
    return base64.b32encode(digest).decode().lower()[:length]


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _step(console: Console, title: str) -> Generator[None]:
    """A spinner on a terminal; elsewhere a line when it is done."""
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
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    started = datetime.now(UTC)
    days = f"{total} {'day' if total == 1 else 'days'} of the history"
    if not console.is_terminal:
        console.print(f"Scoring {days} ...")
    with bar:
        task = bar.add_task(f"Scoring {days}", total=total, day="importing what came before")

        def done(moment: datetime) -> None:
            bar.update(task, advance=1, day=f"{moment.day} {moment:%b %Y}")
            place = round(bar.tasks[0].completed)
            if not console.is_terminal and place % _LINE_EVERY == 0 and place < total:
                console.print(f"  {place} of {total}: {moment.day} {moment:%B %Y}")

        yield done
    seconds = (datetime.now(UTC) - started).total_seconds()
    console.print(f"Scored {days} [dim]{seconds:.1f} s[/dim]")


async def _report(
    console: Console, url: str, world: World, market: Market, summary: RunSummary | None
) -> None:
    console.print(
        f"\n[bold]{market.suppliers.height:,}[/bold] suppliers, {market.events.height:,} events, {world.months} months of history"
        " up to now; all of it is invented."
    )
    if summary is not None:
        console.print(f"\n[bold]The run of {summary.as_of:%A, %d %B %Y, %H:%M} UTC[/bold]")
        console.print(_summary_table(summary))
    async with connection(url) as conn:
        queued, replayed = await queries.count_waiting_mail(conn)
    console.print(
        f"\n{queued:,} messages wait in the outbox and {replayed:,} of past days are on record there;"
        " the demo sends nothing: read them in the dashboard under Messages."
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
        "in the holdout",
        f"{results.holdout:,}",
        "",
        "[dim]left alone on purpose, to see what helps[/dim]",
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
            "the coach",
            f"[bold]{platform}[/bold]  on a platform's own pages, as its suppliers see it",
        )
    console.print()
    console.print(table, soft_wrap=True)


# ── serving ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _serve(
    settings: Settings, url: str, host: str, port: int, console: Console, access: Access
) -> None:
    # the web application takes half a second to import, which an export or a test need not wait for
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
                "\n[dim]Ctrl+C stops it; the next start goes on from there. --fresh starts again with new data.[/dim]"
            )
            with contextlib.suppress(KeyboardInterrupt):
                application = create_app(settings, url)
                run_server(make_server(application), listener, settings, application)
    console.print("Stopped.")


@contextmanager
def _platform(
    settings: Settings, url: str, host: str, base: str, access: Access
) -> Generator[str | None]:
    """A platform's pages on the next free port, in a thread of their own, until the block ends;
    null when its keys are gone."""
    from everafter.demo.platform_pages import Wiring, create_platform
    from everafter.server import make_server

    if access.coach_key is None or "ingest" not in access.keys:
        yield None
        return
    port = int(base.rpartition(":")[2])
    with contextlib.closing(bind_next(host, port + 1, Console(quiet=True))) as listener:
        server = make_server(
            create_platform(url, Wiring(settings.base_url, access.keys["ingest"], access.coach_key))
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
    """A socket on that port, or on the next free one, which is said.

    Raises:
        InputError: the address is not ours, or no port near is free.
    """
    from everafter.server import bind

    for candidate in range(port, min(port + _PORTS_TRIED, 65_536)):
        if _is_taken(host, candidate):
            continue
        if candidate != port:
            console.print(f"[yellow]Port {port} is taken; using {candidate}.[/yellow]")
        return bind(host, candidate)
    raise InputError(
        f"cannot listen on {host}: the ports {port} to {port + _PORTS_TRIED - 1} are all taken; name one with --port"
    )


def _is_taken(host: str, port: int) -> bool:
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
