"""What `everafter doctor` checks of the folded activity: whether folding keeps up, and whether the
names of features fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from everafter.activity.model import MAX_OTHER_FEATURES
from everafter.core.checks import Check, format_age
from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.settings import Settings


@dataclass(frozen=True, slots=True)
class FoldFacts:
    """Events not yet folded. pending_since: when the oldest was received; null if there is none."""

    pending: int
    pending_since: datetime | None


async def check_folding(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether stored events are folded soon."""
    async with conn.cursor(row_factory=class_row(FoldFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM events_pending) AS pending,
              (SELECT received_at FROM events_pending ORDER BY seq LIMIT 1) AS pending_since
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return [describe_folding(facts, now)]


def describe_folding(facts: FoldFacts, now: datetime) -> Check:
    """The line on folding."""
    if facts.pending_since is None:
        return Check("folding", "ok", "nothing is pending")
    age = now - facts.pending_since
    shown = f"{plural(facts.pending, 'event')} not yet folded, the oldest {format_age(age)} old"
    if age > timedelta(minutes=10):
        return Check(
            "folding",
            "bad",
            shown,
            "a server or a run folds them: is everafter serve up? Its log says why not",
        )
    return Check("folding", "warn" if age > timedelta(minutes=1) else "ok", shown)


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """Suppliers whose events name too many features. first: up to three of them; null: none."""

    suppliers: int
    first: list[str] | None


async def check_features(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether events name too many features; no line if they do not."""
    async with conn.cursor(row_factory=class_row(FeatureFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (SELECT count(*) FROM supplier_activity WHERE features_beyond) AS suppliers,
              (
                SELECT array_agg(supplier_id::text)
                FROM (
                  SELECT supplier_id
                  FROM supplier_activity
                  WHERE features_beyond
                  ORDER BY supplier_id
                  LIMIT 3
                ) AS found
              ) AS first
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return list(describe_features(facts))


def describe_features(facts: FeatureFacts) -> Iterator[Check]:
    """The line on features; none if all of them fit."""
    if not facts.first:
        return
    listed = ", ".join(facts.first) + (" …" if facts.suppliers > len(facts.first) else "")
    found = (
        f"{plural(facts.suppliers, 'supplier')} used more than {MAX_OTHER_FEATURES} features that"
        " the playbook does not name"
        f" ({listed}); the latest {MAX_OTHER_FEATURES} are kept, and no score is affected"
    )
    yield Check(
        "features",
        "warn",
        found,
        "does the platform put ids into `feature`? Name the page or the tool, not the item",
    )
