"""What `everafter doctor` checks of accounts: who can sign in, and the live coach keys."""

from collections.abc import Iterator
from datetime import datetime

from everafter.accounts.keys import CoachKey, list_coach_keys
from everafter.core.checks import Check
from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.settings import Settings


async def check_people(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether somebody can sign in."""
    cursor = await conn.execute("SELECT count(*) FROM users WHERE password_hash IS NOT NULL")
    row = await cursor.fetchone()
    people: int = row[0] if row else 0
    if people:
        return [Check("people", "ok", f"{people:,} can sign in")]
    return [
        Check(
            "people",
            "warn",
            "nobody can sign in to the dashboard",
            "everafter user create EMAIL --name NAME --role admin",
        )
    ]


async def check_coach_keys(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether the live coach keys belong to the current secret; no line if all do."""
    if not settings.secret:
        return []
    return list(describe_coach_keys(await list_coach_keys(conn, settings.secret)))


def describe_coach_keys(keys: list[CoachKey]) -> Iterator[Check]:
    """The line on coach keys of another secret; none if there are none."""
    if lost := [key for key in keys if not key.is_ours]:
        found = (
            f"{plural(len(lost), 'live coach key')} of another EVERAFTER_SECRET: tokens signed with"
            " them are refused"
        )
        yield Check(
            "coach keys",
            "warn",
            found,
            "restore the secret, or everafter key create --scope coach, and revoke the old ones",
        )
