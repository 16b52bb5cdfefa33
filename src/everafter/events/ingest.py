"""Store checked events and traits, for HTTP and imports alike, in the caller's transaction."""

from dataclasses import dataclass
from itertools import compress

import polars as pl

from everafter.core.db import Connection
from everafter.events.model import STORED_SCHEMA, Checked, StoredCounts
from everafter.events.queries import (
    insert_rejects,
    list_stored,
    pop_waiting,
    store_events,
    store_events_in_bulk,
)
from everafter.events.rules import find_unresolved, resolve_days, split_unknown
from everafter.suppliers.model import TraitUpdate, UpsertCounts
from everafter.suppliers.queries import (
    list_known,
    list_zones,
    record_zone_changes,
    upsert_suppliers,
)
from everafter.suppliers.rules import merge_updates

# From here on COPY into a temporary table is faster than arrays (see store_events_in_bulk).
_BULK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch. waited: earlier events that waited for a supplier and are stored
    now."""

    stored: StoredCounts
    suppliers: UpsertCounts
    rejects: pl.DataFrame
    waited: int


async def store_batch(
    conn: Connection, checked: Checked, updates: list[TraitUpdate], *, source: str
) -> BatchResult:
    """Store a checked batch: suppliers' traits first, then the events, and events that waited for
    these suppliers.

    Args:
        conn: in a transaction, which the caller commits.
        checked: from `check_events`.
        updates: canonical traits from identify and group calls, or from a file of suppliers.
        source: 'http' or a file's name. Of a file, only events that wait for a supplier are stored
            as rejects; the others go to the rejects file, with their lines.
    """
    born = checked.good.filter(pl.col("type") == "account_created").select(
        "supplier_id", "external_id", "occurred_at"
    )
    named = {one.supplier_id for one in updates}.union(born["supplier_id"])
    known = await list_known(conn, named.union(checked.good["supplier_id"]))
    profiles = merge_updates(await _skip_repeated(conn, updates, known), born.iter_rows())
    zoned = [
        one.supplier_id for one in profiles if "timezone" in one.traits and one.supplier_id in known
    ]
    zones = await list_zones(conn, zoned) if zoned else {}
    suppliers = await upsert_suppliers(conn, profiles, known)
    if zones:
        await record_zone_changes(conn, zones)
    checked = split_unknown(checked, known | named)
    waiting = await pop_waiting(conn, sorted(named - known))
    events = pl.concat([waiting, checked.good.select(list(STORED_SCHEMA))])
    stored = await _store(conn, events)
    rejects = checked.rejects
    kept = rejects if source == "http" else rejects.filter(pl.col("code") == "unknown_supplier")
    await insert_rejects(conn, kept, source)
    new = max(0, stored.new - waiting.height)
    return BatchResult(
        StoredCounts(new, checked.good.height - new), suppliers, rejects, waiting.height
    )


async def _skip_repeated(
    conn: Connection, updates: list[TraitUpdate], known: set[str]
) -> list[TraitUpdate]:
    """Drop repeated messages: they have had their effect, and must not undo a later one."""
    stored = set[tuple[str, str]]()
    sent = [
        (one.supplier_id, one.message_id)
        for one in updates
        if one.message_id and one.supplier_id in known
    ]
    if sent:
        stored = await list_stored(conn, sent)
    out: list[TraitUpdate] = []
    for one in sorted(updates, key=lambda one: one.row):
        if one.message_id is not None:
            if (one.supplier_id, one.message_id) in stored:
                continue
            stored.add((one.supplier_id, one.message_id))
        out.append(one)
    return out


async def resolve(conn: Connection, events: pl.DataFrame) -> pl.DataFrame:
    """Convert moments that mean a day, such as wedding dates, to the supplier's time zone."""
    unresolved = find_unresolved(events)
    if not unresolved.any():
        return events
    return resolve_days(events, await list_zones(conn, compress(events["supplier_id"], unresolved)))


async def _store(conn: Connection, events: pl.DataFrame) -> StoredCounts:
    store = store_events if events.height < _BULK_ROWS else store_events_in_bulk
    return await store(conn, await resolve(conn, events))


async def store_waiting(conn: Connection, supplier_ids: list[str]) -> int:
    """Store the events that wait for suppliers who are known by now.

    Args:
        conn: in a transaction, which the caller commits.
        supplier_ids: the suppliers to check.

    Returns:
        How many events were stored.
    """
    known = await list_known(conn, supplier_ids)
    waiting = await pop_waiting(conn, sorted(known))
    await _store(conn, waiting)
    return waiting.height
