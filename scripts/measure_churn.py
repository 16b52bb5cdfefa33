"""How well the risk index and the health score foretold who left: past days scored again, held
against what came after.

    .venv/bin/python scripts/measure_churn.py --from 2025-10-01 --until 2026-10-01

Reads the database of the settings and writes nothing. Every `--every` days all suppliers are scored
as of that day, from the events before it, by the playbook in force; "left" means that
subscription_cancelled came within `--horizon` days. A supplier counts on each of the days, so the
intervals are drawn by supplier (bootstrap, 500 draws), not by row. docs/methods.md tells what came
out."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everafter.activity.feature_rules import assign_slots
from everafter.core.db import FrameReader, database_url
from everafter.core.settings import load_settings
from everafter.playbook.loading import load_playbook
from everafter.scoring.churn_rules import SIGNALS
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_past_inputs

FIRST, LAST = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
DRAWS = 500


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="start", required=True, type=_day, metavar="DATE")
    parser.add_argument(
        "--until", required=True, type=_day, metavar="DATE", help="the last day scored"
    )
    parser.add_argument("--every", type=int, default=15, metavar="DAYS")
    parser.add_argument("--horizon", type=int, default=45, metavar="DAYS")
    asked = parser.parse_args()
    scored = asyncio.run(
        replay(asked.start, asked.until, timedelta(days=asked.every), timedelta(days=asked.horizon))
    )
    if scored.is_empty() or not scored["left"].any():
        print("nobody left in that time: there is nothing to measure")
        return
    report(scored)


async def replay(
    start: datetime, until: datetime, every: timedelta, horizon: timedelta
) -> pl.DataFrame:
    """A row per supplier and day scored: the index, its contributions, the score, and whether the
    supplier left."""
    settings = load_settings()
    playbook, url = load_playbook(settings), await asyncio.to_thread(database_url, settings)
    feature_ids = assign_slots({}, playbook.features)
    reader = FrameReader(url)
    left = reader.read(
        "SELECT supplier_id::text, min(occurred_at) AS churned_at, (SELECT max(occurred_at) FROM events) AS known_until"
        " FROM events WHERE type = 'subscription_cancelled' GROUP BY supplier_id"
    )
    days: list[pl.DataFrame] = []
    day = start
    while day <= until and (left.is_empty() or day + horizon <= left["known_until"][0]):
        inputs = await read_past_inputs(reader, feature_ids, day, after=FIRST, last=LAST)
        scored = score_suppliers(inputs, playbook, day, feature_ids).join(
            left, on="supplier_id", how="left"
        )
        leaves = (pl.col("churned_at") >= day) & (pl.col("churned_at") < day + horizon)
        contributions = [pl.col(f"churn_{name}").fill_null(0.0) for name in SIGNALS]
        days.append(
            scored.select(
                "supplier_id", leaves.fill_null(False).alias("left"), "churn_risk", "churn_level", "health_score", "risk_level",
                *contributions,
            )
        )  # fmt: skip
        day += every
    reader.close()
    print(f"{len(days)} days scored, {left.height} suppliers left at all")
    return pl.concat(days) if days else pl.DataFrame()


def report(scored: pl.DataFrame) -> None:
    """Print what the bands and the ranking were worth."""
    churned = scored.filter("left")["supplier_id"].n_unique()
    print(
        f"{scored.height:,} supplier-days, {scored['left'].sum()} of them before {churned} leavings\n"
    )
    for band, levels in (
        ("churn_level", ("low", "medium", "high")),
        ("risk_level", ("healthy", "at_risk", "critical")),
    ):
        for level in levels:
            rows = scored.filter(pl.col(band) == level)
            share = f"{rows['left'].mean():.1%}" if rows.height else "–"
            print(
                f"{band:12} {level:9} {rows.height:6,} supplier-days, {rows['left'].sum():3} before a leaving: {share}"
            )
    print(
        "\narea under the curve (0.5 is a guess, 1 is always right), with 95 % intervals drawn by supplier"
    )
    columns = {"risk index": "churn_risk", **{f"only {name}": f"churn_{name}" for name in SIGNALS}}
    for name, column in columns.items():
        print(f"{name:22} {_area(scored, pl.col(column))}")
    print(
        f"{'100 − health score':22} {_area(scored, 100 - pl.col('health_score').fill_null(100.0))}"
    )


def _area(scored: pl.DataFrame, by: pl.Expr) -> str:
    frame = scored.select("supplier_id", "left", by.alias("value"))
    parts = [
        (part["left"].to_numpy(), part["value"].to_numpy())
        for part in frame.partition_by("supplier_id")
    ]
    generator = np.random.default_rng(20261122)
    drawn: list[float] = []
    for _ in range(DRAWS):
        chosen = [parts[n] for n in generator.integers(0, len(parts), len(parts))]
        left = np.concatenate([left for left, _ in chosen])
        if left.any() and not left.all():
            drawn.append(area_under_curve(left, np.concatenate([value for _, value in chosen])))
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    whole = area_under_curve(frame["left"].to_numpy(), frame["value"].to_numpy())
    return f"{whole:.3f}  [{low:.2f}, {high:.2f}]"


def area_under_curve(left: NDArray[np.bool_], value: NDArray[np.float64]) -> float:
    """The chance that of one who left and one who stayed the first has the greater value (equal
    ones count half)."""
    ranks = pl.Series(value).rank("average").to_numpy()
    gone = int(left.sum())
    return float((ranks[left].sum() - gone * (gone + 1) / 2) / (gone * (len(left) - gone)))


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
