"""Why a supplier's score is what it is, and what changed since a day: contributions that sum to the
change."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from uuid import UUID

from everafter.activity.feature_rules import assign_slots
from everafter.core.db import Connection, FrameReader
from everafter.core.errors import InputError
from everafter.learning.model import ChurnModels, ChurnProbability
from everafter.learning.queries import get_models
from everafter.learning.text_rules import find_probabilities
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS, Dimension, Playbook
from everafter.scoring.health_rules import VALUES
from everafter.scoring.model import ChurnCause
from everafter.scoring.platform_queries import read_platform
from everafter.scoring.queries import RecordedScore, get_recorded
from everafter.scoring.rules import score_suppliers
from everafter.scoring.stage_rules import NEW_DAYS, describe_adoption, is_too_early
from everafter.seasonality.text_rules import describe_inactivity
from everafter.signals.queries import read_past_inputs
from everafter.signals.row_model import (
    ChurnLevel,
    RiskLevel,
    ScoredRow,
    churn_contribution,
    dimension_as_of,
    dimension_max,
    dimension_points,
    scored_rows,
)

Value = float | int | str | bool | None

INPUTS = (
    "days_since_login",
    "days_inactive",
    "client_season",
    "features_adopted",
    "clients_active_30d",
    "clients_total",
    "forms_answered_13w",
    "forms_sent_13w",
    "journey_emails_13w",
    "tickets_open",
    "days_past_due",
    "feature_use_ratio",
    "evidence_logins",
    "evidence_uses",
    "inactivity_probability",
    "stage",
)
"""Signals that the explanation names."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A supplier's score at one moment.

    Attributes:
        points: by dimension; null where unknown. They sum to `score`.
        max: by dimension; 0 where unknown.
        inputs: the signals of INPUTS.
        notes: what the season and the stage of the account change in a dimension; those that they
            change.
        churn: what each signal adds to the churn risk; with `base` they sum to it.
        playbook_version: of the daily run that stored the score; null: computed for this snapshot.
        as_of_dates: by dimension, the last good day while it depends on a stopped feed; else null.
        is_recorded: whether score and points are those that the daily run stored.
        churn_probabilities: by the models that spoke then; empty: none did.
        recomputed_score: what today's playbook and all events give for that moment, where it
            differs from the recorded score: events arrived later, or the playbook has changed.
    """

    as_of: datetime
    score: float | None
    risk: RiskLevel | None
    points: dict[Dimension, float | None]
    max: dict[Dimension, float]
    values: dict[Dimension, float | None]
    coverage: float
    season_index: float
    inputs: dict[str, Value]
    notes: dict[Dimension, str]
    churn_risk: float
    churn_level: ChurnLevel
    churn: dict[ChurnCause, float | None]
    churn_probabilities: list[ChurnProbability]
    playbook_version: int | None
    as_of_dates: dict[Dimension, date | None]
    is_recorded: bool
    recomputed_score: float | None


async def take_snapshot(
    conn: Connection, reader: FrameReader, playbook: Playbook, supplier_id: str, day: date | None
) -> Snapshot:
    """Score a supplier as of a day's run, of that day's end when it had none, or of now.

    Args:
        day: null means now.

    Raises:
        InputError: the supplier was not known at that moment, or had cancelled.
    """
    recorded = None if day is None else await get_recorded(conn, supplier_id, day)
    as_of = recorded.calculated_at if recorded else _end_of(day)
    models = await get_models(conn, as_of)
    row = await _score_past(reader, playbook, supplier_id, as_of)
    if recorded is None:
        return _describe(row, as_of, models)
    recomputed = row["health_score"]
    differs = recomputed is not None and abs(recorded.score - recomputed) > 1e-6
    return _describe(row, as_of, models, recorded, recomputed if differs else None)


def _end_of(day: date | None) -> datetime:
    now = datetime.now(UTC)
    if day is None or day >= now.date():
        return now
    return min(now, datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC))


async def _score_past(
    reader: FrameReader, playbook: Playbook, supplier_id: str, as_of: datetime
) -> ScoredRow:
    number = UUID(supplier_id).int
    before = str(UUID(int=number - 1)) if number else supplier_id
    features = assign_slots({}, playbook.features)  # the activity is folded again, with its own
    inputs = await read_past_inputs(reader, features, as_of, after=before, last=supplier_id)
    platform = await asyncio.to_thread(read_platform, reader, as_of)
    rows = list(scored_rows(score_suppliers(inputs, playbook, as_of, features, platform)))
    if not rows:
        raise InputError(f"as of {as_of:%Y-%m-%d}: this supplier was not known, or had cancelled")
    return rows[0]


def _describe(
    row: ScoredRow,
    as_of: datetime,
    models: ChurnModels,
    recorded: RecordedScore | None = None,
    recomputed_score: float | None = None,
) -> Snapshot:
    signals = cast(Mapping[str, Any], row)
    return Snapshot(
        as_of=as_of,
        score=recorded.score if recorded else row["health_score"],
        risk=recorded.risk_level if recorded else row["risk_level"],
        points=recorded.points
        if recorded
        else {name: dimension_points(row, name) for name in DIMENSIONS},
        max={name: dimension_max(row, name) for name in DIMENSIONS},
        values={name: signals[VALUES[name]] for name in DIMENSIONS},
        coverage=recorded.coverage if recorded else row["coverage"],
        season_index=recorded.season_index if recorded else row["season_index"],
        inputs={name: signals[name] for name in INPUTS},
        notes=_list_notes(row),
        churn_risk=row["churn_risk"],
        churn_level=row["churn_level"],
        churn={
            "base": row["churn_base"],
            **{name: churn_contribution(row, name) for name in CHURN_SIGNALS},
        },
        churn_probabilities=find_probabilities(signals, models),
        playbook_version=recorded.playbook_version if recorded else None,
        as_of_dates={name: dimension_as_of(row, name) for name in DIMENSIONS},
        is_recorded=recorded is not None,
        recomputed_score=recomputed_score,
    )


def _list_notes(row: ScoredRow) -> dict[Dimension, str]:
    days, counted = row["days_since_login"], row["days_inactive"]
    notes: dict[Dimension, str] = {
        name: f"too early to say before day {NEW_DAYS}"
        for name in DIMENSIONS
        if is_too_early(row["stage"], name)
    }
    if days is not None and counted is not None:
        notes["login"] = describe_inactivity(days, counted, row["vendor_type"], row["country"])
    notes["feature_adoption"] = describe_adoption(
        row["stage"], row["tenure_days"], row["onboarding_steps_done"], row["onboarding_steps_due"]
    )
    return {name: note for name, note in notes.items() if note}


def describe_causes(causes: Mapping[ChurnCause, float | None]) -> str:
    """The contributions that show in two decimals."""
    shown = [
        f"{name.replace('_', ' ')} {value:+.2f}"
        for name, value in causes.items()
        if value is not None and abs(value) >= 0.005
    ]
    return ", ".join(shown) or "no signal"


def compare_churn(before: Snapshot, after: Snapshot) -> dict[ChurnCause, float]:
    """By how much each contribution to the churn risk moved; the values sum to its change."""
    return {name: (after.churn[name] or 0.0) - (before.churn[name] or 0.0) for name in after.churn}


def compare(before: Snapshot, after: Snapshot) -> dict[Dimension, float]:
    """By how many points each dimension moved; the values sum to the change of the score.

    A dimension that became known or unknown counts with all its points, because the others are
    scaled with it.
    """
    return {d: (after.points[d] or 0.0) - (before.points[d] or 0.0) for d in DIMENSIONS}
