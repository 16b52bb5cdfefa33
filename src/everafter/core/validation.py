"""What is wrong with a request's parameters or JSON body, in plain English. Pure."""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

Decode = Callable[[type, Any], Any]
"""msgspec's `dec_hook`."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "date": "a date such as 2026-11-02",
    "datetime": "a time such as 2026-11-02T10:00:00Z",
    "time": "a time of day such as 09:30",
    "uuid": "a UUID",
}
_AT = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\.\.\.|\d+)\]")
_TYPES = r"`([a-z |]+)`"
_WRONG_TYPE = re.compile(rf"Expected {_TYPES}, got {_TYPES}")
_LENGTH = re.compile(rf"Expected {_TYPES} of length (>=|<=|==) (\d+)")
_BOUND = re.compile(rf"Expected {_TYPES} (>=|<=|>|<) (\S+)")
_PATTERN = re.compile(rf"Expected {_TYPES} matching regex (.*)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")
_OTHER_VALUE = re.compile(r"Invalid enum value (.+)", re.DOTALL)
_INVALID = re.compile(r"Invalid (?:RFC3339 encoded )?(datetime|date|time|uuid)", re.IGNORECASE)
_UNITS = {"str": "character", "array": "item", "object": "field"}
_BOUNDS = {
    ">=": "at least",
    "<=": "at most",
    "==": "exactly",
    ">": "more than",
    "<": "less than",
}


def explain(message: str, kind: Any = None) -> str:
    """Translate a message of msgspec, without its place.

    Args:
        kind: the type that was expected, for its allowed values; null if not known.

    >>> explain("Expected `int | null`, got `str`"), explain("Expected `int` <= 200")
    ('expected a whole number or null, got a text', 'expected a whole number of at most 200')
    >>> explain("Invalid enum value 'x'", Literal["a", "b"])
    "'x' is not allowed; expected one of a, b"
    >>> explain("Expected `str` of length >= 1"), explain("Invalid UUID")
    ('expected at least 1 character', 'expected a UUID')
    """
    message = _AT.sub("", message)
    if found := _WRONG_TYPE.fullmatch(message):
        return f"expected {_kinds(found[1])}, got {_kinds(found[2]).partition(' such as')[0]}"
    if found := _LENGTH.fullmatch(message):
        unit = _UNITS.get(found[1].partition(" ")[0], "item")
        return f"expected {_BOUNDS[found[2]]} {found[3]} {unit}{'' if found[3] == '1' else 's'}"
    if found := _BOUND.fullmatch(message):
        return f"expected {_kinds(found[1])} of {_BOUNDS[found[2]]} {found[3]}"
    if found := _PATTERN.fullmatch(message):
        return f"expected a text that matches the regular expression {found[2]}"
    if _MISSING.fullmatch(message):
        return "it is missing"
    if found := _OTHER_VALUE.fullmatch(message):
        values = _allowed(kind)
        given = found[1] if len(found[1]) <= 60 else f"{found[1][:60]}…"
        return f"{given} is not allowed{f'; expected one of {values}' if values else ''}"
    if found := _INVALID.match(message):
        return f"expected {_KINDS[found[1].lower()]}"
    if message == "Integer value out of range":
        return "the number is too large"
    return message


def explain_parameter(given: str | None, message: str, kind: Any = None) -> str:
    """`explain` for a parameter that was sent as text.

    Args:
        given: null if it is not known.

    >>> explain_parameter("x", "Expected `int | null`, got `str`")
    "'x' is not a whole number"
    >>> explain_parameter("0", "Expected `int` >= 1"), explain_parameter("9", "Expected `int` <= 5")
    ('0 is less than 1', '9 is more than 5')
    """
    if given is None:
        return explain(message, kind)
    given = given[:50]
    if found := re.fullmatch(r"Expected `(int|float|bool)( \| null)?`, got `str`", message):
        return f"{given!r} is not {_KINDS[found[1]]}"
    if found := re.fullmatch(r"Expected `int( \| null)?` (>=|<=) (-?\d+)", message):
        return f"{given} is {'less' if found[2] == '>=' else 'more'} than {found[3]}"
    if message == "Invalid RFC3339 encoded date":
        return f"{given!r} is not a date such as 2026-08-01"
    return explain(message, kind)


def explain_malformed(message: str) -> str:
    """Translate msgspec's message about a text that is not JSON.

    >>> explain_malformed("JSON is malformed: invalid character (byte 0)")
    'invalid character (byte 0)'
    >>> explain_malformed("Input data was truncated")
    'it ends too early'
    """
    if message == "Input data was truncated":
        return "it ends too early"
    return message.removeprefix("JSON is malformed: ")


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _allowed(kind: Any) -> str:
    values: list[Any] = []
    for one in _alternatives(kind):
        if get_origin(one) is Literal:
            values += get_args(one)
        elif isinstance(one, type) and issubclass(one, Enum):
            values += [member.value for member in one]
    return ", ".join(str(value) for value in values)


def _alternatives(kind: Any) -> list[Any]:
    """The types of a union, without null and annotations."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        return [one for part in get_args(kind) for one in _alternatives(part)]
    return [] if kind is type(None) else [kind]


def find_in_body(body: Any, kind: Any, decode: Decode) -> tuple[str, str] | None:
    """The place of the first error in a JSON body, and what is wrong there; null if there is none.

    Args:
        body: the decoded JSON.
        kind: the type that it should have.

    >>> find_in_body([[1], [2, "x"]], list[list[int]], lambda kind, value: value)
    ('[1][1]', 'expected a whole number, got a text')
    """
    try:
        msgspec.convert(body, kind, strict=False, dec_hook=decode, str_keys=True)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        steps = [a or b for a, b in _STEP.findall(found[1])] if found else []
        place, leaf = _walk(steps, body, kind, decode)
        if missing := _MISSING.match(str(error)):
            place = f"{place}.{missing[1]}"
        return place.lstrip("."), explain(str(error), leaf)
    return None


def _walk(steps: list[str], value: Any, kind: Any, decode: Decode) -> tuple[str, Any]:
    """The place with the indexes of list items, which msgspec omits, and the type at that place."""
    place = ""
    for step in steps:
        if step == "..." or step.isdigit():
            item = _item_type(kind)
            index = _first_unfit(value, item, decode)
            if index is None:
                return place, None
            place, value, kind = f"{place}[{index}]", value[index], item
        else:
            place, kind = f"{place}.{step}", _field_type(kind, step)
            value = value.get(step) if isinstance(value, Mapping) else None
    return place, kind


def _item_type(kind: Any) -> Any:
    for one in _alternatives(kind):
        if get_origin(one) in {list, tuple, set, frozenset} and get_args(one):
            return get_args(one)[0]
    return Any


def _field_type(kind: Any, name: str) -> Any:
    for one in _alternatives(kind):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            for field in msgspec.structs.fields(one):
                if field.encode_name == name:
                    return field.type
        if get_origin(one) is dict:
            return get_args(one)[1]
    return Any


def _first_unfit(values: Any, kind: Any, decode: Decode) -> int | None:
    if not isinstance(values, list):
        return None
    for index, value in enumerate(values):
        try:
            msgspec.convert(value, kind, strict=False, dec_hook=decode, str_keys=True)
        except msgspec.ValidationError:
            return index
    return None
