"""Give the features that a playbook names their slots, with uses from before they were named."""

import asyncio
from collections.abc import Collection

import polars as pl

from everafter.activity import model
from everafter.activity.feature_rules import USES_SCHEMA, assign_slots, move_features, needs_slots
from everafter.activity.queries import get_feature_ids, get_rows
from everafter.activity.rules import IMPLIED_FEATURES
from everafter.core.db import Connection, read_copy, upsert_frame
from everafter.core.locks import Lock

_BATCH = 2_000
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


async def name_features(conn: Connection, named: Collection[str]) -> int:
    """Give every named feature a slot, and fill it with each supplier's last use.

    Exact for any history: the rows have the last uses, and for a supplier who used more features
    than a row stores, the events are read. Cheap when no feature is new; otherwise folding waits
    until it is done.

    Args:
        conn: outside of a transaction; the work is one transaction.
        named: the features of the playbook in force.

    Returns:
        How many rows were changed.

    Raises:
        InputError: more features are named than there are slots.
    """
    known = await get_feature_ids(conn)
    if not needs_slots(known, named):
        return 0
    async with conn.transaction():
        if known.keys() - assign_slots(known, named).keys():
            # slots are reassigned: not during a run, which has read the assignment
            await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.RUN])
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FOLD])
        old_ids = await get_feature_ids(conn)
        new_ids = assign_slots(old_ids, named)
        if new_ids == old_ids:
            return 0  # another process did it
        await _replace_slots(conn, new_ids)
        return await _move_all(conn, old_ids, new_ids)


async def _replace_slots(conn: Connection, new_ids: dict[str, int]) -> None:
    await conn.execute("DELETE FROM features WHERE feature <> ALL (%s::text[])", [list(new_ids)])
    await conn.execute(
        """
        INSERT INTO features (feature, feature_id)
        SELECT * FROM unnest(%s::text[], %s::smallint[])
        ON CONFLICT DO NOTHING
        """,
        [list(new_ids), list(new_ids.values())],
    )


async def _move_all(conn: Connection, old_ids: dict[str, int], new_ids: dict[str, int]) -> int:
    """Rewrite every row with a feature whose slot changes, in batches."""
    freed = not old_ids.keys() <= new_ids.keys()
    new = sorted(new_ids.keys() - old_ids.keys())
    after, changed = _FIRST_ID, 0
    while ids := await _list_holders(conn, after, new, everybody=freed):
        moved = await _move(conn, await get_rows(conn, ids), old_ids, new_ids)
        await upsert_frame(conn, "supplier_activity", ("supplier_id",), moved.sort("supplier_id"))
        after, changed = ids[-1], changed + moved.height
    return changed


async def _list_holders(
    conn: Connection, after: str, new: list[str], *, everybody: bool
) -> list[str]:
    """The next suppliers whose rows may have uses of the `new` features outside of slots."""
    cursor = await conn.execute(
        """
        SELECT supplier_id::text
        FROM supplier_activity
        WHERE supplier_id > %(after)s::uuid
          AND (%(everybody)s OR features_beyond OR other_features ?| %(new)s::text[])
        ORDER BY supplier_activity.supplier_id
        LIMIT %(most)s
        """,
        {"after": after, "everybody": everybody, "new": new, "most": _BATCH},
    )
    return [supplier_id for (supplier_id,) in await cursor.fetchall()]


async def read_uses(conn: Connection, supplier_ids: list[str], named: list[str]) -> pl.DataFrame:
    """Uses from the stored events, in USES_SCHEMA: all of `named`, and of the others the latest,
    one more than a row stores."""
    return await read_copy(
        conn,
        """
        WITH used AS (
          SELECT e.supplier_id,
            CASE e.type WHEN 'feature_used' THEN e.properties ->> 'feature' ELSE i.feature END
              AS feature,
            (max(e.occurred_at) AT TIME ZONE 'UTC')::date - DATE '1970-01-01' AS day
          FROM events e
          LEFT JOIN unnest({types}::text[], {implied}::text[]) AS i (type, feature)
            ON i.type = e.type
          WHERE e.supplier_id = ANY ({suppliers}::uuid[])
            AND (e.type = 'feature_used' OR i.type IS NOT NULL)
          GROUP BY 1, 2
        ), ranked AS (
          SELECT supplier_id, feature, day, feature = ANY ({named}::text[]) AS is_named,
            row_number() OVER (
              PARTITION BY supplier_id, feature = ANY ({named}::text[])
              ORDER BY day DESC, feature COLLATE "C" DESC
            ) AS place
          FROM used
          WHERE feature IS NOT NULL
        )
        SELECT supplier_id, feature, day
        FROM ranked
        WHERE is_named OR place <= {most}
        """,
        USES_SCHEMA,
        {
            "suppliers": supplier_ids,
            "named": named,
            "types": list(IMPLIED_FEATURES),
            "implied": list(IMPLIED_FEATURES.values()),
            "most": model.MAX_OTHER_FEATURES + 1,
        },
    )


async def with_features(
    conn: Connection, inputs: pl.DataFrame, new_ids: dict[str, int], *, after: str, last: str
) -> pl.DataFrame:
    """The inputs of a slice as they will be after `name_features`; nothing is written.

    Args:
        inputs: rows of signals.queries.read_inputs.
        new_ids: the slots to use, from `assign_slots`.
        after, last: bounds of the supplier ids, the first exclusive, the last inclusive.
    """
    old_ids = await get_feature_ids(conn)
    if new_ids == old_ids:
        return inputs
    cursor = await conn.execute(
        """
        SELECT supplier_id::text
        FROM supplier_activity
        WHERE supplier_id > %(after)s::uuid AND supplier_id <= %(last)s::uuid
          AND (features_beyond OR other_features <> '{}' OR feature_days <> '')
        """,
        {"after": after, "last": last},
    )
    rows = await get_rows(conn, [supplier_id for (supplier_id,) in await cursor.fetchall()])
    moved = await _move(conn, rows, old_ids, new_ids)
    names = ["feature_days", "last_feature_at"]
    joined = inputs.join(
        moved.select("supplier_id", *names),
        on="supplier_id",
        how="left",
        suffix="_moved",
        maintain_order="left",
    )
    updated = [pl.coalesce(f"{name}_moved", name).alias(name) for name in names]
    return joined.with_columns(updated).select(inputs.columns)


async def _move(
    conn: Connection, rows: pl.DataFrame, old_ids: dict[str, int], new_ids: dict[str, int]
) -> pl.DataFrame:
    incomplete = rows.filter("features_beyond")["supplier_id"].to_list()
    uses = (
        await read_uses(conn, incomplete, list(new_ids))
        if incomplete
        else pl.DataFrame(schema=USES_SCHEMA)
    )
    return await asyncio.to_thread(move_features, rows, old_ids, new_ids, uses)
