"""What `everafter doctor` checks of the feeds: whether events of each type keep arriving."""

from datetime import UTC, datetime

from everafter.core.checks import Check
from everafter.core.db import Connection
from everafter.core.formatting import clock
from everafter.core.settings import Settings
from everafter.feeds.jobs import examine_feeds
from everafter.feeds.model import EVERYTHING, Outage
from everafter.feeds.notice_rules import capitalized, describe_rate
from everafter.feeds.outage_rules import list_notable
from everafter.feeds.queries import is_folding_late


async def check_feeds(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether events of each type arrive as usual; a line for each type that does not. No line
    while folding is behind: its own line says so, and the totals lack what waits."""
    if await is_folding_late(conn, now):
        return []
    finding = await examine_feeds(conn, now)
    checks = [describe_feed(outage, now) for outage in list_notable(finding.outages, now)]
    usual = "events of all types arrive as usual" if finding.feeds.sent else "no events yet"
    return checks or [Check("feeds", "ok", usual)]


def describe_feed(outage: Outage, now: datetime) -> Check:
    """The line on a feed that is stopped or halved."""
    since = f"since {clock(outage.since, now.astimezone(UTC).date())} UTC"
    stopped = outage.kind == "stopped"
    state = f"have not arrived {since}" if stopped else f"have been about halved {since}"
    found = f"{capitalized(outage)} {state}: {describe_rate(outage)}"
    which = "events" if outage.type == EVERYTHING else f"`{outage.type}` events"
    if stopped:
        cure = f"does the platform still send {which}? Scores use the last good day until it does"
        return Check("feeds", "bad", found, cure)
    return Check("feeds", "warn", found, f"does every version of the platform send {which}?")
