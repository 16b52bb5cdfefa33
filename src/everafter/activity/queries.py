"""Fold pending events, and read and write supplier activity. One fold runs at a time, so no rows
have to be locked (Citus has no cross-shard locks)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import LiteralString
from uuid import UUID

import polars as pl
from psycopg.errors import LockNotAvailable

from everafter.activity import model
from everafter.activity.rules import fold, read_facts, resolve_weddings, split_foldable
from everafter.core.db import Connection, read_copy, upsert_frame
from everafter.core.errors import OverloadedError
from everafter.core.gauges import Gauge
from everafter.core.locks import Lock
from everafter.events.model import CANONICAL
from everafter.suppliers.queries import list_zones

Followers = tuple[Callable[[Connection, pl.DataFrame, pl.DataFrame], Awaitable[object]], ...]
"""Called after a fold, in its transaction, each with the connection, the folded events
(EVENTS_SCHEMA, in order of arrival) and the new rows of their suppliers (ACTIVITY_SCHEMA)."""

FOLD_BATCH = 50_000
FOLD_PATIENCE = "3s"

# The columns of CLIENTS_SCHEMA.
_CLIENT: LiteralString = """
  supplier_id,
  client_id,
  name,
  name_at,
  added_at,
  readded_at,
  wedding_date,
  wedding_date_at,
  wedding_moment,
  last_active_at,
  archived_at,
  lost_at
