"""What is done with recommendations from time to time: written into emails, and looked at again two
weeks later."""

from asyncio import to_thread
from datetime import UTC, date, datetime, timedelta

import polars as pl

from everafter.core.db import Connection, Pool
from everafter.core.locks import Lock
from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from everafter.recommendations import queries
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.effects_rules import add_all_vendor_types, settle
from everafter.recommendations.mail_rules import choose_emails, recommend_for_emails, write_steps
from everafter.recommendations.model import RECOMMENDATION_SCHEMA, SETTLE_AFTER_DAYS, Settled

_CLIENTS_PER_EMAIL = (
    20  # the nearest weddings: reading them is most of the cost of an email, 0.4 ms each
)
_RUN_WITHIN_DAYS = 7  # a run missed for so long is not waited for
_COUNTED_DAYS = 365  # what worked longer ago may work no more
_KEPT_DAYS = 400


async def recommend_by_email(
    conn: Connection,
    messages: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    *,
    of_now: bool,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put next steps into the emails that have room for them; only their recipients' clients are
    read.

    Args: of_now: the suppliers are scored as they are; false: as they were on a past day, whose
        clients are not known any more.

    Returns: The messages, and the recommendations in them for `queries.note_given`, held-out rows
        included."""
    emails = choose_emails(messages)
    if emails.is_empty():
        return messages, pl.DataFrame(schema=RECOMMENDATION_SCHEMA)
    clients = None
    if of_now:
        raw = await queries.read_clients(
            conn, emails["supplier_id"].to_list(), as_of, most=_CLIENTS_PER_EMAIL
        )
        clients = await to_thread(describe_clients, raw, as_of)
    effects, _ = await queries.get_effects(conn)
    recommendations = await to_thread(
        recommend_for_emails, emails, scored, playbook, clients, effects
    )
    return write_steps(messages, emails, recommendations), recommendations


async def measure_impressions(conn: Connection, playbook: Playbook, today: date) -> Settled:
    """Look again at what was offered 14 days ago and longer, and count again what offering does.

    A day's recommendations is settled by the first finished run from the 14th day on; when there
    was none within a week, with nothing learned. Safe to repeat and to be stopped: each day is one
    transaction."""
    settled, better, oldest = 0, 0, None
    for shown_on in await queries.list_due_days(conn, today - timedelta(days=SETTLE_AFTER_DAYS)):
        first = shown_on + timedelta(days=SETTLE_AFTER_DAYS)
        last = first + timedelta(days=_RUN_WITHIN_DAYS)
        looked_on = await queries.find_run_between(conn, first, min(last, today))
        if looked_on is None and last >= today:
            continue
        async with conn.transaction():
            due = await queries.read_due(conn, shown_on, looked_on)
            outcomes = await to_thread(settle, due, playbook)
            await queries.save_settled(
                conn, outcomes.with_columns(pl.lit(today).alias("measured_on"))
            )
        settled, better, oldest = (
            settled + outcomes.height,
            better + int(outcomes["worked"].sum()),
            oldest or shown_on,
        )
    async with conn.transaction():
        counted = await queries.count_effects(conn, today - timedelta(days=_COUNTED_DAYS))
        await queries.save_effects(conn, add_all_vendor_types(counted), datetime.now(UTC))
        await queries.delete_old_impressions(conn, today - timedelta(days=_KEPT_DAYS))
    return Settled(settled, better, oldest)


async def measure_when_due(pool: Pool, settings: Settings) -> str | None:
    """The worker's duty: settle what is due, one worker at a time."""
    today = datetime.now(UTC).date()
    async with pool.connection() as conn:
        await conn.set_autocommit(True)
        try:
            cursor = await conn.execute(
                "SELECT pg_try_advisory_lock(%s)", [Lock.MEASURE_IMPRESSIONS]
            )
            if (row := await cursor.fetchone()) is None or not row[0]:
                return None
            try:
                done = await measure_impressions(conn, load_playbook(settings), today)
            finally:
                await conn.execute("SELECT pg_advisory_unlock(%s)", [Lock.MEASURE_IMPRESSIONS])
        finally:
            await conn.set_autocommit(False)
    if not done.settled:
        return None
    return f"{done.settled} recommendations looked at again, {done.better} suppliers better, the oldest offered on {done.oldest}"
