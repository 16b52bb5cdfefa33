"""Read and write suppliers and their traits."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec

from everafter.core.db import Connection
from everafter.suppliers.model import TRAITS, Profile, UpsertCounts

# One statement for one or fifty thousand suppliers. A trait changes only where its time key is at
# least the stored one. A created_at without a key was loaded from elsewhere, and outranks the weak
# key of an account_created event.
_UPSERT: LiteralString = """
INSERT INTO suppliers AS s (
  id,
  external_id,
  name,
  email,
  vendor_type,
  plan,
  country,
  timezone,
  mrr_minor,
  client_limit,
  created_at,
  consent,
  traits,
  trait_times
)
SELECT
  id,
  external_id,
  coalesce(name, ''),
  email,
  vendor_type,
  plan,
  country,
  timezone,
  mrr_minor,
  client_limit,
  created_at,
  coalesce(consent, true),
  traits,
  trait_times
FROM jsonb_to_recordset(%s::jsonb) AS incoming (
  id uuid,
  external_id text,
  name text,
  email text,
  vendor_type text,
  plan text,
  country text,
  timezone text,
  mrr_minor bigint,
  client_limit integer,
  created_at timestamptz,
  consent boolean,
  traits jsonb,
  trait_times jsonb
)
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
  external_id = coalesce(s.external_id, excluded.external_id),
  name = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'name') THEN excluded.name
    ELSE s.name
  END,
  email = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'email') THEN excluded.email
    ELSE s.email
  END,
  vendor_type = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'vendor_type') THEN excluded.vendor_type
    ELSE s.vendor_type
  END,
  plan = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'plan') THEN excluded.plan
    ELSE s.plan
  END,
  country = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'country') THEN excluded.country
    ELSE s.country
  END,
  timezone = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'timezone') THEN excluded.timezone
    ELSE s.timezone
  END,
  mrr_minor = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'mrr_minor') THEN excluded.mrr_minor
    ELSE s.mrr_minor
  END,
  client_limit = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'client_limit') THEN excluded.client_limit
    ELSE s.client_limit
  END,
  created_at = CASE
    WHEN is_newer(
      s.trait_times,
      excluded.trait_times,
      'created_at',
      CASE WHEN s.created_at IS NULL THEN '' ELSE '1' END
    ) THEN excluded.created_at
    ELSE s.created_at
  END,
  consent = CASE
    WHEN is_newer(s.trait_times, excluded.trait_times, 'consent') THEN excluded.consent
    ELSE s.consent
  END,
  traits = merge_newer(s.traits, s.trait_times, excluded.traits, excluded.trait_times),
  trait_times = merge_newer(
    s.trait_times, s.trait_times, excluded.trait_times, excluded.trait_times
  ),
  updated_at = excluded.updated_at
WHERE
  merge_newer(s.trait_times, s.trait_times, excluded.trait_times, excluded.trait_times)
    <> s.trait_times
  OR (s.external_id IS NULL AND excluded.external_id IS NOT NULL)
RETURNING id::text
"""


async def list_known(conn: Connection, supplier_ids: Iterable[str]) -> set[str]:
    """The ids among these (UUIDs as lower-case text) that are suppliers."""
    wanted = sorted(set(supplier_ids))
    if not wanted:
        return set()
    cursor = await conn.execute(
        """
        SELECT id::text
        FROM suppliers
        WHERE id = ANY (%s::uuid[])
        """,
        [wanted],
    )
    return {supplier_id for (supplier_id,) in await cursor.fetchall()}


async def list_zones(conn: Connection, supplier_ids: Iterable[str]) -> dict[str, str | None]:
    """The time zone of each of these suppliers, null where it is not known; unknown suppliers are
    left out."""
    cursor = await conn.execute(
        """
        SELECT id::text, timezone
        FROM suppliers
        WHERE id = ANY (%s::uuid[])
        """,
        [sorted(set(supplier_ids))],
    )
    return dict(await cursor.fetchall())


async def record_zone_changes(conn: Connection, before: dict[str, str | None]) -> None:
    """Record for the next fold which of these suppliers have another time zone than `before` (id →
    IANA name)."""
    now = await list_zones(conn, before)
    changed = sorted(
        supplier_id for supplier_id, zone in now.items() if zone != before[supplier_id]
    )
    if changed:
        await conn.execute(
            """
            INSERT INTO zone_changes (supplier_id)
            SELECT unnest(%s::uuid[])
            ON CONFLICT DO NOTHING
            """,
            [changed],
        )


async def get_external_id(conn: Connection, supplier_id: UUID) -> str | None:
    """The platform's own id of a supplier; null if it uses the UUID, or the supplier is unknown."""
    cursor = await conn.execute("SELECT external_id FROM suppliers WHERE id = %s", [supplier_id])
    row = await cursor.fetchone()
    return row[0] if row else None


async def upsert_suppliers(
    conn: Connection, profiles: list[Profile], known: set[str]
) -> UpsertCounts:
    """Create suppliers, or update traits that are newer than the stored ones.

    Args:
        profiles: one for each supplier, sorted by id, so that concurrent batches lock in one order.
        known: the ids among them that exist already, for the counts.
    """
    if not profiles:
        return UpsertCounts(0, 0, 0)
    cursor = await conn.execute(
        _UPSERT, [msgspec.json.encode([_row(profile) for profile in profiles]).decode()]
    )
    written = {supplier_id for (supplier_id,) in await cursor.fetchall()}
    new = len(written - known)
    return UpsertCounts(new, len(written) - new, len(profiles) - len(written))


def _row(profile: Profile) -> dict[str, Any]:
    values = {trait: value for trait, (value, _) in profile.traits.items()}
    row: dict[str, Any] = {trait: values.pop(trait) for trait in TRAITS if trait in values}
    if isinstance(row.get("created_at"), datetime):
        row["created_at"] = row["created_at"].isoformat()
    times = {trait: key for trait, (_, key) in profile.traits.items()}
    return {
        "id": profile.supplier_id,
        "external_id": profile.external_id,
        **row,
        "traits": values,
        "trait_times": times,
    }
