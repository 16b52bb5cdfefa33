"""The server in its own process, as `everafter serve` starts it."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serve(url: str, *, files: int | None = None) -> Iterator[tuple[int, str, str]]:
    """Serve the database at `url`: (port, ingest key, read key).

    files: limit of open files, connections included; null: the limit of this process.
    """
    everafter = Path(sys.executable).parent / "everafter"
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "EVERAFTER_DATABASE_URL": url, "EVERAFTER_DATA": folder}

        def key(scope: str) -> str:
            done = subprocess.run(
                [everafter, "key", "create", "--scope", scope],
                env=env,
                capture_output=True,
                text=True,
                check=True,
            )
            return done.stdout.strip()

        ingest, read = key("ingest"), key("read")
        limit = ["prlimit", f"--nofile={files}:{files}"] if files else []
        command = [*limit, everafter, "serve", "--port", "0"]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        try:
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise RuntimeError("the server did not start")
            yield int(found[1]), ingest, read
        finally:
            process.terminate()
            process.wait(30)
            process.stderr.close()
