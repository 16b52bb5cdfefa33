"""What `everafter doctor` checks of calls: whether they can be booked, and whether the CSMs' own
calendars can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from everafter.core.checks import Check
from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.holidays import knows_holidays
from everafter.core.settings import Settings


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of the CSMs who take calls, and of their calendars.

    Attributes:
        calendars_failed, calendars_unread: a text for each; null: none.
        calendars_read_since: when the one was read that was not read for longest; null: none.
        holidays: codes; null: none.
        placeholders: addresses that no mail reaches, of CSMs who take calls; null: none.
    """

    csms: int
    holidays: list[str] | None
    calendars: int
    calendars_failed: list[str] | None
    calendars_unread: list[str] | None
    calendars_read_since: datetime | None
    placeholders: list[str] | None = None


async def check_calls(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether calls can be booked, and whether CSMs' calendars were read in full."""
    async with conn.cursor(row_factory=class_row(CallFacts)) as cursor:
        await cursor.execute(
            """
            SELECT
              (SELECT count(*) FROM users WHERE takes_calls) AS csms,
              (
                SELECT array_agg(DISTINCT holidays)
                FROM users
                WHERE takes_calls AND holidays IS NOT NULL
              ) AS holidays,
              (SELECT count(*) FROM calendar_feeds) AS calendars,
              (
                SELECT array_agg(u.email || ': ' || f.failure ORDER BY u.email)
                FROM calendar_feeds f
                JOIN users u ON u.id = f.user_id
                WHERE f.failure IS NOT NULL
              ) AS calendars_failed,
              (
                SELECT array_agg(
                  format(
                    '%s: %s of its events, %s',
                    u.email,
                    f.unread,
                    coalesce(f.unread_reasons[1], 'reason unknown')
                  )
                  ORDER BY u.email
                )
                FROM calendar_feeds f
                JOIN users u ON u.id = f.user_id
                WHERE f.unread > 0
              ) AS calendars_unread,
              (SELECT min(coalesce(read_at, '2000-01-01')) FROM calendar_feeds)
                AS calendars_read_since,
              (
                SELECT array_agg(email ORDER BY email)
                FROM users
                WHERE takes_calls AND email LIKE '%.invalid'
              ) AS placeholders
            """
        )
        facts = await cursor.fetchone()
    assert facts  # noqa: S101 it returns one row
    return [describe_calls(facts, now), *describe_calendars(facts)]


def describe_calls(facts: CallFacts, now: datetime) -> Check:
    """The line on booking."""
    if not facts.csms:
        return Check("calls", "warn", "nobody takes calls", "everafter csm set EMAIL --takes-calls")
    if failed := facts.calendars_failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return Check(
            "calls",
            "warn",
            f"a calendar cannot be read: {failed[0]}{more}",
            "everafter csm calendar EMAIL --read",
        )
    if unknown := [code for code in facts.holidays or [] if not knows_holidays(code)]:
        return Check(
            "calls",
            "warn",
            f"no holidays are known for {unknown[0]}",
            "everafter csm set EMAIL --holidays CODE",
        )
    if facts.placeholders:
        address = facts.placeholders[0]
        return Check(
            "calls",
            "warn",
            f"{address} takes calls, but is a placeholder that gets no email",
            "everafter user create EMAIL --name NAME, everafter csm set EMAIL --takes-calls, then"
            f" everafter csm set {address} --no-calls",
        )
    calendars = f", {plural(facts.calendars, 'calendar')} read" if facts.calendars else ""
    shown = f"{plural(facts.csms, 'CSM')}{calendars}"
    since = facts.calendars_read_since
    if since is not None and now - since > timedelta(hours=1):
        return Check(
            "calls", "warn", f"{shown}, but one not for an hour", "is everafter work running?"
        )
    return Check("calls", "ok", shown)


def describe_calendars(facts: CallFacts) -> Iterator[Check]:
    """The line on calendars that were not read in full; none if all were."""
    if unread := facts.calendars_unread:
        more = f" (and {plural(len(unread) - 1, 'other calendar')})" if len(unread) > 1 else ""
        remedy = (
            "they count as busy as far as they can be read; correct them there. everafter csm list"
            " shows all reasons"
        )
        yield Check("calendars", "warn", f"not read in full: {unread[0]}{more}", remedy)
