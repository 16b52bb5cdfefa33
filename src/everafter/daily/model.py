"""What a daily run reports."""

from datetime import datetime
from typing import Any

import polars as pl
from msgspec import Struct, field


class Verdicts(Struct):
    """Interventions of a day in the log: how many were decided, kept back (by reason), held out;
    `by_trigger` counts the decided. What is kept back for the reason of the day before stands in the log
    of that day and is not counted again; tips are the coach's and no run's."""

    decided: int = 0
    withheld: dict[str, int] = field(default_factory=dict)
    held_out: int = 0
    by_trigger: dict[str, int] = field(default_factory=dict)


class RunSummary(Struct):
    """One run's outcome. `unscored`: suppliers of whom nothing at all is known yet."""

    as_of: datetime
    suppliers: int = 0
    by_risk: dict[str, int] = field(default_factory=lambda: {"healthy": 0, "at_risk": 0, "critical": 0})
    by_churn: dict[str, int] = field(default_factory=lambda: {"low": 0, "medium": 0, "high": 0})
    interventions: Verdicts = field(default_factory=Verdicts)
    unscored: int = 0
    average_score: float | None = None
    playbook_version: int = 0
    replay: bool = False
    dry_run: bool = False
    seconds: float = 0.0


def summarize_slice(judged: pl.DataFrame, verdicts: pl.DataFrame) -> dict[str, Any]:
    """What a slice adds to the day's figures. verdicts: as the log would take them."""

    def counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
        return dict(frame.group_by(column).len().drop_nulls().sort(column).iter_rows())

    withheld = verdicts.filter(pl.col("status") == "withheld")
    decided = verdicts.filter(pl.col("status") == "decided")
    return {
        "suppliers": judged.height,
        "score_sum": judged["health_score"].sum() or 0.0,
        "unscored": judged["health_score"].null_count(),
        "by_risk": counts(judged, "risk_level"),
        "by_churn": counts(judged, "churn_level"),
        "decided": decided.height,
        "held_out": verdicts.filter(pl.col("status") == "held_out").height,
        "withheld": counts(withheld, "reason"),
        "by_trigger": counts(decided, "trigger"),
    }


def add_slices(summary: RunSummary, slices: list[dict[str, Any]]) -> RunSummary:
    """The figures of a run that writes nothing, from its slices'."""
    score_sum = 0.0
    verdicts = summary.interventions
    for part in slices:
        summary.suppliers += part["suppliers"]
        summary.unscored += part["unscored"]
        score_sum += part["score_sum"]
        verdicts.decided += part["decided"]
        verdicts.held_out += part["held_out"]
        for into, name in (
            (summary.by_risk, "by_risk"),
            (summary.by_churn, "by_churn"),
            (verdicts.withheld, "withheld"),
            (verdicts.by_trigger, "by_trigger"),
        ):
            for key, count in part[name].items():
                into[key] = into.get(key, 0) + count
    scored = summary.suppliers - summary.unscored
    summary.average_score = round(score_sum / scored, 1) if scored else None
    return summary
