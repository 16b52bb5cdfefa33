"""Milestones in the database. Nothing here commits."""

from datetime import datetime
from uuid import UUID

import polars as pl
from psycopg.errors import ForeignKeyViolation

from everafter.core.db import Connection, FrameReader, copy_frame
from everafter.core.errors import NotFoundError
from everafter.onboarding.model import MILESTONE_TIMES


async def record_milestone(
    conn: Connection, supplier_id: UUID, milestone_type: str, achieved_at: datetime
) -> tuple[bool, datetime, bool]:
    """Record one achievement; of two times the earlier is kept.

    Returns:
        Whether it is new, when it was achieved as it stands now, and whether it was celebrated.

    Raises:
        NotFoundError: no such supplier.
    """
    try:
        cursor = await conn.execute(
            "INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (supplier_id, milestone_type) DO NOTHING RETURNING achieved_at, celebrated",
            [supplier_id, milestone_type, achieved_at],
        )
    except ForeignKeyViolation:
        raise NotFoundError(f"there is no supplier {supplier_id}") from None
    if row := await cursor.fetchone():
        return True, row[0], row[1]
    cursor = await conn.execute(
        "UPDATE success_milestones SET achieved_at = least(achieved_at, %s)"
        " WHERE supplier_id = %s AND milestone_type = %s RETURNING achieved_at, celebrated",
        [achieved_at, supplier_id, milestone_type],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 it was there a statement ago, and milestones are not taken back
    return False, row[0], row[1]


async def read_recorded(reader: FrameReader, names: list[str], *, after: str, last: str) -> pl.DataFrame:
    """supplier_id and `recorded`, a bit for each of `names` that stands recorded; bounds as in the run's slices."""
    frame = await reader.fetch(
        "SELECT supplier_id::text, sum(1::bigint << (array_position({names}::text[], milestone_type) - 1))::bigint AS recorded"
        " FROM success_milestones"
        " WHERE supplier_id > {after}::uuid AND supplier_id <= {last}::uuid AND milestone_type = ANY ({names}::text[])"
        " GROUP BY supplier_id",
        names=names,
        after=after,
        last=last,
    )
    return frame.cast({"supplier_id": pl.String(), "recorded": pl.Int64()})


async def keep_earliest(conn: Connection, pulse: pl.DataFrame) -> None:
    """Move recorded milestones back to the time of an event that came late; `pulse` holds the folded suppliers' rows."""
    times = pulse.unpivot(
        on=list(MILESTONE_TIMES.values()), index="supplier_id", variable_name="column", value_name="at"
    ).drop_nulls()
    names = {column: name for name, column in MILESTONE_TIMES.items()}
    await conn.execute(
        "UPDATE success_milestones m SET achieved_at = said.at"
        " FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS said (supplier_id, milestone_type, at)"
        " WHERE m.supplier_id = said.supplier_id AND m.milestone_type = said.milestone_type AND m.achieved_at > said.at",
        [times["supplier_id"].to_list(), [names[column] for column in times["column"]], times["at"].to_list()],
    )


async def record_milestones(conn: Connection, frame: pl.DataFrame) -> int:
    """Record what the run found; of two times the earlier is kept. Gives how many rows were written.

    By COPY through a temporary table: a first run finds half a million, and 56,000 took 0.47 s so against 0.82 s as arrays.

    Args:
        frame: as `rules.find_milestones` gives it, each (supplier, type) once.
    """
    if frame.is_empty():
        return 0
    await conn.execute(
        "CREATE TEMP TABLE found_milestones (supplier_id uuid, milestone_type text, achieved_at timestamptz) ON COMMIT DROP"
    )
    await copy_frame(conn, "found_milestones", frame)
    cursor = await conn.execute(
        "INSERT INTO success_milestones AS m (supplier_id, milestone_type, achieved_at)"
        " SELECT supplier_id, milestone_type, achieved_at FROM found_milestones ORDER BY supplier_id, milestone_type"
        " ON CONFLICT (supplier_id, milestone_type) DO UPDATE SET achieved_at = excluded.achieved_at"
        " WHERE excluded.achieved_at < m.achieved_at"
    )
    await conn.execute("DROP TABLE found_milestones")
    return cursor.rowcount


async def list_milestones(conn: Connection, supplier_id: UUID) -> list[tuple[str, datetime, bool]]:
    """A supplier's achievements in order of time: type, when, celebrated.

    Raises:
        NotFoundError: no such supplier.
    """
    cursor = await conn.execute(
        "SELECT m.milestone_type, m.achieved_at, m.celebrated FROM suppliers s"
        " LEFT JOIN success_milestones m ON m.supplier_id = s.id WHERE s.id = %s ORDER BY m.achieved_at, m.milestone_type",
        [supplier_id],
    )
    rows = await cursor.fetchall()
    if not rows:
        raise NotFoundError(f"there is no supplier {supplier_id}")
    return [(row[0], row[1], row[2]) for row in rows if row[0] is not None]
