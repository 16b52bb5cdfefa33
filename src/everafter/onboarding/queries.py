"""Milestones and progress on the onboarding path, in the database. Nothing here commits."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import polars as pl
from psycopg.errors import ForeignKeyViolation

from everafter.core.db import Connection, FrameReader, copy_frame
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.onboarding.celebration_rules import coach_milestones, emailed_milestones
from everafter.onboarding.model import (
    MILESTONE_TIMES,
    MILESTONES_SCHEMA,
    PROGRESS_SCHEMA,
    Celebration,
    Watch,
)
from everafter.onboarding.path_rules import path_of
from everafter.onboarding.rules import (
    celebration_of,
    find_fresh,
    find_milestones,
    find_progress,
    frame_of,
)
from everafter.playbook.model import Playbook

NEXT_CELEBRATION: LiteralString = """
SELECT m.milestone_type
FROM success_milestones m
JOIN unnest(%(names)s::text[], %(fresh_days)s::integer[], %(certificates)s::boolean[])
  AS kind (name, fresh_days, certificate)
  ON kind.name = m.milestone_type
WHERE m.supplier_id = s.id
  AND m.celebrated_in_coach_at IS NULL
  AND m.fresh
  AND m.achieved_at > %(now)s::timestamptz - make_interval(days => kind.fresh_days)
ORDER BY kind.certificate DESC, m.achieved_at DESC, m.milestone_type
LIMIT 1
"""
"""A subquery: the milestone that the coach celebrates next for the supplier `s`; null: none. Those
with a certificate come first, then the latest. Parameters: `CoachMilestones.as_parameters`, now."""


async def record_milestone(
    conn: Connection, supplier_id: UUID, milestone_type: str, achieved_at: datetime
) -> tuple[bool, datetime, bool]:
    """Record one achievement. Of two times the earlier is kept.

    Returns:
        Whether it is new, its stored time, and whether it was celebrated.

    Raises:
        NotFoundError: no such supplier.
    """
    try:
        cursor = await conn.execute(
            """
            INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at)
            VALUES (%s, %s, %s)
            ON CONFLICT (supplier_id, milestone_type) DO NOTHING
            RETURNING achieved_at, celebrated
            """,
            [supplier_id, milestone_type, achieved_at],
        )
    except ForeignKeyViolation:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}") from None
    if row := await cursor.fetchone():
        return True, row[0], row[1]
    cursor = await conn.execute(
        """
        UPDATE success_milestones
        SET achieved_at = least(achieved_at, %s)
        WHERE supplier_id = %s AND milestone_type = %s
        RETURNING achieved_at, celebrated
        """,
        [achieved_at, supplier_id, milestone_type],
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 (it existed a statement ago, and milestones are never deleted)
    return False, row[0], row[1]


# In three parts: each table is filtered by itself, by id range or by list.
_PROGRESS_BEGIN: LiteralString = """
SELECT
  supplier_id::text,
  bit_or(recorded) AS recorded,
  bit_or(kept) AS onboarding_kept,
  max(activated_at) AS activated_at,
  bool_or(shown) AS activation_shown
