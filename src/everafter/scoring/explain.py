"""Why a supplier's score is what it is, and what changed since a day: contributions that sum
exactly to the change."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from everafter.activity.feature_rules import assign_slots
from everafter.core.db import Connection, FrameReader
from everafter.core.errors import InputError
from everafter.playbook.model import DIMENSIONS, Playbook
from everafter.scoring import queries
from everafter.scoring.churn_rules import SIGNALS
from everafter.scoring.health_rules import VALUES
from everafter.scoring.rules import score_suppliers
from everafter.signals.queries import read_past_inputs

INPUTS = ("days_since_login", "days_inactive", "features_adopted", "clients_active_30d", "clients_total", "forms_answered_13w",
          "forms_sent_13w", "journey_emails_13w", "tickets_open", "days_past_due", "feature_use_ratio")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """A supplier at one moment. points: per dimension, null where unknown; they sum to score.
    recorded: the run's own row was there and its points are used; `recorded_differs` then says that
    events which came later, or another playbook, would give another score today."""

    as_of: datetime
    score: float | None
    risk: str | None
    points: dict[str, float | None]
    most: dict[str, float]
    values: dict[str, float | None]
    coverage: float
    season_index: float
    inputs: dict[str, Any]
    churn_risk: float
    churn_level: str
    churn: dict[str, float | None]
    playbook_version: int | None
    recorded: bool
    recorded_differs: float | None


async def stand_at(
    conn: Connection, reader: FrameReader, playbook: Playbook, supplier_id: str, day: date | None
) -> Standing:
    """The supplier as of a day's run (or that day's end, when it had none), or as of now when `day`
    is null.

    Raises:
        InputError: nothing was known of the supplier then, or it had cancelled.
    """
    recorded = None if day is None else await queries.get_recorded(conn, supplier_id, day)
    now = datetime.now(UTC)
    if recorded is not None:
        as_of = recorded["calculated_at"]
    else:
        as_of = (
            now
            if day is None
            else min(now, datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC))
        )
    before = str(UUID(int=UUID(supplier_id).int - 1)) if UUID(supplier_id).int else supplier_id
    features = assign_slots({}, playbook.features)  # read from the events, so with slots of its own
    inputs = await read_past_inputs(reader, features, as_of, after=before, last=supplier_id)
    scored = score_suppliers(inputs, playbook, as_of, features)
    if scored.is_empty():
        raise InputError(
            f"as of {as_of:%Y-%m-%d}: this supplier was not there yet, or had cancelled"
        )
    row = scored.row(0, named=True)
    points = {d: (recorded if recorded else row)[f"{d}_points"] for d in DIMENSIONS}
    score = recorded["score"] if recorded else row["health_score"]
    replayed = row["health_score"]
    differs = None
    if recorded and replayed is not None and abs(recorded["score"] - replayed) > 1e-6:
        differs = replayed
    return Standing(
        as_of=as_of,
        score=score,
        risk=recorded["risk_level"] if recorded else row["risk_level"],
        points=points,
        most={d: row[f"{d}_max"] for d in DIMENSIONS},
        values={d: row[VALUES[d]] for d in DIMENSIONS},
        coverage=recorded["coverage"] if recorded else row["coverage"],
        season_index=recorded["season_index"] if recorded else row["season_index"],
        inputs={name: row[name] for name in INPUTS},
        churn_risk=row["churn_risk"],
        churn_level=row["churn_level"],
        churn={name: row[f"churn_{name}"] for name in SIGNALS},
        playbook_version=recorded["playbook_version"] if recorded else None,
        recorded=recorded is not None,
        recorded_differs=differs,
    )


def changes(before: Standing, after: Standing) -> dict[str, float]:
    """By how many points each dimension moved; the values sum to the change of the score.

    A dimension that became known or unknown counts with all its points, because the others are
    scaled with it."""
    return {d: (after.points[d] or 0.0) - (before.points[d] or 0.0) for d in DIMENSIONS}
