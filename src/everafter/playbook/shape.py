"""Checking that a playbook's values have the types and ranges of the model. Pure.

The model's own converter stops at the first mistake and does not say where it is. This walks the
same types and reports all mistakes."""

import datetime as dt
import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

from everafter.playbook.findings import Finding, list_names
from everafter.playbook.hints import did_you_mean, number_hint, pattern_hint, range_hint
from everafter.playbook.model import Playbook
from everafter.playbook.places import Path
from everafter.playbook.syntax import UNREADABLE

_PATTERN_TEXTS = {
    "^[a-z][a-z0-9_]*$": "a name of lower-case letters, digits and _ that begins with a letter",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": 'a time of day such as "20:00"',
    "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$": 'a time of day such as "17:00", at most "24:00"',
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": 'a date such as "2026-12-24"',
    "^[a-z]{2}$": 'a language such as "en"',
    "^[a-z]{2}(-[A-Z]{2})?$": 'a language such as "de" or "de-AT"',
    "^[A-Z]{2}$": 'a country in two capitals, such as "DE"',
    "^#[0-9a-fA-F]{6}$": 'a color such as "#1d5c4b"',
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LINE_BREAKS = frozenset("\n\t")
_ONE_LINE = frozenset(["name", "title", "action_label", "salt", "logo", "sender_name", "reply_to"])
"""Keys whose texts cannot contain line breaks."""
_LONGEST_SHOWN = 40
_LONGEST_KEY = 60
_LONG_NUMBER = 10**20

Number = inspect.FloatType | inspect.IntType


def check_shape(data: dict[str, Any], incomplete: frozenset[Path] = frozenset()) -> list[Finding]:
    """Find everything in `data` that the model does not accept.

    Args:
        data: a TOML document as tomllib returns it.
        incomplete: tables with a line that could not be read; their missing keys are not reported.
    """
    return list(_check(data, inspect.type_info(Playbook), (), incomplete))


def _check(
    value: Any, wanted: inspect.Type, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    match wanted:
        case inspect.StructType():
            yield from _check_table(value, wanted, path, incomplete)
        case inspect.DictType():
            yield from _check_entries(value, wanted, path, incomplete)
        case inspect.ListType():
            if not isinstance(value, list):
                hint = 'a list of one is written ["…"]' if isinstance(value, str) else ""
                yield _wrong(path, value, "a list: [ … ]", hint)
                return
            for index, item in enumerate(value):
                yield from _check(item, wanted.item_type, (*path, index), incomplete)
        case inspect.TupleType():
            yield from _check_tuple(value, wanted, path, incomplete)
        case inspect.UnionType():
            options = [one for one in wanted.types if not isinstance(one, inspect.NoneType)]
            yield from _check(value, options[0], path, incomplete)
        case _:
            yield from _check_scalar(value, wanted, path)


def _check_table(
    value: Any, wanted: inspect.StructType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong(path, value, "a table", f"write [{_dotted(path)}] and its keys below it")
        return
    fields = {field.encode_name: field for field in wanted.fields}
    meant: set[str] = set()
    for key, item in value.items():
        if key in fields:
            yield from _check(item, fields[key].type, (*path, key), incomplete)
        elif not key.startswith(UNREADABLE):
            absent = [name for name in fields if name not in value]
            near = get_close_matches(key[:_LONGEST_KEY].lower(), absent, n=1, cutoff=0.6)
            meant.update(near)
            hint = f"did you mean {near[0]}?" if near else f"known here: {list_names(fields)}"
            yield Finding((*path, key), f"unknown key {key!r}", hint, at_key=True)
    if path in incomplete:
        return
    missing = [
        name
        for name, field in fields.items()
        if field.required and name not in value and name not in meant
    ]
    if missing:
        *others, last = map(repr, missing)
        names = f"{', '.join(others)} and {last}" if others else last
        hint = "; ".join(f"{name} = {_describe(fields[name].type)}" for name in missing)
        what = f"[{_dotted(path)}]" if path else "the playbook"
        yield Finding(path, f"{what} has no {names}", hint, at_key=True)


def _check_entries(
    value: Any, wanted: inspect.DictType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    if not isinstance(value, dict):
        hint = f"write [{_dotted(path)}.some_name] and its keys below it"
        yield _wrong(path, value, "a table of named entries", hint)
        return
    for name, item in value.items():
        for finding in _check_scalar(name, wanted.key_type, (*path, name)):
            yield finding._replace(at_key=True)
        yield from _check(item, wanted.value_type, (*path, name), incomplete)


def _check_tuple(
    value: Any, wanted: inspect.TupleType, path: Path, incomplete: frozenset[Path]
) -> Iterator[Finding]:
    count = len(wanted.item_types)
    if not isinstance(value, list):
        yield _wrong(path, value, f"a list of {count} numbers")
        return
    if len(value) != count:
        yield Finding(path, f"must be a list of exactly {count}, but has {len(value)}")
    for index, (item, type_) in enumerate(zip(value, wanted.item_types, strict=False)):
        yield from _check(item, type_, (*path, index), incomplete)


def _check_scalar(value: Any, wanted: inspect.Type, path: Path) -> Iterator[Finding]:
    match wanted:
        case inspect.FloatType() | inspect.IntType():
            yield from _check_number(value, wanted, path)
        case inspect.BoolType():
            if not isinstance(value, bool):
                is_text = isinstance(value, str)
                hint = "true and false are written without quotes" if is_text else ""
                yield _wrong(path, value, _describe(wanted), hint)
        case inspect.LiteralType():
            if value not in wanted.values:
                known = map(str, wanted.values)
                hint = did_you_mean(value, known) if isinstance(value, str) else ""
                yield _wrong(path, value, _describe(wanted), hint)
        case inspect.StrType():
            yield from _check_text(value, wanted, path)
        case _:
            raise AssertionError(f"the playbook's model has a type that is not checked: {wanted}")


def _check_number(value: Any, wanted: Number, path: Path) -> Iterator[Finding]:
    text, is_whole = _describe(wanted), isinstance(wanted, inspect.IntType)
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield _wrong(path, value, text, number_hint(value))
    elif (
        not _is_finite(value)
        or (is_whole and value != int(value))
        or not _is_in_range(value, wanted)
    ):
        yield _wrong(path, value, text, range_hint(value, wanted))
    elif is_whole and isinstance(value, float):
        yield Finding(path, f"must be {text}, but is {value!r}", f"write {int(value)}")


def _check_text(value: Any, wanted: inspect.StrType, path: Path) -> Iterator[Finding]:
    text = _describe(wanted)
    if not isinstance(value, str):
        hint = "put it in quotes" if isinstance(value, int | float) else ""
        yield _wrong(path, value, text, hint)
    elif (control := _find_control(value, path, wanted)) is not None:
        message = f"contains a control character (U+{ord(control):04X})"
        yield Finding(path, message, "remove it")
    elif wanted.pattern and re.search(wanted.pattern, value) is None:
        yield _wrong(path, value, text, pattern_hint(wanted.pattern, value))
    elif not value.strip():
        yield Finding(path, "is empty", f"it is {text}")


def _wrong(path: Path, value: Any, text: str, hint: str = "") -> Finding:
    return Finding(path, f"must be {text}, but is {_show(value)}", hint)


def _is_finite(value: float) -> bool:
    # A whole number may be too large to be converted to a float.
    return isinstance(value, int) or math.isfinite(value)


def _find_control(value: str, path: Path, wanted: inspect.StrType) -> str | None:
    """The first character that cannot be shown or stored. Line breaks are allowed in longer
    texts."""
    allowed = frozenset[str]() if wanted.pattern or path[-1] in _ONE_LINE else _LINE_BREAKS
    return next((match[0] for match in _CONTROL.finditer(value) if match[0] not in allowed), None)


def _is_in_range(value: float, wanted: Number) -> bool:
    return (
        (wanted.ge is None or value >= wanted.ge)
        and (wanted.gt is None or value > wanted.gt)
        and (wanted.le is None or value <= wanted.le)
        and (wanted.lt is None or value < wanted.lt)
    )


def _describe(wanted: inspect.Type) -> str:
    """A type as text, to follow "must be"."""
    match wanted:
        case inspect.FloatType() | inspect.IntType():
            kind = "a whole number" if isinstance(wanted, inspect.IntType) else "a number"
            return f"{kind}{_describe_range(wanted)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return "one of " + ", ".join(f'"{value}"' for value in wanted.values)
        case inspect.StrType():
            return _PATTERN_TEXTS[wanted.pattern] if wanted.pattern else "a text in quotes"
        case inspect.ListType():
            return f"a list, each {_describe(wanted.item_type)}"
        case inspect.DictType() | inspect.StructType():
            return "a table"
        case _:
            return "a value"


def _describe_range(wanted: Number) -> str:
    low = ""
    if wanted.gt is not None:
        low = f"above {wanted.gt:g}"
    elif wanted.ge is not None:
        low = f"at least {wanted.ge:g}"
    if wanted.le is None:
        return f", {low}" if low else ""
    if wanted.ge is not None:
        return f" from {wanted.ge:g} to {wanted.le:g}"
    return f" {low} and at most {wanted.le:g}" if low else f" of at most {wanted.le:g}"


def _show(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value!r}" if len(value) <= _LONGEST_SHOWN else "a text"
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
