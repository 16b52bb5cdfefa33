"""What a daily run reports."""

from datetime import datetime
from typing import Any

import polars as pl
from msgspec import Struct, field


class InterventionCounts(Struct):
    """Interventions of a day in the log: how many were decided, kept back (by reason), in the
    holdout; `by_trigger` counts the decided. What is kept back for the reason of the day before is
    in the log of that day and is not counted again; tips are the coach's and no run's."""

    triggered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    holdout: int = 0
    by_trigger: dict[str, int] = field(default_factory=dict)


class RunSummary(Struct):
    """One run's outcome. `unscored`: suppliers of whom nothing at all is known yet."""

    as_of: datetime
    suppliers: int = 0
    by_risk: dict[str, int] = field(
        default_factory=lambda: {"healthy": 0, "at_risk": 0, "critical": 0}
    )
    by_churn: dict[str, int] = field(default_factory=lambda: {"low": 0, "medium": 0, "high": 0})
    interventions: InterventionCounts = field(default_factory=InterventionCounts)
    unscored: int = 0
    average_score: float | None = None
    playbook_version: int = 0
    replay: bool = False
    dry_run: bool = False
    seconds: float = 0.0


def summarize_slice(scored: pl.DataFrame, results: pl.DataFrame) -> dict[str, Any]:
    """What a slice adds to the day's figures. verdicts: as the log would take them."""

    def counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
        return dict(frame.group_by(column).len().drop_nulls().sort(column).iter_rows())

    skipped = results.filter(pl.col("status") == "skipped")
    triggered = results.filter(pl.col("status") == "triggered")
    return {
        "suppliers": scored.height,
        "score_sum": scored["health_score"].sum() or 0.0,
        "unscored": scored["health_score"].null_count(),
        "by_risk": counts(scored, "risk_level"),
        "by_churn": counts(scored, "churn_level"),
        "triggered": triggered.height,
        "holdout": results.filter(pl.col("status") == "holdout").height,
        "skipped": counts(skipped, "reason"),
        "by_trigger": counts(triggered, "trigger"),
    }


def add_slices(summary: RunSummary, slices: list[dict[str, Any]]) -> RunSummary:
    """The figures of a run that writes nothing, from its slices'."""
    score_sum = 0.0
    results = summary.interventions
    for part in slices:
        summary.suppliers += part["suppliers"]
        summary.unscored += part["unscored"]
        score_sum += part["score_sum"]
        results.triggered += part["triggered"]
        results.holdout += part["holdout"]
        for into, name in (
            (summary.by_risk, "by_risk"),
            (summary.by_churn, "by_churn"),
            (results.skipped, "skipped"),
            (results.by_trigger, "by_trigger"),
        ):
            for key, count in part[name].items():
                into[key] = into.get(key, 0) + count
    scored = summary.suppliers - summary.unscored
    summary.average_score = round(score_sum / scored, 1) if scored else None
    return summary
