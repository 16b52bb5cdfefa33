"""Emails in other languages: the words around them, and filters by CLDR for numbers and dates."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from everafter.branding.model import ENGLISH
from everafter.core.zones import find_zone
from everafter.mail.formatting import first_up, number_rows, read_instant
from everafter.mail.model import RenderError

# Every phrase around an email, and the placeholder that it must have.
FRAME: dict[str, str] = {
    "greeting": "{name}",
    "greeting_without_name": "",
    "why_success": "",
    "why_transactional": "",
    "unsubscribe": "",
    "today": "",
    "tomorrow": "",
}
"""The keys of [frame] in words.LANGUAGE.toml."""

_CATEGORIES = ("zero", "one", "two", "few", "many", "other")
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


@dataclass(frozen=True, slots=True)
class Words:
    """A language's phrases. frame: by the keys of FRAME. numbers: labels of the numbers block, each
    with one form for every plural category of the language, in CLDR order."""

    language: str = ENGLISH
    frame: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return "rtl" if self.language[:2] in _RIGHT_TO_LEFT else "ltr"


@lru_cache(maxsize=64)
def find_locale(language: str) -> Locale | None:
    """The CLDR locale of `de` or `de-AT`; null: there is none."""
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return None


def plural_categories(language: str) -> tuple[str, ...]:
    """The plural categories of a language, in CLDR order.

    >>> plural_categories("de"), plural_categories("pl")
    (('one', 'other'), ('one', 'few', 'many', 'other'))
    """
    tags = _locale(language).plural_form.tags
    return tuple(name for name in _CATEGORIES if name in tags or name == "other")


@lru_cache(maxsize=64)
def read_labels(text: str, language: str) -> Words:
    """The word table of a language.

    Raises:
        ValueError: the text is not TOML.
    """
    table = tomllib.loads(text)
    frame, numbers = table.get("frame", {}), table.get("numbers", {})
    labels = {
        name: tuple(forms) if isinstance(forms, list) else (forms,)
        for name, forms in numbers.items()
    }
    return Words(language, frame, labels)


def translated_rows(
    facts: Mapping[str, Any], names: list[str], words: Words
) -> list[tuple[str, str]]:
    """The numbers block in another language: the rows that `number_rows` has, as (figure, label).

    Raises:
        RenderError: the word table has no label for one of them.
    """
    rows: list[tuple[str, str]] = []
    for name in names:
        if not number_rows(facts, [name]):
            continue
        value = facts[name]
        forms = words.numbers.get(name)
        if forms is None:
            raise RenderError(f"words.{words.language}.toml has no label for {name} in [numbers]")
        figure = _number(value, words.language)
        if name == "limit_ratio":
            figure = _percent(value, words.language)
        elif name == "days_to_next_wedding" and value < 1:
            figure = words.frame["today"]
        rows.append((figure, _form(value, forms, words.language)))
    return rows


def filters_of(words: Words) -> dict[str, Callable[..., Any]]:
    """The filters of templates in a language other than English.

    `of_clients` and `vendor_words` write English sentences, so they are not among them.
    """
    language = words.language

    def count(number: float, *forms: str) -> str:
        return f"{_number(number, language)} {_form(number, forms, language)}"

    def soon(number: float) -> str:
        whole = max(0, math.floor(number))
        return words.frame[("today", "tomorrow")[whole]] if whole < 2 else _days(whole, language)

    return {
        "number": partial(_number, language=language),
        "count": count,
        "days": partial(_days, language=language),
        "soon": soon,
        "percent": partial(_percent, language=language),
        "first_up": first_up,
        "moment": partial(_moment, language=language),
    }


def _number(value: float, language: str) -> str:
    return format_decimal(math.floor(value), locale=_locale(language))


def _percent(share: float, language: str) -> str:
    return format_percent(math.floor(share * 100 + 1e-9) / 100, locale=_locale(language))


def _days(number: float, language: str) -> str:
    return format_unit(math.floor(number), "duration-day", length="long", locale=_locale(language))


def _form(value: float, forms: tuple[str, ...], language: str) -> str:
    categories = plural_categories(language)
    if len(forms) != len(categories):
        expected = ", ".join(categories)
        raise RenderError(
            f"{len(forms)} plural forms; {language} has {len(categories)}: {expected}"
        )
    return forms[categories.index(_locale(language).plural_form(math.floor(value)))]


def _moment(
    value: str, timezone: str | None = None, until: str | None = None, *, language: str
) -> str:
    zone, locale = find_zone(timezone), _locale(language)
    start = read_instant(value, zone)
    clock = format_time(start, "short", tzinfo=zone, locale=locale)
    end = (
        f"–{format_time(read_instant(until, zone), 'short', tzinfo=zone, locale=locale)}"
        if until
        else ""
    )
    return f"{format_date(start, 'full', locale=locale)}, {clock}{end} ({zone.key})"


def _locale(language: str) -> Locale:
    found = find_locale(language)
    if found is None:
        raise RenderError(f"there is no language {language!r}")
    return found
