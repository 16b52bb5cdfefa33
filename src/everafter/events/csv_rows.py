"""CSV as rows over physical lines, however the lines end; a row that cannot be read costs its first
line only."""

import csv
import gzip
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

# A quote left open would make one row of the rest of the file: a row may span so much and no more.
_RECORD_LINES = 100
_RECORD_CHARACTERS = 128 * 1024
_LINE_BYTES = 1024 * 1024  # a gzip of a few hundred kilobytes can hold a line that fills the memory
csv.field_size_limit(
    _LINE_BYTES
)  # a cell fits where its line does: what is too long in it is for the check to say
_LONE_RETURN = re.compile(rb"(?<=\r)(?!\n|\Z)")
# What a row without anything in it holds: blanks of spreadsheets, a file's padding, the end mark of
# DOS.
_BLANKS = " \t\r\n\xa0\ufeff\0\x1a"
_SHOWN_BYTES = 1000
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not even be read."""

    line: int
    code: str
    reason: str
    text: str


def split_lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a stream, however each of them ends; of one that is too long no more than shows
    that it is."""
    while line := stream.readline(_LINE_BYTES + 1):
        if len(line) > _LINE_BYTES:
            end = line
            while end and not end.endswith(b"\n"):
                end = stream.readline(_LINE_BYTES)
        elif line.count(b"\r") > line.endswith(b"\r\n"):
            yield from _LONE_RETURN.split(line)
            continue
        yield line


def split_mac_lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a stream that ends them with a carriage return alone, as classic Mac OS and
    Excel for Mac do."""
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\r")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LINE_BYTES:  # no more than shows that it is too long
            rest = rest[: _LINE_BYTES + 1]
    if rest:
        yield rest


class _Line:
    __slots__ = ("fault", "number", "text")

    def __init__(self, number: int, data: bytes) -> None:
        self.number = number
        self.fault: tuple[str, str] | None = None
        if len(data) > _LINE_BYTES:
            self.text = data[:_SHOWN_BYTES].decode(errors="replace") + "…"
            self.fault = "row_too_large", f"the line is longer than {_LINE_BYTES} bytes"
            return
        try:
            self.text = data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            self.text = data.decode(errors="replace")
            self.fault = (
                "bad_utf8",
                f"byte {error.start + 1} of the line is not UTF-8 ({data[error.start]:#04x}); if"
                " the file is in Latin-1 or"
                " Windows-1252, save it as UTF-8",
            )


class Records:
    """CSV rows over physical lines. A row that cannot be read costs its first line only: reading
    goes on with the line after it."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._source = enumerate(lines, start=1)
        self._back: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self.line = 0
        self.delimiter: str | None = None  # null: not found out yet

    def peek(self) -> "_Line | None":
        """The next line, which stays the next one."""
        if not self._back:
            line = self._next()
            if line is None:
                return None
            self._back.append(line)
        return self._back[0]

    def skip(self) -> None:
        """Pass over the line that `peek` gave."""
        self._back.popleft()

    def _reader(self, lines: Iterable[str]) -> Any:
        return csv.reader(lines, strict=True, delimiter=self.delimiter or ",")

    def read(self, width: tuple[int, int] | None) -> Iterator[tuple[int, list[str], str] | Broken]:
        """(line, cells, text) of each row.

        Args: width: how many cells a row must have, and how many there are names and places for: a
            row gets empty ones up to there, and may have more that are empty. Null: any."""
        reader = self._reader(self._feed())
        while True:
            self._taken.clear()
            try:
                cells = next(reader)
                cells, fault = self._fit(cells, width), self._fault(cells, width)
            except StopIteration:
                return
            except csv.Error as error:
                cells, fault = [], ("bad_row", f"this is not CSV: {error}")
            if fault is None and _is_blank(cells):
                continue
            first = self._taken[0]
            if fault is None:
                yield first.number, cells, "".join(line.text for line in self._taken).rstrip("\r\n")
                continue
            self._back.extendleft(reversed(self._taken[1:]))
            reader = self._reader(self._feed())
            yield Broken(first.number, *fault, first.text.rstrip("\r\n"))

    def _feed(self) -> Iterator[str]:
        size = 0
        while True:
            if not self._taken:
                size = 0
            if len(self._taken) >= _RECORD_LINES or size >= _RECORD_CHARACTERS:
                return
            line = self._back.popleft() if self._back else self._next()
            if line is None:
                return
            self._taken.append(line)
            size += len(line.text)
            yield line.text

    def _next(self) -> _Line | None:
        for number, data in self._source:
            self.line = number
            return _Line(number, data)
        return None

    @staticmethod
    def _fit(cells: list[str], width: tuple[int, int] | None) -> list[str]:
        """The cells in their places; empty ones at the end may be missing or too many, as
        spreadsheets write them."""
        if width is None or not cells or len(cells) == width[1]:
            return cells
        return [*cells[: width[1]], *[""] * (width[1] - len(cells))]

    def _fault(self, cells: list[str], width: tuple[int, int] | None) -> tuple[str, str] | None:
        taken = self._taken
        for line in taken:
            if line.fault:
                return line.fault if line is taken[0] else ("bad_row", "a quote is never closed")
        if width is None or _is_blank(cells):
            return None
        fits = _fits(cells, width)
        if len(taken) > 1 and (
            not fits or any(self._stands_alone(line.text, width) for line in taken[1:])
        ):
            return "bad_row", "a quote is never closed"
        return None if fits else ("bad_row", f"{len(cells)} fields, but the header has {width[1]}")

    def _stands_alone(self, text: str, width: tuple[int, int]) -> bool:
        """Whether a line that was taken for the inside of a quoted cell is a row by itself.

        Then the quote before it was a mistake. Of one or two columns any text with a comma would
        look so."""
        if width[0] <= 2 or text.count('"') % 2:
            return False
        try:
            return _fits(next(self._reader([text]), []), width)
        except csv.Error:
            return False


def _is_blank(cells: list[str]) -> bool:
    return not any(cell.strip(_BLANKS) for cell in cells)


def _fits(cells: list[str], width: tuple[int, int]) -> bool:
    return len(cells) >= width[0] and not any(cell.strip() for cell in cells[width[1] :])
