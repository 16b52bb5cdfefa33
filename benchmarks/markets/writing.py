"""Writing a market's files."""

import csv
import gzip
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.markets.activity import Away, make_activity
from benchmarks.markets.clients import Clients, make_clients, weddings_by_day
from benchmarks.markets.dialects import DIALECTS, HEMISPHERES, VENDOR_TYPES, season_table
from benchmarks.markets.events import make_events
from benchmarks.markets.people import PLACES, PLANS, People, day_text, make_people

OUTAGE_DAYS = 10


@dataclass(frozen=True, slots=True)
class Damage:
    """What the platform fails to send.

    Attributes:
        outage: the first of ten days without logins; null: none.
        half: the outage strikes a random half of the suppliers.
        only_logins: nothing but logins is ever sent.
    """

    outage: date | None = None
    half: bool = False
    only_logins: bool = False


def write_market(
    folder: Path,
    dialect: str,
    seed: int,
    count: int,
    days: int,
    until: date,
    damage: Damage | None = None,
) -> int:
    """Write suppliers.csv, clients.csv, events.csv.gz, truth.csv and season.csv.

    Args:
        until: the day after the last.
        damage: null: all events arrive.

    Returns:
        The number of events.
    """
    shape, random = DIALECTS[dialect], np.random.default_rng([seed, ord(dialect)])
    first = until - timedelta(days=days)
    dates = [first + timedelta(days=day) for day in range(max(days, 365))]
    table = season_table(shape, np.array([float(day.timetuple().tm_yday - 1) for day in dates]))
    year, table, dates = table[:, :, :365], table[:, :, :days], dates[:days]
    people = make_people(shape, count, days, random)
    season = table[people.hemisphere, people.vendor]
    clients = make_clients(shape, people, year[people.hemisphere, people.vendor], days, random)
    weddings = weddings_by_day(clients, count, days)
    activity = make_activity(shape, people, season, weddings, random)
    events = make_events(shape, people, activity, clients, first, random)
    if damage is not None:
        events = _lose_events(events, damage, first, random.random(count) < 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    _write_suppliers(folder / "suppliers.csv", people, first)
    _write_clients(folder / "clients.csv", people, clients, first, days)
    _write_events(folder / "events.csv.gz", people, events, first)
    _write_truth(folder / "truth.csv", people, activity.away, first)
    _write_season(folder / "season.csv", table, dates)
    return events.height


def _lose_events(
    events: pl.DataFrame, damage: Damage, first: date, half: NDArray[np.bool_]
) -> pl.DataFrame:
    login = pl.col("type") == "login"
    if damage.only_logins:
        events = events.filter(login)
    if damage.outage is not None:
        begin = (damage.outage - first).days * 86_400
        struck = pl.lit(True)
        if damage.half:
            struck = pl.col("supplier").is_in(np.flatnonzero(half).tolist())
        dark = pl.col("at").is_between(begin, begin + OUTAGE_DAYS * 86_400, closed="left")
        events = events.filter(~(login & struck & dark))
    return events


def _write_suppliers(path: Path, people: People, first: date) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                "id",
                "name",
                "email",
                "vendor_type",
                "plan",
                "country",
                "timezone",
                "mrr_minor",
                "client_limit",
                "created_on",
            ]
        )
        for n, supplier_id in enumerate(people.ids):
            country, zone, *_ = PLACES[people.place[n]]
            plan, price, limit = PLANS[people.plan[n]]
            writer.writerow(
                [
                    supplier_id,
                    f"Supplier {n + 1}",
                    f"supplier{n + 1}@example.com",
                    VENDOR_TYPES[people.vendor[n]],
                    plan,
                    country,
                    zone,
                    price,
                    limit,
                    day_text(first, int(people.created[n])),
                ]
            )


def _write_clients(path: Path, people: People, clients: Clients, first: date, days: int) -> None:
    start = np.datetime64(first, "D")
    frame = pl.DataFrame(
        {
            "id": clients.names,
            "supplier_id": np.array(people.ids)[clients.supplier],
            "added_on": (start + clients.added).astype(str),
            "wedding_date": (start + clients.wedding).astype(str),
        }
    )
    there = (clients.added < days) & (clients.added < people.cancelled[clients.supplier])
    frame.filter(pl.Series(there)).write_csv(path)


def _write_events(path: Path, people: People, events: pl.DataFrame, first: date) -> None:
    began = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
    number = pl.int_range(pl.len()).over("supplier") + 1
    frame = events.with_columns(
        pl.Series("supplier_id", np.array(people.ids)[events["supplier"].to_numpy()])
    ).select(
        pl.concat_str(
            pl.col("supplier_id").str.slice(0, 8), pl.lit("-"), number.cast(pl.String)
        ).alias("message_id"),
        "supplier_id",
        "type",
        pl.from_epoch(pl.col("at") + began).dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("occurred_at"),
        "properties",
    )
    # Without name and time, so that the same seed gives the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        file.write(frame.write_csv().encode())


def _write_truth(path: Path, people: People, away: Away, first: date) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["supplier_id", "fade_start", "cancelled_on", "away"])
        for n, supplier_id in enumerate(people.ids):
            periods = (f"{day_text(first, a)}/{day_text(first, b)}" for a, b in away[n])
            writer.writerow(
                [
                    supplier_id,
                    day_text(first, int(people.fade_start[n])),
                    day_text(first, int(people.cancelled[n])),
                    ";".join(periods),
                ]
            )


def _write_season(path: Path, table: NDArray[np.float64], dates: list[date]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["day", "hemisphere", "vendor_type", "season"])
        for h, hemisphere in enumerate(HEMISPHERES):
            for v, vendor in enumerate(VENDOR_TYPES):
                writer.writerows(
                    [day.isoformat(), hemisphere, vendor, f"{table[h, v, n]:.4f}"]
                    for n, day in enumerate(dates)
                )
