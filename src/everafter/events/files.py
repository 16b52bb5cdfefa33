"""Reading a platform's export: CSV (gzip or not) and Parquet, in chunks, each row with its line, none lost to its neighbour."""

import csv
import gzip
import re
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal
from uuid import UUID

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from everafter.core.errors import InputError
from everafter.core.ids import number_text
from everafter.core.values import fold_name
from everafter.events.formats import describe_format, find_delimiter, read_sep_line
from everafter.events.model import NOT_AN_ID
from everafter.suppliers.model import SPELLINGS

Kind = Literal["suppliers", "clients", "events"]
CHUNK_ROWS = 50_000
# The column of line numbers, under a name that no file's column has: one called "row" is a trait like any other.
LINE = "line\0"
# Columns of every kind of file that hold ids, whatever type a Parquet file gives them.
_IDS = ("id", "supplier_id", "message_id")
# How pandas writes a column of whole numbers with gaps.
_WHOLE_FLOATS = r"^[0-9]{1,16}\.0$"
_EXACT_FLOAT32 = 2**24
# How exporters keep Excel from making a number of a text.
_FORMULA_TEXT = r'^\s*="([^"]*)"\s*$'
# The name that pandas gives a column which has none: the numbers of its rows.
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
# What pandas, NumPy, PostgreSQL's and MySQL's dumps, and Excel's failed formulas write in place of nothing.
_EMPTY_WORDS = (
    *("nan", "NaN", "NaT", "<NA>", "None", "null", "NULL", r"\N", "N/A", "n/a"),
    *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"),
)
# A long number as Excel shows it, and saves it.
_ROUNDED = r"^\s*-?[0-9](?:[.,][0-9]{1,5})?E\+[0-9]{2}\s*$"
# A quote left open would make one row of the rest of the file: a row may span so much and no more.
_RECORD_LINES = 100
_RECORD_CHARACTERS = 128 * 1024
_LINE_BYTES = 1024 * 1024  # a gzip of a few hundred kilobytes can hold a line that fills the memory
csv.field_size_limit(_LINE_BYTES)  # a cell fits where its line does: what is too long in it is for the check to say
_LONE_RETURN = re.compile(rb"(?<=\r)(?!\n|\Z)")
# What a row without anything in it holds: blanks of spreadsheets, a file's padding, the end mark of DOS.
_BLANKS = " \t\r\n\xa0\ufeff\0\x1a"
_SHOWN_BYTES = 1000
_HEAD_BYTES = 64 * 1024


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
        self._nameless: set[int] = set()
        try:
            head = self._file.read(_HEAD_BYTES)
            self._file.seek(0)
            self._gzip = head[:2] == b"\x1f\x8b"
            head = self._unpack_head() if self._gzip else head
            self._parquet = head[:4] == b"PAR1" and not self._gzip
            if not self._parquet and (found := describe_format(head, path.name)):
                raise InputError(f"{path}: this is not CSV in UTF-8 but {found}")
            self._mac = b"\r" in head and b"\n" not in head
            self._rows = self._read_parquet() if self._parquet else self._read_csv()
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
        """Columns that nothing reads; one without a name only once a row had something in it."""
        nameless = [f"column {place + 1} (without a name)" for place in sorted(self._nameless)]
        return nameless if self.kind == "suppliers" else [*self._strange(), *nameless]

    @property
    def kept(self) -> list[str]:
        """Columns of suppliers that are kept as traits of their own, since no trait of Everafter's has such a name."""
        return self._strange() if self.kind == "suppliers" else []

    def close(self) -> None:
        if hasattr(self, "_rows"):
            self._rows.close()  # its gzip or Parquet reader holds the file too
        self._file.close()

    def chunks(self) -> Iterator[Chunk]:
        """The rows, CHUNK_ROWS at a time.

        Raises:
            InputError: the file ends in the middle, or is damaged; all chunks before were given.
        """
        yield from self._rows

    def _strange(self) -> list[str]:
        known = COLUMNS[self.kind].known
        traits = SPELLINGS if self.kind == "suppliers" else {}
        return [name for name in self.columns if name not in known and fold_name(name) not in traits]

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
        return named[0]

    def _name_columns(self, header: list[str]) -> list[str]:
        """The columns' names: a known one as it is known, however it is written; empty for one that has none.

        Raises:
            InputError: two columns have one name.
        """
        known = {fold_name(name): name for columns in COLUMNS.values() for name in columns.known}
        names: dict[str, str] = {}
        out: list[str] = []
        for written in header:
            folded = "" if _INDEX.fullmatch(written.strip()) else fold_name(written)
            same = SPELLINGS.get(folded, folded)
            if folded and same in names:
                twice = f"{written.strip()} is there twice"
                if names[same] != written:
                    twice = f"{names[same].strip()} and {written.strip()} are the same column"
                raise InputError(f"{self.path} line {max(1, self.line)}: column {twice}; remove or rename one")
            names[same] = written
            out.append(known.get(folded, written.strip(" \t\ufeff\u200b\xa0")) if folded else "")
        return out

    # ── CSV ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _unpack_head(self) -> bytes:
        """The first bytes of what is packed; none where they cannot be unpacked, which reading will say."""
        try:
            return gzip.GzipFile(fileobj=self._file).peek(_HEAD_BYTES)
        except (OSError, EOFError, zlib.error):
            return b""
        finally:
            self._file.seek(0)

    def _lines(self) -> Iterator[bytes]:
        split = _mac_lines if self._mac else _bounded
        try:
            if not self._gzip:
                yield from split(self._file)
                return
            with gzip.GzipFile(fileobj=self._file) as stream:
                yield from split(stream)
        except EOFError as error:
            raise InputError(
                f"{self.path}: the gzip data ends early, after line {self.line}; the lines before were taken in"
            ) from error
        except (gzip.BadGzipFile, zlib.error, OSError) as error:
            raise InputError(f"{self.path}: damaged after line {self.line}: {error}") from error

    def _read_csv(self) -> Generator[Any]:
        records = _Records(self._lines())
        header = self._read_header(records)
        if header is None:
            return
        columns = self._name_columns(header)
        named = [place for place, name in enumerate(columns) if name]
        yield [columns[place] for place in named]
        width = named[-1] + 1 if named else 0
        rows: list[list[str]] = []
        texts: list[str] = []
        lines: list[int] = []
        broken: list[Broken] = []

        def flush() -> Chunk:
            data = {columns[place]: [row[place] for row in rows] for place in named}
            frame = _tidy(pl.DataFrame(data, schema=dict.fromkeys(data, pl.String)))
            frame = frame.with_columns(_whole(frame[name]) for name in _IDS if name in data)
            chunk = Chunk(frame.insert_column(0, pl.Series(LINE, lines, dtype=pl.Int64)), [*texts], [*broken])
            for part in (rows, texts, lines, broken):
                part.clear()
            return chunk

        try:
            for record in records.read((width, len(columns))):
                if isinstance(record, Broken):
                    broken.append(record)
                else:
                    lines.append(record[0])
                    rows.append(record[1])
                    texts.append(record[2])
                    if len(columns) > len(named):
                        filled = (place for place, cell in enumerate(record[1]) if cell.strip())
                        self._nameless.update(place for place in filled if not columns[place])
                self.line = records.line
                if len(rows) + len(broken) >= CHUNK_ROWS:
                    yield flush()
        except InputError:
            yield flush()
            raise
        yield flush()

    def _read_header(self, records: "_Records") -> list[str] | None:
        """The cells of the header; null for a file without rows. Finds out what separates the columns."""
        while (line := records.peek()) is not None:
            if line.fault is not None:
                raise InputError(f"{self.path} line {line.number}: {line.fault[1]}")
            if (delimiter := read_sep_line(line.text)) is not None:
                records.delimiter = delimiter
                records.skip()
            elif not line.text.strip(" \t\r\n\ufeff"):
                records.skip()
            else:
                break
        if line is None:
            return None
        if records.delimiter is None:
            records.delimiter = find_delimiter(line.text)
        first = next(records.read(None), None)
        self.line = records.line
        if isinstance(first, Broken):
            raise InputError(f"{self.path} line {first.line}: the header cannot be read: {first.reason}")
        return None if first is None else first[1]

    # ── Parquet ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_parquet(self) -> Generator[Any]:
        try:
            file = pq.ParquetFile(self._file)
            columns = self._name_columns(list(file.schema_arrow.names))
            yield [name for name in columns if name]
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                text = pl.DataFrame([self._as_text(name, batch.column(place)) for place, name in enumerate(columns) if name])
                rows = _tidy(text).with_row_index(LINE, offset=self.line + 1).with_columns(pl.col(LINE).cast(pl.Int64))
                self.line += batch.num_rows
                yield Chunk(rows, _as_lines(text.with_columns(pl.all().str.strip_prefix(NOT_AN_ID))))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: not a Parquet file that can be read, after row {self.line}: {error}") from error

    def _as_text(self, name: str, values: Any) -> pl.Series:
        """A column as a CSV file would hold it: whole floats without a point, moments with their offset."""
        try:
            if pa.types.is_nested(values.type):
                texts = [_as_json(value) for value in _to_plain(values)]
                return pl.Series(name, texts, dtype=pl.String)
            column = pl.Series(name, pl.from_arrow(values))
            if _is_uuid(values.type):
                text = _uuid_text(column)
            elif isinstance(column.dtype, pl.Binary):
                text = pl.Series(name, [_decode(value) for value in column], dtype=pl.String)
            elif name in _IDS and (column.dtype.is_float() or column.dtype.is_decimal() or column.dtype == pl.Boolean):
                text = _as_id(column)
            elif isinstance(column.dtype, pl.Datetime):
                zone = "%:z" if column.dtype.time_zone else ""
                text = column.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.6f{zone}")
            elif column.dtype.is_float():
                text = _float_text(column)
            else:
                text = column.cast(pl.String)
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise InputError(f"{self.path}: column {name} of type {values.type} cannot be read as text") from error
        return text.fill_null("")


