"""Read a platform's export in chunks: CSV, gzipped CSV or Parquet, each row with its line."""

import gzip
import re
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from everafter.core.errors import InputError
from everafter.core.values import fold_name
from everafter.events.cells import (
    IDS,
    as_json,
    as_lines,
    decode_bytes,
    float_text,
    id_text,
    is_uuid,
    tidy,
    to_plain,
    uuid_text,
    whole_ids,
)
from everafter.events.csv_rows import Broken, Records, split_lines, split_mac_lines
from everafter.events.formats import describe_format, find_delimiter, read_sep_line
from everafter.events.model import NOT_AN_ID
from everafter.suppliers.model import SPELLINGS

Kind = Literal["suppliers", "clients", "events"]
CHUNK_ROWS = 50_000
# Name of the column of line numbers; no column of a file can have it.
LINE = "line\0"
# Names that pandas gives to unnamed columns, such as its row numbers.
_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one kind of file. Columns that are not `known` are traits in a file of suppliers,
    and ignored in others."""

    required: tuple[str, ...]
    known: tuple[str, ...]


COLUMNS: dict[Kind, Columns] = {
    "suppliers": Columns(("id",), ("id",)),
    "clients": Columns(
        ("id", "supplier_id", "added_on"), ("id", "supplier_id", "added_on", "wedding_date", "name")
    ),
    "events": Columns(
        ("message_id", "supplier_id", "type", "occurred_at"),
        ("message_id", "supplier_id", "type", "occurred_at", "properties"),
    ),
}


@dataclass(slots=True)
class Chunk:
    """Some rows of a file.

    rows: `LINE` (the line's number) and the file's columns as text, empty for an empty cell.
    texts: each row as in the file. broken: rows that are not in `rows`.
    """

    rows: pl.DataFrame
    texts: list[str]
    broken: list[Broken] = field(default_factory=list[Broken])


class Source:
    """A file being read. `position` of `size` bytes are done; `line` is the last line read."""

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
        """Columns that are not read; unnamed ones only if a row has a value there."""
        nameless = [f"column {place + 1} (without a name)" for place in sorted(self._nameless)]
        return nameless if self.kind == "suppliers" else [*self._other_columns(), *nameless]

    @property
    def kept(self) -> list[str]:
        """Columns of suppliers that are stored as additional traits."""
        return self._other_columns() if self.kind == "suppliers" else []

    def close(self) -> None:
        if hasattr(self, "_rows"):
            self._rows.close()  # its gzip or Parquet reader has the file open
        self._file.close()

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows, CHUNK_ROWS at a time.

        Raises:
            InputError: the file is truncated or damaged, after all chunks before.
        """
        yield from self._rows

    def _other_columns(self) -> list[str]:
        known = COLUMNS[self.kind].known
        traits = SPELLINGS if self.kind == "suppliers" else {}
        return [
            name for name in self.columns if name not in known and fold_name(name) not in traits
        ]

    def _kind(self) -> Kind:
        """The kind of file, by its name or else by its columns."""
        stem = self.path.name.lower()
        # events first, because their columns are the most distinctive
        kinds: tuple[Kind, ...] = ("events", "clients", "suppliers")
        named: list[Kind] = [kind for kind in kinds if stem.startswith(kind)]
        found = set(self.columns)
        if not named and stem.startswith("contacts"):
            raise InputError(
                f"{self.path}: contacts, the people at a supplier, cannot be imported; if these are"
                " clients, name the file clients.csv"
            )
        if not named:
            named = [kind for kind in kinds if found.issuperset(COLUMNS[kind].required)]
        if not named:
            raise InputError(
                f"{self.path} line 1: these columns are neither suppliers (id, name, …), clients"
                " (id, supplier_id, added_on, …) nor events (message_id, supplier_id, type,"
                f" occurred_at, properties): {_shown(self.columns)}"
            )
        missing = [column for column in COLUMNS[named[0]].required if column not in found]
        if missing:
            columns = "column {} is" if len(missing) == 1 else "columns {} are"
            raise InputError(
                f"{self.path} line 1: {columns.format(', '.join(missing))} missing;"
                f" found: {_shown(self.columns)}"
            )
        return named[0]

    def _name_columns(self, header: list[str]) -> list[str]:
        """Normalize the columns' names: known ones in any spelling; empty for an unnamed column.

        Raises:
            InputError: two columns have the same name.
        """
        known = {fold_name(name): name for columns in COLUMNS.values() for name in columns.known}
        names: dict[str, str] = {}
        out: list[str] = []
        for written in header:
            folded = "" if _INDEX.fullmatch(written.strip()) else fold_name(written)
            same = SPELLINGS.get(folded, folded)
            if folded and same in names:
                twice = f"{written.strip()} appears twice"
                if names[same] != written:
                    twice = f"{names[same].strip()} and {written.strip()} are the same column"
                raise InputError(
                    f"{self.path} line {max(1, self.line)}: column {twice}; remove or rename one"
                )
            names[same] = written
            out.append(known.get(folded, written.strip(" \t\ufeff\u200b\xa0")) if folded else "")
        return out

    # ── CSV ───────────────────────────────────────────────────────────────────────────────────────

    def _unpack_head(self) -> bytes:
        """The first decompressed bytes; empty if that fails, which reading will report."""
        try:
            return gzip.GzipFile(fileobj=self._file).peek(_HEAD_BYTES)
        except (OSError, EOFError, zlib.error):
            return b""
        finally:
            self._file.seek(0)

    def _lines(self) -> Iterator[bytes]:
        split = split_mac_lines if self._mac else split_lines
        try:
            if not self._gzip:
                yield from split(self._file)
                return
            with gzip.GzipFile(fileobj=self._file) as stream:
                yield from split(stream)
        except EOFError as error:
            raise InputError(
                f"{self.path}: the gzip data ends early, after line {self.line};"
                " the lines before were imported"
            ) from error
        except (gzip.BadGzipFile, zlib.error, OSError) as error:
            raise InputError(f"{self.path}: damaged after line {self.line}: {error}") from error

    def _read_csv(self) -> Generator[Any]:
        records = Records(self._lines())
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
            frame = tidy(pl.DataFrame(data, schema=dict.fromkeys(data, pl.String)))
            frame = frame.with_columns(whole_ids(frame[name]) for name in IDS if name in data)
            chunk = Chunk(
                frame.insert_column(0, pl.Series(LINE, lines, dtype=pl.Int64)), [*texts], [*broken]
            )
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

    def _read_header(self, records: "Records") -> list[str] | None:
        """Read the header and find the delimiter; null for a file without rows."""
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
            raise InputError(
                f"{self.path} line {first.line}: the header cannot be read: {first.reason}"
            )
        return None if first is None else first[1]

    # ── Parquet ───────────────────────────────────────────────────────────────────────────────────

    def _read_parquet(self) -> Generator[Any]:
        try:
            file = pq.ParquetFile(self._file)
            columns = self._name_columns(list(file.schema_arrow.names))
            yield [name for name in columns if name]
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                text = pl.DataFrame(
                    [
                        self._as_text(name, batch.column(place))
                        for place, name in enumerate(columns)
                        if name
                    ]
                )
                rows = (
                    tidy(text)
                    .with_row_index(LINE, offset=self.line + 1)
                    .with_columns(pl.col(LINE).cast(pl.Int64))
                )
                self.line += batch.num_rows
                yield Chunk(rows, as_lines(text.with_columns(pl.all().str.strip_prefix(NOT_AN_ID))))
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{self.path}: not a readable Parquet file, after row {self.line}: {error}"
            ) from error

    def _as_text(self, name: str, values: Any) -> pl.Series:
        """A column as text, as in a CSV file: whole floats without a point, times with their
        offset."""
        try:
            if pa.types.is_nested(values.type):
                texts = [as_json(value) for value in to_plain(values)]
                return pl.Series(name, texts, dtype=pl.String)
            column = pl.Series(name, pl.from_arrow(values))
            if is_uuid(values.type):
                text = uuid_text(column)
            elif isinstance(column.dtype, pl.Binary):
                text = pl.Series(name, [decode_bytes(value) for value in column], dtype=pl.String)
            elif name in IDS and (
                column.dtype.is_float() or column.dtype.is_decimal() or column.dtype == pl.Boolean
            ):
                text = id_text(column)
            elif isinstance(column.dtype, pl.Datetime):
                zone = "%:z" if column.dtype.time_zone else ""
                text = column.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.6f{zone}")
            elif column.dtype.is_float():
                text = float_text(column)
            else:
                text = column.cast(pl.String)
        except (pl.exceptions.PolarsError, pa.ArrowException) as error:
            raise InputError(
                f"{self.path}: column {name} of type {values.type} cannot be read as text"
            ) from error
        return text.fill_null("")


def _shown(columns: list[str]) -> str:
    text = ", ".join(columns)
    return text if len(text) <= 200 else f"{text[:200]}…"
