"""The worker's duty for tickets: create a task for a ticket that is or will be late, and close it
when it is answered or resolved.
"""

import asyncio
from datetime import UTC, datetime

from everafter.core.db import connection
from everafter.core.formatting import plural
from everafter.core.locks import Lock
from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Support
from everafter.tickets import queries
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.task_rules import plan_tasks

# Maximum number of tickets per round.
MOST_TICKETS = 20_000


async def watch_tickets(url: str, settings: Settings) -> str | None:
    """Check the clocks of all open tickets. Null: nothing has changed, or another worker is doing
    it.

    The playbook is read each time, so that changed clocks apply without a restart.
    """
    support = await asyncio.to_thread(lambda: load_playbook(settings).support)
    return await keep_tasks(url, support, datetime.now(UTC))


async def keep_tasks(
    url: str, support: Support, now: datetime, *, most: int = MOST_TICKETS
) -> str | None:
    """Run one round of `watch_tickets` over a maximum number of tickets, as of now."""
    async with connection(url) as conn:
        cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [Lock.TICKET_TASKS])
        if (row := await cursor.fetchone()) is None or not row[0]:
            return None
        standing = await queries.list_open_tasks(conn)
        tickets = await queries.list_watched(conn, most)
        plan = await asyncio.to_thread(
            lambda: plan_tasks(evaluate_tickets(tickets, support, now), standing)
        )
        closed = await queries.close_tasks(conn, plan.close)
        await queries.update_tasks(conn, plan.update)
        made = await queries.insert_tasks(conn, plan.insert)
    late = plural(made, "ticket runs late", "tickets run late") if made else ""
    done = plural(closed, "is dealt with", "are dealt with") if closed else ""
    return ", ".join(filter(None, (late, done))) or None
