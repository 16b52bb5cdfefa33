"""Select the moments to score, and the simulated data up to each of them. Pure."""

from datetime import UTC, date, datetime, time, timedelta

import msgspec
import polars as pl

from everafter.demo.calendar import months_before
from everafter.demo.model import PLANS, Market, World
from everafter.events.model import CHECKED_SCHEMA, REJECT_SCHEMA, Checked
from everafter.suppliers.model import TraitUpdate

SCORED_AT = time(6, tzinfo=UTC)
SCORED_DAYS = 217
"""Days before the anchor that are scored. Older events are only imported, as on a real
installation."""
DAILY_DAYS = 10
_SETTLING_DAYS = 14


def plan_moments(
    world: World, last: datetime | None, now: datetime, daily_days: int = DAILY_DAYS
) -> list[datetime]:
    """List the moments still to be scored, in order. The last is `now`, unless today is already
    scored.

    Days are scored at 06:00 UTC: each of the last `daily_days`, and one per week before those.
    The first is `SCORED_DAYS` before the anchor, or two weeks into a shorter history.

    Args:
        last: the moment of the last completed run, null when there was none.
    """
    today = now.date()
    first = max(
        months_before(world.anchor, world.months) + timedelta(days=_SETTLING_DAYS),
        world.anchor - timedelta(days=SCORED_DAYS),
    )
    days = [first + timedelta(days=n) for n in range((today - first).days)]
    moments = [
        datetime.combine(day, SCORED_AT)
        for day in days
        if (today - day).days <= daily_days or (today - day).days % 7 == 0
    ]
    planned = [moment for moment in moments if last is None or moment.date() > last.date()]
    return planned if last is not None and last.date() >= today else [*planned, now]


def check_simulated(events: pl.DataFrame) -> Checked:
    """Prepare simulated events (EVENT_SCHEMA, ordered by time) for storing. Their time of receipt
    is the time they occurred."""
    checked = events.with_row_index("row").with_columns(
        pl.col("row").cast(pl.Int64),
        received_at=pl.col("occurred_at"),
        external_id=pl.lit(None, pl.String),
    )
    return Checked(checked.select(list(CHECKED_SCHEMA)), pl.DataFrame(schema=REJECT_SCHEMA))


def updates_between(
    market: Market, world: World, after: datetime | None, until: datetime
) -> list[TraitUpdate]:
    """List the supplier updates between two moments: new accounts and plan changes."""
    updates: list[TraitUpdate] = []
    for row in market.suppliers.iter_rows(named=True):
        if (after is None or row["created_at"] > after) and row["created_at"] <= until:
            traits = {
                name: row[name]
                for name in ("name", "email", "vendor_type", "country", "timezone", "created_at")
            }
            traits |= {
                "contact": row["contact"],
                "town": row["town"],
                "demo_world": write_world(world),
            }
            updates.append(
                TraitUpdate(
                    row["id"],
                    traits | _plan_traits(row["plan_before"] or row["plan"]),
                    row["created_at"],
                )
            )
        upgraded = row["upgraded_at"]
        if upgraded is not None and (after is None or upgraded > after) and upgraded <= until:
            updates.append(TraitUpdate(row["id"], _plan_traits(row["plan"]), upgraded))
    return updates


def _plan_traits(plan: str) -> dict[str, object]:
    return {
        "plan": plan,
        "mrr_minor": PLANS[plan].mrr_minor,
        "client_limit": PLANS[plan].client_limit,
    }


def write_world(world: World) -> str:
    """Encode the world as a trait of its suppliers, so that a later demo can resume it."""
    return msgspec.json.encode(world).decode()


def read_world(text: str) -> World:
    """Decode what `write_world` encoded."""
    return msgspec.json.decode(text, type=World)


def month_starts(first: date, last: date) -> list[datetime]:
    """Return the first moment of each month between two days, inclusive."""
    months: list[datetime] = []
    at = datetime(first.year, first.month, 1, tzinfo=UTC)
    while at.date() <= last:
        months.append(at)
        at = (at + timedelta(days=32)).replace(day=1)
    return months
