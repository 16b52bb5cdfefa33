"""What `everafter doctor` checks of events: whether they arrive, and what was rejected."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from everafter.core.checks import Check, format_age
from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.settings import Settings


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """What is known of the feed. last_event_at: null if there was none."""

    suppliers: int
    last_event_at: datetime | None
    ingest_keys: int


async def check_feed(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether there are suppliers, and recent events."""
    async with conn.cursor(row_factory=class_row(FeedFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (SELECT count(*) FROM suppliers) AS suppliers,
              (SELECT max(last_event_at) FROM supplier_activity) AS last_event_at,
              (
                SELECT count(*)
                FROM api_keys
                WHERE scope = 'ingest' AND revoked_at IS NULL
              ) AS ingest_keys
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return [describe_feed(facts, now)]


def describe_feed(facts: FeedFacts, now: datetime) -> Check:
    """The line on the feed."""
    if not facts.suppliers:
        return Check(
            "events",
            "warn",
            "no suppliers yet",
            "everafter import PATH, or send identify calls to /v1/identify",
        )
    suppliers = plural(facts.suppliers, "supplier")
    if facts.last_event_at is None:
        remedy = (
            "is the feed connected?"
            if facts.ingest_keys
            else "everafter key create --scope ingest, and point the platform's SDK here"
        )
        return Check("events", "warn", f"{suppliers}, but no events", remedy)
    age = now - facts.last_event_at
    shown = f"{suppliers}; the last event is {format_age(age)} old"
    if age > timedelta(days=1):
        return Check(
            "events",
            "warn",
            shown,
            "is the feed connected?",
        )
    return Check("events", "ok", shown)


@dataclass(frozen=True, slots=True)
class RejectFacts:
    """Events that were not stored; one that was sent again counts once. waiting: those whose
    supplier is unknown."""

    rejected: int
    waiting: int


async def check_rejects(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether something was rejected in the last week, or waits for its supplier."""
    async with conn.cursor(row_factory=class_row(RejectFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (
                SELECT count(DISTINCT coalesce(message_id, id::text))
                FROM rejects
                WHERE code <> 'unknown_supplier' AND received_at > now() - interval '7 days'
              ) AS rejected,
              (SELECT count(*) FROM rejects WHERE code = 'unknown_supplier') AS waiting
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return [describe_rejects(facts)]


def describe_rejects(facts: RejectFacts) -> Check:
    """The line on rejects."""
    parts = [
        f"{facts.rejected:,} rejected in the last week" if facts.rejected else "",
        f"{plural(facts.waiting, 'event')} waiting for unknown suppliers" if facts.waiting else "",
    ]
    found = "; ".join(part for part in parts if part)
    if not found:
        return Check("rejects", "ok", "none")
    return Check("rejects", "warn", found, "GET /api/rejects lists them with their reasons")
