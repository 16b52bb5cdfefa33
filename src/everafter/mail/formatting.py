"""What templates make of facts: clean values, counts, dates, the block of numbers. Pure."""

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import polars as pl

from everafter.core.formatting import plural
from everafter.core.i18n import (
    ENGLISH,
    choose_form,
    format_ahead,
    format_clock,
    format_clocks,
    format_days,
    format_number,
    format_share,
    format_weekday,
    plural_categories,
)
from everafter.core.messages import Value, format_message
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
    *("call_title", "change", "reason", "supplier_name", "supplier_url"),  # in emails to CSMs
)
"""Facts of a booked call, beside the signals; times are ISO 8601."""

_LONGEST_TEXT = 200
_LONGEST_NAME = 80
_LONGEST_URL = 2000
_LONGEST_STEP = 400
_PATH = re.compile(r"/(?![/\\])[^\s\\\x00-\x1f\x7f]*")
_WHOLE_ADDRESS = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class VendorTerms:
    """How emails address a vendor type. a: with its article; form: the form that it sends first."""

    a: str
    form: str


VENDOR_TERMS: dict[str, VendorTerms] = {
    "photographer": VendorTerms("a photographer", "shot list"),
    "videographer": VendorTerms("a videographer", "list of moments to film"),
    "dj": VendorTerms("a DJ", "song list"),
    "musician": VendorTerms("a musician", "song list"),
    "venue": VendorTerms("a venue", "questionnaire about the day and the room"),
    "florist": VendorTerms("a florist", "flower brief"),
    "caterer": VendorTerms("a caterer", "menu and allergies form"),
    "planner": VendorTerms("a planner", "planning questionnaire"),
    "celebrant": VendorTerms("a celebrant", "ceremony questionnaire"),
    "hair_makeup": VendorTerms("a hair and make-up artist", "form for looks and timings"),
    "cake": VendorTerms("a cake maker", "flavours and allergies form"),
    "transport": VendorTerms("a transport company", "form for addresses and times"),
}
_ANY_VENDOR_TERMS = VendorTerms("a wedding supplier", "questionnaire about the day")


def vendor_terms(vendor_type: object) -> VendorTerms:
    """The words for a vendor type; for an unknown one or null, words that fit all."""
    return VENDOR_TERMS.get(str(vendor_type), _ANY_VENDOR_TERMS)


def clean_text(value: str, longest: int = _LONGEST_TEXT) -> str:
    """A text as one line by `clean_line`: it cannot begin a header or a paragraph, nor change the
    direction of what follows."""
    return clean_line(value, longest)


def clean_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as templates use them: every signal is there (null: not known), texts are one line, NaN
    is null.

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
    """Next steps as templates use them: each text one line, `go` the address of its button.

    A path on the platform goes through `…/go/step`, which knows the platform's address; a whole
    address stays. Steps without a text or an address are left out.

    >>> step = dict.fromkeys(("title", "body", "reason", "action_label"), "Text")
    >>> step["action_url"] = "/clients/7"
    >>> clean_steps([step, "nonsense"], "https://care.example/go/")[0]["go"]
    'https://care.example/go/step?to=%2Fclients%2F7'
    """
    found: list[dict[str, str]] = []
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            continue
        texts = {
            key: clean_text(str(step.get(key) or ""), _LONGEST_STEP)
            for key in ("title", "body", "reason", "action_label")
        }
        url = str(step.get("action_url") or "")
        if all(texts.values()) and (is_platform_path(url) or _WHOLE_ADDRESS.fullmatch(url)):
            address = f"{go}step?to={quote(url, safe='')}" if is_platform_path(url) else url
            found.append({**texts, "go": address})
    return found


