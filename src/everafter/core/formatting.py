"""Numbers and times in words, the same on every page."""

from datetime import UTC, date, datetime

_MINUS = "−"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 client`, `2 clients`; thousands are set apart.

    >>> plural(1, "client"), plural(1200, "client"), plural(0, "reply", "replies")
    ('1 client', '1,200 clients', '0 replies')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def signed(value: float, decimals: int = 0) -> str:
    """With its sign, and a true minus; what rounds to nothing has none.

    >>> signed(3.4), signed(-2.6), signed(-0.2), signed(-0.25, 1)
    ('+3', '−3', '0', '−0.2')
    """
    text = f"{abs(value):.{decimals}f}"
    if not text.strip("0."):
        return text
    return ("+" if value > 0 else _MINUS) + text


def money(minor: int | None) -> str:
    """Minor units as an amount; the currency is the platform's own.

    >>> money(490050), money(None)
    ('4,900.50', '–')
    """
    return "–" if minor is None else f"{minor / 100:,.2f}"


def percent(share: float | None) -> str:
    """A share of one.

    >>> percent(0.404), percent(None)
    ('40 %', '–')
    """
    return "–" if share is None else f"{share * 100:.0f} %"


def day(value: date | datetime | None, today: date | None = None) -> str:
    """`22 Nov`, with the year when it is not that of `today`.

    >>> day(date(2026, 11, 22), date(2026, 12, 1)), day(date(2025, 1, 2), date(2026, 12, 1))
    ('22 Nov', '2 Jan 2025')
    """
    if value is None:
        return "–"
    on = value.astimezone(UTC).date() if isinstance(value, datetime) else value
    return f"{on.day} {on:%b}" if today and on.year == today.year else f"{on.day} {on:%b %Y}"


def moment(value: datetime | None) -> str:
    """`22 Nov 2026, 05:00 UTC`."""
    return "–" if value is None else f"{value.day} {value.astimezone(UTC):%b %Y, %H:%M} UTC"


def clock(value: datetime | None, today: date | None = None) -> str:
    """The day and the time in UTC, where the zone is said elsewhere: `22 Nov, 05:00`."""
    return "–" if value is None else f"{day(value, today)}, {value.astimezone(UTC):%H:%M}"


def ago(value: datetime | None, now: datetime) -> str:
    """How long since, in the one unit that fits; whole days are counted by the calendar.

    >>> now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    >>> ago(datetime(2026, 11, 22, 9, tzinfo=UTC), now), ago(datetime(2026, 11, 21, 23, tzinfo=UTC), now)
    ('today', 'yesterday')
    >>> ago(datetime(2026, 11, 2, tzinfo=UTC), now), ago(datetime(2024, 11, 2, tzinfo=UTC), now)
    ('20 days', '2 years')
    """
    if value is None:
        return "never"
    days = (now.astimezone(UTC).date() - value.astimezone(UTC).date()).days
    if days < 2:
        return "today" if days <= 0 else "yesterday"
    if days < 60:
        return f"{days} days"
    return f"{days // 30} months" if days < 730 else f"{days // 365} years"


def said(name: str) -> str:
    """A name from the playbook or the platform as words.

    >>> said("client_import"), said("no_login_7_days")
    ('client import', 'no login 7 days')
    """
    return name.replace("_", " ").strip()


def sentence(text: str) -> str:
    """The same with a capital first email.

    >>> sentence("no login 7 days")
    'No login 7 days'
    """
    return text[:1].upper() + text[1:]


FILTERS = {
    "plural": plural,
    "signed": signed,
    "money": money,
    "percent": percent,
    "day": day,
    "moment": moment,
    "clock": clock,
    "ago": ago,
    "said": said,
    "sentence": sentence,
}
