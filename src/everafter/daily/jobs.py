"""The worker's part of the daily run: once a day after RUN_FROM_HOUR, by whichever worker is
first."""

import logging
from datetime import UTC, datetime, timedelta

from everafter.core.db import connection
from everafter.core.errors import ConflictError, InputError
from everafter.core.formatting import plural
from everafter.core.settings import Settings
from everafter.daily.model import RunSummary
from everafter.daily.queries import is_run_due, list_unfinished_runs
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook
from everafter.playbook.queries import get_playbook

log = logging.getLogger("everafter.work")

FINISH_DAYS = 7
"""An interrupted run is finished within so many days; after that `everafter doctor` reports it."""
RUN_FROM_HOUR = 5
"""UTC: before the morning in Europe, after the evening in America."""


async def run_when_due(url: str, settings: Settings) -> str | None:
    """Run today's run when its hour has come and it is not done, and finish interrupted ones.

    The playbook is read each time, so that a changed one applies from the next run on without a
    restart.

    Returns:
        A line for the log; null: there was nothing to do.
    """
    now = datetime.now(UTC)
    try:
        done = await _finish_earlier_runs(url, settings, now)
        if now.hour >= RUN_FROM_HOUR and await _is_due(url, now):
            done.append(describe_run(await run_day(url, load_playbook(settings))))
    except ConflictError:  # another process is running it
        return None
    return "; ".join(done) or None


async def _is_due(url: str, now: datetime) -> bool:
    async with connection(url) as conn:
        return await is_run_due(conn, now.date())


async def _finish_earlier_runs(url: str, settings: Settings, now: datetime) -> list[str]:
    """Finish the interrupted runs of earlier days, as of their own moment and with the playbook
    they began with. What they still trigger is recorded and not sent, because today's run covers
    today."""
    async with connection(url) as conn:
        since = now.date() - timedelta(days=FINISH_DAYS)
        unfinished = [
            (as_of, await get_playbook(conn, version))
            for as_of, version in await list_unfinished_runs(conn, since, now.date())
        ]
    done: list[str] = []
    for as_of, playbook in unfinished:
        try:
            summary = await run_day(url, playbook or load_playbook(settings), as_of, replay=True)
        except InputError as error:
            log.warning("the run of %s cannot be finished: %s", as_of.date(), error.message)
            continue
        done.append(f"finished {as_of:%Y-%m-%d}: {describe_run(summary)}")
    return done


def describe_run(summary: RunSummary) -> str:
    """A line for the log."""
    scored = plural(summary.suppliers, "supplier")
    triggered = plural(summary.interventions.triggered, "intervention")
    return f"{scored} scored, {triggered} triggered, in {summary.seconds:.1f} s"
