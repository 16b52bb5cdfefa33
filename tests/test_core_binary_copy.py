"""Values written by binary COPY are read back unchanged, including nulls and limits."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everafter.core import db

_TIME = pl.Datetime("us", "UTC")
COLUMNS: dict[str, tuple[str, pl.DataType, st.SearchStrategy[Any]]] = {
    "a_uuid": ("uuid", pl.String(), st.uuids().map(str)),
    "a_text": (
        "text",
        pl.String(),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9),
    ),
    "an_int": ("integer", pl.Int32(), st.integers(-(2**31), 2**31 - 1)),
    "a_big": ("bigint", pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "a_double": ("double precision", pl.Float64(), st.floats(allow_nan=False)),
    "a_real": ("real", pl.Float32(), st.floats(allow_nan=False, width=32)),
    "a_bool": ("boolean", pl.Boolean(), st.booleans()),
    "a_date": ("date", pl.Date(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "a_time": (
        "timestamptz",
        _TIME,
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    ),
    "some_bytes": ("bytea", pl.Binary(), st.binary(max_size=9)),
}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_round_trip(database: str, data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({n: st.none() | s for n, (_, _, s) in COLUMNS.items()}),
            min_size=1,
            max_size=12,
        )
    )
    frame = pl.DataFrame(rows, schema={name: dtype for name, (_, dtype, _) in COLUMNS.items()})
    # as text a real is the shortest decimal that gives it back, which is not the same double
    names = ", ".join("a_real::float8" if name == "a_real" else name for name in COLUMNS)

    async def there_and_back() -> list[Any]:
        async with db.connection(database) as conn:
            await conn.execute("DROP TABLE IF EXISTS everafter.anything")
            kinds = ", ".join(f"{name} {kind}" for name, (kind, _, _) in COLUMNS.items())
            await conn.execute(f"CREATE TABLE everafter.anything (n serial, {kinds})")  # type: ignore[arg-type]
            await db.append_frame(conn, "anything", frame)
            cursor = await conn.execute(f"SELECT {names} FROM anything ORDER BY n")  # type: ignore[arg-type]
            return await cursor.fetchall()

    for found, said in zip(asyncio.run(there_and_back()), frame.rows(), strict=True):
        assert [
            str(value) if name == "a_uuid" and value else value
            for name, value in zip(COLUMNS, found, strict=True)
        ] == list(said)


def test_text_copy_keeps_null_apart_from_empty(database: str) -> None:
    frame = pl.DataFrame(
        {"a": [None, "", 'x,"y"\n\\N'], "l": [[1, 2], [], None]},
        schema={"a": pl.String, "l": pl.List(pl.Int32)},
    )

    async def there_and_back() -> pl.DataFrame:
        async with db.connection(database) as conn:
            await conn.execute("CREATE TABLE everafter.texts (a text, l integer[])")
            await db.copy_frame(conn, "texts", frame)
            return await db.read_copy(
                conn, "SELECT a, l FROM texts", {"a": pl.String(), "l": pl.List(pl.Int32)}
            )

    assert asyncio.run(there_and_back()).equals(frame)
