"""Write PostgreSQL's binary COPY format from whole columns.

Parsing floats, times and uuids from text takes the server longer than storing them: 200,000 rows of
scores took 1.7 s as CSV and 0.9 s in this format (docs/decisions/0002). Format: PostgreSQL manual,
COPY, Binary Format; a field is a big-endian length (-1: null) and the bytes of its type."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_HEADER = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8
_TRAILER = b"\xff\xff"
_DAYS_TO_2000 = 10_957
_MICROSECONDS_TO_2000 = _DAYS_TO_2000 * 86_400_000_000

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Field:
    """One column: the bytes of all rows, how many belong to each row, and which rows are null."""

    data: Bytes
    lengths: Lengths
    null: npt.NDArray[np.bool_]

    @property
    def width(self) -> int | None:
        """The width of every row; null when widths differ, a row is null, or all are empty."""
        if self.null.any() or not len(self.data):
            return None
        first = int(self.lengths[0])
        return first if (self.lengths == first).all() else None


def encode(frame: pl.DataFrame, types: dict[str, str]) -> bytes:
    """Encode a frame as one binary COPY stream.

    Args:
        frame: columns in the order of the COPY statement.
        types: each column's PostgreSQL type, as format_type() names it.

    Raises:
        KeyError: a type that this module does not write.
    """
    rows = frame.height
    fields = [_field(frame[name], types[name]) for name in frame.columns]
    sizes = (
        2
        + 4 * len(fields)
        + sum((field.lengths for field in fields), start=np.zeros(rows, dtype=np.int64))
    )
    ends = np.cumsum(sizes)
    out = np.empty(int(ends[-1]) if rows else 0, dtype=np.uint8)
    place = ends - sizes
    _scatter(
        out,
        place,
        np.tile(np.frombuffer(len(fields).to_bytes(2, "big"), dtype=np.uint8), (rows, 1)),
    )
    place = place + 2
    for field in fields:
        place = _write(out, place, field)
    return _HEADER + out.tobytes() + _TRAILER


def _write(out: Bytes, place: Lengths, field: _Field) -> Lengths:
    """Write one field of every row at `place`; return where the next field begins."""
    header = np.where(field.null, -1, field.lengths).astype(">i4").view(np.uint8).reshape(-1, 4)
    width = field.width
    if width is not None:
        _scatter(out, place, np.hstack([header, field.data.reshape(-1, width)]))
        return place + 4 + width
    _scatter(out, place, header)
    begins = np.cumsum(field.lengths) - field.lengths
    out[np.repeat(place + 4 - begins, field.lengths) + np.arange(len(field.data))] = field.data
    return place + 4 + field.lengths


def _scatter(out: Bytes, place: Lengths, block: Bytes) -> None:
    out[place[:, None] + np.arange(block.shape[1])] = block


def _field(column: pl.Series, type_name: str) -> _Field:
    null = column.is_null().to_numpy()
    if type_name in _TEXTS:
        raw = _TEXTS[type_name](column)
        lengths = raw.bin.size().fill_null(0).to_numpy().astype(np.int64)
        return _Field(
            np.frombuffer(b"".join(raw.drop_nulls().to_list()), dtype=np.uint8), lengths, null
        )
    numbers = _NUMBERS[type_name](column)
    width = numbers.dtype.itemsize
    lengths = np.where(null, 0, width).astype(np.int64)
    return _Field(numbers[~null].view(np.uint8), lengths, null)


Numbers = npt.NDArray[Any]


def _numbers(dtype: str) -> Callable[[pl.Series], Numbers]:
    def convert(column: pl.Series) -> Numbers:
        return column.fill_null(0).to_numpy().astype(dtype)

    return convert


def _boolean(column: pl.Series) -> Numbers:
    return column.fill_null(False).to_numpy().astype("u1")


def _date(column: pl.Series) -> Numbers:
    return (column.dt.epoch("d").fill_null(0).to_numpy().astype(np.int64) - _DAYS_TO_2000).astype(
        ">i4"
    )


def _time(column: pl.Series) -> Numbers:
    return (
        column.dt.epoch("us").fill_null(0).to_numpy().astype(np.int64) - _MICROSECONDS_TO_2000
    ).astype(">i8")


def _text(column: pl.Series) -> pl.Series:
    return column.cast(pl.Binary)


def _uuid(column: pl.Series) -> pl.Series:
    return column.str.replace_all("-", "", literal=True).str.decode("hex")


def _bytes(column: pl.Series) -> pl.Series:
    return column


_NUMBERS: dict[str, Callable[[pl.Series], Numbers]] = {
    "integer": _numbers(">i4"),
    "bigint": _numbers(">i8"),
    "smallint": _numbers(">i2"),
    "double precision": _numbers(">f8"),
    "real": _numbers(">f4"),
    "boolean": _boolean,
    "date": _date,
    "timestamp with time zone": _time,
}
_TEXTS: dict[str, Callable[[pl.Series], pl.Series]] = {
    "text": _text,
    "uuid": _uuid,
    "bytea": _bytes,
}
