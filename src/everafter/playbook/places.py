"""Where in a TOML text each key and value is; tomllib does not tell. Pure.

The text must be valid TOML (docs/decisions/0033)."""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*[^,\]}\n#\s]")
_LONG_QUOTES = ('"""', "'''")
_ESCAPES = {"u": 5, "U": 9, "x": 3}


@dataclass(slots=True)
class Places:
    """Offsets of keys and values, as (start, end) by path. A table's value is its header.

    Attributes:
        lines: the offset of each line.
    """

    text: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Both from 1; the column counts characters."""
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def of_key(self, path: Path) -> tuple[int, int]:
        """(start, end) of a key; of one that is not in the text, its nearest parent's."""
        return self._nearest(self.keys, path)

    def of_value(self, path: Path) -> tuple[int, int]:
        """(start, end) of a value; of one that is not in the text, its nearest parent's key."""
        return self.values[path] if path in self.values else self.of_key(path)

    def in_string(self, path: Path, start: int, end: int) -> tuple[int, int]:
        """(start, end) in the TOML text of the characters `start` to `end` of a text value, whose
        quotes and escapes take space."""
        first, last = self.of_value(path)
        raw = self.text[first:last]
        inside = string_offsets(raw)
        if not inside:
            return first, last
        edges = [*inside, len(raw) - (3 if raw[:3] in _LONG_QUOTES else 1)]
        return first + edges[min(start, len(inside))], first + edges[min(end, len(inside))]

    def move(self, old: Path, new: Path) -> None:
        """Give a key, and everything below it, another path."""
        for offsets in (self.keys, self.values):
            for path in [path for path in offsets if path[: len(old)] == old]:
                offsets[*new, *path[len(old) :]] = offsets.pop(path)

    def _nearest(self, table: dict[Path, tuple[int, int]], path: Path) -> tuple[int, int]:
        while path:
            if path in table:
                return table[path]
            path = path[:-1]
        return (0, 1)


def find_places(text: str) -> Places:
    """Find every key and value of a valid TOML text."""
    walker = _Walker(text)
    walker.walk()
    return walker.places


def string_offsets(raw: str) -> list[int]:
    """For each character of a text value, its offset in `raw`, which is the value as written, with
    quotes and escapes.

    >>> string_offsets(r'"a\\nb"')
    [1, 2, 4]
    """
    quote = raw[:3] if raw[:3] in _LONG_QUOTES else raw[:1]
    if quote[:1] not in {'"', "'"}:
        return []
    at, end = len(quote), len(raw) - len(quote)
    if len(quote) == 3 and raw[at : at + 1] == "\n":
        at += 1
    offsets: list[int] = []
    while at < end:
        if raw[at] != "\\" or quote[0] == "'":
            offsets.append(at)
            at += 1
            continue
        skipped = re.match(r"\\[ \t]*\n\s*", raw[at:])
        if skipped:
            at += skipped.end()
            continue
        offsets.append(at)
        at += 1 + _ESCAPES.get(raw[at + 1 : at + 2], 1)
    return offsets


class _Walker:
    """One pass over the text. Each method expects `at` at the start of what it is named after, and
    leaves it behind the end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places = Places(
            text, lines=[0, *(i + 1 for i, char in enumerate(text) if char == "\n")]
        )
        self.arrays: dict[Path, int] = {}

    def walk(self) -> None:
        table: Path = ()
        self.skip_blank()
        while self.at < len(self.text):
            table = self.header() if self.text[self.at] == "[" else self.pair(table)
            self.skip_blank()

    def header(self) -> Path:
        many = self.text.startswith("[[", self.at)
        start, self.at = self.at, self.at + (2 if many else 1)
        parts = self.dotted_key()
        self.skip_blank()
        self.at += 2 if many else 1
        path = self.note_key((), parts[:-1])
        name, first, last = parts[-1]
        path = (*path, name)
        if many:
            self.arrays[path] = self.arrays.get(path, -1) + 1
            self.places.keys.setdefault(path, (first, last))
            path = (*path, self.arrays[path])
        self.places.keys[path] = (first, last)
        self.places.values[path] = (start, self.at)
        return path

    def pair(self, table: Path) -> Path:
        path = self.note_key(table, self.dotted_key())
        self.skip_blank()
        self.at += 1  # the equals sign
        self.skip_blank()
        self.value(path)
        return table

    def note_key(self, table: Path, parts: list[tuple[str, int, int]]) -> Path:
        """Store each part of a dotted key once, and return its path. The name of an array of tables
        means its last table."""
        path = table
        for name, first, last in parts:
            path = (*path, name)
            self.places.keys.setdefault(path, (first, last))
            if path in self.arrays:
                path = (*path, self.arrays[path])
        return path

    def dotted_key(self) -> list[tuple[str, int, int]]:
        parts = [self.key_part()]
        self.skip_blank()
        while self.text[self.at] == ".":
            self.at += 1
            parts.append(self.key_part())
            self.skip_blank()
        return parts

    def key_part(self) -> tuple[str, int, int]:
        self.skip_blank()
        start = self.at
        if self.text[start] in "\"'":
            self.string()
            return self.text[start + 1 : self.at - 1], start, self.at
        match = _BARE_KEY.match(self.text, start)
        self.at = match.end() if match else start + 1
        return self.text[start : self.at], start, self.at

    def value(self, path: Path) -> None:
        start = self.at
        if self.text[start] in "\"'":
            self.string()
        elif self.text[start] == "[":
            self.array(path)
        elif self.text[start] == "{":
            self.inline_table(path)
        else:
            match = _BARE_VALUE.match(self.text, start)
            self.at = match.end() if match else start + 1
        self.places.values[path] = (start, self.at)

    def string(self) -> None:
        quote = self.text[self.at]
        if self.text.startswith(quote * 3, self.at):
            self.at += 3
            while not self.text.startswith(quote * 3, self.at):
                self.at += 2 if self.text[self.at] == "\\" and quote == '"' else 1
            self.at += 3
            while self.text.startswith(quote, self.at):  # the text may end with one or two quotes
                self.at += 1
            return
        self.at += 1
        while self.text[self.at] != quote:
            self.at += 2 if self.text[self.at] == "\\" and quote == '"' else 1
        self.at += 1

    def array(self, path: Path) -> None:
        self.at += 1
        index = 0
        self.skip_blank()
        while self.text[self.at] != "]":
            item = (*path, index)
            start = self.at
            self.value(item)
            self.places.keys[item] = (start, self.at)
            index += 1
            self.skip_comma()
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        self.skip_blank()
        while self.text[self.at] != "}":
            self.pair(path)
            self.skip_comma()
        self.at += 1

    def skip_comma(self) -> None:
        self.skip_blank()
        if self.text[self.at] == ",":
            self.at += 1
            self.skip_blank()

    def skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