FROM (
  SELECT
    supplier_id,
    coalesce(1::bigint << (array_position({names}::text[], milestone_type) - 1), 0) AS recorded,
    0::bigint AS kept,
    CASE WHEN milestone_type = 'fully_activated' THEN achieved_at END AS activated_at,
    milestone_type = 'fully_activated' AND celebrated_in_coach_at IS NOT NULL AS shown
  FROM success_milestones
"""
_PROGRESS_MIDDLE: LiteralString = """
  UNION ALL
  SELECT
    supplier_id,
    0,
    1::bigint << (array_position({actions}::text[], action) - 1),
    NULL,
    false
  FROM onboarding_progress
"""
_PROGRESS_END: LiteralString = """
    AND action = ANY ({actions}::text[])
    AND done_at <= {as_of}
) found
GROUP BY supplier_id
"""


def read_progress(
    reader: FrameReader, playbook: Playbook, as_of: datetime, *, after: str, last: str
) -> pl.DataFrame:
    """What is stored of the milestones and actions of a slice's suppliers, for `add_onboarding` and
    `find_milestones`. Blocks.

    Returns:
        PROGRESS_SCHEMA, a row for each supplier with anything stored. recorded: a bit for each of
        the playbook's milestones. onboarding_kept: a bit for each action of the path that was done
        by `as_of`. activation_shown: whether full activation was celebrated in the coach.
    """
    frame = reader.read(
        f"""
        {_PROGRESS_BEGIN}
        WHERE supplier_id > {{after}}::uuid AND supplier_id <= {{last}}::uuid
        {_PROGRESS_MIDDLE}
        WHERE supplier_id > {{after}}::uuid AND supplier_id <= {{last}}::uuid
        {_PROGRESS_END}
        """,
        after=after,
        last=last,
        **_progress_parameters(playbook, as_of),
    )
    return frame.cast(pl.Schema(PROGRESS_SCHEMA))


def read_progress_of(
    reader: FrameReader, playbook: Playbook, as_of: datetime, supplier_ids: list[str]
) -> pl.DataFrame:
    """The same as `read_progress`, for these suppliers. Blocks."""
    frame = reader.read(
        f"""
        {_PROGRESS_BEGIN}
        WHERE supplier_id = ANY ({{ids}}::uuid[])
        {_PROGRESS_MIDDLE}
        WHERE supplier_id = ANY ({{ids}}::uuid[])
        {_PROGRESS_END}
        """,
        ids=supplier_ids,
        **_progress_parameters(playbook, as_of),
    )
    return frame.cast(pl.Schema(PROGRESS_SCHEMA))


def _progress_parameters(playbook: Playbook, as_of: datetime) -> dict[str, Any]:
    return {
        "names": list(playbook.milestones),
        "actions": list(path_of(playbook).actions),
        "as_of": as_of,
    }


def join_progress(suppliers: pl.DataFrame, progress: pl.DataFrame) -> pl.DataFrame:
    """The suppliers' rows with their progress, in the same order. A supplier with nothing stored
    has 0, null and false."""
    return suppliers.join(
        progress, on="supplier_id", how="left", maintain_order="left"
    ).with_columns(
        pl.col("recorded", "onboarding_kept").fill_null(0),
        pl.col("activation_shown").fill_null(False),
    )


async def get_watch(conn: Connection, playbook: Playbook, before: date) -> Watch:
    """Since when the playbook's milestones have been looked for, by the last finished run of a day
    before `before`."""
    cursor = await conn.execute(
        """
        SELECT r.as_of, v.source::jsonb -> 'milestones'
        FROM runs r
        JOIN playbook_versions v ON v.version = r.playbook_version
        WHERE r.run_on < %s AND r.finished_at IS NOT NULL
        ORDER BY r.run_on DESC
        LIMIT 1
        """,
        [before],
    )
    row = await cursor.fetchone()
    if row is None:
        return Watch(None, frozenset())
    looked_for: dict[str, dict[str, Any]] = row[1] or {}
    watched = [
        n
        for n, m in playbook.milestones.items()
        if n in looked_for and looked_for[n].get("when") == m.when
    ]
    return Watch(row[0], frozenset(watched))


async def keep_earliest(conn: Connection, activity: pl.DataFrame) -> None:
    """Move recorded milestones back to the time of an event that came late; `supplier_activity`
    holds the folded suppliers' rows."""
    times = activity.unpivot(
        on=list(MILESTONE_TIMES.values()),
        index="supplier_id",
        variable_name="column",
        value_name="at",
    ).drop_nulls()
    names = {column: name for name, column in MILESTONE_TIMES.items()}
    await conn.execute(
        """
        UPDATE success_milestones m
        SET achieved_at = event.at
        FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[])
          AS event (supplier_id, milestone_type, at)
        WHERE m.supplier_id = event.supplier_id
          AND m.milestone_type = event.milestone_type
          AND m.achieved_at > event.at
        """,
        [
            times["supplier_id"].to_list(),
            [names[column] for column in times["column"]],
            times["at"].to_list(),
        ],
    )


async def record_milestones(conn: Connection, frame: pl.DataFrame) -> int:
    """Record the milestones that a run found, and return how many rows were written. Of two times
    the earlier is kept.

    The rows go by COPY through a temporary table: a first run finds half a million, and 56,000 took
    0.47 s that way, 0.82 s as arrays.

    Args:
        frame: from `rules.find_milestones`, each (supplier, type) once. Without the column `fresh`
            (`rules.find_fresh`) all are fresh.
    """
    if frame.is_empty():
        return 0
    await conn.execute(
        """
        CREATE TEMP TABLE found_milestones (
          supplier_id uuid,
          milestone_type text,
          achieved_at timestamptz,
          fresh boolean NOT NULL DEFAULT true
        ) ON COMMIT DROP
        """
    )
    await copy_frame(conn, "found_milestones", frame)
    # Counted by RETURNING: on Citus the row count of INSERT … SELECT … ON CONFLICT includes rows
    # that were left out.
    cursor = await conn.execute(
        """
        WITH written AS (
          INSERT INTO success_milestones AS m (supplier_id, milestone_type, achieved_at, fresh)
          SELECT supplier_id, milestone_type, achieved_at, fresh
          FROM found_milestones
          ORDER BY supplier_id, milestone_type
          ON CONFLICT (supplier_id, milestone_type) DO UPDATE
          SET achieved_at = excluded.achieved_at
          WHERE excluded.achieved_at < m.achieved_at
          RETURNING 1
        )
        SELECT count(*) FROM written
        """
    )
    row = await cursor.fetchone()
    await conn.execute("DROP TABLE found_milestones")
    return row[0] if row else 0


