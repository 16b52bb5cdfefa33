"""From checked events to stored ones: the same few steps for HTTP and for imports, in the caller's transaction."""

from dataclasses import dataclass

import polars as pl

from everafter.core.db import Connection
from everafter.events.model import STORED_SCHEMA, Checked, StoredCounts
from everafter.events.queries import insert_rejects, store_events, store_events_in_bulk, take_waiting
from everafter.events.rules import split_unknown
from everafter.suppliers.model import Said, UpsertCounts
from everafter.suppliers.queries import list_known, upsert_suppliers
from everafter.suppliers.rules import fold_said

# From here on COPY into a temporary table beats arrays (figures at store_events_in_bulk).
_BULK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. `waited`: events that had come before their supplier was known, and were taken in now."""

    stored: StoredCounts
    suppliers: UpsertCounts
    rejects: pl.DataFrame
    waited: int


async def take_in(conn: Connection, checked: Checked, said: list[Said], *, source: str) -> Outcome:
    """Store a checked batch: first what is said of suppliers, then their events, and those that waited for them.

    Args:
        conn: in a transaction, which the caller commits.
        checked: from `check_events`.
        said: canonical traits from identify and group calls, or from a file of suppliers.
        source: where it came from, for the rejects: 'http' or a file's name. Of a file only the events that wait for a
            supplier are kept in the database; the others go to the rejects file, with their lines.
    """
    born = checked.good.filter(pl.col("type") == "account_created").select("supplier_id", "external_id", "occurred_at")
    profiles = fold_said(said, born.iter_rows())
    ids = {profile.supplier_id for profile in profiles}
    known = await list_known(conn, ids.union(checked.good["supplier_id"]))
    suppliers = await upsert_suppliers(conn, profiles, known & ids)
    checked = split_unknown(checked, known | ids)
    waiting = await take_waiting(conn, sorted(ids - known))
    events = pl.concat([waiting, checked.good.select(list(STORED_SCHEMA))])
    store = store_events if events.height < _BULK_ROWS else store_events_in_bulk
    stored = await store(conn, events)
    rejects = checked.rejects
    kept = rejects if source == "http" else rejects.filter(pl.col("code") == "unknown_supplier")
    await insert_rejects(conn, kept, source)
    new = max(0, stored.new - waiting.height)
    return Outcome(StoredCounts(new, checked.good.height - new), suppliers, rejects, waiting.height)


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
    await (store_events if waiting.height < _BULK_ROWS else store_events_in_bulk)(conn, waiting)
    return waiting.height
