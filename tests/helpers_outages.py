"""Hourly totals of an invented platform, and its events in the database."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg

from everafter.activity.model import HOURS_DAYS
from everafter.core.db import connection
from everafter.feeds.model import Floats, HourTotals
from everafter.folding import fold_events

START = datetime(2026, 6, 4, tzinfo=UTC)
RATES = {
    "login": 300.0,
    "feature_used": 500.0,
    "client_active": 200.0,
    "form_sent": 30.0,
    "form_completed": 20.0,
    "ticket_opened": 3.0,
}
"""Events a day."""
TYPES = tuple(RATES)
_HOURS = np.array([1] * 6 + [4] * 12 + [2] * 6) / 66


def at(day: float, hour: float = 0) -> datetime:
    """A moment on the n-th day of the platform, counted from 0."""
    return START + timedelta(days=day, hours=hour)


def make_counts(
    days: int = 60, rates: dict[str, float] = RATES, seed: int = 1, weekend: float = 0.8
) -> Floats:
    """(types, hours) of Poisson counts, less on Saturdays and Sundays."""
    weekdays = (START.weekday() + np.arange(days)) % 7
    usual = np.array(list(rates.values()))[:, None, None] * _HOURS
    usual = usual * np.where(weekdays >= 5, weekend, 1.0)[None, :, None]
    return np.random.default_rng(seed).poisson(usual).reshape(len(rates), -1).astype(float)


def stop(counts: Floats, since: datetime, until: datetime | None = None, *types: str) -> Floats:
    """The same without the events of these types (none named: all) in that time."""
    first = _hour(since)
    last = counts.shape[1] if until is None else _hour(until)
    rows = [TYPES.index(name) for name in types] or list(range(len(counts)))
    stopped = counts.copy()
    stopped[rows, first:last] = 0
    return stopped


def _hour(moment: datetime) -> int:
    return round((moment - START) / timedelta(hours=1))


def totals(
    counts: Floats,
    as_of: datetime,
    arrival: Callable[[Floats], Floats] | None = None,
    types: tuple[str, ...] = TYPES,
) -> HourTotals:
    """The totals as they are read at a moment.

    Args:
        arrival: from the first moments of hours to when their first events are received, both in
            hours since 1970; those that are later than the moment are missing. None: a replay.
    """
    now = _hour(as_of)
    newest = int(np.flatnonzero(counts[:, : now + 1].any(axis=0))[-1])
    first = max(0, newest // 24 - HOURS_DAYS) * 24
    begin = int(START.timestamp() // 3600)
    kept = counts[:, first : (now // 24 + 1) * 24].copy()
    hours = begin + first + np.arange(kept.shape[1], dtype=float)
    kept[:, hours >= as_of.timestamp() / 3600] = 0
    if arrival is None:
        return HourTotals(types, begin + first, kept, None)
    received = np.broadcast_to(arrival(hours), kept.shape)
    kept[received > as_of.timestamp() / 3600] = 0
    return HourTotals(types, begin + first, kept, np.where(kept > 0, received, np.nan))


SUPPLIERS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(12)]


def add_suppliers(database: str, country: str = "GB") -> None:
    """Twelve photographers, older than the platform's events."""
    with _connect(database) as conn:
        conn.cursor().executemany(
            """
            INSERT INTO suppliers (id, name, email, vendor_type, plan, country, timezone, created_at)
            VALUES (%s, %s, %s, 'photographer', 'pro', %s, 'UTC', %s)
            """,
            [
                (
                    supplier,
                    f"Studio {n}",
                    f"studio{n}@example.com",
                    country,
                    START - timedelta(days=400),
                )
                for n, supplier in enumerate(SUPPLIERS)
            ],
        )


def store(
    database: str, counts: Floats, before: datetime, since: datetime = START, *, live: bool = True
) -> int:
    """Store the events of these totals in that time, spread over the suppliers, and fold them.

    Args:
        live: received when they occurred; else all of them now.

    Returns:
        How many there are.
    """
    rows: list[tuple[str, str, str, datetime, datetime, str]] = []
    first, last = _hour(since), _hour(before)
    for row, name in enumerate(TYPES):
        for hour in range(first, last):
            for number in range(int(counts[row, hour])):
                supplier = SUPPLIERS[(hour * 7 + number) % len(SUPPLIERS)]
                moment = START + timedelta(hours=hour, seconds=(number * 97) % 3600)
                received = moment if live else datetime.now(UTC)
                rows.append(
                    (supplier, f"{name}-{hour}-{number}", name, moment, received,
                     json.dumps(_properties(name, hour, number)))
                )  # fmt: skip
    with _connect(database) as conn:
        for table, columns in (
            ("events", "supplier_id, message_id, type, occurred_at, received_at, properties"),
            ("events_pending", "supplier_id, type, occurred_at, received_at, properties"),
        ):
            kept = [row if table == "events" else (row[0], *row[2:]) for row in rows]
            with conn.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:  # pyright: ignore
                for one in kept:
                    copy.write_row(one)
    asyncio.run(_fold_all(database))
    if live:
        with _connect(database) as conn:
            conn.execute("UPDATE event_hours SET first_seen_at = hour + interval '1 minute'")
    return len(rows)


def _properties(name: str, hour: int, number: int) -> dict[str, str]:
    client = f"c{(hour + number) % 9}"
    if name == "feature_used":
        return {"feature": ("gallery", "forms", "invoices")[number % 3]}
    if name == "ticket_opened":
        return {"ticket_id": f"t{hour}-{number}"}
    if name.startswith("form"):
        return {"client_id": client, "form_id": f"f{hour // 3}-{number}"}
    return {"client_id": client} if name.startswith("client") else {}


async def _fold_all(database: str) -> None:
    async with connection(database, autocommit=True) as conn:
        while await fold_events(conn):
            pass


def _connect(database: str) -> psycopg.Connection:
    return psycopg.connect(
        database, autocommit=True, options="-c search_path=everafter,public -c timezone=UTC"
    )
