"""`everafter demo` on the command line."""

import asyncio
import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import polars as pl
import psycopg
import pytest
from rich.console import Console

from everafter.cli import main
from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.demo.commands import bind_next

EVERAFTER = Path(sys.executable).with_name("everafter")
SMALL = ["--suppliers", "25", "--months", "4", "--daily", "3"]


@pytest.fixture(autouse=True)
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    use(settings, monkeypatch)


def use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment so that commands use this database."""
    assert settings.database_url
    for name in [name for name in os.environ if name.startswith("EVERAFTER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def first_output(module_settings: Settings) -> str:
    """The output of the first start, into the module's database."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EVERAFTER_")
    }
    environment |= {
        "EVERAFTER_DATABASE_URL": module_settings.database_url or "",
        "EVERAFTER_DATA": str(module_settings.data),
    }
    command = [str(EVERAFTER), "demo", "--no-serve", *SMALL]
    done = subprocess.run(
        command, env=environment | {"COLUMNS": "160"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def everafter(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["everafter", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def count(settings: Settings, table: str) -> int:
    assert settings.database_url
    with psycopg.connect(settings.database_url, options="-c search_path=everafter") as conn:
        row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert row
    return row[0]


def test_the_demo_is_complete_and_a_second_start_adds_nothing(
    first_output: str,
    module_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert re.search(r"^Starting PostgreSQL .* s$", first_output, re.M) and re.search(
        r"^Scored \d+ days of the history", first_output, re.M
    )
    assert re.search(r"^  10 of \d+: \d+ \w+ \d{4}$", first_output, re.M), (
        "progress without a terminal"
    )
    assert re.search(r"^healthy +\d+ +\d+%", first_output, re.M) and re.search(
        r"^critical +\d+", first_output, re.M
    )
    assert re.search(r"^holdout +\d+ +control group", first_output, re.M)
    assert re.search(r"^triggered +\d+", first_output, re.M) and re.search(
        r"^skipped +\d+", first_output, re.M
    )
    assert (
        "team@example.com" in first_output
        and "ea_ingest_demo" in first_output
        and "ea_write_demo" in first_output
    )
    assert (
        "outbox" in first_output
        and "All of it is sample data" in first_output
        and "Resuming" not in first_output
    )
    use(module_settings, monkeypatch)
    tables = (
        "suppliers",
        "events",
        "customer_health",
        "interventions",
        "outbox",
        "runs",
        "users",
        "api_keys",
    )
    before = {table: count(module_settings, table) for table in tables}
    assert before["suppliers"] == 25 and before["runs"] > 10 and before["outbox"] > 0
    assert everafter(monkeypatch, "demo", "--no-serve", *SMALL) == 0
    second = capsys.readouterr().out
    after = {table: count(module_settings, table) for table in tables}
    assert after | {"events": 0} == before | {"events": 0}
    assert 0 <= after["events"] - before["events"] < 30, "only events since the first start"
    assert "Resuming the sample data of" in second and "--fresh" in second
    assert first_output.splitlines()[-4:] == second.splitlines()[-4:], "same password and keys"
    assert everafter(monkeypatch, "demo", "--no-serve", *SMALL, "--suppliers", "30") == 0
    assert "has 25 suppliers, 4 months and seed 7" in capsys.readouterr().out, (
        "ignored options are reported"
    )


def test_fresh_replaces_the_schema_of_another_version_and_keeps_the_platforms_tables(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url, options="-c search_path=everafter,public") as conn:
        conn.execute("UPDATE migrations SET sha256 = 'of a version that never was'")
        conn.execute("CREATE TABLE public.suppliers (name text)")
        conn.execute("INSERT INTO public.suppliers VALUES ('A real one')")
    assert everafter(monkeypatch, "demo", "--no-serve", *SMALL) == 1
    capsys.readouterr()
    assert (
        everafter(monkeypatch, "demo", "--no-serve", "--fresh", "--suppliers", "20", *SMALL[2:])
        == 0
    )
    assert "team@example.com" in capsys.readouterr().out
    assert count(settings, "suppliers") == 20
    with psycopg.connect(settings.database_url) as conn:
        assert conn.execute("SELECT count(*) FROM public.suppliers").fetchall() == [(1,)]


def test_the_demo_refuses_a_database_with_other_suppliers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url, options="-c search_path=everafter") as conn:
        conn.execute("INSERT INTO suppliers (id, name) VALUES (gen_random_uuid(), 'A real one')")
    for more in ([], ["--fresh"]):
        assert everafter(monkeypatch, "demo", "--no-serve", *SMALL, *more) == 1
        assert "not sample data" in " ".join(capsys.readouterr().err.split())
        assert count(settings, "suppliers") == 1


def test_an_export_can_be_imported(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "export"
    assert everafter(monkeypatch, "demo", "--export", str(folder), *SMALL) == 0
    bytes_before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(bytes_before) == {"suppliers.csv", "clients.csv", "events.csv.gz"}
    assert everafter(monkeypatch, "demo", "--export", str(folder), *SMALL) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == bytes_before
    events = pl.read_csv(gzip.decompress(bytes_before["events.csv.gz"]))
    assert events.columns == ["message_id", "supplier_id", "type", "occurred_at", "properties"]
    # the last day is simulated to its end; an import accepts events some hours in the future
    assert everafter(monkeypatch, "import", str(folder)) == 0
    assert count(settings, "events") == events.height and count(settings, "suppliers") == 25
    capsys.readouterr()
    assert everafter(monkeypatch, "demo", "--export", "/proc/nowhere", *SMALL) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_a_port_in_use_is_reported_and_the_next_one_used() -> None:
    console = Console(record=True, width=100)
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        with bind_next("127.0.0.1", port, console) as listener:
            assert listener.getsockname()[1] > port
    assert f"Port {port} is in use" in console.export_text()
    with pytest.raises(InputError, match=r"cannot listen on 203\.0\.113\.1"):
        bind_next("203.0.113.1", port, console)


def test_it_serves_and_ctrl_c_stops_it(
    first_output: str, module_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(module_settings, monkeypatch)
    command = [str(EVERAFTER), "demo", *SMALL, "--port", "8790"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout and demo.stderr
        try:
            lines: list[str] = []
            while not (lines and lines[-1].startswith("Press Ctrl+C")):
                line = demo.stdout.readline()
                assert line, demo.stderr.read()
                lines.append(line)
            base = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
            assert base
            asyncio.run(_wait_until_ready(base[0]))
            demo.send_signal(signal.SIGINT)
            rest = demo.stdout.read()
            assert demo.wait(20) == 0 and "Stopped." in rest
            assert demo.stderr.read() == ""
        finally:
            demo.kill()


async def _wait_until_ready(base: str) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(100):
            try:
                if (await client.get(f"{base}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise AssertionError(f"{base}/readyz never answered 200 (waited until {time.ctime()})")
