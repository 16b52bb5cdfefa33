"""Numbers, dates and plural forms of a language, by CLDR (through Babel).

A language is a tag such as `de` or `de-AT`. A region that CLDR does not have counts as its
language, and a language that it does not have as English. English without a region is British.
"""

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import (
    format_date,
    format_interval,
    format_skeleton,
    format_time,
    format_timedelta,
)
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

ENGLISH = "en"
CATEGORIES = ("zero", "one", "two", "few", "many", "other")
"""The plural categories of CLDR, in its order."""

_BRITISH = "en_GB"
_SAMPLE = range(200)
_NO_LARGER_UNIT = 10**9
_COUNTED_DAYS = 60
_FIELDS = re.compile(r"'[^']*'|E+|M{3,}")


@lru_cache(maxsize=256)
def find_locale(language: str) -> Locale:
    """The CLDR locale to write a language in."""
    tag = language.replace("-", "_")
    for name in (tag, tag.partition("_")[0]):
        if name.lower() == ENGLISH:
            break
        try:
            return Locale.parse(name)
        except (UnknownLocaleError, ValueError):
            continue
    return Locale.parse(_BRITISH)


def is_language(language: str) -> bool:
    """Whether CLDR has the language.

    >>> is_language("de-AT"), is_language("xx")
    (True, False)
    """
    return find_locale(language).language == re.split("[-_]", language)[0].lower()


@lru_cache(maxsize=4096, typed=True)
def format_number(value: float, language: str = ENGLISH, decimals: int = 0) -> str:
    """A number with the language's separators, rounded to `decimals` places.

    >>> format_number(1200), format_number(1200, "de"), format_number(-0.25, "de", 2)
    ('1,200', '1.200', '-0,25')
    """
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return format_decimal(value, pattern, locale=find_locale(language))


@lru_cache(maxsize=4096, typed=True)
def format_small(value: float, language: str = ENGLISH) -> str:
    """A number near zero with two significant digits.

    >>> format_small(0.00123)
    '0.0012'
    """
    return format_decimal(value, "@@", locale=find_locale(language))


@lru_cache(maxsize=4096, typed=True)
def format_share(share: float, language: str = ENGLISH) -> str:
    """A share of one as a whole percentage, as `whole_percent` rounds it.

    >>> format_share(0.5), format_share(0.5, "de"), format_share(0.5, "tr")
    ('50%', '50\\xa0%', '%50')
    """
    return format_percent(whole_percent(share) / 100, locale=find_locale(language))


def whole_percent(share: float) -> int:
    """A share of one in whole percent. Only nothing is 0, and only all of it is 100.

    >>> whole_percent(0.001), whole_percent(0.404), whole_percent(0.999), whole_percent(1.31)
    (1, 40, 99, 131)
    """
    percent = round(share * 100)
    if 0 < share < 1:
        return min(max(percent, 1), 99)
    return percent


@lru_cache(maxsize=4096, typed=True)
def plural_category(number: float, language: str = ENGLISH) -> str:
    """The plural category that a number takes.

    >>> plural_category(1), plural_category(0), plural_category(0, "fr"), plural_category(22, "pl")
    ('one', 'other', 'one', 'few')
    """
    return find_locale(language).plural_form(number)


def ordinal_category(number: float, language: str = ENGLISH) -> str:
    """The plural category that a number takes in an order.

    >>> ordinal_category(1), ordinal_category(2), ordinal_category(11)
    ('one', 'two', 'other')
    """
    return find_locale(language).ordinal_form(number)


@lru_cache(maxsize=64)
def plural_categories(language: str) -> tuple[str, ...]:
    """Every plural category of a language, in CLDR's order.

    >>> plural_categories("de"), plural_categories("pl")
    (('one', 'other'), ('one', 'few', 'many', 'other'))
    """
    named = find_locale(language).plural_form.tags | {"other"}
    return tuple(name for name in CATEGORIES if name in named)


@lru_cache(maxsize=64)
def counting_categories(language: str) -> tuple[str, ...]:
    """The plural categories that whole numbers below 200 take.

    Spanish has `many` as well, for a million of something.

    >>> counting_categories("es"), plural_categories("es")
    (('one', 'other'), ('one', 'many', 'other'))
    """
    found = set(map(find_locale(language).plural_form, _SAMPLE))
    return tuple(name for name in CATEGORIES if name in found)


def choose_form(number: float, forms: tuple[str, ...], language: str = ENGLISH) -> str:
    """The form for a number, of one form for each of the language's categories in CLDR's order.

    Fewer forms are those of the first categories and of `other`, which comes last.

    >>> choose_form(1, ("client", "clients")), choose_form(5, ("para", "pary", "par", "pary"), "pl")
    ('client', 'par')
    """
    names = (*plural_categories(language)[: len(forms) - 1], "other")
    category = plural_category(number, language)
    return forms[names.index(category) if category in names else -1]


