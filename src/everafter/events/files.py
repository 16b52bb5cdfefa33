"""Reading a platform's export: CSV (gzip or not) and Parquet, in chunks, each row with its line, none lost to its neighbour."""

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from everafter.core.errors import InputError
from everafter.core.ids import number_text
from everafter.events.model import NOT_AN_ID

Kind = Literal["suppliers", "clients", "events"]
CHUNK_ROWS = 50_000
# The column of line numbers, under a name that no file's column has: one called "row" is a trait like any other.
LINE = "line\0"
# Columns of every kind of file that hold ids, whatever type a Parquet file gives them.
_IDS = ("id", "supplier_id", "message_id")
# How pandas writes a column of whole numbers with gaps.
_WHOLE_FLOATS = r"^[0-9]{1,16}\.0$"
_EXACT_FLOAT32 = 2**24
# A quote left open would make one row of the rest of the file: a row may span so much and no more.
_RECORD_LINES = 100
_RECORD_CHARACTERS = 128 * 1024
_LINE_BYTES = 1024 * 1024  # a gzip of a few hundred kilobytes can hold a line that fills the memory
_SHOWN_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one kind of file. `known` are read; others are traits of a supplier, and ignored elsewhere."""

    required: tuple[str, ...]
    known: tuple[str, ...]


COLUMNS: dict[Kind, Columns] = {
    "suppliers": Columns(("id",), ("id",)),
    "clients": Columns(("id", "supplier_id", "added_on"), ("id", "supplier_id", "added_on", "wedding_date", "name")),
    "events": Columns(
        ("message_id", "supplier_id", "type", "occurred_at"),
        ("message_id", "supplier_id", "type", "occurred_at", "properties"),
    ),
}


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not even be read."""

    line: int
    code: str
    reason: str
    text: str


@dataclass(slots=True)
class Chunk:
    """Some rows: `rows` has `LINE` (its number) and the file's columns as text (empty text for an empty cell); `texts` is each row
    as it stands in the file; `broken` are those left out of `rows`."""

    rows: pl.DataFrame
    texts: list[str]
    broken: list[Broken] = field(default_factory=list[Broken])


