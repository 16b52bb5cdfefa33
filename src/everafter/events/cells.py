"""Normalize the cells of a file: undo what spreadsheets, data frames and Parquet types do to
values."""

import csv
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import polars as pl
import pyarrow as pa

from everafter.core.ids import number_text
from everafter.events.model import NOT_AN_ID

# Columns with ids, whatever their type in a Parquet file.
IDS = ("id", "supplier_id", "message_id")
# pandas writes a column of whole numbers with gaps like this.
_WHOLE_FLOATS = r"^[0-9]{1,16}\.0$"
_EXACT_FLOAT32 = 2**24
# Exporters write this to keep Excel from reading text as a number.
_FORMULA_TEXT = r'^\s*="([^"]*)"\s*$'
# What pandas, NumPy, database dumps and failed formulas in Excel write for an empty cell.
_EMPTY_WORDS = (
    *("nan", "NaN", "NaT", "<NA>", "None", "null", "NULL", r"\N", "N/A", "n/a"),
    *("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"),
)
# A long number, rounded by Excel.
_ROUNDED = r"^\s*-?[0-9](?:[.,][0-9]{1,5})?E\+[0-9]{2}\s*$"


def float_text(column: pl.Series) -> pl.Series:
    """Numbers as text, whole ones without a point; null for NaN and infinity."""
    finite = column.set(~column.is_finite().fill_null(False), None)
    whole = finite.cast(pl.Int64, strict=False)
    is_whole = whole.cast(column.dtype).eq_missing(finite)
    return whole.cast(pl.String).zip_with(is_whole, finite.cast(pl.String))


def decode_bytes(value: bytes | None) -> str:
    """Text stored as bytes, by writers without a text type."""
    return "" if value is None else value.decode(errors="replace")


def to_plain(values: Any) -> Iterator[Any]:
    """The values of a nested Arrow column as Python objects; null stays null."""
    maps = pa.types.is_map(values.type)
    for value in values.to_pylist():
        yield dict(value) if maps and value is not None else value


def as_json(value: Any) -> str:
    """A list or struct as JSON text; empty for null."""
    return "" if value is None else msgspec.json.encode(value, enc_hook=str).decode()


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Undo what spreadsheets and pandas do to values.

    `="007"` becomes 007, and words for an empty cell become empty. An id that Excel rounded
    (1.23E+15) is marked as invalid, because two ids could become one.
    """
    bare = pl.all().str.replace(_FORMULA_TEXT, "$1")
    frame = frame.select(
        pl.when(bare.str.strip_chars().is_in(_EMPTY_WORDS))
        .then(pl.lit(""))
        .otherwise(bare)
        .name.keep()
    )
    ids = pl.col([name for name in IDS if name in frame.columns])
    return frame.with_columns(
        pl.when(ids.str.contains(_ROUNDED))
        .then(pl.lit(NOT_AN_ID) + ids)
        .otherwise(ids)
        .name.keep(),
    )


def whole_ids(column: pl.Series) -> pl.Series:
    """Remove ".0" from a column of ids if all of them end so: pandas wrote them as floats."""
    filled = column.filter(column.str.strip_chars() != "")
    if filled.is_empty() or not filled.str.contains(_WHOLE_FLOATS).all():
        return column
    return column.str.strip_suffix(".0")


def id_text(column: pl.Series) -> pl.Series:
    """A Parquet column of ids as text; numbers are formatted by `core.ids.number_text`. Invalid ids
    get the prefix `NOT_AN_ID`, so that only their row is rejected."""
    if column.dtype.is_float():
        exact = _EXACT_FLOAT32 if column.dtype == pl.Float32 else 2**53
        texts = [
            None
            if value is None or value != value
            else number_text(value, exact) or f"{NOT_AN_ID}{value}"
            for value in column
        ]
    elif column.dtype.is_decimal():
        texts = [
            None
            if value is None
            else str(int(value))
            if value == int(value)
            else f"{NOT_AN_ID}{value}"
            for value in column
        ]
    elif column.dtype == pl.Boolean:
        texts = [None if value is None else f"{NOT_AN_ID}{str(value).lower()}" for value in column]
    else:
        return column
    return pl.Series(column.name, texts, dtype=pl.String)


def is_uuid(kind: Any) -> bool:
    """Whether the values are UUIDs of sixteen bytes, as DuckDB, Spark and pyarrow write them."""
    return isinstance(kind, pa.UuidType) or (
        pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16
    )


def uuid_text(column: pl.Series) -> pl.Series:
    """UUIDs of sixteen bytes as text; null stays null."""
    texts = [None if value is None else str(UUID(bytes=value)) for value in column]
    return pl.Series(column.name, texts, dtype=pl.String)


def as_lines(text: pl.DataFrame) -> list[str]:
    """Each row as CSV text. Rows are written separately, because cells may contain line ends."""
    lines = _Lines()
    csv.writer(lines, lineterminator="").writerows(text.iter_rows())
    return lines


class _Lines(list[str]):
    """Collects what csv.writer writes: one text for each row."""

    def write(self, line: str, /) -> None:
        self.append(line)
