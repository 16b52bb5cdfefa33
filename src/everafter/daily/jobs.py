"""The worker's part of the daily run: once a day, after the hour, whoever comes first."""

from datetime import UTC, datetime

from everafter.core.db import connection
from everafter.core.errors import ConflictError
from everafter.core.settings import Settings
from everafter.core.words import plural
from everafter.daily.queries import is_run_due
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook

RUN_FROM_HOUR = 5  # UTC; before Europe's morning, after America's evening


async def run_when_due(url: str, settings: Settings) -> str | None:
    """Do today's run when it is past its hour and not done; take up one that stopped on the way. Null: nothing to do.

    The playbook is read each time, so that a changed policy holds from the next day on without a restart.
    """
    now = datetime.now(UTC)
    if now.hour < RUN_FROM_HOUR:
        return None
    async with connection(url) as conn:
        if not await is_run_due(conn, now.date()):
            return None
    try:
        summary = await run_day(url, load_playbook(settings))
    except ConflictError:
        return None
    verdicts = summary.interventions
    judged, decided = plural(summary.suppliers, "supplier"), plural(verdicts.decided, "intervention")
    return f"{judged} judged, {decided} decided, in {summary.seconds:.1f} s"
