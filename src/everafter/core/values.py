"""Read a value from outside: one rule for each kind, for HTTP and files alike. Pure."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# With the spaces around them: "Anna \r\n and Ben" becomes "Anna and Ben". C1 controls, line and
# paragraph separators and lone surrogates are included.
_CONTROLS = re.compile("\\s*[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\\s*")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"\+?(\d{1,40})(?:\.0*)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}", re.ASCII)
# A zone in another form than a plain offset: "17:20:00 UTC" and "… +0100" as databases and Ruby
# write it, "… +0100 CET m=+0.1" as Go does, "+01:00[Europe/Berlin]" as Java does. The text is in
# upper case here.
_ZONE = re.compile(
    r"\s*(?:(UTC|GMT|Z)|([+-]\d{2}(?::?\d{2})?)(?: [A-Z]{2,5})?)"
    r"(?:\[[A-Z_/+-]{1,40}\]| M=[+-][\d.]{1,20})?$"
)
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAY = r"(?:MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]{0,6}"
_CLOCK = r"(?P<time>\d{2}:\d{2}(?::\d{2})?)"
# With the month as a word, month and day cannot be confused: mail and HTTP write "Sat, 28 Nov 2026
# 10:00:00 GMT", JavaScript "Sat Nov 28 2026 10:00:00 GMT+0100 (CET)".
_AS_TEXT = re.compile(
    rf"(?:{_WEEKDAY}(?:,\s*|\s+))?"
    r"(?:(?P<day>\d{1,2})[ -](?P<month>[A-Z]{3})|(?P<month_>[A-Z]{3}) (?P<day_>\d{1,2}))"
    r"[ -](?P<year>\d{4})"
    rf"(?: {_CLOCK}(?P<zone> ?(?:UTC|GMT|Z)?(?:[+-]\d{{4}})?)(?: \(.{{1,60}}\))?)?",
    re.ASCII,
)
# Leap seconds and the end of a day: 23:59:60 and 24:00.
_LAST = re.compile(
    r"(?<=[T ])(?:24:00(:00(?:[.,]0{1,9})?)?|23:59:60(?:[.,]\d{1,9})?)(?=$|[Z+-])", re.ASCII
)
# A long number as Excel saves it: rounded, so it is not an epoch time.
_ROUNDED = re.compile(r"-?\d(?:\.\d{1,5})?E\+\d\d", re.ASCII)
# The unit of an epoch number follows from its size: each unit covers 1973 to 2100, and these ranges
# do not overlap.
_FIRST_SECOND, _LAST_SECOND = 100_000_000, 4_133_980_800
_SEPARATORS = re.compile("[\\s_\\-\"'`´‘’“”\u200b-\u200d\u2060\ufeff]+")


def read_moment(value: Any) -> datetime | None:
    """A moment in UTC: ISO 8601 text (without a zone: UTC), a date as mail and JavaScript write it,
    or an epoch number or its text; null for anything else.

    The size of an epoch number decides between seconds, milliseconds, microseconds and nanoseconds.
    """
    at = _read_time(value)
    if at is None:
        return None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_day(value: Any) -> date | datetime | None:
    """A calendar day, or a moment in UTC that still has to be converted to a day in the supplier's
    time zone; null for anything that is not a single day: "TBD", "2027-06", "20/06/2027", 31
    February.

    `2027-06-20`, `20270620`, a time without a zone and a time with an offset are the day as
    written. So is midnight in UTC, because plain dates are often serialized so. Any other time in
    UTC, and epoch numbers, are moments.
    """
    at = _read_time(value)
    if at is None:
        return None
    offset = at.utcoffset()
    if offset is None or offset or at.time() == datetime.min.time():
        return at.date()
    return at


def read_number(value: Any) -> float | int | None:
    """A finite number, or the text of one; whole numbers become int. Booleans are not numbers."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        whole = _WHOLE.fullmatch(text)
        value = int(whole[1]) if whole else float(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_whole(value: Any) -> int | None:
    """A whole number: 2900, 2900.0, "2900", "2900.0"; null for anything else."""
    number = read_number(value)
    return number if isinstance(number, int) else None


def clean_text(text: str) -> str:
    """Replace control characters (tabs, line breaks, NULs) by a space, and trim."""
    return _CONTROLS.sub(" ", text).strip()


def read_text(value: Any) -> str | None:
    """One line of text, or a number as text; null for anything else and for empty text."""
    if isinstance(value, str):
        return clean_text(value) or None
    number = read_number(value)
    return None if number is None else str(number)


def fold_name(name: str) -> str:
    """Normalize the spelling of a column's or trait's name: `Vendor Type` and `vendor-type` become
    `vendortype`."""
    return _SEPARATORS.sub("", name).casefold()


def depth(value: Any) -> int:
    """The nesting depth of lists and objects; 0 for a plain value."""
    deepest, level = 0, [value] if isinstance(value, dict | list) else []
    while level:
        deepest += 1
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
    return deepest


def _read_time(value: Any) -> datetime | None:
    """As `read_moment`, but with the zone as written: none, an offset, or UTC."""
    whole = None if isinstance(value, str) else read_whole(value)
    written = (value if isinstance(value, str) else "" if whole is None else str(whole)).strip()
    text = written.upper()
    if text[4:5] != "-" and not _DAY.fullmatch(text):
        number = None if _ROUNDED.fullmatch(written) else read_number(text or value)
        if number is not None:
            return _from_epoch(number)
    return _read_iso(text) or _read_other_form(text)


def _read_iso(text: str) -> datetime | None:
    if "W" in text:  # a week of the year, which Python reads as its Monday
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _read_other_form(text: str) -> datetime | None:
    """A time in another unambiguous form; `text` is in upper case."""
    if len(text) > 100:
        return None
    if words := _AS_TEXT.fullmatch(text):
        month = words["month"] or words["month_"]
        if month not in _MONTHS:
            return None
        number = int(words["day"] or words["day_"])
        day = f"{words['year']}-{_MONTHS.index(month) + 1:02d}-{number:02d}"
        offset = (words["zone"] or "").strip().removeprefix("UTC").removeprefix("GMT")
        zone = offset or ("Z" if (words["zone"] or "").strip() else "")
        text = f"{day}T{words['time']}{zone}" if words["time"] else day
    text = _ZONE.sub(lambda found: "Z" if found[1] else found[2], text)
    later = timedelta()
    if last := _LAST.search(text):
        text, later = f"{text[: last.start()]}23:59:59{text[last.end() :]}", timedelta(seconds=1)
    at = _read_iso(text)
    try:
        return at and at + later
    except OverflowError:
        return None


def _from_epoch(number: float) -> datetime | None:
    for exponent in (0, 3, 6, 9):
        if _FIRST_SECOND * 10**exponent <= number < _LAST_SECOND * 10**exponent:
            micros = (
                number * 10 ** (6 - exponent) if exponent <= 6 else number // 10 ** (exponent - 6)
            )
            return _EPOCH + timedelta(microseconds=round(micros))
    return None