async def keep_progress(conn: Connection, frame: pl.DataFrame) -> int:
    """Store actions of the path that were noticed or reported, and return how many rows were
    written. Of two times the earlier is kept.

    Args:
        frame: KEPT_SCHEMA, each (supplier, action) once.
    """
    if frame.is_empty():
        return 0
    await conn.execute(
        """
        CREATE TEMP TABLE found_progress (
          supplier_id uuid,
          action text,
          done_at timestamptz
        ) ON COMMIT DROP
        """
    )
    await copy_frame(conn, "found_progress", frame)
    cursor = await conn.execute(
        """
        WITH written AS (
          INSERT INTO onboarding_progress AS p (supplier_id, action, done_at)
          SELECT supplier_id, action, done_at
          FROM found_progress
          ORDER BY supplier_id, action
          ON CONFLICT (supplier_id, action) DO UPDATE
          SET done_at = excluded.done_at
          WHERE excluded.done_at < p.done_at
          RETURNING 1
        )
        SELECT count(*) FROM written
        """
    )
    row = await cursor.fetchone()
    await conn.execute("DROP TABLE found_progress")
    return row[0] if row else 0


async def record_reached(
    conn: Connection,
    scored: Mapping[str, Any] | Sequence[Mapping[str, Any]] | pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
) -> list[tuple[str, str]]:
    """Record what suppliers scored on request have just reached: milestones, and actions of the
    path that have no event of their own.

    Executes no statement when there is nothing new. Safe to run concurrently with a daily run and
    with itself: each is recorded once, and of two times the earlier is kept.

    Args:
        scored: a row of scoring.live, several, or a frame of them.

    Returns:
        (supplier id, milestone) of those that this call has recorded.
    """
    several = scored.to_dicts() if isinstance(scored, pl.DataFrame) else scored
    rows = [several] if isinstance(several, Mapping) else several
    rows = [row for row in rows if row.get("onboarding_news", True)]
    if not rows:
        return []
    frame = frame_of(*rows)
    kept = find_progress(frame, playbook, as_of)
    if not kept.is_empty():
        await conn.execute(
            """
            INSERT INTO onboarding_progress (supplier_id, action, done_at)
            SELECT *
            FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[])
            ON CONFLICT (supplier_id, action) DO NOTHING
            """,
            [kept["supplier_id"].to_list(), kept["action"].to_list(), kept["done_at"].to_list()],
        )
    found = find_milestones(frame, playbook, as_of)
    if found.is_empty():
        return []
    found = find_fresh(
        found,
        frame,
        playbook,
        await get_watch(conn, playbook, as_of.date() + timedelta(days=1)),
        as_of,
    )
    cursor = await conn.execute(
        """
        INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at, fresh)
        SELECT *
        FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::boolean[])
        ON CONFLICT (supplier_id, milestone_type) DO NOTHING
        RETURNING supplier_id::text, milestone_type
        """,
        [
            found[name].to_list()
            for name in ("supplier_id", "milestone_type", "achieved_at", "fresh")
        ],
    )
    return await cursor.fetchall()


async def read_waiting(
    reader: FrameReader, playbook: Playbook, as_of: datetime, *, after: str, last: str
) -> pl.DataFrame:
    """Milestones of a slice's suppliers that are fresh and not celebrated by email yet:
    MILESTONES_SCHEMA."""
    mailed = emailed_milestones(playbook)
    oldest = as_of - timedelta(
        days=max((milestone.fresh_days for milestone in mailed.values()), default=0)
    )
    frame = await reader.fetch(
        """
        SELECT supplier_id::text, milestone_type, achieved_at
        FROM success_milestones
        WHERE supplier_id > {after}::uuid
          AND supplier_id <= {last}::uuid
          AND milestone_type = ANY ({names}::text[])
          AND celebrated_by_email_at IS NULL
          AND fresh
          AND achieved_at > {oldest}
        """,
        names=list(mailed),
        oldest=oldest,
        after=after,
        last=last,
    )
    return frame.cast(pl.Schema(MILESTONES_SCHEMA))


