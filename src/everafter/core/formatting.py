"""Numbers and times on the team's pages, which are in English."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from everafter.core.i18n import (
    choose_form,
    format_clock,
    format_clocks,
    format_date_long,
    format_day_name,
    format_month,
    format_number,
    format_short_date,
    format_weekday,
)

_MINUS = "−"
_NONE = "–"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "client"), plural(1200, "client"), plural(0, "reply", "replies")
    ('1 client', '1,200 clients', '0 replies')
    """
    return f"{format_number(count)} {noun(count, one, many)}"


def noun(count: float, one: str, many: str | None = None) -> str:
    """The noun that follows a count.

    >>> noun(1, "client"), noun(0.5, "hour"), noun(0, "reply", "replies")
    ('client', 'hours', 'replies')
    """
    return choose_form(count, (one, many or one + "s"))


def signed(value: float, decimals: int = 0) -> str:
    """A difference with its sign; one that rounds to zero has none.

    >>> signed(3.4), signed(-2.6), signed(-0.2), signed(-0.25, 1)
    ('+3', '−3', '0', '−0.2')
    """
    text = format_number(abs(value), decimals=decimals)
    if not text.strip("0."):
        return text
    return ("+" if value > 0 else _MINUS) + text


def money(minor: int | None) -> str:
    """Minor units as an amount in the platform's own currency.

    >>> money(490050), money(None)
    ('4,900.50', '–')
    """
    return _NONE if minor is None else format_number(minor / 100, decimals=2)


def percent(share: float | None) -> str:
    """A share of one in whole percent.

    >>> percent(0.404), percent(None)
    ('40 %', '–')
    """
    return _NONE if share is None else f"{format_number(share * 100)} %"


def day(value: date | datetime | None, today: date | None = None) -> str:
    """A date, with the year unless it is that of `today`.

    >>> day(date(2026, 11, 22), date(2026, 12, 1)), day(date(2025, 1, 2), date(2026, 12, 1))
    ('22 Nov', '2 Jan 2025')
    """
    if value is None:
        return _NONE
    on = value.astimezone(UTC).date() if isinstance(value, datetime) else value
    return format_short_date(on, year=not (today and on.year == today.year))


def month(name: str) -> str:
    """A month from its ISO name.

    >>> month("2026-11")
    'Nov 2026'
    """
    return format_month(date.fromisoformat(f"{name}-01"))


def moment(value: datetime | None) -> str:
    """A date and time in UTC: `22 Nov 2026, 05:00 UTC`."""
    return _NONE if value is None else f"{clock(value)} UTC"


def clock(value: datetime | None, today: date | None = None) -> str:
    """A date and time in UTC, where the zone is named elsewhere: `22 Nov, 05:00`."""
    if value is None:
        return _NONE
    return f"{day(value, today)}, {format_clock(value.astimezone(UTC))}"


def ago(value: datetime | None, now: datetime) -> str:
    """How long ago, in one unit. Today and yesterday are calendar days; longer times are in whole
    days of 24 hours, as the signals are written in emails and the intervention log.

    >>> now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    >>> [ago(datetime(2026, 11, on, 9, tzinfo=UTC), now) for on in (22, 21)]
    ['today', 'yesterday']
    >>> [ago(datetime(2026, 11, 2, hour, tzinfo=UTC), now) for hour in (12, 13)]
    ['20 days', '19 days']
    >>> [ago(datetime(*day, 13, tzinfo=UTC), now) for day in ((2026, 11, 20), (2024, 11, 2))]
    ['2 days', '2 years']
    """
    if value is None:
        return "never"
    days = (now.astimezone(UTC).date() - value.astimezone(UTC).date()).days
    if days < 2:
        return "today" if days <= 0 else "yesterday"
    days = max(2, (now - value).days)
    if days < 60:
        return plural(days, "day")
    return plural(days // 30, "month") if days < 730 else plural(days // 365, "year")


def format_period(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """A time of one day in a time zone: `Tuesday 24 November 2026, 14:30–14:45`."""
    begin, until = start.astimezone(zone), end.astimezone(zone)
    return f"{format_weekday(begin, year=True)}, {format_clocks(begin, until)}"


def format_zone(zone: ZoneInfo, at: datetime) -> str:
    """A time zone with its offset: `Europe/Berlin, UTC+1`; only `UTC` for UTC."""
    if zone.key == "UTC":
        return "UTC"
    offset = at.astimezone(zone).utcoffset() or timedelta()
    minutes = int(offset.total_seconds() // 60)
    hours, rest = divmod(abs(minutes), 60)
    sign, rest_text = ("−" if minutes < 0 else "+"), (f":{rest:02d}" if rest else "")
    return f"{zone.key.replace('_', ' ')}, UTC{sign}{hours}{rest_text}"


def format_local(at: datetime, zone: ZoneInfo, now: datetime) -> str:
    """A time in a time zone, with the day relative to `now` if it is near: `Mon 23 Nov, 16:30`,
    `today, 16:30`. The year is included if it is not the current one."""
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    near = {
        today: "today",
        today + timedelta(days=1): "tomorrow",
        today - timedelta(days=1): "yesterday",
    }
    on = near.get(local.date()) or f"{format_day_name(local)} {day(local.date(), today)}"
    return f"{on}, {format_clock(local)}"


def format_duration(seconds: float) -> str:
    """A duration in minutes and hours.

    >>> format_duration(30), format_duration(1500), format_duration(7500), format_duration(93600)
    ('1 min', '25 min', '2 h 05 min', '26 h')
    """
    minutes = max(1, round(seconds / 60)) if seconds > 0 else 0
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours >= 10 or not rest:
        return f"{format_number(hours)} h"
    return f"{hours} h {rest:02d} min"


def format_utc(value: datetime) -> str:
    """A UTC time in ISO 8601.

    >>> format_utc(datetime(2026, 11, 24, 14, 30, tzinfo=UTC))
    '2026-11-24T14:30:00Z'
    """
    return value.isoformat().replace("+00:00", "Z")


_SPELLINGS = {
    **{word.lower(): word for word in ("API", "CSM", "CSV", "DJ", "MRR", "PDF", "SMS", "URL")},
    "lets": "let’s",
}
_DAY_NUMBER = re.compile(r"(days?|weeks?|months?|years?)(\d+)")


def humanize(name: str) -> str:
    """A name from the playbook or the platform, with spaces. Abbreviations are in capitals.

    >>> humanize("client_import"), humanize("no_login_7_days"), humanize("call_for_csm")
    ('client import', 'no login 7 days', 'call for CSM')
    >>> humanize("onboarding_day3_missed"), humanize("lets_get_you_started")
    ('onboarding day 3 missed', 'let’s get you started')
    """
    words = name.replace("_", " ").strip().split(" ")
    return " ".join(_SPELLINGS.get(word) or _DAY_NUMBER.sub(r"\1 \2", word) for word in words)


def sentence(text: str) -> str:
    """A text whose first word is capitalized.

    >>> sentence("no login 7 days")
    'No login 7 days'
    """
    return text[:1].upper() + text[1:]


FILTERS = {
    "plural": plural,
    "noun": noun,
    "signed": signed,
    "money": money,
    "percent": percent,
    "day": day,
    "month": month,
    "format_date_long": format_date_long,
    "format_clock": format_clock,
    "moment": moment,
    "clock": clock,
    "ago": ago,
    "humanize": humanize,
    "sentence": sentence,
}
