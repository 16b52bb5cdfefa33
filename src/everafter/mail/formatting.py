"""Numbers in words: what a template says of one client, of none, of nine days. Pure."""

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import polars as pl

from everafter.core.texts import clean_line
from everafter.core.zones import find_zone
from everafter.mail.model import RenderError
from everafter.signals.model import SIGNAL_SCHEMA

CALL_FACTS = (
    *(
        "starts_at",
        "ends_at",
        "timezone",
        "csm_name",
        "topic",
        "ics_url",
        "manage_url",
        "was_starts_at",
    ),
    *("call_title", "change", "reason", "supplier_name", "supplier_url"),  # of what CSMs are told
)
"""What a booked call is told with, beside signals; times are ISO 8601."""

_LONGEST_TEXT = 200
_LONGEST_NAME = 80
_LONGEST_URL = 2000
_LONGEST_STEP = 400
_PATH = re.compile(r"/(?![/\\])[^\s\\\x00-\x1f\x7f]*")
_WHOLE_ADDRESS = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class VendorWords:
    """How a vendor type is addressed. a: with its article; form: what it would ask its clients
    first."""

    a: str
    form: str


VENDOR_WORDS: dict[str, VendorWords] = {
    "photographer": VendorWords("a photographer", "shot list"),
    "videographer": VendorWords("a videographer", "list of moments to film"),
    "dj": VendorWords("a DJ", "song list"),
    "band": VendorWords("a band", "song list"),
    "venue": VendorWords("a venue", "questionnaire about the day and the room"),
    "florist": VendorWords("a florist", "flower brief"),
    "caterer": VendorWords("a caterer", "menu and allergies form"),
    "planner": VendorWords("a planner", "planning questionnaire"),
    "cake": VendorWords("a cake maker", "flavours and allergies form"),
    "celebrant": VendorWords("a celebrant", "ceremony questionnaire"),
}
_ANY_VENDOR_WORDS = VendorWords("a wedding supplier", "questionnaire about the day")


def vendor_words(vendor_type: object) -> VendorWords:
    """The words for a vendor type; an unknown or null one gets words that fit every vendor type."""
    return VENDOR_WORDS.get(str(vendor_type), _ANY_VENDOR_WORDS)


def clean_text(value: str, longest: int = _LONGEST_TEXT) -> str:
    """`value` as `clean_line` makes it: what is left cannot begin a header, a paragraph or a hidden
    change of direction."""
    return clean_line(value, longest)


