"""Write an invented market as files that `everafter import` reads, with its truth beside them."""

import argparse
import sys
from datetime import date
from pathlib import Path

from benchmarks.markets.dialects import DIALECTS
from benchmarks.markets.writing import Damage, write_market


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.markets", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="a")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--suppliers", type=int, default=None, help="600; 60 of dialect d")
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument(
        "--until", type=date.fromisoformat, default=date(2026, 11, 20), metavar="DATE"
    )
    parser.add_argument(
        "--outage", type=date.fromisoformat, metavar="DATE", help="ten days without any login"
    )
    parser.add_argument("--half", action="store_true", help="… of a random half of the suppliers")
    parser.add_argument("--only-logins", action="store_true", help="nothing else is ever sent")
    asked = parser.parse_args()
    count = asked.suppliers or (60 if asked.dialect == "d" else 600)
    days = round(asked.months * 365.25 / 12)
    damage = Damage(asked.outage, asked.half, asked.only_logins)
    rows = write_market(asked.folder, asked.dialect, asked.seed, count, days, asked.until, damage)
    print(f"{asked.folder}: {count} suppliers, {days} days, {rows:,} events", file=sys.stderr)


if __name__ == "__main__":
    main()
