"""The registry of signals and its page."""

import json
from pathlib import Path

import polars as pl
from typer.testing import CliRunner

from everafter.cli import app
from everafter.signals.model import SIGNAL_SCHEMA, SIGNALS, signals_page

PAGE = Path(__file__).parent.parent / "docs" / "signals.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == signals_page(), "run `make docs`"


def test_every_signal_has_its_line_in_full() -> None:
    page = PAGE.read_text(encoding="utf-8").splitlines()
    for signal in SIGNALS:
        lines = [line for line in page if line.startswith(f"| `{signal.name}` |")]
        assert len(lines) == 1, signal.name
        cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
        assert cells[1:] == [
            type(signal.dtype).__name__,
            signal.unit,
            signal.meaning,
            signal.null,
            signal.source,
        ]
        assert all(cells), signal.name


def test_names_are_unique_and_can_stand_in_a_condition() -> None:
    assert len(SIGNAL_SCHEMA) == len(SIGNALS)
    frame = pl.DataFrame(schema=SIGNAL_SCHEMA)
    for name in SIGNAL_SCHEMA:
        assert frame.select(pl.sql_expr(f"{name} IS NOT NULL")).schema == {name: pl.Boolean}


def test_the_command_prints_the_page_a_table_and_json() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["signals", "--markdown"]).output == signals_page()
    table = runner.invoke(app, ["signals"], env={"COLUMNS": "200"}).output
    listed = json.loads(runner.invoke(app, ["signals", "--json"]).output)
    assert [row["name"] for row in listed] == list(SIGNAL_SCHEMA)
    assert all(name in table for name in SIGNAL_SCHEMA)
