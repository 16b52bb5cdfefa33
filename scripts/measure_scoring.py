"""Measure what the scores are worth: replay markets day by day, and compare with what happened.

    .venv/bin/python scripts/measure_scoring.py ../data/market MARKET… [--json FILE]

A market is a folder with suppliers.csv, clients.csv and events.csv.gz, as `everafter import` reads
it, and optionally truth.csv and season.csv, as `python -m benchmarks.markets` writes them. No
database is needed. Each day's events are folded, then all suppliers are scored, by the functions
of the daily run; the figures compare that with later cancellations. A market of 600 suppliers and
24 months takes about two minutes. docs/methods.md explains the figures."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from benchmarks.replay.damage import Outage, login_only_shares, play_outage
from benchmarks.replay.figures import Figures, measure
from benchmarks.replay.first_day import score_first_day
from benchmarks.replay.market import Market, read_market
from benchmarks.replay.record import record
from benchmarks.replay.replay import Replay, start
from benchmarks.replay.table import print_table

WARM_UP_DAYS = 185
"""Days of a market before the first one scored, unless --from says otherwise."""
_OUTAGES_AT = (0.3, 0.55, 0.8)
"""When the outages begin, as a share of the days scored."""
DAMAGES = ("outage", "half", "logins")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--from", dest="start", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--until", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="figures of another version: its AUC and number of warnings are the bars",
    )
    parser.add_argument(
        "--warnings-per-year",
        type=float,
        metavar="N",
        help="compare precision at so many warnings a supplier-year",
    )
    parser.add_argument(
        "--damage",
        choices=(*DAMAGES, "all", "none"),
        default="all",
        help="which damaged platforms are measured too",
    )
    asked = parser.parse_args()
    against: dict[str, Figures] = json.loads(asked.against.read_text()) if asked.against else {}
    damages = DAMAGES if asked.damage == "all" else tuple({asked.damage} & set(DAMAGES))
    markets: dict[str, Figures] = {}
    for path in asked.paths:
        warnings = asked.warnings_per_year or against.get(path.name, {}).get("alarms_medium")
        market = read_market(path)
        markets[path.name] = measure_market(market, asked.start, asked.until, damages, warnings)
        if asked.json:
            asked.json.write_text(json.dumps(markets, indent=1))
    print_table(markets, against, score_first_day())


def measure_market(
    market: Market,
    begins: date | None,
    ends: date | None,
    damages: tuple[str, ...],
    warnings_per_year: float | None,
) -> Figures:
    """Replay one market and measure it."""
    began = perf_counter()
    begin = (begins - market.first).days if begins else WARM_UP_DAYS
    end = (ends - market.first).days + 1 if ends else len(market.days)
    if not 0 <= begin < end <= len(market.days):
        raise SystemExit(f"{market.name} has no such days: its first is {market.first}")
    outages: dict[str, list[Outage]] = {"outage": [], "half": []}
    asides = _plan_outages(begin, end, damages, outages)
    recorded = record(start(market), begin, end, _say, asides)
    figures = measure(recorded, warnings_per_year)
    for name, played in outages.items():
        figures |= _mean_outage(name, played)
    if "logins" in damages:
        only, full = login_only_shares(market, recorded, _say)
        figures |= {"login_only": only, "login_only_full": full}
    figures["seconds"] = round(perf_counter() - began, 1)
    figures["truth"] = market.fade_start is not None
    return figures


def _plan_outages(
    begin: int, end: int, damages: tuple[str, ...], outages: dict[str, list[Outage]]
) -> dict[int, Callable[[Replay], None]]:
    def play(replay: Replay) -> None:
        half = np.random.default_rng(replay.day).random(replay.market.suppliers.height) < 0.5
        for name, affected in (("outage", None), ("half", half)):
            if name in damages:
                outages[name].append(play_outage(replay, affected))

    return {begin + round(share * (end - begin - 11)): play for share in _OUTAGES_AT}


def _mean_outage(name: str, played: list[Outage]) -> dict[str, Any]:
    if not played:
        return {}
    parts = [asdict(outage) for outage in played]
    return {f"{name}_{key}": sum(part[key] for part in parts) / len(parts) for key in parts[0]}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