class Source:
    """One file being read. `position` of `size` bytes are done; `line` is the last line read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        self.line = 0
        magic = self._file.read(4)
        self._file.seek(0)
        self._parquet = magic == b"PAR1"
        self._gzip = magic[:2] == b"\x1f\x8b"
        self._rows = self._read_parquet() if self._parquet else self._read_csv()
        try:
            columns = next(self._rows, None)
            if columns is None:
                raise InputError(f"{path}: the file is empty")
            self.columns: list[str] = columns
            self.kind: Kind = self._kind()
        except InputError:
            self.close()
            raise

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def position(self) -> int:
        return self._file.tell()

    @property
    def ignored(self) -> list[str]:
        """Columns that nothing reads."""
        return [] if self.kind == "suppliers" else [c for c in self.columns if c not in COLUMNS[self.kind].known]

    def close(self) -> None:
        self._rows.close()  # its gzip or Parquet reader holds the file too
        self._file.close()

    def chunks(self) -> Iterator[Chunk]:
        """The rows, CHUNK_ROWS at a time.

        Raises:
            InputError: the file ends in the middle, or is damaged; all chunks before were given.
        """
        yield from self._rows

    def _kind(self) -> Kind:
        """By its name, else by its columns."""
        stem = self.path.name.lower()
        # events first: where only the columns tell, those of events are the most telling
        kinds: tuple[Kind, ...] = ("events", "clients", "suppliers")
        named: list[Kind] = [kind for kind in kinds if stem.startswith(kind)]
        found = set(self.columns)
        if not named:
            named = [kind for kind in kinds if found.issuperset(COLUMNS[kind].required)]
        if not named:
            raise InputError(
                f"{self.path} line 1: these columns are neither suppliers (id, name, …), clients (id, supplier_id, added_on, …)"
                f" nor events (message_id, supplier_id, type, occurred_at, properties): {_shown(self.columns)}"
            )
        missing = [column for column in COLUMNS[named[0]].required if column not in found]
        if missing:
            raise InputError(f"{self.path} line 1: column {', '.join(missing)} is missing; found: {_shown(self.columns)}")
        twice = {column for column in self.columns if self.columns.count(column) > 1}
        if "" in twice:
            raise InputError(f"{self.path} line 1: {self.columns.count('')} columns have no name")
        if twice:
            raise InputError(f"{self.path} line 1: column {', '.join(sorted(twice))} is there twice")
        return named[0]

    # ── CSV ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _lines(self) -> Iterator[bytes]:
        try:
            if not self._gzip:
                yield from _bounded(self._file)
                return
            with gzip.GzipFile(fileobj=self._file) as stream:
                yield from _bounded(stream)
        except EOFError as error:
            raise InputError(
                f"{self.path}: the gzip data ends early, after line {self.line}; the lines before were taken in"
            ) from error
        except (gzip.BadGzipFile, zlib.error, OSError) as error:
            raise InputError(f"{self.path}: damaged after line {self.line}: {error}") from error

    def _read_csv(self) -> Generator[Any]:
        records = _Records(self._lines())
        first = next(records.read(None), None)
        if first is None:
            return
        if isinstance(first, Broken) or any("\0" in cell for cell in first[1]):
            raise InputError(f"{self.path} line 1: this is not CSV in UTF-8")
        columns = [cell.strip() for cell in first[1]]
        yield columns
        rows: list[list[str]] = []
        texts: list[str] = []
        lines: list[int] = []
        broken: list[Broken] = []

        def flush() -> Chunk:
            data = {name: [row[place] for row in rows] for place, name in enumerate(columns)}
            frame = pl.DataFrame(data, schema=dict.fromkeys(columns, pl.String))
            frame = frame.with_columns(_whole(frame[name]) for name in _IDS if name in columns)
            chunk = Chunk(frame.insert_column(0, pl.Series(LINE, lines, dtype=pl.Int64)), [*texts], [*broken])
            for part in (rows, texts, lines, broken):
                part.clear()
            return chunk

        try:
            for record in records.read(len(columns)):
                if isinstance(record, Broken):
                    broken.append(record)
                else:
                    lines.append(record[0])
                    rows.append(record[1])
                    texts.append(record[2])
                self.line = records.line
                if len(rows) + len(broken) >= CHUNK_ROWS:
                    yield flush()
        except InputError:
            yield flush()
            raise
        yield flush()

    # ── Parquet ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_parquet(self) -> Generator[Any]:
        try:
            file = pq.ParquetFile(self._file)
            yield list(file.schema_arrow.names)
            uuids = {field.name for field in file.schema_arrow if _is_uuid(field.type)}
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)  # noqa: S101 from_arrow gives a Series only for an array
                frame = frame.with_columns(_uuid_text(frame[name]) for name in uuids)
                text = frame.select(self._as_text(_as_id(frame[name]) if name in _IDS else frame[name]) for name in frame.columns)
                rows = text.with_row_index(LINE, offset=self.line + 1).with_columns(pl.col(LINE).cast(pl.Int64))
                self.line += frame.height
                yield Chunk(rows, _as_lines(text.with_columns(pl.all().str.strip_prefix(NOT_AN_ID))))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: not a Parquet file that can be read, after row {self.line}: {error}") from error

    def _as_text(self, column: pl.Series) -> pl.Series:
        if column.dtype == pl.Datetime:
            zoned = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column  # pyright: ignore
            return zoned.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").fill_null("")
        if isinstance(column.dtype, pl.Struct):
            return column.struct.json_encode().fill_null("")
        try:
            return column.cast(pl.String).fill_null("")
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{self.path}: column {column.name} of type {column.dtype} cannot be read as text") from error


def _whole(column: pl.Series) -> pl.Series:
    """A CSV's column of ids without the ".0", where each of them ends so: pandas made floats of whole numbers."""
    filled = column.filter(column.str.strip_chars() != "")
    if filled.is_empty() or not filled.str.contains(_WHOLE_FLOATS).all():
        return column
    return column.str.strip_suffix(".0")


