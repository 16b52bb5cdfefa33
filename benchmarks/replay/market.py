"""Reading a market's files: suppliers, events, and the truth where it is known."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everafter.activity.model import EVENTS_SCHEMA, TIME
from everafter.activity.rules import split_foldable
from everafter.seasonality.prior_rules import region_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEVER = 10**6
SOUTH = ("australia", "new_zealand", "other_south")
_SMOOTHED_DAYS = 29

# Columns of signals.queries that a supplier has without any event.
SUPPLIER_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "external_id": pl.String(),
    "name": pl.String(),
    "email": pl.String(),
    "vendor_type": pl.String(),
    "plan": pl.String(),
    "country": pl.String(),
    "timezone": pl.String(),
    "mrr_minor": pl.Int64(),
    "client_limit": pl.Int64(),
    "created_at": TIME,
    "added_at": TIME,
    "consent": pl.Boolean(),
}


@dataclass(frozen=True, slots=True)
class Market:
    """A market. Days are numbered from `first`; a supplier's number is its row in `suppliers`.

    Attributes:
        suppliers: a row per supplier, sorted by id, with the columns that signals.queries reads of
            it.
        days: EVENTS_SCHEMA of each day, in order of time.
        south: (suppliers,).
        season: (days, suppliers) expected activity of each supplier's group, mean 1 a year: the
            truth where there is one, else measured from all logins of the half of the world.
        cancelled: (suppliers,) day of cancellation; NEVER: none is known.
        fade_start: (suppliers,) day a fade began; NEVER: none. Null: not known.
    """

    name: str
    first: date
    suppliers: pl.DataFrame
    days: list[pl.DataFrame]
    south: NDArray[np.bool_]
    season: Floats
    cancelled: Ints
    fade_start: Ints | None

    def at(self, day: int) -> datetime:
        """The midnight at which a day begins."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC) + timedelta(
            days=day
        )

    def only(self, *types: str) -> "Market":
        """The same market of which the platform sends nothing but these events."""
        return replace(
            self, days=[events.filter(pl.col("type").is_in(types)) for events in self.days]
        )


def read_market(folder: Path) -> Market:
    """Read a folder with suppliers.csv, clients.csv, events.csv.gz; truth.csv and season.csv may
    be missing."""
    suppliers = _read_suppliers(folder / "suppliers.csv")
    events = _read_events(folder, set(suppliers["supplier_id"]))
    first: date = events["occurred_at"][0].date()
    count = (events["occurred_at"][-1].date() - first).days + 1
    number = (events["occurred_at"].dt.date() - first).dt.total_days()
    parts = events.with_columns(number.alias("day")).partition_by("day", as_dict=True)
    empty = events.clear()
    days = [parts[(day,)].drop("day") if (day,) in parts else empty for day in range(count)]
    rows = {name: row for row, name in enumerate(suppliers["supplier_id"])}
    cancelled, fade_start = _fates(folder / "truth.csv", events, rows, first)
    south = np.array([region_of(country) in SOUTH for country in suppliers["country"]])
    season_file = folder / "season.csv"
    season = (
        _true_season(season_file, suppliers, south, first, count)
        if season_file.exists()
        else _measured_season(events, rows, south, first, count)
    )
    return Market(folder.name, first, suppliers, days, south, season, cancelled, fade_start)


def _read_suppliers(path: Path) -> pl.DataFrame:
    frame = pl.read_csv(path, infer_schema=False)
    created = pl.col("created_on").str.to_datetime("%Y-%m-%d", time_zone="UTC", strict=False)
    return (
        frame.select(
            pl.col("id").alias("supplier_id"),
            pl.lit(None).alias("external_id"),
            "name",
            "email",
            "vendor_type",
            "plan",
            "country",
            "timezone",
            "mrr_minor",
            pl.when(pl.col("client_limit") != "")
            .then(pl.col("client_limit"))
            .alias("client_limit"),
            created.cast(TIME).alias("created_at"),
            created.cast(TIME).alias("added_at"),
            pl.lit(True).alias("consent"),
        )
        .cast(pl.Schema(SUPPLIER_SCHEMA))
        .unique("supplier_id")
        .sort("supplier_id")
    )


