"""One daily run in its own process: `python -m benchmarks.one_run URL MOMENT` prints seconds and
peak memory."""

import asyncio
import json
import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from time import perf_counter

from everafter.core.settings import load_settings
from everafter.daily.run import run_day
from everafter.playbook.loading import load_playbook


def main() -> None:
    url, moment = sys.argv[1], datetime.fromisoformat(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        playbook = load_playbook(load_settings({"EVERAFTER_DATA": str(Path(folder))}))
    started = perf_counter()
    summary = asyncio.run(run_day(url, playbook, moment))
    print(
        json.dumps(
            {
                "seconds": perf_counter() - started,
                "suppliers": summary.suppliers,
                "triggered": summary.interventions.triggered,
                "skipped": sum(summary.interventions.skipped.values()),
                "peak_mb": _peak_kb() / 1024,
            }
        )
    )


def _peak_kb() -> int:
    """Peak memory of this process. getrusage would include the parent that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


if __name__ == "__main__":
    main()