def _as_id(column: pl.Series) -> pl.Series:
    """A Parquet file's column of ids: numbers as `core.ids.number_text` has them. What can be no id stands behind
    `NOT_AN_ID`, so that it costs its row alone.
    """
    if column.dtype.is_float():
        exact = _EXACT_FLOAT32 if column.dtype == pl.Float32 else 2**53
        texts = [
            None if value is None or value != value else number_text(value, exact) or f"{NOT_AN_ID}{value}" for value in column
        ]
    elif column.dtype.is_decimal():
        texts = [None if value is None else str(int(value)) if value == int(value) else f"{NOT_AN_ID}{value}" for value in column]
    elif column.dtype == pl.Boolean:
        texts = [None if value is None else f"{NOT_AN_ID}{str(value).lower()}" for value in column]
    else:
        return column
    return pl.Series(column.name, texts, dtype=pl.String)


def _is_uuid(kind: Any) -> bool:
    """Whether values are a UUID's sixteen bytes, as DuckDB, Spark and pyarrow write them."""
    return isinstance(kind, pa.UuidType) or (pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16)


def _uuid_text(column: pl.Series) -> pl.Series:
    texts = [None if value is None else str(UUID(bytes=value)) for value in column]
    return pl.Series(column.name, texts, dtype=pl.String)


def _as_lines(text: pl.DataFrame) -> list[str]:
    """Each row as CSV; a cell may hold line ends, so the whole cannot be split into its rows again."""
    lines = _Lines()
    csv.writer(lines, lineterminator="").writerows(text.iter_rows())
    return lines


class _Lines(list[str]):
    """What csv.writer writes, which is once a row."""

    def write(self, line: str, /) -> None:
        self.append(line)


def _shown(columns: list[str]) -> str:
    text = ", ".join(columns)
    hint = "" if len(columns) > 1 or not any(mark in text for mark in ";\t|") else " (the columns must be separated by commas)"
    return (text if len(text) <= 200 else f"{text[:200]}…") + hint


def _bounded(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a stream; of one that is too long no more than shows that it is."""
    while line := stream.readline(_LINE_BYTES + 1):
        if len(line) > _LINE_BYTES:
            end = line
            while end and not end.endswith(b"\n"):
                end = stream.readline(_LINE_BYTES)
        yield line


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
            self.fault = "bad_utf8", f"byte {error.start + 1} of the line is not UTF-8 ({data[error.start]:#04x})"


class _Records:
    """CSV rows over physical lines. A row that cannot be read costs its first line only: reading goes on with the line after it."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._source = enumerate(lines, start=1)
        self._back: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self.line = 0

    def read(self, width: int | None) -> Iterator[tuple[int, list[str], str] | Broken]:
        """(line, cells, text) of each row; `width` cells are expected (null: any)."""
        reader = csv.reader(self._feed(), strict=True)
        while True:
            self._taken.clear()
            try:
                cells = next(reader)
                fault = self._fault(cells, width)
            except StopIteration:
                return
            except csv.Error as error:
                cells, fault = [], ("bad_row", f"this is not CSV: {error}")
            if not cells and not fault:
                continue
            first = self._taken[0]
            if fault is None:
                yield first.number, cells, "".join(line.text for line in self._taken).rstrip("\r\n")
                continue
            self._back.extendleft(reversed(self._taken[1:]))
            reader = csv.reader(self._feed(), strict=True)
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

    def _fault(self, cells: list[str], width: int | None) -> tuple[str, str] | None:
        taken = self._taken
        for line in taken:
            if line.fault:
                return line.fault if line is taken[0] else ("bad_row", "a quote is never closed")
        if width is None or not cells:
            return None
        if len(taken) > 1 and (len(cells) != width or any(_stands_alone(line.text, width) for line in taken[1:])):
            return "bad_row", "a quote is never closed"
        if len(cells) != width:
            return "bad_row", f"{len(cells)} fields, but the header has {width}"
        return None


def _stands_alone(text: str, width: int) -> bool:
    """Whether a line that was taken for the inside of a quoted cell is a row by itself: then the quote before it was a mistake."""
    try:
        return len(next(csv.reader([text], strict=True), [])) == width
    except csv.Error:
        return False
