"""Measure how well churn risk and health score predicted churn.

    .venv/bin/python scripts/measure_churn.py --from 2025-10-01 --until 2026-10-01

Reads the database of the settings and writes nothing. Every `--every` days all suppliers are scored
as of that day, from earlier events, with the current playbook. Churned means that
subscription_cancelled came within `--horizon` days. Suppliers count on several days, so intervals
are resampled by supplier (bootstrap, 500 draws). docs/methods.md has the results for one export."""

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
from everafter.playbook.model import CHURN_SIGNALS
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
    if scored.is_empty() or not scored["churned"].any():
        print("no supplier churned in this period")
        return
    report(scored)


async def replay(
    start: datetime, until: datetime, every: timedelta, horizon: timedelta
) -> pl.DataFrame:
    """Score past days.

    Returns: A row per supplier and day: churn risk and its contributions, health score, churned.
    """
    settings = load_settings()
    playbook, url = load_playbook(settings), await asyncio.to_thread(database_url, settings)
    feature_ids = assign_slots({}, playbook.features)
    reader = FrameReader(url)
    cancelled = reader.read(
        """
        SELECT
          supplier_id::text,
          min(occurred_at) AS churned_at,
          (SELECT max(occurred_at) FROM events) AS known_until
        FROM events
        WHERE type = 'subscription_cancelled'
        GROUP BY supplier_id
        """
    )
    days: list[pl.DataFrame] = []
    day = start
    while day <= until and (cancelled.is_empty() or day + horizon <= cancelled["known_until"][0]):
        inputs = await read_past_inputs(reader, feature_ids, day, after=FIRST, last=LAST)
        scored = score_suppliers(inputs, playbook, day, feature_ids).join(
            cancelled, on="supplier_id", how="left"
        )
        churned = (pl.col("churned_at") >= day) & (pl.col("churned_at") < day + horizon)
        contributions = [pl.col(f"churn_{name}").fill_null(0.0) for name in CHURN_SIGNALS]
        days.append(
            scored.select(
                "supplier_id",
                churned.fill_null(False).alias("churned"),
                "churn_risk",
                "churn_level",
                "health_score",
                "risk_level",
                *contributions,
            )
        )
        day += every
    reader.close()
    print(f"{len(days)} days scored, {cancelled.height} suppliers churned")
    return pl.concat(days) if days else pl.DataFrame()


def report(scored: pl.DataFrame) -> None:
    """Print the churn rate of each band, and the AUC of each score."""
    suppliers = scored.filter("churned")["supplier_id"].n_unique()
    days = scored["churned"].sum()
    print(f"{scored.height:,} supplier-days, {days} of them before {suppliers} cancellations\n")
    for band, levels in (
        ("churn_level", ("low", "medium", "high")),
        ("risk_level", ("healthy", "at_risk", "critical")),
    ):
        for level in levels:
            rows = scored.filter(pl.col(band) == level)
            churned = rows["churned"].sum()
            share = f"{rows['churned'].mean():.1%}" if rows.height else "–"
            print(
                f"{band:12} {level:9} {rows.height:6,} supplier-days, {churned:3} churned: {share}"
            )
    print("\nAUC (0.5 is a guess, 1 is perfect), with 95 % intervals resampled by supplier")
    columns = {
        "churn risk": "churn_risk",
        **{f"only {name}": f"churn_{name}" for name in CHURN_SIGNALS},
    }
    for name, column in columns.items():
        print(f"{name:22} {_area(scored, pl.col(column))}")
    print(
        f"{'100 − health score':22} {_area(scored, 100 - pl.col('health_score').fill_null(100.0))}"
    )


def _area(scored: pl.DataFrame, by: pl.Expr) -> str:
    frame = scored.select("supplier_id", "churned", by.alias("value"))
    parts = [
        (part["churned"].to_numpy(), part["value"].to_numpy())
        for part in frame.partition_by("supplier_id")
    ]
    generator = np.random.default_rng(20261122)
    drawn: list[float] = []
    for _ in range(DRAWS):
        chosen = [parts[n] for n in generator.integers(0, len(parts), len(parts))]
        churned = np.concatenate([churned for churned, _ in chosen])
        if churned.any() and not churned.all():
            drawn.append(area_under_curve(churned, np.concatenate([value for _, value in chosen])))
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    whole = area_under_curve(frame["churned"].to_numpy(), frame["value"].to_numpy())
    return f"{whole:.3f}  [{low:.2f}, {high:.2f}]"


def area_under_curve(churned: NDArray[np.bool_], value: NDArray[np.float64]) -> float:
    """The probability that a churned supplier has a higher value than one who stayed; ties count
    half."""
    ranks = pl.Series(value).rank("average").to_numpy()
    count = int(churned.sum())
    others = len(churned) - count
    return float((ranks[churned].sum() - count * (count + 1) / 2) / (count * others))


def _day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
