"""`everafter csm …`: who takes calls, when, and where their own calendar is read."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from everafter.accounts.rules import clean_email
from everafter.core.db import Connection, connection, database_url, migrate
from everafter.core.errors import InputError, NotFoundError
from everafter.core.formatting import plural
from everafter.core.holidays import knows_holidays, list_holidays
from everafter.core.settings import load_settings
from everafter.core.zones import find_zone
from everafter.support import calendar_queries, csm_queries
from everafter.support.jobs import read_calendar
from everafter.support.model import MOST_BUFFER, CsmLine, FeedReport
from everafter.support.rules import (
    read_days,
    read_hours,
    suggest,
    suggest_zones,
    unknown_zone,
    write_days,
)

T = TypeVar("T")
_Email = Annotated[
    str, typer.Argument(help="The CSM's address, as `everafter user create` was told.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST_DAYS_OFF = 366


def register(app: typer.Typer) -> None:
    csm = typer.Typer(help="Who takes calls with suppliers, and when.", no_args_is_help=True)
    app.add_typer(csm, name="csm")
    csm.command("list")(show)
    csm.command("set")(change)
    csm.command("off")(take_off)
    csm.command("calendar")(set_calendar)


def show(json: _Json = False) -> None:
    """Everyone who takes calls: hours, days off, and how their calendar is read."""
    lines = _with_connection(csm_queries.list_csm_lines)
    if json:
        typer.echo(msgspec.json.encode([_reported(line) for line in lines]).decode())
        return
    table = Table(box=None, pad_edge=False)
    for title in (
        "e-mail",
        "calls",
        "hours",
        "buffer",
        "holidays",
        "days off",
        "calendar",
        "booked",
    ):
        table.add_column(title, overflow="fold", no_wrap=title == "hours")
    for line in lines:
        span = f"{line.work_from:%H:%M}-{line.work_until:%H:%M}"
        hours = f"{write_days(line.work_days)}\n{span}\n{line.timezone}"
        off = ", ".join(f"{day:%-d %b}" for day in line.days_off[:3]) + (
            " …" if len(line.days_off) > 3 else ""
        )
        table.add_row(
            escape(line.email),
            "yes" if line.takes_calls else "no",
            escape(hours),
            f"{line.buffer_minutes} min",
            line.holidays or "–",
            off or "–",
            _calendar_state(line),
            str(line.calls_ahead),
        )
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for line in lines:
        if line.failure:
            console.print(
                f"[red]{escape(line.email)}: the calendar cannot be read:"
                f" {escape(line.failure)}[/red]"
            )
        for reason in line.unread_reasons:
            console.print(
                f"[yellow]{escape(line.email)}: not read in full: {escape(reason)}[/yellow]"
            )


def change(
    email: _Email,
    takes_calls: Annotated[
        bool | None,
        typer.Option("--takes-calls/--no-calls", help="Whether suppliers can book them."),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(help="From and until: 09:00-17:00; 22:00-02:00 runs past midnight."),
    ] = None,
    days: Annotated[
        str | None, typer.Option(help="Working days: mon-fri, or mon,wed,sat-sun.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Their time zone: Europe/London.")] = None,
    buffer: Annotated[
        int | None, typer.Option(help="Minutes kept free after each call: 0 to 120, in quarters.")
    ] = None,
    holidays: Annotated[
        str | None, typer.Option(help="Public holidays to keep: GB, GB-ENG; none for none.")
    ] = None,
    json: _Json = False,
) -> None:
    """Change when somebody takes calls; what is not named stays. Calls that are booked stay as they
    are."""
    address = clean_email(email)
    clocks, weekdays = _hours(hours), _days(days)
    _check_buffer(buffer)
    _check_zone(timezone)
    code = _holidays(holidays)

    async def work(conn: Connection) -> CsmLine:
        line = await _find(conn, address)
        await csm_queries.update_csm(
            conn,
            line.id,
            takes_calls=line.takes_calls if takes_calls is None else takes_calls,
            timezone=timezone or line.timezone,
            work_from=clocks[0] if clocks else line.work_from,
            work_until=clocks[1] if clocks else line.work_until,
            work_days=weekdays or line.work_days,
            buffer_minutes=line.buffer_minutes if buffer is None else buffer,
            holidays=line.holidays if holidays is None else code,
        )
        if timezone and timezone != line.timezone:
            await calendar_queries.forget_reading(conn, line.id)
        return await _find(conn, address)

    line = _with_connection(work)
    if json:
        typer.echo(msgspec.json.encode(_reported(line)).decode())
        return
    calls = "takes calls" if line.takes_calls else "takes no calls; their hours are"
    held = f", {line.buffer_minutes} min free after each"
    kept = f", holidays of {line.holidays}" if line.holidays else ""
    when = (
        f"{write_days(line.work_days)} {line.work_from:%H:%M}-{line.work_until:%H:%M}"
        f" {line.timezone}"
    )
    typer.echo(f"{address} {calls} {when}{held}{kept}.")


def take_off(
    email: _Email,
    first: Annotated[str, typer.Argument(metavar="FROM", help="The first day: 2026-12-24.")],
    last: Annotated[
        str | None,
        typer.Argument(metavar="[UNTIL]", help="The last day; the first alone when left out."),
    ] = None,
    reason: Annotated[str, typer.Option(help="For colleagues; suppliers do not see it.")] = "",
    remove: Annotated[
        bool, typer.Option("--remove", help="They work on these days after all.")
    ] = False,
    json: _Json = False,
) -> None:
    """Days on which somebody takes no calls, in their own time zone. Calls booked for them are
    listed, and stay."""
    address = clean_email(email)
    begin = _day(first)
    end = _day(last) if last else begin
    if end < begin or (end - begin).days >= _MOST_DAYS_OFF:
        raise InputError(f"{end} is not within a year after {begin}")
    days = [begin + timedelta(days=step) for step in range((end - begin).days + 1)]

    async def work(conn: Connection) -> tuple[int, list[datetime]]:
        line = await _find(conn, address)
        if remove:
            return await csm_queries.delete_days_off(conn, line.id, days), []
        await csm_queries.insert_days_off(conn, line.id, days, reason.strip())
        start, until = (
            datetime.combine(day, time(), find_zone(line.timezone))
            for day in (begin, end + timedelta(days=1))
        )
        return len(days), await csm_queries.list_calls_between(conn, line.id, start, until)

    changed, booked = _with_connection(work)
    if json:
        typer.echo(
            msgspec.json.encode(
                {"email": address, "days": changed, "off": not remove, "booked_calls": booked}
            ).decode()
        )
        return
    typer.echo(
        f"{address} {'works again on' if remove else 'is off for'} {plural(changed, 'day')}."
    )
    for at in booked:
        typer.echo(
            f"There is a call booked at {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC; move it, or it"
            " stays.",
            err=True,
        )


def set_calendar(
    email: _Email,
    url: Annotated[
        str | None,
        typer.Argument(help="Its address (iCalendar, .ics): https://…, webcal://…, webcals://…"),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Read it no more, and forget what it said.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="The address may lie inside your own network.")
    ] = False,
    read: Annotated[bool, typer.Option("--read", help="Read the one that is set, now.")] = False,
    json: _Json = False,
) -> None:
    """Set a CSM's own calendar, whose busy times are not offered; it is read now and every ten
    minutes by `everafter work`.

    Exit code 1 when it cannot be read; it stays set, and is tried again.
    """
    address = clean_email(email)
    if (url is not None) + remove + read != 1:
        raise InputError("give an address, or --read, or --remove")
    if remove:
        removed = _with_connection(lambda conn: _remove(conn, address))
        text = msgspec.json.encode({"email": address, "removed": removed}).decode()
        typer.echo(
            text
            if json
            else f"{'The calendar is read no more' if removed else 'No calendar was set'}."
        )
        return
    report = asyncio.run(_set_and_read(address, url, allow_private))
    if json:
        typer.echo(msgspec.json.encode({"email": address, **msgspec.to_builtins(report)}).decode())
    elif report.failure is None:
        typer.echo(_found(address, report))
    if report.failure is not None:
        if not json:
            hint = (
                "; --allow-private permits it"
                if "inside a network" in report.failure and not allow_private
                else ""
            )
            typer.echo(f"the calendar cannot be read: {report.failure}{hint}", err=True)
        raise typer.Exit(1)


async def _set_and_read(address: str, url: str | None, allow_private: bool) -> FeedReport:
    from everafter.support.feeds import clean_feed_url  # an HTTP client that few commands need

    where = database_url(load_settings())
    await migrate(where)
    checked = clean_feed_url(url) if url is not None else None
    async with connection(where) as conn:
        if checked is not None:
            await calendar_queries.upsert_feed(
                conn, (await _find(conn, address)).id, checked, allow_private=allow_private
            )
        feed = await calendar_queries.get_feed(conn, address)
    return await read_calendar(
        lambda: connection(where), msgspec.structs.replace(feed, worked_out_at=None)
    )


async def _remove(conn: Connection, address: str) -> bool:
    return await calendar_queries.delete_feed(conn, (await _find(conn, address)).id)


async def _find(conn: Connection, address: str) -> CsmLine:
    line = await csm_queries.find_csm_line(conn, address)
    if line is None:
        raise NotFoundError(
            f"there is no user {address}; `everafter user create {address} --name NAME` adds one"
        )
    return line


# ── what was typed ────────────────────────────────────────────────────────────────


def _hours(text: str | None) -> tuple[time, time] | None:
    found = read_hours(text) if text is not None else None
    if text is not None and found is None:
        raise InputError(f"--hours: {text!r} is not like 09:00-17:00")
    return found


def _days(text: str | None) -> list[int] | None:
    found = read_days(text) if text is not None else None
    if text is not None and found is None:
        raise InputError(f"--days: {text!r} is not like mon-fri or mon,wed,sat-sun")
    return found


def _check_buffer(minutes: int | None) -> None:
    most = int(MOST_BUFFER.total_seconds() // 60)
    if minutes is not None and (not 0 <= minutes <= most or minutes % 15):
        raise InputError(
            f"--buffer: {minutes} is not a number of quarters of an hour: 0, 15, 30 … {most}"
        )


def _check_zone(name: str | None) -> None:
    if name is not None and (not name or unknown_zone(name)):
        raise InputError(f"--timezone: {name!r} is not known{suggest_zones(name)}")


def _holidays(code: str | None) -> str | None:
    """The code as it is stored; null for none."""
    if code is None or code.strip().lower() in {"none", ""}:
        return None
    tidy = code.strip().upper()
    if knows_holidays(tidy):
        return tidy
    from holidays import list_supported_countries

    countries = list_supported_countries(include_aliases=False)
    country = tidy.partition("-")[0]
    if country in countries:
        there = [f"{country}-{part}" for part in countries[country]]
        near = suggest(tidy, there)
        more = near or (
            f"; {country} has {', '.join(there[:12])}{' …' if len(there) > 12 else ''}"
            if there
            else f"; use {country}"
        )
        raise InputError(f"--holidays: {code!r} is not known{more}")
    raise InputError(
        f"--holidays: {code!r} is not known{suggest(tidy, sorted(countries))}; it is ISO 3166: GB,"
        " or GB-ENG"
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not a day like 2026-12-24") from None


# ── what is said ──────────────────────────────────────────────────────────────────


def _found(address: str, report: FeedReport) -> str:
    unread = (
        f"; {plural(report.unread, 'event')} could not be read in full: {'; '.join(report.reasons)}"
        if report.unread
        else ""
    )
    busy = f"{plural(report.busy, 'busy time')} in the next 100 days"
    return f"The calendar of {address} has {plural(report.events, 'event')}: {busy}{unread}."


def _calendar_state(line: CsmLine) -> Text:
    if line.calendar_url is None:
        return Text("–")
    host = urlsplit(line.calendar_url).hostname or ""  # the whole address is a secret
    if line.failure:
        return Text(f"{host}: not read", style="red")
    if line.read_at is None:
        return Text(f"{host}: not read yet", style="yellow")
    unread = f", {plural(line.unread, 'event')} not read in full" if line.unread else ""
    read = f"{host}: read {line.read_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{unread}"
    return Text(read, style="yellow" if unread else "")


def _reported(line: CsmLine) -> dict[str, object]:
    """As scripts get it: without the calendar's address, which opens it."""
    reported: dict[str, object] = msgspec.to_builtins(line)
    host = urlsplit(line.calendar_url).hostname if line.calendar_url else None
    del reported["id"], reported["calendar_url"]
    next_holidays: list[str] = []
    if line.holidays and knows_holidays(line.holidays):
        today = datetime.now(UTC).date()
        days = sorted(
            day
            for day in list_holidays(line.holidays, range(today.year, today.year + 2))
            if day >= today
        )
        next_holidays = [day.isoformat() for day in days[:5]]
    return reported | {
        "work_days": write_days(line.work_days),
        "calendar_host": host,
        "next_holidays": next_holidays,
    }


def _with_connection(work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        url = database_url(load_settings())
        await migrate(url)
        async with connection(url) as conn:
            return await work(conn)

    return asyncio.run(run())
