"""The windows in which interventions may succeed, read and written in bulk."""

from datetime import date

import polars as pl

from everafter.core.db import Connection, FrameReader
from everafter.interventions.outcome_rules import WINDOWS_SCHEMA


async def read_windows(reader: FrameReader, *, after: str, last: str, day: date) -> pl.DataFrame:
    """The open windows of a slice: triggered or in the holdout before `day`, with a window that
    includes it and no success before it. Replayed ones too: a success counts on whatever day it is
    computed.

    Args:
        after, last: bounds of the supplier ids, the first excluded, the last included.

    Returns:
        WINDOWS_SCHEMA.
    """
    frame = await reader.fetch(
        """
        SELECT
          supplier_id::text,
          evaluated_on,
          trigger,
          succeeded_on
        FROM interventions
        WHERE status <> 'skipped'
          AND success_by >= {day}
          AND evaluated_on < {day}
          AND coalesce(succeeded_on, {day}) >= {day}
          AND supplier_id > {after}::uuid
          AND supplier_id <= {last}::uuid
        """,
        after=after,
        last=last,
        day=day,
    )
    return frame.cast(pl.Schema(WINDOWS_SCHEMA))


async def record_outcomes(conn: Connection, outcomes: pl.DataFrame) -> None:
    """Store succeeded_on of these interventions.

    Args:
        outcomes: WINDOWS_SCHEMA.
    """
    if outcomes.is_empty():
        return
    await conn.execute(
        """
        UPDATE interventions i
        SET succeeded_on = o.succeeded_on
        FROM unnest(%s::uuid[], %s::date[], %s::text[], %s::date[])
          AS o (supplier_id, evaluated_on, trigger, succeeded_on)
        WHERE i.supplier_id = o.supplier_id
          AND i.evaluated_on = o.evaluated_on
          AND i.trigger = o.trigger
        """,
        [outcomes[name].to_list() for name in WINDOWS_SCHEMA],
    )
