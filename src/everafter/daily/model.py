"""The figures of a daily run."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl
from msgspec import Struct, field

from everafter.feeds.model import Kind, Outage
from everafter.feeds.notice_rules import describe_outage
from everafter.feeds.outage_rules import list_notable


class InterventionCounts(Struct):
    """The run's entries in the day's intervention log. skipped: by reason; by_trigger: triggered
    entries only.

    A skip that repeats the reason of an earlier day has its entry there and is not counted again.
    Tips are chosen by the coach and not counted.
    """

    triggered: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    holdout: int = 0
    by_trigger: dict[str, int] = field(default_factory=dict)


class FeedState(Struct, omit_defaults=True):
    """A feed that is stopped or halved, or was until shortly before the run.

    Attributes:
        type: of its events; "*": the events of all types.
        state: stopped or halved.
        since: the last good moment.
        notice: the same as a sentence.
        until: when the events returned; null: they have not.
    """

    type: str
    state: Kind
    since: datetime
    notice: str
    until: datetime | None = None


class RunSummary(Struct):
    """The result of a run. unscored: suppliers of whom nothing is known yet. feeds: those that are
    stopped or halved."""

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
    feeds: list[FeedState] = field(default_factory=list[FeedState])


class SliceFigures(Struct):
    """What one slice adds to the figures of its run."""

    suppliers: int
    score_sum: float
    unscored: int
    by_risk: dict[str, int]
    by_churn: dict[str, int]
    triggered: int
    skipped: dict[str, int]
    holdout: int
    by_trigger: dict[str, int]


def summarize_slice(scored: pl.DataFrame, results: pl.DataFrame) -> SliceFigures:
    """Count one slice.

    Args:
        results: the rows that go into the intervention log.
    """
    skipped = results.filter(pl.col("status") == "skipped")
    triggered = results.filter(pl.col("status") == "triggered")
    return SliceFigures(
        suppliers=scored.height,
        score_sum=scored.select(pl.col("health_score").sum()).item(),
        unscored=scored["health_score"].null_count(),
        by_risk=_count_by(scored, "risk_level"),
        by_churn=_count_by(scored, "churn_level"),
        triggered=triggered.height,
        skipped=_count_by(skipped, "reason"),
        holdout=results.filter(pl.col("status") == "holdout").height,
        by_trigger=_count_by(triggered, "trigger"),
    )


def list_feed_states(outages: Iterable[Outage], as_of: datetime) -> list[FeedState]:
    """The feeds to report as of a moment, including those that returned within a day."""
    return [
        FeedState(
            type=outage.type,
            state=outage.kind,
            since=outage.since,
            notice=describe_outage(outage, as_of.date()),
            until=outage.ended_at,
        )
        for outage in list_notable(outages, as_of, timedelta(days=1))
    ]


def _count_by(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().drop_nulls().sort(column).iter_rows())


def add_slices(summary: RunSummary, slices: list[SliceFigures]) -> None:
    """Fill a dry run's summary from its slices."""
    score_sum = 0.0
    counts = summary.interventions
    for part in slices:
        summary.suppliers += part.suppliers
        summary.unscored += part.unscored
        score_sum += part.score_sum
        counts.triggered += part.triggered
        counts.holdout += part.holdout
        for total, added in (
            (summary.by_risk, part.by_risk),
            (summary.by_churn, part.by_churn),
            (counts.skipped, part.skipped),
            (counts.by_trigger, part.by_trigger),
        ):
            for key, count in added.items():
                total[key] = total.get(key, 0) + count
    scored = summary.suppliers - summary.unscored
    summary.average_score = round(score_sum / scored, 1) if scored else None
