"""Run the benchmarks on this machine and print the table (`make bench`)."""

import argparse
import sys

from rich.console import Console

from benchmarks import attack, coach, coach_page, daily, ingest, live, season, slots
from benchmarks.place import private_server
from benchmarks.table import Row, print_table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suppliers", type=int, default=200_000)
    parser.add_argument(
        "only",
        nargs="*",
        choices=[
            "daily",
            "history",
            "ingest",
            "attack",
            "live",
            "coach",
            "page",
            "season",
            "slots",
            [],
        ],
        help="run only these",
    )
    chosen = parser.parse_args()
    console = Console(stderr=True)
    parts = {
        "daily": lambda server: daily.measure(server, chosen.suppliers),
        "history": daily.measure_history,
        "ingest": ingest.measure,
        "attack": attack.measure,
        "live": live.measure,
        "slots": slots.measure,
        "season": lambda server: season.measure(server, chosen.suppliers),
        "coach": coach.measure,
        "page": coach_page.measure,
    }
    rows: list[Row] = []
    for name, measure in parts.items():
        if chosen.only and name not in chosen.only:
            continue
        with console.status(f"running: {name}"), private_server() as server:
            rows += measure(server)
    print_table(rows)
    return 0 if all(row.reached for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
