"""From checked events to stored ones: the same few steps for HTTP and for imports, in the caller's
transaction."""

from dataclasses import dataclass
from itertools import compress

import polars as pl

from everafter.core.db import Connection
from everafter.events.model import STORED_SCHEMA, Checked, StoredCounts
from everafter.events.queries import (
    insert_rejects,
    list_stored,
    store_events,
    store_events_in_bulk,
    take_waiting,
)
from everafter.events.rules import find_unsettled, settle_days, split_unknown
from everafter.suppliers.model import Said, UpsertCounts
from everafter.suppliers.queries import list_known, list_zones, note_zone_changes, upsert_suppliers
from everafter.suppliers.rules import fold_said

# From here on COPY into a temporary table beats arrays (figures at store_events_in_bulk).
_BULK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. waited: events that had come before their supplier was known, and
    were taken in now."""

    stored: StoredCounts
    suppliers: UpsertCounts
    rejects: pl.DataFrame
    waited: int


async def take_in(conn: Connection, checked: Checked, said: list[Said], *, source: str) -> Outcome:
    """Store a checked batch: first what is said of suppliers, then their events, and those that
    waited for them.

    Args: conn: in a transaction, which the caller commits. checked: from `check_events`. said:
        canonical traits from identify and group calls, or from a file of suppliers. source: where
        it came from, for the rejects: 'http' or a file's name. Of a file only the events that wait
        for a supplier are kept in the database; the others go to the rejects file, with their
        lines."""
    born = checked.good.filter(pl.col("type") == "account_created").select(
        "supplier_id", "external_id", "occurred_at"
    )
    named = {one.supplier_id for one in said}.union(born["supplier_id"])
    known = await list_known(conn, named.union(checked.good["supplier_id"]))
    profiles = fold_said(await _skip_repeated(conn, said, known), born.iter_rows())
    zoned = [
        one.supplier_id for one in profiles if "timezone" in one.said and one.supplier_id in known
    ]
    zones = await list_zones(conn, zoned) if zoned else {}
    suppliers = await upsert_suppliers(conn, profiles, known)
    if zones:
        await note_zone_changes(conn, zones)
    checked = split_unknown(checked, known | named)
    waiting = await take_waiting(conn, sorted(named - known))
    events = pl.concat([waiting, checked.good.select(list(STORED_SCHEMA))])
    stored = await _store(conn, events)
    rejects = checked.rejects
    kept = rejects if source == "http" else rejects.filter(pl.col("code") == "unknown_supplier")
    await insert_rejects(conn, kept, source)
    new = max(0, stored.new - waiting.height)
    return Outcome(StoredCounts(new, checked.good.height - new), suppliers, rejects, waiting.height)


async def _skip_repeated(conn: Connection, said: list[Said], known: set[str]) -> list[Said]:
    """Messages seen for the first time: a repeated message has had its effect and must not undo a
    later one."""
    there = set[tuple[str, str]]()
    asked = [
        (one.supplier_id, one.message_id)
        for one in said
        if one.message_id and one.supplier_id in known
    ]
    if asked:
        there = await list_stored(conn, asked)
    out: list[Said] = []
    for one in sorted(said, key=lambda one: one.row):
        if one.message_id is not None:
            if (one.supplier_id, one.message_id) in there:
                continue
            there.add((one.supplier_id, one.message_id))
        out.append(one)
    return out


async def settle(conn: Connection, events: pl.DataFrame) -> pl.DataFrame:
    """Events with the days of weddings as they are in their suppliers' time zones, which may have
    been said just now."""
    unsettled = find_unsettled(events)
    if not unsettled.any():
        return events
    return settle_days(events, await list_zones(conn, compress(events["supplier_id"], unsettled)))


async def _store(conn: Connection, events: pl.DataFrame) -> StoredCounts:
    store = store_events if events.height < _BULK_ROWS else store_events_in_bulk
    return await store(conn, await settle(conn, events))


async def take_in_waiting(conn: Connection, supplier_ids: list[str]) -> int:
    """Store the events that waited for suppliers who are known by now, however they became so.

    Args:
        conn: in a transaction, which the caller commits.
        supplier_ids: those to look at.

    Returns:
        How many events left the rejects.
    """
    known = await list_known(conn, supplier_ids)
    waiting = await take_waiting(conn, sorted(known))
    await _store(conn, waiting)
    return waiting.height
