"""Folding with everything that follows from it: for the server, the daily run and imports."""

from everafter.activity import queries
from everafter.activity.queries import Followers
from everafter.core.db import Connection
from everafter.onboarding.queries import keep_earliest
from everafter.scoring.churn_queries import record_cancellations
from everafter.tickets.queries import add_changes
from everafter.tickets.rules import find_changes

FOLLOWERS: Followers = (
    lambda conn, _, activity: keep_earliest(conn, activity),
    lambda conn, events, _: add_changes(conn, find_changes(events)),
    lambda conn, events, _: record_cancellations(conn, events),
)
"""What other slices derive from the events of a fold, in its transaction."""


async def fold_events(conn: Connection, *, limit: int = queries.FOLD_BATCH) -> int:
    """Fold up to about `limit` pending events with all followers; waits for another fold to finish.

    Returns:
        How many events were folded; 0 means that nothing is pending.
    """
    return await queries.fold_pending(conn, FOLLOWERS, limit=limit)
