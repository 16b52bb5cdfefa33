"""The worker's part of the daily run: once a day, after the hour, whoever comes first."""

import logging
from datetime import UTC, datetime, timedelta

from everafter.core.db import connection
from everafter.core.errors import ConflictError, InputError
from everafter.core.formatting import plural
from everafter.core.settings import Settings
from everafter.daily.model import RunSummary
from everafter.daily.queries import get_playbook, is_run_due, list_unfinished_runs
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook

log = logging.getLogger("everafter.work")

FINISH_DAYS = 7
"""An earlier day's run that stopped on the way is finished within so many days; then doctor names
it."""
RUN_FROM_HOUR = 5  # UTC; before Europe's morning, after America's evening


async def run_when_due(url: str, settings: Settings) -> str | None:
    """Do today's run when it is past its hour and not done; take up one that stopped on the way.
    Null: nothing to do.

    The playbook is read each time, so that a changed policy holds from the next day on without a
    restart."""
    now = datetime.now(UTC)
    try:
        reported = await _finish_earlier_runs(url, settings, now)
        if now.hour >= RUN_FROM_HOUR and await _is_due(url, now):
            reported.append(describe_run(await run_day(url, load_playbook(settings))))
    except ConflictError:  # another process is at it
        return None
    return "; ".join(reported) or None


async def _is_due(url: str, now: datetime) -> bool:
    async with connection(url) as conn:
        return await is_run_due(conn, now.date())


async def _finish_earlier_runs(url: str, settings: Settings, now: datetime) -> list[str]:
    """Finish the runs of earlier days that stopped on the way, as of their own moment and by the
    policy they began with. What they still decide is recorded and not sent: today's run decides for
    today."""
    async with connection(url) as conn:
        since = now.date() - timedelta(days=FINISH_DAYS)
        unfinished = [
            (as_of, await get_playbook(conn, version))
            for as_of, version in await list_unfinished_runs(conn, since, now.date())
        ]
    reported: list[str] = []
    for as_of, playbook in unfinished:
        try:
            summary = await run_day(url, playbook or load_playbook(settings), as_of, replay=True)
        except InputError as error:
            log.warning("the run of %s cannot be finished: %s", as_of.date(), error.message)
            continue
        reported.append(f"finished {as_of:%Y-%m-%d}: {describe_run(summary)}")
    return reported


def describe_run(summary: RunSummary) -> str:
    """A line for the log."""
    scored = plural(summary.suppliers, "supplier")
    triggered = plural(summary.interventions.triggered, "intervention")
    return f"{scored} scored, {triggered} decided, in {summary.seconds:.1f} s"
