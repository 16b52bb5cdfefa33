"""What is done with advice from time to time: written into letters, and looked at again two weeks later."""

from asyncio import to_thread
from datetime import UTC, date, datetime, timedelta

import polars as pl

from everafter.core.db import Connection, Pool
from everafter.core.locks import Lock
from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from everafter.recommendations import queries
from everafter.recommendations.couples_rules import describe_couples
from everafter.recommendations.effects_rules import add_all_trades, settle
from everafter.recommendations.mail_rules import advise_letters, choose_letters, write_steps
from everafter.recommendations.model import ADVICE_SCHEMA, SETTLE_AFTER_DAYS, Settled

_COUPLES_OF_A_LETTER = 20  # the nearest weddings: reading them is most of the cost of a letter, 0.4 ms each
_RUN_WITHIN_DAYS = 7  # a run missed for so long is not waited for
_COUNTED_DAYS = 365  # what worked longer ago may work no more
_KEPT_DAYS = 400


async def advise_by_mail(
    conn: Connection, messages: pl.DataFrame, judged: pl.DataFrame, playbook: Playbook, as_of: datetime, *, of_now: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Put next steps into the letters that have room for them; only their recipients' couples are read.

    Args:
        of_now: the suppliers are judged as they are; false: as they were on a past day, whose couples are not known any more.

    Returns:
        The messages, and the advice in them for `queries.note_given`, held-out rows included.
    """
    letters = choose_letters(messages)
    if letters.is_empty():
        return messages, pl.DataFrame(schema=ADVICE_SCHEMA)
    couples = None
    if of_now:
        raw = await queries.read_couples(conn, letters["supplier_id"].to_list(), as_of, most=_COUPLES_OF_A_LETTER)
        couples = await to_thread(describe_couples, raw, as_of)
    effects, _ = await queries.get_effects(conn)
    advice = await to_thread(advise_letters, letters, judged, playbook, couples, effects)
    return write_steps(messages, letters, advice), advice


async def settle_advice(conn: Connection, playbook: Playbook, today: date) -> Settled:
    """Look again at what was offered 14 days ago and longer, and count anew what offering does.

    A day's advice is settled by the first finished run from the 14th day on; when there was none within a week, with nothing
    learned. Safe to repeat and to be stopped: each day is one transaction.
    """
    settled, better, oldest = 0, 0, None
    for given_on in await queries.list_due_days(conn, today - timedelta(days=SETTLE_AFTER_DAYS)):
        first = given_on + timedelta(days=SETTLE_AFTER_DAYS)
        last = first + timedelta(days=_RUN_WITHIN_DAYS)
        looked_on = await queries.find_run_between(conn, first, min(last, today))
        if looked_on is None and last >= today:
            continue
        async with conn.transaction():
            due = await queries.read_due(conn, given_on, looked_on)
            outcomes = await to_thread(settle, due, playbook)
            await queries.save_settled(conn, outcomes.with_columns(pl.lit(today).alias("settled_on")))
        settled, better, oldest = settled + outcomes.height, better + int(outcomes["worked"].sum()), oldest or given_on
    async with conn.transaction():
        counted = await queries.count_effects(conn, today - timedelta(days=_COUNTED_DAYS))
        await queries.save_effects(conn, add_all_trades(counted), datetime.now(UTC))
        await queries.delete_old_advice(conn, today - timedelta(days=_KEPT_DAYS))
    return Settled(settled, better, oldest)


async def settle_when_due(pool: Pool, settings: Settings) -> str | None:
    """The worker's duty: settle what is due, one worker at a time."""
    today = datetime.now(UTC).date()
    async with pool.connection() as conn:
        await conn.set_autocommit(True)
        try:
            cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", [Lock.SETTLE_ADVICE])
            if (row := await cursor.fetchone()) is None or not row[0]:
                return None
            try:
                done = await settle_advice(conn, load_playbook(settings), today)
            finally:
                await conn.execute("SELECT pg_advisory_unlock(%s)", [Lock.SETTLE_ADVICE])
        finally:
            await conn.set_autocommit(False)
    if not done.settled:
        return None
    return f"{done.settled} pieces of advice looked at again, {done.better} suppliers better, the oldest offered on {done.oldest}"