def format_days(days: int, language: str = ENGLISH) -> str:
    """A length of time in days.

    >>> format_days(1), format_days(9), format_days(9, "de")
    ('1 day', '9 days', '9 Tage')
    """
    return format_unit(days, "duration-day", length="long", locale=find_locale(language))


def format_ahead(days: int, language: str = ENGLISH) -> str:
    """A day in the future, counted from today: in days, and beyond two months in months.

    >>> format_ahead(9), format_ahead(9, "de"), format_ahead(80)
    ('in 9 days', 'in 9 Tagen', 'in 3 months')
    """
    return format_timedelta(
        timedelta(days=min(days, timedelta.max.days)),
        granularity="day" if days <= _COUNTED_DAYS else "month",
        threshold=_NO_LARGER_UNIT,
        add_direction=True,
        locale=find_locale(language),
    )


def format_date_long(day: date, language: str = ENGLISH) -> str:
    """A date with the month's name.

    >>> format_date_long(date(2026, 11, 24)), format_date_long(date(2026, 11, 24), "de")
    ('24 November 2026', '24. November 2026')
    """
    return format_date(day, "long", locale=find_locale(language))


def format_weekday(day: date, language: str = ENGLISH, *, year: bool = False) -> str:
    """A day with its weekday, and with or without its year.

    >>> format_weekday(date(2026, 11, 24)), format_weekday(date(2026, 11, 24), "de")
    ('Tuesday 24 November', 'Dienstag, 24. November')
    >>> format_weekday(date(2026, 11, 24), year=True)
    'Tuesday, 24 November 2026'
    """
    pattern = _weekday_pattern(language, "y" if year else "")
    return format_date(day, pattern, locale=find_locale(language))


@lru_cache(maxsize=64)
def _weekday_pattern(language: str, year: str) -> str:
    """CLDR's pattern of weekday, day and month, its fields widened to full names.

    Widening the fields of the nearest pattern is the matching that UTS 35 describes.
    """
    skeletons = find_locale(language).datetime_skeletons
    names = (f"{year}{name}" for name in ("MMMMEEEEd", "MMMMEd", "MMMEd", "MEd"))
    nearest = next(name for name in names if name in skeletons)
    wide = {"E": "EEEE", "M": "MMMM"}
    return _FIELDS.sub(lambda found: wide.get(found[0][0], found[0]), skeletons[nearest].pattern)


def format_short_date(day: date, language: str = ENGLISH, *, year: bool = True) -> str:
    """A date with the month abbreviated, with or without its year.

    >>> format_short_date(date(2026, 11, 24)), format_short_date(date(2026, 11, 24), year=False)
    ('24 Nov 2026', '24 Nov')
    """
    return format_skeleton("yMMMd" if year else "MMMd", day, locale=find_locale(language))


def format_month(day: date, language: str = ENGLISH, *, year: bool = True) -> str:
    """The abbreviated month of a date, with or without its year.

    >>> format_month(date(2026, 11, 24)), format_month(date(2026, 9, 1), year=False)
    ('Nov 2026', 'Sept')
    """
    return format_skeleton("yMMM" if year else "MMM", day, locale=find_locale(language))


def format_day_name(day: date, language: str = ENGLISH) -> str:
    """The abbreviated weekday of a date.

    >>> format_day_name(date(2026, 11, 24)), format_day_name(date(2026, 11, 24), "fr")
    ('Tue', 'mar.')
    """
    return format_skeleton("E", day, locale=find_locale(language))


def format_clock(at: datetime | time, language: str = ENGLISH) -> str:
    """A time of day in hours and minutes, as on the clocks of `at`'s own zone.

    >>> format_clock(time(14, 30)), format_clock(time(14, 30), "en-US")
    ('14:30', '2:30\\u202fPM')
    """
    return format_time(at, "short", tzinfo=at.tzinfo, locale=find_locale(language))


def format_clocks(start: datetime, end: datetime, language: str = ENGLISH) -> str:
    """From when to when on one day, as on the clocks of `start`'s zone.

    >>> start = datetime(2026, 11, 24, 14, 30)
    >>> format_clocks(start, start + timedelta(minutes=15))
    '14:30–14:45'
    """
    locale = find_locale(language)
    skeleton = "hm" if "a" in locale.time_formats["short"].pattern else "Hm"
    return format_interval(start, end, skeleton, tzinfo=start.tzinfo, locale=locale)


def format_items(items: list[str], language: str = ENGLISH) -> str:
    """A list in a sentence.

    >>> format_items(["forms", "gallery", "invoices"]), format_items(["a", "b"], "de")
    ('forms, gallery and invoices', 'a und b')
    """
    return format_list(items, locale=find_locale(language))