def _read_events(folder: Path, known: set[str]) -> pl.DataFrame:
    """All events by time, and a client_added for each client of clients.csv that has none."""
    events = pl.read_csv(folder / "events.csv.gz", infer_schema=False).select(
        "supplier_id",
        "type",
        pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC").cast(TIME),
        pl.col("properties").replace("", None).fill_null("{}").alias("properties"),
    )
    clients = pl.read_csv(folder / "clients.csv", infer_schema=False)
    named = events.filter(pl.col("type") == "client_added").select(
        "supplier_id", pl.col("properties").str.json_path_match("$.client_id").alias("id")
    )
    start: datetime = events.select(pl.col("occurred_at").min()).item()
    missing = clients.join(named, on=["supplier_id", "id"], how="anti").select(
        "supplier_id",
        pl.lit("client_added").alias("type"),
        pl.col("added_on").str.to_datetime("%Y-%m-%d", time_zone="UTC").cast(TIME)
        .clip(lower_bound=pl.lit(start).cast(TIME)).alias("occurred_at"),
        pl.struct(pl.col("id").alias("client_id"), "wedding_date")
        .struct.json_encode().alias("properties"),
    )  # fmt: skip
    whole = pl.concat([events, missing]).filter(pl.col("supplier_id").is_in(list(known)))
    ordered = whole.sort("occurred_at", maintain_order=True).cast(pl.Schema(EVENTS_SCHEMA))
    return split_foldable(ordered)[0]


def _fates(
    path: Path, events: pl.DataFrame, rows: dict[str, int], first: date
) -> tuple[Ints, Ints | None]:
    """Cancellation from the events, and from the truth where it comes after the last event."""
    cancelled = np.full(len(rows), NEVER)
    for name, at in (
        events.filter(pl.col("type") == "subscription_cancelled")
        .group_by("supplier_id")
        .agg(pl.col("occurred_at").min())
        .iter_rows()
    ):
        cancelled[rows[name]] = (at.date() - first).days
    if not path.exists():
        return cancelled, None
    fade_start = np.full(len(rows), NEVER)
    for row in pl.read_csv(path, infer_schema=False).fill_null("").iter_rows(named=True):
        n = rows[row["supplier_id"]]
        if row["fade_start"]:
            fade_start[n] = (date.fromisoformat(row["fade_start"]) - first).days
        if row["cancelled_on"] and cancelled[n] == NEVER:
            cancelled[n] = (date.fromisoformat(row["cancelled_on"]) - first).days
    return cancelled, fade_start


def _true_season(
    path: Path, suppliers: pl.DataFrame, south: NDArray[np.bool_], first: date, count: int
) -> Floats:
    frame = pl.read_csv(path, schema_overrides={"season": pl.Float64}, try_parse_dates=True)
    frame = frame.with_columns((pl.col("day") - first).dt.total_days().alias("n"))
    tables: dict[tuple[str, str], Floats] = {}
    for (hemisphere, vendor), part in frame.partition_by(
        "hemisphere", "vendor_type", as_dict=True
    ).items():
        days, season = part["n"].to_numpy(), part["season"].to_numpy()
        tables[str(hemisphere), str(vendor)] = np.interp(np.arange(count), days, season)
    halves = np.where(south, "south", "north")
    return np.stack(
        [tables[h, v] for h, v in zip(halves, suppliers["vendor_type"], strict=True)], axis=1
    )


def _measured_season(
    events: pl.DataFrame, rows: dict[str, int], south: NDArray[np.bool_], first: date, count: int
) -> Floats:
    """Login days per supplier seen within four weeks, smoothed over four weeks, by half of the
    world; divided by its mean in the last year."""
    logins = events.filter(pl.col("type") == "login").select(
        pl.col("supplier_id").replace_strict(rows, return_dtype=pl.Int64).alias("row"),
        (pl.col("occurred_at").dt.date() - first).dt.total_days().alias("day"),
    )
    seen = np.zeros((count, len(rows)), dtype=bool)
    seen[logins["day"].to_numpy(), logins["row"].to_numpy()] = True
    window = np.ones(_SMOOTHED_DAYS)
    season = np.ones((count, len(rows)))
    for half in (False, True):
        members = seen[:, south == half]
        if not members.any():
            continue
        reach = np.maximum.accumulate(np.where(members, np.arange(count)[:, None], -NEVER), axis=0)
        later = np.minimum.accumulate(
            np.where(members, np.arange(count)[:, None], NEVER)[::-1], axis=0
        )[::-1]
        live = ((reach > -NEVER) & (later < NEVER)).sum(axis=1)
        whole = np.convolve(members.sum(axis=1), window, "same")
        rate = whole / np.maximum(np.convolve(live, window, "same"), 1)
        season[:, south == half] = (rate / rate[-365:].mean())[:, None]
    return season