def _float_text(column: pl.Series) -> pl.Series:
    """Numbers as text, whole ones without a point; null for NaN and what is infinite."""
    finite = column.set(~column.is_finite().fill_null(False), None)
    whole = finite.cast(pl.Int64, strict=False)
    is_whole = whole.cast(column.dtype).eq_missing(finite)
    return whole.cast(pl.String).zip_with(is_whole, finite.cast(pl.String))


def _decode(value: bytes | None) -> str:
    """Text that was written as bytes, by writers that know no text type."""
    return "" if value is None else value.decode(errors="replace")


def _to_plain(values: Any) -> Iterator[Any]:
    maps = pa.types.is_map(values.type)
    for value in values.to_pylist():
        yield dict(value) if maps and value is not None else value


def _as_json(value: Any) -> str:
    """A list or struct as JSON text; empty for none."""
    return "" if value is None else msgspec.json.encode(value, enc_hook=str).decode()


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """The cells without what spreadsheets and pandas put around and in place of a value.

    `="007"` is 007; a word that only stands for an empty cell is empty; an id that Excel rounded (1.23E+15) is none,
    since what it was is not known and two could become one.
    """
    bare = pl.all().str.replace(_FORMULA_TEXT, "$1")
    frame = frame.select(pl.when(bare.str.strip_chars().is_in(_EMPTY_WORDS)).then(pl.lit("")).otherwise(bare).name.keep())
    ids = pl.col([name for name in _IDS if name in frame.columns])
    return frame.with_columns(
        pl.when(ids.str.contains(_ROUNDED)).then(pl.lit(NOT_AN_ID) + ids).otherwise(ids).name.keep(),
    )


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
    return text if len(text) <= 200 else f"{text[:200]}…"


