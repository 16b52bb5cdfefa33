"""JSON as senders really write it: the strict decoder runs first, and what it rejects is repaired
value by value. Pure."""

import json
import math
import re
from typing import Any, Protocol

import msgspec

LOST = "\0!"
"""The prefix of the text that replaces a value which is not JSON (NaN, a number out of range,
extreme nesting); the rest is the original, shortened. `lost` recognises it."""

MAX_REPAIRS = 100_000
"""Tokens of one text that are repaired; a text that needs more is not JSON."""

MAX_DEPTH = 64
"""When the decoder gives up on nesting, everything deeper than this is lost."""

_SHOWN = 40
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PLAIN_ESCAPE = r"\\(?:[\"\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]|[dD][0-7])[0-9a-fA-F]{2})"
_FINE_STRING = rf'"(?:[^"\\\x00-\x1f]++|{_PLAIN_ESCAPE}|{_PAIR})*+"'
_END = r'(?![^ \t\n\r,:\[\]{}"])'
_FINE_WORD = (
    r"(?:true|false|null|-?(?:0|[1-9]\d{0,298}+)(?:\.\d{1,300}+)?+"
    rf"(?:[eE](?:[+]?\d\d?|-\d\d?\d?))?+){_END}"
)
# Matches a run of valid tokens in C; Python handles only the token that ends it.
_FINE = re.compile(rf"(?:[ \t\n\r,:\[\]{{}}]++|{_FINE_STRING}|{_FINE_WORD})*+")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
# A word before a colon is an unquoted key: then the text is not JSON, and is not repaired.
_WORD = re.compile(r'[^ \t\n\r,:\[\]{}"]++(?![ \t\n\r]*:)')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][+-]?\d++)?+")
_IN_STRING = re.compile(rf"((?:{_PAIR}|{_PLAIN_ESCAPE})++)|\\u[0-9a-fA-F]{{4}}|\\|[\x00-\x1f]")
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{]++|[\]}]++', re.DOTALL)


class Decoder(Protocol):
    """A msgspec decoder for JSON."""

    def decode(self, buf: str | msgspec.Raw, /) -> Any: ...


def decode(text: str | msgspec.Raw, decoder: Decoder) -> Any:
    """Decode JSON; values that are not JSON are `lost`, the others are kept.

    NaN and other bare words, numbers out of range and containers nested too deeply become a text
    that begins with LOST. Lone surrogates become U+FFFD. Raw control characters in strings, and
    backslashes before other characters, are kept. Of a repeated key the last value counts.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError, RecursionError: the decoder's own error, when
            the text cannot be repaired.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        first = error
    try:
        repaired = repair(text if isinstance(text, str) else bytes(text).decode())
        try:
            value = decoder.decode(repaired)
        except RecursionError:
            value = decoder.decode(flatten(repaired))
        if lost(value) is None:
            return value
        raise first
    except msgspec.ValidationError as error:
        raise (
            error if isinstance(first, RecursionError | msgspec.ValidationError) else first
        ) from None
    except (msgspec.DecodeError, RecursionError):
        raise first from None


def read_text(body: bytes) -> str:
    """Decode a body: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32; each invalid
    byte becomes U+FFFD."""
    try:
        # JSON begins with two ASCII characters (or is one digit), so a NUL there means UTF-16 or
        # UTF-32
        text = body.decode(json.detect_encoding(body) if b"\0" in body[:4] else "utf-8")
    except UnicodeDecodeError:
        text = body.decode(json.detect_encoding(body), "replace")
    return text[1:] if text[:1] == "\ufeff" else text


def lost(value: Any) -> str | None:
    """The original text of a lost value ("NaN"); null for any other value."""
    return value[len(LOST) :] if isinstance(value, str) and value.startswith(LOST) else None


def clean(value: Any) -> tuple[Any, list[str]]:
    """Make a value storable: lost parts become null, NULs in texts and keys U+FFFD.

    Returns:
        The value, and the original texts of what was lost.
    """
    removed: list[str] = []

    def walk(part: Any) -> Any:
        if isinstance(part, str):
            if (token := lost(part)) is not None:
                removed.append(token)
                return None
            return part.replace("\0", "\ufffd") if "\0" in part else part
        if isinstance(part, dict):
            return {key.replace("\0", "\ufffd"): walk(item) for key, item in part.items()}
        return [walk(item) for item in part] if isinstance(part, list) else part

    return walk(value), removed


def repair(text: str) -> str:
    """Replace every token that is not JSON (see `decode`); the structure is not changed."""
    parts: list[str] = []
    place = 0
    for _ in range(MAX_REPAIRS):
        fine = _FINE.match(text, place)
        assert fine is not None  # noqa: S101 it also matches the empty text
        if fine.end() == len(text):
            break
        if text[fine.end()] == '"':
            found = _STRING.match(text, fine.end())
            new = _repair_string
        else:
            found = _WORD.match(text, fine.end())
            new = _repair_word
        if found is None or (new is _repair_string and (len(found[0]) < 2 or found[0][-1] != '"')):
            break
        parts += (text[place : fine.end()], new(found[0]))
        place = found.end()
    return "".join([*parts, text[place:]])


def _repair_string(token: str) -> str:
    def repair_part(found: re.Match[str]) -> str:
        part = found[0]
        if found[1]:
            return part
        if part == "\\":
            return "\\\\"
        return "\\ufffd" if part[0] == "\\" else f"\\u{ord(part):04x}"

    return _IN_STRING.sub(repair_part, token)


def _repair_word(word: str) -> str:
    if not word.strip():
        return " "
    if _NUMBER.fullmatch(word) and len(word) <= 300 and math.isfinite(float(word)):
        return repr(float(word))
    return lose(word)


def lose(token: str) -> str:
    """The JSON string that replaces a lost value."""
    return msgspec.json.encode(
        LOST + (token if len(token) <= _SHOWN else f"{token[:_SHOWN]}…")
    ).decode()


def flatten(text: str) -> str:
    """Replace every container deeper than MAX_DEPTH by a lost value."""
    parts: list[str] = []
    level = place = 0
    start: int | None = None
    for found in _STRUCTURE.finditer(text):
        first, many = found[0][0], found.end() - found.start()
        if first in "[{":
            if start is None and level + many > MAX_DEPTH:
                start = found.start() + MAX_DEPTH - level
            level += many
        elif first in "]}":
            if start is not None and level - many <= MAX_DEPTH:
                parts += (text[place:start], lose("nested too deeply"))
                place, start = found.start() + level - MAX_DEPTH, None
            level -= many
    return "".join([*parts, text[place:]])