def clean_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as templates may use them: every signal is there (null when not told), texts are one
    clean line, NaN is null.

    Raises:
        RenderError: a signal has a value of another type than the registry says.
    """
    known: dict[str, Any] = dict.fromkeys((*SIGNAL_SCHEMA, *CALL_FACTS))
    for name, value in facts.items():
        if isinstance(value, str):
            known[name] = clean_text(value, _longest(name))
        elif isinstance(value, float) and not math.isfinite(value):
            known[name] = None
        elif value is None or isinstance(value, bool | int | float):
            known[name] = value
    for name, dtype in SIGNAL_SCHEMA.items():
        if (value := known[name]) is not None and not _fits(value, dtype):
            raise RenderError(f"facts.{name}: expected {dtype}, got {value!r}")
    return known


def clean_steps(steps: object, go: str) -> list[dict[str, str]]:
    """Next steps as templates may use them: each text one clean line, `go` the address of its
    button.

    A path of the platform goes by way of our own `…/go/step`, which knows where the platform is; a
    whole address is as it is. What is no step, or leads nowhere, is left out.

    >>> step = {"title": "Ring them", "body": "Now.", "reason": "Late.", "action_label": "Open", "action_url": "/clients/7"}
    >>> clean_steps([step, "nonsense"], "https://care.example/go/")[0]["go"]
    'https://care.example/go/step?to=%2Fclients%2F7'
    """
    found: list[dict[str, str]] = []
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            continue
        said = {
            key: clean_text(str(step.get(key) or ""), _LONGEST_STEP)
            for key in ("title", "body", "reason", "action_label")
        }
        url = str(step.get("action_url") or "")
        if all(said.values()) and (is_platform_path(url) or _WHOLE_ADDRESS.fullmatch(url)):
            found.append(
                {
                    **said,
                    "go": f"{go}step?to={quote(url, safe='')}" if is_platform_path(url) else url,
                }
            )
    return found


def is_platform_path(url: str) -> bool:
    """Whether this leads to a place on the platform, whatever its host: one slash, and nothing a
    browser would read as a host.

    >>> is_platform_path("/forms?filter=waiting"), is_platform_path("//evil.example"), is_platform_path("/\\\\evil.example")
    (True, False, False)
    """
    return len(url) <= _LONGEST_URL and _PATH.fullmatch(url) is not None


def _longest(name: str) -> int:
    return (
        _LONGEST_URL
        if name.endswith("_url")
        else _LONGEST_NAME
        if name == "name"
        else _LONGEST_TEXT
    )


def _fits(value: object, dtype: pl.DataType) -> bool:
    if dtype == pl.Boolean():
        return isinstance(value, bool)
    if dtype == pl.String():
        return isinstance(value, str)
    return isinstance(value, int | float) and not isinstance(value, bool)


# ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def count(number: float, one: str, many: str | None = None) -> str:
    """How many: `no couples`, `one couple`, `14 couples`. `many` is `one` with an s unless
    given."""
    whole = math.floor(number)
    plural = many or f"{one}s"
    return f"no {plural}" if whole == 0 else f"one {one}" if whole == 1 else f"{whole:,} {plural}"


def days(number: float) -> str:
    """A length of time in whole days: `less than a day`, `one day`, `9 days`."""
    return "less than a day" if number < 1 else count(number, "day")


def soon(number: float) -> str:
    """How far ahead: `today`, `tomorrow`, `in 12 days`, and beyond two months `in about 3
    months`."""
    whole = max(0, math.floor(number))
    if whole < 2:
        return ("today", "tomorrow")[whole]
    return f"in {whole} days" if whole <= 60 else f"in about {round(whole / 30.44)} months"


def percent(share: float) -> str:
    """A share as a whole percentage, rounded down so that 99.6 % is never called all of it."""
    return f"{math.floor(share * 100 + 1e-9)}%"


def of_clients(active: float, total: float) -> str:
    """How many of `total` clients (at least one) were active, as a clause: `9 of your 14 couples
    were active`."""
    some, whole = math.floor(active), math.floor(total)
    if whole == 1:
        return f"your one client was {'' if some else 'not '}active"
    if some == whole:
        return f"all {whole:,} of your clients were active"
    if some <= 1:
        return f"{'one' if some else 'none'} of your {whole:,} clients was active"
    return f"{some:,} of your {whole:,} clients were active"


def first_up(text: str) -> str:
    """The text with its first email a capital."""
    return text[:1].upper() + text[1:]


def moment(value: str, timezone: str | None = None, until: str | None = None) -> str:
    """A time as a person says it, in the zone named (an unknown one: UTC): `Tuesday 24 November,
    14:30–14:45 (Europe/London)`.

    Raises:
        RenderError: not ISO 8601.
    """
    zone = find_zone(timezone)
    start = _at(value, zone)
    end = f"–{_at(until, zone):%H:%M}" if until else ""
    return f"{start:%A} {start.day} {start:%B}, {start:%H:%M}{end} ({zone.key})"


def _at(value: str, zone: dt.tzinfo) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise RenderError(f"not a time: {value!r}") from error
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).astimezone(zone)


FILTERS: dict[str, Callable[..., Any]] = {
    "count": count,
    "days": days,
    "soon": soon,
    "percent": percent,
    "of_clients": of_clients,
    "first_up": first_up,
    "moment": moment,
    "vendor_words": vendor_words,
}


# ── the block of numbers ──────────────────────────────────────────────────────────────────────────────────────────────


def _plain(one: str, many: str) -> Callable[[float], tuple[str, str]]:
    return lambda number: (f"{math.floor(number):,}", one if math.floor(number) == 1 else many)


def _coming(number: float) -> tuple[str, str]:
    whole = math.floor(number)
    if whole < 1:
        return "today", "your next wedding"
    return (
        f"{whole:,}",
        "day until your next wedding" if whole == 1 else "days until your next wedding",
    )


_NUMBERS: dict[str, Callable[[float], tuple[str, str]]] = {
    "clients_total": _plain("client on your books", "clients on your books"),
    "clients_active_30d": _plain("active in the last 30 days", "active in the last 30 days"),
    "forms_waiting": _plain(
        "form waiting for more than a week", "forms waiting for more than a week"
    ),
    "forms_sent_13w": _plain(
        "form sent in the last three months", "forms sent in the last three months"
    ),
    "forms_answered_13w": _plain("answered by now", "answered by now"),
    "journey_emails_13w": _plain(
        "journey email sent in the last three months",
        "journey emails sent in the last three months",
    ),
    "weddings_90d": _plain("wedding in the next three months", "weddings in the next three months"),
    "weddings_365d": _plain(
        "wedding in the next twelve months", "weddings in the next twelve months"
    ),
    "days_to_next_wedding": _coming,
    "login_days_28d": _plain(
        "day with us in the last four weeks", "days with us in the last four weeks"
    ),
    "feature_uses_4w": _plain(
        "time you used a tool in the last four weeks",
        "times you used a tool in the last four weeks",
    ),
    "limit_ratio": lambda ratio: (percent(ratio), "of what your plan includes"),
    "onboarding_steps_done": _plain("first step done", "first steps done"),
    "tickets_open": _plain("question open with our support", "questions open with our support"),
}
_NOUGHT_SAYS_SOMETHING = {
    "clients_active_30d": "clients_total",
    "forms_answered_13w": "forms_sent_13w",
}


def number_rows(facts: Mapping[str, Any], names: list[str]) -> list[tuple[str, str]]:
    """The lines of the numbers block as (figure, label), for those of `names` that say something.

    Null is left out, and so is nought, except where it is a part of something that is not nought (0
    of 14 clients active).

    Raises:
        RenderError: a name has no wording.
    """
    rows: list[tuple[str, str]] = []
    for name in names:
        if name not in _NUMBERS:
            raise RenderError(f"Numbers: {name} has no wording")
        value = facts.get(name)
        if value is None or (
            value == 0 and name != "days_to_next_wedding" and not _has_fact(facts, name)
        ):
            continue
        rows.append(_NUMBERS[name](value))
    return rows


def _has_fact(facts: Mapping[str, Any], name: str) -> bool:
    whole = _NOUGHT_SAYS_SOMETHING.get(name)
    return whole is not None and bool(facts.get(whole))