def _bounded(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a stream, however each of them ends; of one that is too long no more than shows that it is."""
    while line := stream.readline(_LINE_BYTES + 1):
        if len(line) > _LINE_BYTES:
            end = line
            while end and not end.endswith(b"\n"):
                end = stream.readline(_LINE_BYTES)
        elif line.count(b"\r") > line.endswith(b"\r\n"):
            yield from _LONE_RETURN.split(line)
            continue
        yield line


def _mac_lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The lines of a stream that ends them with a carriage return alone, as classic Mac OS and Excel for Mac do."""
    rest = b""
    while block := stream.read(_HEAD_BYTES):
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
                f"byte {error.start + 1} of the line is not UTF-8 ({data[error.start]:#04x}); if the file is in Latin-1 or"
                " Windows-1252, save it as UTF-8",
            )


class _Records:
    """CSV rows over physical lines. A row that cannot be read costs its first line only: reading goes on with the line after it."""

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

        Args:
            width: how many cells a row must have, and how many there are names and places for: a row gets empty ones up to
                there, and may have more that are empty. Null: any.
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
        """The cells in their places; empty ones at the end may be missing or too many, as spreadsheets write them."""
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
        if len(taken) > 1 and (not fits or any(self._stands_alone(line.text, width) for line in taken[1:])):
            return "bad_row", "a quote is never closed"
        return None if fits else ("bad_row", f"{len(cells)} fields, but the header has {width[1]}")

    def _stands_alone(self, text: str, width: tuple[int, int]) -> bool:
        """Whether a line that was taken for the inside of a quoted cell is a row by itself.

        Then the quote before it was a mistake. Of one or two columns any text with a comma would look so.
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
