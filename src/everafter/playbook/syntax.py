"""Reading TOML so that one syntax error does not hide the others. Pure.

tomllib stops at the first error. Here the line of the error is emptied and the text read again,
until all errors are found (docs/decisions/0033)."""

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER = re.compile(r"^\s*\[")
_TWICE = re.compile(r"Cannot declare \((.+?),?\) twice")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_DIGITS = re.compile(r"[0-9][0-9_]*")
_MAX_SLIPS = 50
_MAX_DIGITS = 4300
"""Python does not convert longer numbers, unless it was started with another limit."""

UNREADABLE = "__unreadable_"
"""How the name begins that a table has whose header could not be read."""

_HINTS: tuple[tuple[str, str], ...] = (
    (
        "Cannot declare",
        "this table is there twice: merge the two, or give the second another name",
    ),
    (
        "Cannot overwrite",
        "this key is there twice in the same table, or is the name of a table: keep one",
    ),
    ("Duplicate inline table key", "this key is there twice between the braces: keep one"),
    ("Expected '=' after", "a line is `key = value`; a key with spaces or dots in it needs quotes"),
    (
        "Invalid value",
        'text goes in quotes: key = "text"; numbers have no thousands separator; yes and no are'
        " true and false",
    ),
    (
        "Illegal character '\\n'",
        "a text is not closed on its line: add the closing quote, or use three quotes for several"
        " lines",
    ),
    ("Unterminated string", "a text is not closed: add the closing quote"),
    ("Unclosed array", "a list is not closed: add ] at its end"),
    (
        "Invalid initial character",
        "a key begins with a letter or a digit; an inline table is on one line",
    ),
    ("Unclosed inline table", "an inline table is not closed: add } on the same line"),
    (
        "Expected newline or end of document",
        'write one `key = value` a line; a quote inside a text is written \\"',
    ),
    ("Expected ']' at the end of a table", "the header of a table is [name.name]"),
    ("Unescaped '\\'", "in a text with double quotes a backslash is written twice"),
    ("Invalid statement", "a line is `key = value`, a [table], or begins with # as a comment"),
)
"""How tomllib's message begins, and what to do."""

_OPENINGS: tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...] = (
    (re.compile(r"=\s*\[[^\]#]*(#.*)?$"), ("Invalid value", "Unclosed array"), "list"),
    (re.compile(r'=\s*"""(?!.*""")'), ("Unterminated string", "Expected"), "text"),
    (re.compile(r"=\s*'''(?!.*''')"), ("Unterminated string", "Expected"), "text"),
    (re.compile(r"^[^'\"#]*'[^']*$"), ('Expected "\'"',), "single-quoted text"),
)
"""What may be left open on one line and is noticed only further down: how it opens, how the
messages begin that it then causes, and what it is."""
_CLOSING = {"list": "]", "text": "its three quotes", "single-quoted text": "its quote"}


@dataclass(slots=True)
class Slip:
    """A syntax error; line and column from 1."""

    line: int
    column: int
    message: str
    hint: str
    until: int  # the last line that it makes unreadable


@dataclass(slots=True)
class Reading:
    """What could be read of a text.

    Attributes:
        text: the text with the unreadable lines emptied, so that line numbers stay the same.
    """

    data: dict[str, Any]
    text: str
    slips: list[Slip] = field(default_factory=list)


def read_toml(text: str) -> Reading:
    """Read a text, skipping lines with syntax errors.

    The header of a table that cannot be read is replaced by another, so that the keys below it do
    not become those of the table above. When the rest cannot be read either, `data` is empty.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\n" not in text and (slip := _check_line_ends(text)) is not None:
        return Reading({}, "", [slip])
    lines = text.split("\n")
    slips: list[Slip] = []
    while True:
        whole = "\n".join(lines)
        try:
            return Reading(tomllib.loads(whole), whole, slips)
        except RecursionError:
            return Reading({}, "", [*slips, _too_deep(lines)])
        except tomllib.TOMLDecodeError as error:
            slip = _slip(str(error), lines)
        except ValueError:
            slip = _long_number(lines)
        if len(slips) >= _MAX_SLIPS or any(s.line == slip.line for s in slips):
            # The rest is not TOML either, so nothing in it has a place.
            return Reading({}, "", slips or [slip])
        slips.append(slip)
        is_header = _HEADER.match(lines[slip.line - 1]) is not None
        lines[slip.line - 1 : slip.until] = [""] * (slip.until - slip.line + 1)
        if is_header:
            lines[slip.line - 1] = f"[{UNREADABLE}{len(slips)}]"


def _too_deep(lines: list[str]) -> Slip:
    depths = [line.count("[") + line.count("{") for line in lines]
    line = depths.index(max(depths)) + 1
    hint = "lists and inline tables of a playbook need two levels"
    return Slip(line, 1, "not TOML that can be read: nested too deeply", hint, line)


def _slip(message: str, lines: list[str]) -> Slip:
    place = _PLACE.search(message)
    words = message[: place.start()] if place else message
    line = min(int(place[1]), len(lines)) if place and place[1] else len(lines)
    column = int(place[2]) if place and place[2] else len(lines[line - 1]) + 1
    hint = next((hint for start, hint in _HINTS if words.startswith(start)), "")
    for opening, kinds, name in _OPENINGS:
        opened = _opened_before(line, lines, opening, name) if words.startswith(kinds) else None
        if opened is not None:
            until = max(opened, line - 1) if name == "list" else opened
            text = f"not TOML: this {name} is not closed"
            return Slip(
                opened,
                len(lines[opened - 1].rstrip()) + 1,
                text,
                f"add {_CLOSING[name]} at its end",
                until,
            )
    if twice := _TWICE.fullmatch(words):
        name = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return Slip(line, column, f"not TOML: [{name}] is there twice", hint, line)
    return Slip(line, column, f"not TOML: {words[:1].lower()}{words[1:]}", hint, line)


def _check_line_ends(text: str) -> Slip | None:
    """The first line end that is a carriage return alone, which TOML does not have."""
    found = _LONE_RETURN.search(text)
    if found is None:
        return None
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
    message = "not TOML: a line ends with a carriage return alone"
    return Slip(line, column, message, "save the file with the line ends of Unix (LF)", line)


def _long_number(lines: list[str]) -> Slip:
    """Find the whole number that has more digits than Python converts; tomllib does not say where
    it is."""
    for number, line in enumerate(lines, 1):
        runs = (
            run for run in _DIGITS.finditer(line) if len(run[0]) - run[0].count("_") > _MAX_DIGITS
        )
        if (run := next(runs, None)) is not None and _breaks_at(lines[:number]):
            words = f"a number of more than {_MAX_DIGITS:,} digits"
            return Slip(number, run.start() + 1, words, "no key needs so many", number)
    return Slip(1, 1, "not TOML that can be read: a value cannot be converted", "", len(lines))


def _breaks_at(lines: list[str]) -> bool:
    """Whether a value on the last of these lines cannot be converted. Digits in a comment or a text
    can be as many as one likes."""
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    except ValueError:
        return True
    return False


def _opened_before(line: int, lines: list[str], opening: re.Pattern[str], name: str) -> int | None:
    """The nearest line above that opens what no line in between closes; at the end of the text,
    also this line."""
    for number in range(line, 0, -1):
        text = lines[number - 1]
        if opening.search(text) and (number < line or line == len(lines)):
            return number
        if name == "list" and number < line and ("]" in text or _HEADER.match(text)):
            return None
    return None