async def mark_celebrated_by_email(
    conn: Connection, celebrated: pl.DataFrame, now: datetime
) -> int:
    """Mark these (supplier_id, milestone_type) as celebrated by email, and return how many were not
    marked before."""
    if celebrated.is_empty():
        return 0
    cursor = await conn.execute(
        """
        UPDATE success_milestones m
        SET celebrated_by_email_at = %s, celebrated = true
        FROM unnest(%s::uuid[], %s::text[]) AS sent (supplier_id, milestone_type)
        WHERE m.supplier_id = sent.supplier_id
          AND m.milestone_type = sent.milestone_type
          AND m.celebrated_by_email_at IS NULL
        """,
        [now, celebrated["supplier_id"].to_list(), celebrated["milestone_type"].to_list()],
    )
    return cursor.rowcount


async def next_celebration(
    conn: Connection,
    supplier_id: UUID,
    playbook: Playbook,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
    language: str = "en",
) -> Celebration | None:
    """The milestone that the coach celebrates next (`NEXT_CELEBRATION`); null: none.

    Args:
        facts: the supplier's name and signals (its scored row), for the text.
    """
    cursor = await conn.execute(
        f"SELECT ({NEXT_CELEBRATION}) FROM suppliers s WHERE s.id = %(supplier)s",
        {"supplier": supplier_id, "now": now, **coach_milestones(playbook).as_parameters()},
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    return celebration_of(playbook, row[0], facts or {}, language)


async def claim_celebration(
    conn: Connection, supplier_id: UUID, milestone_type: str, now: datetime
) -> bool:
    """Claim a celebration in the coach; true for exactly one of all callers."""
    cursor = await conn.execute(
        """
        UPDATE success_milestones
        SET celebrated_in_coach_at = %s, celebrated = true
        WHERE supplier_id = %s AND milestone_type = %s AND celebrated_in_coach_at IS NULL
        """,
        [now, supplier_id, milestone_type],
    )
    return cursor.rowcount == 1


async def list_milestones(conn: Connection, supplier_id: UUID) -> list[tuple[str, datetime, bool]]:
    """A supplier's achievements, the first one first: type, when, celebrated.

    Raises:
        NotFoundError: no such supplier.
    """
    cursor = await conn.execute(
        """
        SELECT m.milestone_type, m.achieved_at, m.celebrated
        FROM suppliers s
        LEFT JOIN success_milestones m ON m.supplier_id = s.id
        WHERE s.id = %s
        ORDER BY m.achieved_at, m.milestone_type
        """,
        [supplier_id],
    )
    rows = await cursor.fetchall()
    if not rows:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")
    return [(row[0], row[1], row[2]) for row in rows if row[0] is not None]


async def list_progress(conn: Connection, supplier_id: UUID) -> dict[str, datetime]:
    """When each action of the path was reported or first noticed, except those that have only the
    time of their event."""
    cursor = await conn.execute(
        "SELECT action, done_at FROM onboarding_progress WHERE supplier_id = %s", [supplier_id]
    )
    return dict(await cursor.fetchall())


async def keep_action(
    conn: Connection, supplier_id: UUID, action: str, done_at: datetime
) -> tuple[bool, datetime]:
    """Store one reported action. Returns whether it is new, and its stored time, the earlier of
    two.

    Raises:
        NotFoundError: no such supplier.
    """
    cursor = await conn.execute(
        """
        INSERT INTO onboarding_progress (supplier_id, action, done_at)
        SELECT id, %s, %s
        FROM suppliers
        WHERE id = %s
        ON CONFLICT (supplier_id, action) DO NOTHING
        RETURNING done_at
        """,
        [action, done_at, supplier_id],
    )
    if row := await cursor.fetchone():
        return True, row[0]
    cursor = await conn.execute(
        """
        UPDATE onboarding_progress
        SET done_at = least(done_at, %s)
        WHERE supplier_id = %s AND action = %s
        RETURNING done_at
        """,
        [done_at, supplier_id, action],
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")
    return False, row[0]


async def list_plans(conn: Connection) -> list[tuple[str, int]]:
    """(plan, number of suppliers); '-' for suppliers without a plan."""
    cursor = await conn.execute(
        """
        SELECT coalesce(a.plan, s.plan, '-') AS plan, count(*)
        FROM suppliers s
        LEFT JOIN supplier_activity a ON a.supplier_id = s.id
        GROUP BY 1
        ORDER BY 1
        """
    )
    return await cursor.fetchall()
