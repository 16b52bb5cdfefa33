"""Compute metrics: choose the days, run one statement, apply one pure function."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from everafter.core.db import Connection
from everafter.metrics import queries
from everafter.metrics.churn_rules import (
    LOOKED_BACK_DAYS,
    choose_lead_days,
    choose_prediction_days,
    measure_churn,
)
from everafter.metrics.effect_rules import measure_success
from everafter.metrics.level_rules import choose_days, measure_adoption, measure_health
from everafter.metrics.model import (
    DEFAULT_BY,
    AdoptionMetric,
    By,
    ChurnMetric,
    FirstValueMetric,
    HealthMetric,
    Measured,
    Metric,
    Metrics,
    MetricsAnswer,
    Period,
    SuccessMetric,
    TicketMetric,
)
from everafter.metrics.rules import order_groups
from everafter.metrics.time_rules import measure_first_value, measure_tickets, time_first_forms
from everafter.playbook.model import CELEBRATION_PREFIX, Playbook
from everafter.tickets.hours import open_hours


@dataclass(frozen=True, slots=True)
class Question:
    """Input shared by all metrics of an answer. runs: finished runs, back to the earliest day that
    any metric needs.
    """

    period: Period
    now: datetime
    runs: list[tuple[date, datetime]]
    suppliers: int
    unknown: int
    playbook: Playbook

    @property
    def days(self) -> list[date]:
        """List the scored days of the period."""
        return [day for day, _ in self.runs if self.period.first <= day]


async def open_question(
    conn: Connection, period: Period, now: datetime, playbook: Playbook
) -> Question:
    """Read the shared input."""
    await queries.give_room(conn)
    back = max(period.horizon, LOOKED_BACK_DAYS + 7)
    runs = await queries.list_runs(conn, period.first - timedelta(days=back), period.last)
    suppliers, unknown = await queries.count_suppliers(conn)
    return Question(period, now, runs, suppliers, unknown, playbook)


async def measure(
    conn: Connection, question: Question, metrics: tuple[Metric, ...], by: By | None
) -> dict[Metric, Measured]:
    """Compute the metrics, grouped by `by` or by each metric's default."""
    return {
        metric: await _MEASURES[metric](conn, question, by or DEFAULT_BY[metric])
        for metric in metrics
    }


async def _health(conn: Connection, question: Question, by: By) -> HealthMetric:
    days = choose_days(question.days, question.suppliers)
    scores = await queries.read_health(conn, by, days)
    return await asyncio.to_thread(
        measure_health, scores, _order(by, scores, "n"), len(question.days)
    )


async def _success(conn: Connection, question: Question, by: By) -> SuccessMetric:
    latest = await queries.find_last_run(conn)
    emails = [CELEBRATION_PREFIX + name for name in question.playbook.milestones]
    counts = await queries.read_success(conn, by, question.period, latest or date.min, emails)
    return measure_success(counts, _order(by, counts.filter(pl.col("n") > 0), "n"))


async def _first_value(conn: Connection, question: Question, by: By) -> FirstValueMetric:
    signed_up = await queries.read_first_forms(conn, by, question.period, question.now)
    people = time_first_forms(signed_up, question.now)
    return await asyncio.to_thread(
        measure_first_value, people, _order(by, people), question.unknown
    )


async def _adoption(conn: Connection, question: Question, by: By) -> AdoptionMetric:
    days = sorted({*question.days[:1], *question.days[-1:]})
    shares = await queries.read_adoption(conn, by, days)
    return await asyncio.to_thread(measure_adoption, shares, _order(by, shares, "n"), days)


async def _tickets(conn: Connection, question: Question, by: By) -> TicketMetric:
    tickets = await queries.read_tickets(conn, by, question.period)
    earliest = tickets["opened_at"].min()
    hours = await asyncio.to_thread(
        open_hours,
        question.playbook.support,
        earliest if isinstance(earliest, datetime) else question.now,
        question.now,
    )
    return await asyncio.to_thread(measure_tickets, tickets, _order(by, tickets), hours)


async def _churn(conn: Connection, question: Question, by: By) -> ChurnMetric:
    period = question.period
    moments = dict(question.runs)
    ended = Period(
        period.first,
        min(period.last, question.now.astimezone(UTC).date() - timedelta(days=1)),
        period.horizon,
    )
    chosen = choose_prediction_days(list(moments), ended)
    predictions = await queries.read_predictions(
        conn, by, [(day, moments[day]) for day in chosen], period.horizon
    )
    leads = await queries.read_leads(conn, by, period, choose_lead_days(list(moments), period))
    groups = pl.concat(
        [predictions.select("group", "n"), leads.select("group", pl.lit(0, pl.Int64).alias("n"))]
    )
    return await asyncio.to_thread(
        measure_churn, predictions, leads, _order(by, groups, "n"), period.horizon
    )


def _order(by: By, frame: pl.DataFrame, counted: str | None = None) -> list[str | None]:
    size = pl.col(counted).sum() if counted else pl.len()
    sizes: dict[str | None, int] = dict(frame.group_by("group").agg(size.alias("size")).iter_rows())
    return order_groups(by, sizes, sizes)


_MEASURES = {
    "health_score": _health,
    "intervention_success": _success,
    "time_to_first_value": _first_value,
    "feature_adoption": _adoption,
    "ticket_resolution": _tickets,
    "churn_prediction": _churn,
}


async def answer_metrics(
    conn: Connection,
    period: Period,
    now: datetime,
    playbook: Playbook,
    metrics: tuple[Metric, ...],
    by: By | None,
) -> MetricsAnswer:
    """Compute the answer of the API and the command line."""
    question = await open_question(conn, period, now, playbook)
    measured = await measure(conn, question, metrics, by)
    return MetricsAnswer(
        first=period.first,
        until=period.last,
        horizon=period.horizon,
        measured_at=now,
        scored_until=question.days[-1] if question.days else None,
        by={metric: by or DEFAULT_BY[metric] for metric in metrics},
        metrics=Metrics(**measured),  # pyright: ignore[reportArgumentType] each under its own name
    )
