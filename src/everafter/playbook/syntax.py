"""Reading TOML so that one slip of the pen does not hide the others. Pure."""

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER = re.compile(r"^\s*\[")
_MOST_SLIPS = 50
_MOST_DIGITS = 4300  # Python reads no longer whole number, unless it was started otherwise
_DIGITS = re.compile(r"[0-9][0-9_]*")
BROKEN = "__unreadable_{}__"

_HINTS: tuple[tuple[str, str], ...] = (
    (
        "Cannot declare",
        "this table is written twice: put both parts together, or give the second another name",
    ),
    (
        "Cannot overwrite",
        "this key is written twice in the same table, or names a table that is already there: keep one",
    ),
    ("Duplicate inline table key", "this key is written twice between the braces: keep one"),
    ("Expected '=' after", "a line is `key = value`; a key with spaces or dots in it needs quotes"),
    (
        "Invalid value",
        'text goes in quotes: key = "text"; numbers have no thousands sign; yes and no are true and false',
    ),
    (
        "Illegal character '\\n'",
        "a text is not closed on its line: put the closing quote, or use three quotes for several lines",
    ),
    ("Unterminated string", "a text is not closed: put the closing quote"),
    ("Unclosed array", "a list is not closed: put ] at its end"),
    (
        "Invalid initial character",
        "a key begins with a letter or a digit; an inline table stays on one line",
    ),
    ("Unclosed inline table", "braces are not closed: put } on the same line"),
    (
        "Expected newline or end of document",
        'one `key = value` a line; a quote inside a text is written \\"',
    ),
    ("Expected ']' at the end of a table", "a table's header is [name.name]"),
    ("Unescaped '\\'", "in a text with double quotes a backslash is written twice"),
    ("Invalid statement", "a line is `key = value`, a [table], or begins with # as a comment"),
)

# What is opened on one line and noticed as unclosed only further down: how it opens, and the
# messages it then causes.
_OPENINGS: tuple[tuple[re.Pattern[str], tuple[str, ...], str], ...] = (
    (re.compile(r"=\s*\[[^\]#]*(#.*)?$"), ("Invalid value", "Unclosed array"), "list"),
    (re.compile(r'=\s*"""(?!.*""")'), ("Unterminated string", "Expected"), "text"),
    (re.compile(r"=\s*'''(?!.*''')"), ("Unterminated string", "Expected"), "text"),
    (re.compile(r"^[^'\"#]*'[^']*$"), ('Expected "\'"',), "single-quoted text"),
)
_CLOSING = {"list": "]", "text": "its three quotes", "single-quoted text": "its quote"}


@dataclass(slots=True)
class Slip:
    """A place where the text is not TOML; line and column from 1."""

    line: int
    column: int
    message: str
    hint: str
    until: int  # the last line it spoils


@dataclass(slots=True)
class Reading:
    """What could be read. text: with the unreadable lines emptied, so that line numbers stay;
    incomplete: tables that lost one."""

    data: dict[str, Any]
    text: str
    slips: list[Slip] = field(default_factory=list)


def read_toml(text: str) -> Reading:
    """Read a text, stepping over lines that are not TOML.

    A line that fails is emptied (a header is replaced by one of no meaning, so that what follows
    does not fall into the table before) and the rest is read again. `data` is empty when no end is
    reached that way."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    slips: list[Slip] = []
    while True:
        whole = "\n".join(lines)
        try:
            return Reading(tomllib.loads(whole), whole, slips)
        except RecursionError:
            line = (
                max(
                    range(len(lines)),
                    key=lambda number: lines[number].count("[") + lines[number].count("{"),
                )
                + 1
            )
            deep = Slip(
                line,
                1,
                "not TOML that can be read: nested too deeply",
                "a playbook's lists and braces need two levels",
                line,
            )
            return Reading({}, "", [*slips, deep])
        except ValueError as error:
            slip = (
                _slip(str(error), lines)
                if isinstance(error, tomllib.TOMLDecodeError)
                else _long_number(lines)
            )
            if len(slips) >= _MOST_SLIPS or any(s.line == slip.line for s in slips):
                return Reading(
                    {}, "", slips or [slip]
                )  # what is left is no TOML either, so nothing in it has a place
            slips.append(slip)
            is_header = _HEADER.match(lines[slip.line - 1]) is not None
            lines[slip.line - 1 : slip.until] = [""] * (slip.until - slip.line + 1)
            if is_header:
                lines[slip.line - 1] = f"[{BROKEN.format(len(slips))}]"


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
                f"put {_CLOSING[name]} at its end",
                until,
            )
    return Slip(line, column, f"not TOML: {words[:1].lower()}{words[1:]}", hint, line)


def _long_number(lines: list[str]) -> Slip:
    """Where the integer is that has more digits than Python reads, which tomllib says without a
    place."""
    for number, line in enumerate(lines, 1):
        runs = (
            run for run in _DIGITS.finditer(line) if len(run[0]) - run[0].count("_") > _MOST_DIGITS
        )
        if (run := next(runs, None)) is not None and _breaks_at(lines[:number]):
            words = f"a number of more than {_MOST_DIGITS:,} digits"
            return Slip(number, run.start() + 1, words, "no number here needs that many", number)
    return Slip(1, 1, "not TOML that can be read: a value cannot be made", "", len(lines))


def _breaks_at(lines: list[str]) -> bool:
    """Whether it is on the last of these lines that a value cannot be made: digits in a comment or
    a text can."""
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    except ValueError:
        return True
    return False


def _opened_before(line: int, lines: list[str], opening: re.Pattern[str], name: str) -> int | None:
    """The nearest line above (or at the end: this one) that opens what no line between closes."""
    for number in range(line, 0, -1):
        text = lines[number - 1]
        if opening.search(text) and (number < line or line == len(lines)):
            return number
        if name == "list" and number < line and ("]" in text or _HEADER.match(text)):
            return None
    return None