def is_platform_path(url: str) -> bool:
    """Whether this is a path on the platform: one slash first, and nothing that a browser reads as
    a host.

    >>> is_platform_path("/forms?filter=waiting"), is_platform_path("//evil.example")
    (True, False)
    >>> is_platform_path("/\\\\evil.example")
    False
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


# ── filters ───────────────────────────────────────────────────────────────────────────────────


def count(number: float, *forms: str, language: str = ENGLISH) -> str:
    """How many: one form for each plural category of the language, in CLDR's order. `#` in a form
    is the number; if no form has it, it comes first.

    Raises:
        RenderError: the language has another number of plural categories.

    >>> count(1, "form", "forms"), count(14000, "form", "forms")
    ('1 form', '14,000 forms')
    >>> count(1, "one form is", "# forms are"), count(3, "one form is", "# forms are")
    ('one form is', '3 forms are')
    """
    expected = plural_categories(language)
    if len(forms) != len(expected):
        found = plural(len(forms), "plural form")
        raise RenderError(f"{found}; {language} has {len(expected)}: {', '.join(expected)}")
    whole = math.floor(number)
    form, figure = choose_form(whole, forms, language), format_number(whole, language)
    if any("#" in one for one in forms):
        return form.replace("#", figure)
    return f"{figure} {form}"


def number(value: float, language: str = ENGLISH) -> str:
    """A whole number."""
    return format_number(math.floor(value), language)


def days(value: float, language: str = ENGLISH) -> str:
    """A length of time in whole days: `1 day`, `9 days`; in English also `less than a day`."""
    if value < 1 and language.partition("-")[0] == ENGLISH:
        return "less than a day"
    return format_days(math.floor(value), language)


def soon(
    value: float, language: str = ENGLISH, today: str = "today", tomorrow: str = "tomorrow"
) -> str:
    """A day in the future: `today`, `tomorrow`, `in 12 days`, beyond two months `in 3 months`."""
    whole = max(0, math.floor(value))
    return (today, tomorrow)[whole] if whole < 2 else format_ahead(whole, language)


def percent(share: float, language: str = ENGLISH) -> str:
    """A share as a whole percentage; only all of it is 100%."""
    return format_share(share, language)


def of_clients(active: float, total: float) -> str:
    """How many of at least one couple were active, as a clause: `9 of your 14 couples were
    active`."""
    some, whole = math.floor(active), math.floor(total)
    pattern = _ONE_CLIENT if whole == 1 else _ALL_CLIENTS if some == whole else _SOME_CLIENTS
    return _message(pattern, active=some, total=whole)


_ONE_CLIENT = "your one couple was {active, plural, =0 {not active} other {active}}"
_ALL_CLIENTS = "{total, plural, =2 {both} other {all #}} of your couples were active"
_SOME_CLIENTS = """{active, plural, =0 {none} one {one} other {#}} of your {total} couples
  {active, plural, =0 {was} one {was} other {were}} active"""


def _message(pattern: str, language: str = ENGLISH, **numbers: float) -> str:
    def value(name: str) -> Value:
        return Value(number(numbers[name], language), math.floor(numbers[name]))

    return format_message(pattern, value, language)


def first_up(text: str) -> str:
    """The text with its first word capitalized."""
    return text[:1].upper() + text[1:]


def moment(
    value: str, timezone: str | None = None, until: str | None = None, *, language: str = ENGLISH
) -> str:
    """A time in the zone named (UTC when there is no such zone): `Tuesday 24 November, 14:30–14:45
    (Europe/London)`.

    Raises:
        RenderError: not ISO 8601.
    """
    zone = find_zone(timezone)
    start = read_instant(value, zone)
    clock = format_clock(start, language)
    if until:
        clock = format_clocks(start, read_instant(until, zone), language)
    return f"{format_weekday(start, language)}, {clock} ({zone.key})"


def read_instant(value: str, zone: dt.tzinfo) -> dt.datetime:
    """An ISO 8601 time in that zone; one without an offset is UTC.

    Raises:
        RenderError: not ISO 8601.
    """
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
    "vendor_terms": vendor_terms,
}


# ── the block of numbers ──────────────────────────────────────────────────────────────────────

NUMBER_LABELS: dict[str, str] = {
    "clients_total": "{n, plural, one {couple} other {couples}} on your list",
    "clients_active_30d": "active in the last 30 days",
    "forms_waiting": "{n, plural, one {form} other {forms}} waiting for more than a week",
    "forms_sent_13w": "{n, plural, one {form} other {forms}} sent in the last three months",
    "forms_answered_13w": """{n, plural, one {form} other {forms}} completed in the last three
        months""",
    "journey_emails_13w": """{n, plural, one {journey email} other {journey emails}} sent in the
        last three months""",
    "weddings_90d": "{n, plural, one {wedding} other {weddings}} in the next three months",
    "weddings_365d": "{n, plural, one {wedding} other {weddings}} in the next twelve months",
    "days_to_next_wedding": """{n, plural, =0 {your next wedding}
        one {day until your next wedding} other {days until your next wedding}}""",
    "login_days_28d": "{n, plural, one {day} other {days}} with us in the last four weeks",
    "feature_uses_4w": """{n, plural, one {use of your tools} other {uses of your tools}} in the
        last four weeks""",
    "limit_ratio": "of what your plan includes",
    "onboarding_steps_done": "first {n, plural, one {step} other {steps}} done",
    "tickets_open": "{n, plural, one {question} other {questions}} open with our support",
}
"""Labels of the numbers block in English: messages with the number `n`, by signal."""

_ZERO_OF = {"clients_active_30d": "clients_total", "forms_answered_13w": "forms_sent_13w"}
"""Numbers whose zero says something, when the number that they are a part of is not zero."""


def number_rows(
    facts: Mapping[str, Any],
    names: list[str],
    labels: Mapping[str, str] = NUMBER_LABELS,
    language: str = ENGLISH,
    today: str = "today",
) -> list[tuple[str, str]]:
    """The rows of the numbers block as (figure, label), for those of `names` that say something.

    Null is left out, and so is zero, except for a part of something (0 of 14 couples active) and
    for a wedding today.

    Args:
        labels: messages with the number `n`, by signal, in `language`.
        today: the figure of a wedding today.

    Raises:
        RenderError: a name has no label.
    """
    rows: list[tuple[str, str]] = []
    for name in names:
        value = facts.get(name)
        if name not in labels:
            raise RenderError(f"Numbers: {name} has no label in {language}")
        if value is None or (value <= 0 and not _is_shown_at_zero(facts, name)):
            continue
        figure = percent(value, language) if name == "limit_ratio" else number(value, language)
        if name == "days_to_next_wedding" and value < 1:
            figure = today
        rows.append((figure, _message(labels[name], language, n=value)))
    return rows


def _is_shown_at_zero(facts: Mapping[str, Any], name: str) -> bool:
    whole = _ZERO_OF.get(name)
    return name == "days_to_next_wedding" or (whole is not None and bool(facts.get(whole)))
