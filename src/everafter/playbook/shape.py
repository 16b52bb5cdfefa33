"""Whether a playbook's values have the types and ranges that the model asks for, in words. Pure.

The model's own converter stops at the first mistake and knows no place; this walks the same types
and names all of them."""

import datetime as dt
import math
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

from everafter.playbook.model import Playbook
from everafter.playbook.places import Path

# path, what is wrong, what to do, whether the key (rather than the value) is what is wrong
Finding = tuple[Path, str, str, bool]

_PATTERN_WORDS = {
    "^[a-z][a-z0-9_]*$": "a name of lower-case letters, digits and _ that begins with a letter",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": 'a time of day such as "20:00"',
    "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$": 'a time of day such as "17:00", at most "24:00"',
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": 'a day such as "2026-12-24"',
    "^[a-z]{2}$": 'a language such as "en"',
    "^[a-z]{2}(-[A-Z]{2})?$": 'a language such as "de" or "de-AT"',
    "^[A-Z]{2}$": 'a country in two capitals, such as "DE"',
    "^#[0-9a-fA-F]{6}$": 'a color such as "#1d5c4b"',
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LINED = frozenset("\n\t")  # what may be in a longer text all the same
_ONE_LINE = frozenset(["name", "title", "action_label", "salt", "logo", "sender_name", "reply_to"])
_LONGEST_WORD = 60
_LONG_NUMBER = 10**20
_UNIT_LABELS = {"day", "days", "hour", "hours", "week", "weeks", "percent", "%"}


def check_shape(data: dict[str, Any], incomplete: frozenset[Path] = frozenset()) -> list[Finding]:
    """Everything in `data` that is not what the model asks for.

    Args:
        data: a TOML document as tomllib gives it.
        incomplete: tables that lost a line to a slip; keys missing there are not mentioned.
    """
    return list(_check(data, inspect.type_info(Playbook), (), incomplete))


def did_you_mean(word: str, known: Iterable[str], near: float = 0.6) -> str:
    """A hint with the nearest known word; empty when none is as near as `near` (1 is the same
    word)."""
    found = get_close_matches(word[:_LONGEST_WORD].lower(), list(known), n=1, cutoff=near)
    return f"did you mean {found[0]}?" if found else ""


def _check(
    value: Any, wanted: inspect.Type, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    match wanted:
        case inspect.StructType():
            yield from _check_table(value, wanted, path, incomplete)
        case inspect.DictType():
            yield from _check_names(value, wanted, path, incomplete)
        case inspect.ListType():
            if not isinstance(value, list):
                yield _wrong(
                    path,
                    value,
                    "a list: [ … ]",
                    'a list of one is written ["…"]' if isinstance(value, str) else "",
                )
                return
            for index, item in enumerate(value):
                yield from _check(item, wanted.item_type, (*path, index), incomplete)
        case inspect.TupleType():
            yield from _check_tuple(value, wanted, path, incomplete)
        case inspect.UnionType():
            options = [
                option for option in wanted.types if not isinstance(option, inspect.NoneType)
            ]
            yield from _check(value, options[0], path, incomplete)
        case _:
            yield from _check_plain(value, wanted, path)


def _check_table(
    value: Any, wanted: inspect.StructType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong(path, value, "a table", f"write [{_dotted(path)}] and its keys below it")
        return
    fields = {field.encode_name: field for field in wanted.fields}
    hinted: set[str] = set()
    for key, item in value.items():
        if key in fields:
            yield from _check(item, fields[key].type, (*path, key), incomplete)
        elif not key.startswith("__unreadable_"):
            near = get_close_matches(
                key[:_LONGEST_WORD].lower(),
                [name for name in fields if name not in value],
                n=1,
                cutoff=0.6,
            )
            hinted.update(near)
            hint = (
                f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(fields))}"
            )
            yield (*path, key), f"unknown key {key!r}", hint, True
    if path in incomplete:
        return
    missing = [
        name
        for name, field in fields.items()
        if field.required and name not in value and name not in hinted
    ]
    if missing:
        *others, last = map(repr, missing)
        names = f"{', '.join(others)} and {last}" if others else last
        hint = "; ".join(f"{name} = {_as_text(fields[name].type)}" for name in missing)
        yield path, f"{_what(path)} has no {names}", hint, True


def _check_names(
    value: Any, wanted: inspect.DictType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong(
            path,
            value,
            "a table of named entries",
            f"write [{_dotted(path)}.some_name] and its keys below it",
        )
        return
    for name, item in value.items():
        for _, message, hint, _ in _check_plain(name, wanted.key_type, (*path, name)):
            yield (*path, name), message, hint, True
        yield from _check(item, wanted.value_type, (*path, name), incomplete)


def _check_tuple(
    value: Any, wanted: inspect.TupleType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    count = len(wanted.item_types)
    if not isinstance(value, list):
        yield _wrong(path, value, f"a list of {count} numbers", "")
        return
    if len(value) != count:
        yield path, f"must be a list of exactly {count}, but has {len(value)}", "", False
    for index, (item, type_) in enumerate(zip(value, wanted.item_types, strict=False)):
        yield from _check(item, type_, (*path, index), incomplete)


def _check_plain(value: Any, wanted: inspect.Type, path: Path) -> Iterator[Finding]:
    words = _as_text(wanted)
    match wanted:
        case inspect.FloatType() | inspect.IntType():
            whole = isinstance(wanted, inspect.IntType)
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield _wrong(path, value, words, _number_hint(value))
            elif (
                not _is_finite(value)
                or (whole and value != int(value))
                or not _in_range(value, wanted)
            ):
                yield (
                    path,
                    f"must be {words}, but is {_shown(value)}",
                    _range_hint(value, wanted),
                    False,
                )
            elif whole and isinstance(value, float):
                yield path, f"must be {words}, but is {value!r}", f"write {int(value)}", False
        case inspect.BoolType():
            if not isinstance(value, bool):
                yield _wrong(
                    path,
                    value,
                    words,
                    "true and false are written without quotes" if isinstance(value, str) else "",
                )
        case inspect.LiteralType():
            if value not in wanted.values:
                hint = (
                    did_you_mean(value, map(str, wanted.values)) if isinstance(value, str) else ""
                )
                yield path, f"must be {words}, but is {_shown(value)}", hint, False
        case inspect.StrType():
            if not isinstance(value, str):
                yield _wrong(
                    path, value, words, "put it in quotes" if isinstance(value, int | float) else ""
                )
            elif (control := _control_in(value, path, wanted)) is not None:
                yield (
                    path,
                    f"a control character (U+{ord(control):04X}) is in it",
                    "leave it out",
                    False,
                )
            elif wanted.pattern and not _matches(wanted.pattern, value):
                yield (
                    path,
                    f"must be {words}, but is {_shown(value)}",
                    _pattern_hint(wanted.pattern, value),
                    False,
                )
            elif not value.strip():
                yield path, "is empty", f"it is {words}", False
        case _:
            raise AssertionError(f"the playbook's model has a type that is not checked: {wanted}")


def _wrong(path: Path, value: Any, words: str, hint: str) -> Finding:
    return path, f"must be {words}, but is {_shown(value)}", hint, False


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(
        value
    )  # an int may be too large to be asked as a float


def _control_in(value: str, path: Path, wanted: inspect.StrType) -> str | None:
    """The first character of a text that no page shows and no database column takes; line ends only
    where lines are meant."""
    lined = frozenset[str]() if wanted.pattern or path[-1] in _ONE_LINE else _LINED
    return next((match[0] for match in _CONTROL.finditer(value) if match[0] not in lined), None)


def _matches(pattern: str, value: str) -> bool:
    return re.search(pattern, value) is not None


def _in_range(value: float, wanted: inspect.FloatType | inspect.IntType) -> bool:
    return (
        (wanted.ge is None or value >= wanted.ge)
        and (wanted.gt is None or value > wanted.gt)
        and (wanted.le is None or value <= wanted.le)
        and (wanted.lt is None or value < wanted.lt)
    )


def _as_text(wanted: inspect.Type) -> str:
    match wanted:
        case inspect.FloatType() | inspect.IntType():
            kind = "a whole number" if isinstance(wanted, inspect.IntType) else "a number"
            return f"{kind}{_describe_range(wanted)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in wanted.values)
        case inspect.StrType():
            return _PATTERN_WORDS[wanted.pattern] if wanted.pattern else "a text in quotes"
        case inspect.ListType():
            return f"a list, each {_as_text(wanted.item_type)}"
        case inspect.DictType() | inspect.StructType():
            return "a table"
        case _:
            return "a value"


def _describe_range(wanted: inspect.FloatType | inspect.IntType) -> str:
    low = (
        f"above {wanted.gt:g}"
        if wanted.gt is not None
        else f"at least {wanted.ge:g}"
        if wanted.ge is not None
        else ""
    )
    if wanted.le is None:
        return f", {low}" if low else ""
    if wanted.ge is not None:
        return f" from {wanted.ge:g} to {wanted.le:g}"
    return f" {low} and at most {wanted.le:g}" if low else f" of at most {wanted.le:g}"


def _number_hint(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    number = value.strip().split(" ")[0].rstrip("%").replace(",", "")
    rest = value.strip().removeprefix(number).strip()
    try:
        float(number)
    except ValueError:
        return ""
    return f"write {number} without quotes" if not rest or rest in _UNIT_LABELS else ""


def _range_hint(value: float, wanted: inspect.FloatType | inspect.IntType) -> str:
    if wanted.le == 1 and 1 < value <= 100:
        return f"a share: {value:g} % is written {value / 100:g}"
    return ""


def _pattern_hint(pattern: str, value: str) -> str:
    """What was probably meant by a text of another form; colors, countries and languages cannot be
    guessed."""
    return "" if pattern.startswith(("^#", "^[A-Z]", "^[a-z]{2}(")) else _name_hint(value)


def _name_hint(value: str) -> str:
    name = "".join(
        char if char.isalnum() and char.isascii() else "_" for char in value.strip().lower()
    )
    return f"write {name.strip('_')}" if name.strip("_")[:1].isalpha() else ""


def _shown(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value!r}" if len(value) <= 40 else "a text"
        case int():
            return str(value) if abs(value) < _LONG_NUMBER else "a number of many digits"
        case float():
            return f"{value:g}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case dt.date() | dt.time():
            return "a date or time"
        case _:
            return "something else"


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def _what(path: Path) -> str:
    return f"[{_dotted(path)}]" if path else "the playbook"
