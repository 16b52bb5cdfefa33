"""Free slots of a month with twenty CSMs, read and computed as in a request."""

import asyncio
import random
import statistics
import time
import uuid
from datetime import UTC, datetime, timedelta

from benchmarks.place import new_database, settle
from benchmarks.table import Row
from everafter.core.db import Connection, connection
from everafter.support.booking import answer_slots, find_slots, get_call_type
from everafter.support.model import Contact

CSMS, DAYS, CALLS_A_DAY, ROUNDS = 20, 30, 5, 60
ZONES = (
    *(
        "Europe/London",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Sydney",
        "America/Los_Angeles",
    ),
    *("Asia/Kolkata", "Pacific/Auckland", "Europe/Lisbon", "America/Chicago", "Europe/Madrid"),
)
HOLIDAYS = ("GB-ENG", "DE", "US", None)


def measure(server: str) -> list[Row]:
    url = new_database(server, "slots")
    asyncio.run(_populate(url))
    settle(url)
    millis, slots = asyncio.run(_time(url))
    p50, p95 = statistics.median(millis), statistics.quantiles(millis, n=20)[18]
    on = f"{CSMS} CSMs in {len(ZONES)} zones, {CALLS_A_DAY} calls and 2 meetings a day each; {slots:,} free"
    return [
        Row("slots of 30 days", on, f"{p50:.1f} ms", "< 20 ms", p50 < 20),
        Row("  p95", "read, compute, build the answer", f"{p95:.1f} ms", "–", True),
    ]


async def _time(url: str) -> tuple[list[float], int]:
    contact, call, now = (
        Contact(uuid.uuid4(), "Rosa", None, "Europe/London"),
        get_call_type("check_in"),
        datetime.now(UTC),
    )
    millis: list[float] = []
    slots = 0
    async with connection(url) as conn:
        for turn in range(ROUNDS + 5):
            began = time.perf_counter()
            found = await find_slots(conn, contact, call, now, now, days=DAYS)
            slots = len(answer_slots(found, contact.timezone))
            if turn >= 5:  # the first rounds fill caches of holidays and offsets
                millis.append((time.perf_counter() - began) * 1000)
    return millis, slots


async def _populate(url: str) -> None:
    draw = random.Random(4)
    async with connection(url) as conn:
        await conn.execute("UPDATE users SET takes_calls = false")
        for number in range(CSMS):
            cursor = await conn.execute(
                """
                INSERT INTO users (email, name, role, takes_calls, timezone, holidays)
                VALUES (%s, %s, 'member', true, %s, %s)
                RETURNING id
                """,
                [
                    f"a{number}@example.org",
                    f"CSM {number}",
                    ZONES[number % len(ZONES)],
                    HOLIDAYS[number % len(HOLIDAYS)],
                ],
            )
            row = await cursor.fetchone()
            assert row
            await _fill(conn, row[0], draw)


async def _fill(conn: Connection, csm: uuid.UUID, draw: random.Random) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=day) for day in range(DAYS + 1)]
    held = {
        day + timedelta(minutes=15 * (draw.randrange(96) + step))
        for day in days
        for _ in range(CALLS_A_DAY)
        for step in (0, 1)
    }
    await conn.execute(
        """
        INSERT INTO booked_quarters (csm_id, starts_at, interaction_id)
        SELECT %s, at, gen_random_uuid()
        FROM unnest(%s::timestamptz[]) AS at
        """,
        [csm, sorted(held)],
    )
    meetings = [day + timedelta(minutes=15 * draw.randrange(90)) for day in days for _ in range(2)]
    await conn.execute(
        """
        INSERT INTO busy_times (user_id, starts_at, ends_at)
        SELECT %s, at, at + interval '50 minutes'
        FROM unnest(%s::timestamptz[]) AS at
        ON CONFLICT DO NOTHING
        """,
        [csm, meetings],
    )
