"""Read CSV rows from lines with any line ending; after an unreadable row, reading continues with
the next line."""

import csv
import gzip
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from everafter.core.formatting import plural

# A missing closing quote would turn the rest of the file into one row, so a row is limited.
_RECORD_LINES = 100
_RECORD_CHARACTERS = 128 * 1024
_LINE_BYTES = 1024 * 1024  # a gzip of a few hundred kilobytes can hold a line that fills the memory
csv.field_size_limit(_LINE_BYTES)  # the check of events limits values
_LONE_RETURN = re.compile(rb"(?<=\r)(?!\n|\Z)")
# Characters of an empty row: blanks of spreadsheets, padding, the end-of-file mark of DOS.
_BLANKS = " \t\r\n\xa0\ufeff\0\x1a"
_SHOWN_BYTES = 1000
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be parsed."""

    line: int
    code: str
    reason: str
    text: str


def split_lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Split a stream into lines with any line ending; lines that are too long are cut."""
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
    """Split a stream whose lines end with a carriage return alone, as Excel for Mac writes them."""
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\r")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LINE_BYTES:  # keep only enough to see that it is too long
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
                f"byte {error.start + 1} of the line is not UTF-8 ({data[error.start]:#04x});"
                " if the file is in Latin-1 or Windows-1252, save it as UTF-8",
            )


class Records:
    """Parse CSV rows. After a row that cannot be parsed, reading continues with the line after its
    first line."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._source = enumerate(lines, start=1)
        self._back: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self.line = 0
        self.delimiter: str | None = None  # null: not known yet

    def peek(self) -> "_Line | None":
        """Return the next line without consuming it."""
        if not self._back:
            line = self._next()
            if line is None:
                return None
            self._back.append(line)
        return self._back[0]

    def skip(self) -> None:
        """Consume the line that `peek` returned."""
        self._back.popleft()

    def _reader(self, lines: Iterable[str]) -> Any:
        return csv.reader(lines, strict=True, delimiter=self.delimiter or ",")

    def read(self, width: tuple[int, int] | None) -> Iterator[tuple[int, list[str], str] | Broken]:
        """Yield (line, cells, text) of each row.

        Args:
            width: the least number of cells of a row, and the number of columns: shorter rows are
                filled up, and longer ones may only have empty cells beyond. Null: any number.
        """
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
        """Fill up or cut the cells: spreadsheets write too few or too many empty ones at the
        end."""
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
            not fits or any(self._is_complete_row(line.text, width) for line in taken[1:])
        ):
            return "bad_row", "a quote is never closed"
        if fits:
            return None
        return "bad_row", f"{plural(len(cells), 'field')}, but the header has {width[1]}"

    def _is_complete_row(self, text: str, width: tuple[int, int]) -> bool:
        """Whether a line inside a quoted cell is a complete row, so that the quote was a mistake.

        Not decided for one or two columns: any text with a comma would look like a row.
        """
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
