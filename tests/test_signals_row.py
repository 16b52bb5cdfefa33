"""The type of a scored row: equal to the registry of signals and to what scoring returns."""

import re
from datetime import UTC, date, datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import polars as pl
import pytest

from everafter.core.db import FrameReader
from everafter.core.settings import load_settings
from everafter.onboarding.queries import join_progress, read_progress_of
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS
from everafter.scoring.rules import evaluate_signals, score_suppliers
from everafter.signals.model import SIGNALS
from everafter.signals.queries import read_inputs_of
from everafter.signals.row_model import (
    ScoredRow,
    SignalRow,
    churn_contribution,
    dimension_max,
    dimension_points,
    scored_rows,
)
from helpers_mail import sql

PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
PYTHON_TYPES: dict[Any, type] = {
    pl.Float64: float,
    pl.Int64: int,
    pl.Boolean: bool,
    pl.String: str,
    pl.Datetime("us", "UTC"): datetime,
    pl.Date: date,
}


def python_type(dtype: pl.DataType) -> type:
    return next(kind for known, kind in PYTHON_TYPES.items() if dtype == known)


def types_of(row: type) -> dict[str, type]:
    """The type of each key, without its null; of a choice between texts str."""
    found: dict[str, type] = {}
    for name, hint in get_type_hints(row).items():
        kind = next((one for one in get_args(hint) if one is not NoneType), hint)
        found[name] = type(get_args(kind)[0]) if get_origin(kind) is Literal else kind
        if get_origin(hint) is Literal:
            found[name] = type(get_args(hint)[0])
    return found


def choices_of(hint: Any) -> set[str]:
    """The texts that a Literal, or one that can be null, allows."""
    parts = [hint, *get_args(hint)]
    return {text for one in parts if get_origin(one) is Literal for text in get_args(one)}


@pytest.fixture
def inputs(database: str) -> pl.DataFrame:
    sql(
        database,
        "INSERT INTO suppliers (id, name) VALUES ('00000000-0000-4000-8000-000000000001', 'Ann')",
    )
    reader = FrameReader(database)
    ids = ["00000000-0000-4000-8000-000000000001"]
    try:
        return join_progress(
            read_inputs_of(reader, ids), read_progress_of(reader, PLAYBOOK, AS_OF, ids)
        )
    finally:
        reader.close()


def test_the_row_types_are_what_scoring_returns(inputs: pl.DataFrame) -> None:
    for row, frame in (
        (SignalRow, evaluate_signals(inputs, PLAYBOOK, AS_OF, {})),
        (ScoredRow, score_suppliers(inputs, PLAYBOOK, AS_OF, {})),
    ):
        assert frame.height == 1
        assert types_of(row) == {name: python_type(dtype) for name, dtype in frame.schema.items()}


def test_the_row_type_has_every_signal_with_the_registrys_type_and_null() -> None:
    hints = get_type_hints(ScoredRow)
    for signal in SIGNALS:
        can_be_null = NoneType in get_args(hints[signal.name])
        assert can_be_null == (signal.null != "never null"), signal.name
        assert types_of(ScoredRow)[signal.name] is python_type(signal.dtype), signal.name
        choices = set(re.split(", | or ", signal.unit)) if signal.dtype == pl.String() else set()
        if len(choices) > 1:
            assert choices_of(hints[signal.name]) == choices, signal.name


def test_points_and_contributions_are_read_by_name(inputs: pl.DataFrame) -> None:
    [row] = scored_rows(score_suppliers(inputs, PLAYBOOK, AS_OF, {}))
    assert {name: dimension_points(row, name) for name in DIMENSIONS} == {
        name: row[f"{name}_points"] for name in DIMENSIONS
    }
    assert {name: dimension_max(row, name) for name in DIMENSIONS} == {
        name: row[f"{name}_max"] for name in DIMENSIONS
    }
    assert {name: churn_contribution(row, name) for name in CHURN_SIGNALS} == {
        name: row[f"churn_{name}"] for name in CHURN_SIGNALS
    }
