"""Unusual defects of exported files."""

import gzip
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from everafter.cli import main
from everafter.core.settings import Settings

SUPPLIER = str(uuid.uuid4())
HEADER = "message_id,supplier_id,type,occurred_at,properties"
Load = Callable[[Path], tuple[int, dict[str, Any]]]


@pytest.fixture
def load(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Load:
    """Imports one file; the exit code and its summary."""
    assert settings.database_url
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))

    def call(path: Path) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["everafter", "import", "--json", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)["files"][0]

    return call


def traits(database: str) -> dict[str, Any]:
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        row = conn.execute(
            "SELECT to_jsonb(suppliers) FROM suppliers WHERE id = %s", [SUPPLIER]
        ).fetchone()
    assert row
    return row[0]


def test_a_column_called_row_is_a_trait(load: Load, database: str, tmp_path: Path) -> None:
    (tmp_path / "suppliers.csv").write_text(f"id,name,row\n{SUPPLIER},Ann,7\n")
    code, reported = load(tmp_path / "suppliers.csv")
    assert (code, reported["new"], reported["error"]) == (0, 1, None)
    assert '"row": "7"' in json.dumps(traits(database))
    pl.DataFrame({"id": [SUPPLIER], "row": ["8"]}).write_parquet(tmp_path / "suppliers.parquet")
    code, reported = load(tmp_path / "suppliers.parquet")
    assert (code, reported["changed"], reported["error"]) == (0, 1, None)
    assert '"row": "8"' in json.dumps(traits(database))


def test_a_line_without_end_costs_itself_and_no_memory(load: Load, tmp_path: Path) -> None:
    (tmp_path / "suppliers.csv").write_text(f"id,name\n{SUPPLIER},Ann\n")
    assert load(tmp_path / "suppliers.csv")[0] == 0
    body = (
        f"{HEADER}\n".encode()
        + b"x" * 30_000_000
        + f"\na-1,{SUPPLIER},login,2026-01-02T10:00:00Z,\n".encode()
    )
    (tmp_path / "events.csv.gz").write_bytes(gzip.compress(body, 1))
    code, reported = load(tmp_path / "events.csv.gz")
    assert (code, reported["new"], reported["rejected"], reported["error"]) == (1, 1, 1, None)
    rejects = Path(reported["rejects_file"]).read_text()
    assert "2,row_too_large,the line is longer than 1048576 bytes" in rejects
    assert len(rejects) < 5_000


def test_columns_without_a_name(load: Load, database: str, tmp_path: Path) -> None:
    file = tmp_path / "suppliers.csv"
    file.write_text(f"id,,name,,\n{SUPPLIER},,Ann,,\n")
    code, reported = load(file)
    assert (code, reported["error"], reported["new"], reported["ignored_columns"]) == (
        0,
        None,
        1,
        [],
    )
    file.write_text(f"id,,name,,\n{SUPPLIER},x,Ann,,y\n")
    code, reported = load(file)
    assert reported["ignored_columns"] == ["column 2 (without a name)", "column 5 (without a name)"]
    assert traits(database)["traits"] == {}