"""


async def fold_pending(conn: Connection, followers: Followers, *, limit: int = FOLD_BATCH) -> int:
    """Fold up to about `limit` pending events, in one transaction; waits for another fold to
    finish.

    Returns:
        How many events were folded; 0 means that nothing is pending.
    """
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FOLD])
        # read first: events stored before a time zone changed are then among those read below
        changed = await list_zone_changes(conn)
        events = await read_copy(
            conn,
            """
            DELETE FROM events_pending
            WHERE seq < (SELECT min(seq) FROM events_pending) + {limit}
            RETURNING seq, supplier_id, type, occurred_at, properties
            """,
            {"seq": pl.Int64(), **model.EVENTS_SCHEMA},
            {"limit": limit},
        )
        if events.is_empty() and changed:
            await apply_zone_changes(conn, changed)
        return await _fold(conn, events, followers)


async def fold_supplier(conn: Connection, supplier_id: UUID, followers: Followers) -> int:
    """Fold the pending events of one supplier, so that their effect can be read at once.

    Args:
        conn: in the caller's transaction, which keeps the fold's lock until its end.

    Returns:
        How many events were folded.

    Raises:
        OverloadedError: another fold took longer than FOLD_PATIENCE.
    """
    try:
        await conn.execute("SELECT set_config('lock_timeout', %s, true)", [FOLD_PATIENCE])
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", [Lock.FOLD])
    except LockNotAvailable as error:
        raise OverloadedError(
            "many events are being folded; try again in a moment", retry_after=2
        ) from error
    events = await read_copy(
        conn,
        """
        DELETE FROM events_pending
        WHERE supplier_id = {supplier}::uuid
        RETURNING seq, supplier_id, type, occurred_at, properties
        """,
        {"seq": pl.Int64(), **model.EVENTS_SCHEMA},
        {"supplier": str(supplier_id)},
    )
    return await _fold(conn, events, followers)


async def _fold(conn: Connection, events: pl.DataFrame, followers: Followers) -> int:
    if events.is_empty():
        return 0
    count = events.height
    # in order of arrival, which decides between two values for the same time
    events = events.sort("seq").drop("seq")
    events, broken = split_foldable(events)
    await quarantine(conn, broken)
    feature_ids = await get_feature_ids(conn)
    before = await get_state(conn, events)
    after = await asyncio.to_thread(fold, before, events, feature_ids)
    await save_state(conn, after)
    for follow in followers:
        await follow(conn, events, after.activity)
    await count_types(conn, events)
    await count_hours(conn, events)
    return count


async def quarantine(conn: Connection, broken: pl.DataFrame) -> None:
    """Record events that cannot be folded as rejects; they stay in `events`."""
    if broken.is_empty():
        return
    await conn.execute(
        """
        INSERT INTO rejects (source, code, reason, supplier_id, payload)
        SELECT
          'fold',
          'cannot_fold',
          reason,
          supplier,
          jsonb_build_object('type', type, 'occurred_at', at, 'properties', properties::jsonb)
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])
          AS broken (reason, supplier, type, at, properties)
        """,
        [
            broken[name].to_list()
            for name in ("reason", "supplier_id", "type", "occurred_at", "properties")
        ],
    )


async def get_feature_ids(conn: Connection) -> dict[str, int]:
    """The slot of every feature that has one (assigned by activity.feature_queries)."""
    cursor = await conn.execute("SELECT feature, feature_id FROM features")
    return dict(await cursor.fetchall())


async def get_rows(conn: Connection, supplier_ids: list[str]) -> pl.DataFrame:
    """The rows of these suppliers in ACTIVITY_SCHEMA, unordered."""
    return await read_copy(
        conn,
        """
        SELECT
          supplier_id,
          events_total,
          first_event_at,
          last_event_at,
          account_created_at,
          vendor_type_selected_at,
          completed_wizard_at,
          first_login_at,
          import_clients_started_at,
          first_form_at,
          first_invite_at,
          first_journey_at,
          first_automation_at,
          last_login_at,
          login_days,
          feature_days,
          other_features,
          features_beyond,
          last_feature_at,
          clients_active_d,
          feature_uses_d,
          feature_uses_w,
          clients_lost_w,
          forms_sent_w,
          forms_answered_w,
          emails_sent_w,
          emails_opened_w,
          tickets_w,
          payments_failed_w,
          clients_added,
          clients_total,
          weddings,
          tickets_open,
          payment_failed_at,
          payment_recovered_at,
          usage,
          usage_ratio,
          subscription,
          subscription_at,
          plan,
          plan_at,
          vendor_type,
          vendor_type_at
        FROM supplier_activity
        WHERE supplier_id = ANY ({suppliers}::uuid[])
        """,
        model.ACTIVITY_SCHEMA,
        {"suppliers": supplier_ids},
    )


async def list_vendor_types(conn: Connection) -> list[tuple[str | None, int]]:
    """List (vendor type, number of suppliers); null: suppliers without a vendor type."""
    cursor = await conn.execute(
        """
        SELECT coalesce(p.vendor_type, s.vendor_type) AS vendor_type, count(*)
        FROM suppliers s
        LEFT JOIN supplier_activity p ON p.supplier_id = s.id
        GROUP BY 1
        ORDER BY 1 NULLS LAST
        """
    )
    return await cursor.fetchall()


async def list_zone_changes(conn: Connection) -> list[str]:
    """The suppliers whose time zone has changed, and whose wedding dates are to be converted
    again."""
    cursor = await conn.execute("SELECT supplier_id::text FROM zone_changes")
    return [supplier_id for (supplier_id,) in await cursor.fetchall()]


async def apply_zone_changes(conn: Connection, supplier_ids: list[str]) -> None:
    """Convert the wedding dates of these suppliers again, where they were given as moments.

    Args:
        conn: in a transaction that holds the fold's lock, with no pending events of these
            suppliers.
    """
    zones = await list_zones(conn, supplier_ids)
    clients = await read_copy(
        conn,
        f"""
        SELECT {_CLIENT}
        FROM clients
        WHERE supplier_id = ANY ({{suppliers}}::uuid[])
          AND wedding_moment IS NOT NULL
        """,
        model.CLIENTS_SCHEMA,
        {"suppliers": supplier_ids},
    )
    if not clients.is_empty():
        await save_state(conn, resolve_weddings(await get_rows(conn, supplier_ids), clients, zones))
    await conn.execute(
        "DELETE FROM zone_changes WHERE supplier_id = ANY (%s::uuid[])", [supplier_ids]
    )


async def get_state(conn: Connection, events: pl.DataFrame) -> model.State:
    """The stored rows of the suppliers, clients, items and tickets in these events."""
    facts = read_facts(events)
    suppliers = facts["supplier_id"].unique().to_list()
    clients = facts.select("supplier_id", "client_id").drop_nulls().unique()
    items = (
        facts.select(
            "supplier_id", "client_id", pl.coalesce("form_id", "message_id").alias("item_id")
        )
        .drop_nulls()
        .unique()
    )
    tickets = facts.select("supplier_id", "ticket_id").drop_nulls().unique()
    return model.State(
        await get_rows(conn, suppliers),
        await read_copy(
            conn,
            f"""
            SELECT {_CLIENT}
            FROM clients
            JOIN unnest({{suppliers}}::uuid[], {{clients}}::text[])
              AS named (supplier_id, client_id)
              USING (supplier_id, client_id)
            """,
            model.CLIENTS_SCHEMA,
            {
                "suppliers": clients["supplier_id"].to_list(),
                "clients": clients["client_id"].to_list(),
            },
        ),
        await read_copy(
            conn,
            """
            SELECT supplier_id, kind, item_id, client_id, sent_at, answered_at
            FROM sent_items
            JOIN unnest({suppliers}::uuid[], {clients}::text[], {items}::text[])
              AS named (supplier_id, client_id, item_id)
              USING (supplier_id, client_id, item_id)
            """,
            model.ITEMS_SCHEMA,
            {
                "suppliers": items["supplier_id"].to_list(),
                "clients": items["client_id"].to_list(),
                "items": items["item_id"].to_list(),
            },
        ),
        await read_copy(
            conn,
            """
            SELECT
              supplier_id,
              ticket_id,
              subject,
              priority,
              opened_at,
              last_opened_at,
              resolved_at
            FROM tickets
            JOIN unnest({suppliers}::uuid[], {tickets}::text[]) AS named (supplier_id, ticket_id)
              USING (supplier_id, ticket_id)
            """,
            model.TICKETS_SCHEMA,
            {
                "suppliers": tickets["supplier_id"].to_list(),
                "tickets": tickets["ticket_id"].to_list(),
            },
        ),
    )


async def save_state(conn: Connection, state: model.State) -> None:
    """Write the folded rows, in key order."""
    await upsert_frame(conn, "supplier_activity", ("supplier_id",), state.activity)
    await upsert_frame(
        conn,
        "clients",
        ("supplier_id", "client_id"),
        state.clients.sort("supplier_id", "client_id"),
    )
    await upsert_frame(
        conn,
        "sent_items",
        ("supplier_id", "kind", "client_id", "item_id"),
        state.items.sort("supplier_id", "kind", "client_id", "item_id"),
    )
    await upsert_frame(
        conn,
        "tickets",
        ("supplier_id", "ticket_id"),
        state.tickets.sort("supplier_id", "ticket_id"),
    )


async def count_types(conn: Connection, events: pl.DataFrame) -> None:
    """Count the events of each type, canonical or not."""
    counted = events.group_by("type").agg(
        pl.len().alias("n"),
        pl.col("occurred_at").min().alias("first"),
        pl.col("occurred_at").max().alias("last"),
    )
    await conn.execute(
        """
        INSERT INTO event_types AS t (type, events, first_at, last_at)
        SELECT *
        FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])
        ON CONFLICT (type) DO UPDATE SET
          events = t.events + excluded.events,
          first_at = least(t.first_at, excluded.first_at),
          last_at = greatest(t.last_at, excluded.last_at)
        """,
        [
            counted["type"].to_list(),
            counted["n"].to_list(),
            counted["first"].to_list(),
            counted["last"].to_list(),
        ],
    )


async def count_hours(conn: Connection, events: pl.DataFrame) -> None:
    """Count the events of each hour and type, those that are not canonical together; of the last
    HOURS_DAYS before the newest of these events, so that a long import does not fill the table."""
    counted = (
        events.with_columns(
            pl.when(pl.col("type").is_in(list(CANONICAL)))
            .then(pl.col("type"))
            .otherwise(pl.lit("other")),
            pl.col("occurred_at").dt.truncate("1h").alias("hour"),
        )
        .filter(pl.col("hour") >= pl.col("hour").max() - pl.duration(days=model.HOURS_DAYS))
        .group_by("hour", "type")
        .len()
        .sort("hour", "type")
    )
    await conn.execute(
        """
        INSERT INTO event_hours AS h (hour, type, events)
        SELECT *
        FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[])
        ON CONFLICT (hour, type) DO UPDATE SET events = h.events + excluded.events
        """,
        [counted[name].to_list() for name in ("hour", "type", "len")],
    )
    await conn.execute(
        """
        DELETE FROM event_hours
        WHERE hour < (SELECT max(hour) FROM event_hours) - make_interval(days => %s)
        """,
        [model.HOURS_DAYS],
    )


GAUGES = (
    Gauge(
        "everafter_suppliers_beyond_features",
        "suppliers with more features that no playbook names than their row can hold",
        """
        SELECT '', count(*)
        FROM supplier_activity
        WHERE features_beyond
        """,
    ),
)
