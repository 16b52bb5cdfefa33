"""`everafter csm …`: who takes calls and when, and their calendars."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from everafter.accounts.rules import clean_email
from everafter.core.commands import read_with_connection, run_with_connection
from everafter.core.db import Connection, connection, database_url, migrate
from everafter.core.errors import InputError, NotFoundError
from everafter.core.formatting import plural
from everafter.core.holidays import knows_holidays, list_holidays
from everafter.core.i18n import format_short_date
from everafter.core.settings import load_settings
from everafter.core.tables import make_console, print_table
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

_Email = Annotated[
    str, typer.Argument(help="The CSM's email address, as given to `everafter user create`.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST_DAYS_OFF = 366


def register(app: typer.Typer) -> None:
    csm = typer.Typer(help="Manage who takes calls with suppliers, and when.", no_args_is_help=True)
    app.add_typer(csm, name="csm")
    csm.command("list")(show)
    csm.command("set")(change)
    csm.command("off")(set_days_off)
    csm.command("calendar")(set_calendar)


def show(json: _Json = False) -> None:
    """List everyone who takes calls, with hours, days off and the state of their calendar."""
    lines = read_with_connection(csm_queries.list_csm_lines)
    if json:
        typer.echo(msgspec.json.encode([_as_json(line) for line in lines]).decode())
        return
    table = Table(box=None, pad_edge=False)
    for title in (
        "email",
        "calls",
        "hours",
        "buffer",
        "holidays",
        "days off",
        "calendar",
        "booked",
    ):
        table.add_column(title, no_wrap=title == "hours")
    for line in lines:
        hours = "\n".join(_hours_of(line))
        off = ", ".join(format_short_date(day, year=False) for day in line.days_off[:3]) + (
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
    console = make_console()
    print_table(console, table)
    for line in lines:
        if line.failure:
            text = f"{line.email}: the calendar cannot be read: {line.failure}"
            console.print(Text(text, style="red"), soft_wrap=True)
        for reason in line.unread_reasons:
            text = f"{line.email}: not read in full: {reason}"
            console.print(Text(text, style="yellow"), soft_wrap=True)


def change(
    email: _Email,
    takes_calls: Annotated[
        bool | None,
        typer.Option(
            "--takes-calls/--no-calls", help="Whether suppliers can book calls with them."
        ),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(help="Working hours: 09:00-17:00; 22:00-02:00 ends after midnight."),
    ] = None,
    days: Annotated[
        str | None, typer.Option(help="Working days: mon-fri, or mon,wed,sat-sun.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Their time zone: Europe/London.")] = None,
    buffer: Annotated[
        int | None,
        typer.Option(
            metavar="MINUTES", help="Minutes kept free after each call: 0 to 120, a multiple of 15."
        ),
    ] = None,
    holidays: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Public holidays without calls: GB, GB-ENG, or none."),
    ] = None,
    json: _Json = False,
) -> None:
    """Change when somebody takes calls. Options that are left out keep their values. Booked calls
    do not change."""
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
            await calendar_queries.reset_feed(conn, line.id)
        return await _find(conn, address)

    line = run_with_connection(work)
    if json:
        typer.echo(msgspec.json.encode(_as_json(line)).decode())
        return
    calls = "takes calls" if line.takes_calls else "takes no calls; working hours:"
    buffer_text = f", {line.buffer_minutes} min free after each"
    holidays_text = f", holidays of {line.holidays}" if line.holidays else ""
    typer.echo(f"{address} {calls} {' '.join(_hours_of(line))}{buffer_text}{holidays_text}.")


def set_days_off(
    email: _Email,
    first: Annotated[str, typer.Argument(metavar="FROM", help="The first day: 2026-12-24.")],
    last: Annotated[
        str | None,
        typer.Argument(metavar="UNTIL", help="The last day; default: only the first day."),
    ] = None,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="A note; suppliers do not see it.")
    ] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove these days off.")] = False,
    json: _Json = False,
) -> None:
    """Set days without calls, in the CSM's time zone. Calls already booked on them are listed and
    not cancelled."""
    address = clean_email(email)
    begin = _day(first)
    end = _day(last) if last else begin
    if end < begin or (end - begin).days >= _MOST_DAYS_OFF:
        raise InputError(f"{end} is not within one year after {begin}")
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

    changed, booked = run_with_connection(work)
    if json:
        typer.echo(
            msgspec.json.encode(
                {"email": address, "days": changed, "off": not remove, "booked_calls": booked}
            ).decode()
        )
        return
    days_text = plural(changed, "day off", "days off")
    typer.echo(f"{address}: {days_text} {'removed' if remove else 'set'}.")
    for at in booked:
        typer.echo(
            f"A call is booked at {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC; move it if necessary.",
            err=True,
        )


def set_calendar(
    email: _Email,
    url: Annotated[
        str | None,
        typer.Argument(help="The iCalendar URL (.ics): https://…, webcal://…, webcals://…"),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the calendar and its busy times.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow a URL in your own network.")
    ] = False,
    read: Annotated[bool, typer.Option("--read", help="Read the current calendar now.")] = False,
    json: _Json = False,
) -> None:
    """Set the calendar of a CSM. Calls are not booked at its busy times. It is read now, and every
    ten minutes by `everafter work`.

    Exit code 1: it cannot be read. It is still set, and read again later.
    """
    address = clean_email(email)
    if (url is not None) + remove + read != 1:
        raise InputError("expected a URL, --read or --remove")
    if remove:
        removed = run_with_connection(lambda conn: _remove(conn, address))
        text = msgspec.json.encode({"email": address, "removed": removed}).decode()
        typer.echo(
            text if json else f"{'The calendar was removed' if removed else 'No calendar was set'}."
        )
        return
    report = asyncio.run(_set_and_read(address, url, allow_private))
    if json:
        typer.echo(msgspec.json.encode({"email": address, **msgspec.to_builtins(report)}).decode())
    elif report.failure is None:
        typer.echo(_describe_report(address, report))
    if report.failure is not None:
        if not json:
            hint = (
                "; use --allow-private to allow it"
                if "a private address" in report.failure and not allow_private
                else ""
            )
            typer.echo(f"the calendar cannot be read: {report.failure}{hint}", err=True)
        raise typer.Exit(1)


async def _set_and_read(address: str, url: str | None, allow_private: bool) -> FeedReport:
    from everafter.support.feeds import clean_feed_url  # imports an HTTP client

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
            f"no user {address}; create one with `everafter user create {address} --name NAME`"
        )
    return line


# ── input ─────────────────────────────────────────────────────────────────────────────────────


def _hours(text: str | None) -> tuple[time, time] | None:
    found = read_hours(text) if text is not None else None
    if text is not None and found is None:
        raise InputError(f"--hours: expected 09:00-17:00, got {text!r}")
    return found


def _days(text: str | None) -> list[int] | None:
    found = read_days(text) if text is not None else None
    if text is not None and found is None:
        raise InputError(f"--days: expected mon-fri or mon,wed,sat-sun, got {text!r}")
    return found


def _check_buffer(minutes: int | None) -> None:
    most = int(MOST_BUFFER.total_seconds() // 60)
    if minutes is not None and (not 0 <= minutes <= most or minutes % 15):
        raise InputError(f"--buffer: expected a multiple of 15 from 0 to {most}, got {minutes}")


def _check_zone(name: str | None) -> None:
    if name is not None and (not name or unknown_zone(name)):
        raise InputError(f"--timezone: unknown time zone {name!r}{suggest_zones(name)}")


def _holidays(code: str | None) -> str | None:
    """The normalized code; null: none."""
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
        raise InputError(f"--holidays: unknown code {code!r}{more}")
    similar = suggest(tidy, sorted(countries))
    raise InputError(
        f"--holidays: unknown code {code!r}{similar}; expected ISO 3166, such as GB or GB-ENG"
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"expected a date such as 2026-12-24, got {text!r}") from None


# ── output ────────────────────────────────────────────────────────────────────────────────────


def _hours_of(line: CsmLine) -> tuple[str, str, str]:
    """Working days, working hours and time zone."""
    hours = f"{line.work_from:%H:%M}-{line.work_until:%H:%M}"
    return write_days(line.work_days), hours, line.timezone


def _describe_report(address: str, report: FeedReport) -> str:
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
    host = urlsplit(line.calendar_url).hostname or ""  # the URL is secret
    if line.failure:
        return Text(f"{host}: failed", style="red")
    if line.read_at is None:
        return Text(f"{host}: not read yet", style="yellow")
    unread = f", {plural(line.unread, 'event')} not read in full" if line.unread else ""
    read = f"{host}: read {line.read_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC{unread}"
    return Text(read, style="yellow" if unread else "")


def _as_json(line: CsmLine) -> dict[str, object]:
    """A CSM for scripts, without the calendar's URL, which is secret."""
    found: dict[str, object] = msgspec.to_builtins(line)
    host = urlsplit(line.calendar_url).hostname if line.calendar_url else None
    del found["id"], found["calendar_url"]
    next_holidays: list[str] = []
    if line.holidays and knows_holidays(line.holidays):
        today = datetime.now(UTC).date()
        days = sorted(
            day
            for day in list_holidays(line.holidays, range(today.year, today.year + 2))
            if day >= today
        )
        next_holidays = [day.isoformat() for day in days[:5]]
    return found | {
        "work_days": write_days(line.work_days),
        "calendar_host": host,
        "next_holidays": next_holidays,
    }
