"""What was probably meant by a value that is wrong. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

from everafter.playbook.renames import renamed_to

_LONGEST_WORD = 60
_UNITS = frozenset({"day", "days", "hour", "hours", "week", "weeks", "percent", "%"})
_NO_NAMES = ("^#", "^[A-Z]", "^[a-z]{2}(")
"""How the patterns of colors, countries and languages begin: they cannot be guessed."""


def did_you_mean(word: str, known: Iterable[str], near: float = 0.6) -> str:
    """A hint with the name that replaces a retired one, else with the nearest known word; empty
    when no word is as near as `near` (1 is the same word).

    >>> did_you_mean("quiet_days", ["days_inactive", "tenure_days"])
    'it is now called days_inactive'
    >>> did_you_mean("days_inactiv", ["days_inactive", "tenure_days"])
    'did you mean days_inactive?'
    """
    words = list(known)
    if hint := renamed_to(word, words):
        return hint
    found = get_close_matches(word[:_LONGEST_WORD].lower(), words, n=1, cutoff=near)
    return f"did you mean {found[0]}?" if found else ""


def number_hint(value: Any) -> str:
    """For a number that was written as a text.

    >>> number_hint("40"), number_hint("7 days"), number_hint("many")
    ('write 40 without quotes', 'write 7 without quotes', '')
    """
    if not isinstance(value, str):
        return ""
    number = value.strip().split(" ")[0].rstrip("%").replace(",", "")
    rest = value.strip().removeprefix(number).strip()
    try:
        float(number)
    except ValueError:
        return ""
    return f"write {number} without quotes" if not rest or rest in _UNITS else ""


def range_hint(value: float, wanted: inspect.FloatType | inspect.IntType) -> str:
    """For a percentage that was written where a share is expected."""
    if wanted.le == 1 and 1 < value <= 100:
        return f"a share: {value:g} % is written {value / 100:g}"
    return ""


def pattern_hint(pattern: str, value: str) -> str:
    """For a text that is not of the form `pattern`.

    >>> pattern_hint("^[a-z][a-z0-9_]*$", "Calendar view")
    'write calendar_view'
    """
    if pattern.startswith(_NO_NAMES):
        return ""
    characters = (
        char if char.isalnum() and char.isascii() else "_" for char in value.strip().lower()
    )
    name = "".join(characters).strip("_")
    return f"write {name}" if name[:1].isalpha() and len(name) <= _LONGEST_WORD else ""
