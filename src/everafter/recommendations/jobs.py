"""Background work with recommendations: add them to emails, and measure their outcomes two weeks
later."""

from asyncio import to_thread
from datetime import UTC, date, datetime, timedelta

import polars as pl

from everafter.core.db import Connection, Pool
from everafter.core.formatting import plural
from everafter.core.locks import Lock
from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from everafter.recommendations import queries
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.effects_rules import add_all_vendor_types, measure
from everafter.recommendations.mail_rules import choose_emails, recommend_for_emails, write_steps
from everafter.recommendations.model import MEASURE_AFTER_DAYS, RECOMMENDATION_SCHEMA, Measured

_CLIENTS_PER_EMAIL = 20
"""Reading clients is most of the cost of an email, 0.4 ms each."""
_RUN_WITHIN_DAYS = 7
"""Days after the 14th within which a daily run may still measure an impression."""
_COUNTED_DAYS = 365
"""Age up to which impressions count; what helped before may not help any more."""
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
    """Add recommendations to the emails that have room for them.

    Args:
        of_now: whether the suppliers are scored as they are now. If they are scored as of a past
            day, nothing is recommended about clients, whose past is not known.

    Returns:
        The messages, and the recommendations in them for `queries.insert_impressions`, including
        those in the holdout.
    """
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


async def measure_impressions(conn: Connection, playbook: Playbook, today: date) -> Measured:
    """Measure the impressions that are 14 days old or older, and count the effects again.

    The first finished run from the 14th day on measures a day's impressions. If there was none
    within a week, they are marked as measured without an outcome. Safe to repeat and to interrupt:
    each day is one transaction."""
    measured, improved, oldest = 0, 0, None
    for shown_on in await queries.list_due_days(conn, today - timedelta(days=MEASURE_AFTER_DAYS)):
        first = shown_on + timedelta(days=MEASURE_AFTER_DAYS)
        last = first + timedelta(days=_RUN_WITHIN_DAYS)
        run_on = await queries.find_run_between(conn, first, min(last, today))
        if run_on is None and last >= today:
            continue
        async with conn.transaction():
            due = await queries.read_due(conn, shown_on, run_on)
            outcomes = await to_thread(measure, due, playbook)
            await queries.save_outcomes(
                conn, outcomes.with_columns(pl.lit(today).alias("measured_on"))
            )
        measured += outcomes.height
        improved += int(outcomes["improved"].sum())
        oldest = oldest or shown_on
    async with conn.transaction():
        counted = await queries.count_effects(conn, today - timedelta(days=_COUNTED_DAYS))
        await queries.save_effects(conn, add_all_vendor_types(counted), datetime.now(UTC))
        await queries.delete_old_impressions(conn, today - timedelta(days=_KEPT_DAYS))
    return Measured(measured, improved, oldest)


async def measure_when_due(pool: Pool, settings: Settings) -> str | None:
    """Duty of the worker: measure what is due, one worker at a time. Returns a line for the log, or
    None."""
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
    if not done.measured:
        return None
    return (
        f"{plural(done.measured, 'impression')} of recommendations measured,"
        f" {plural(done.improved, 'supplier')} improved, the oldest of {done.oldest}"
    )
