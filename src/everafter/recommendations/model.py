"""Recommendations: the columns of their frames, and what the API takes and returns."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.signals.model import CLIENT_SCHEMA

Channel = Literal["coach", "email", "dashboard", "api"]

MOST_CLIENTS = 200
"""Clients that are read per supplier, those with the nearest weddings."""

MEASURE_AFTER_DAYS = 14
"""Days from an impression to the measurement of its outcome. Showing the recommendation again
before then is the same impression."""

IMPROVED_SHARE = 0.25
"""Share of the missing points of a dimension that a supplier must win back to count as improved."""

MIN_TO_COMPARE = 10
"""Suppliers that the treatment and the control group each need before they are compared."""

EFFECT = pl.Struct(
    {
        "treated": pl.Int64(),
        "treated_improved": pl.Int64(),
        "control": pl.Int64(),
        "control_improved": pl.Int64(),
        "vendor_type": pl.String(),
    }
)

RECOMMENDATION_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "id": pl.String(),
    "title": pl.String(),
    "body": pl.String(),
    "reason": pl.String(),
    "action_label": pl.String(),
    "action_url": pl.String(),
    # the dimension of the health score that it improves; null: none
    "dimension": pl.String(),
    # points missing in that dimension
    "missing_points": pl.Float64(),
    # the part of these that showing the recommendation is expected to win back; see `recommend`
    "expected_points": pl.Float64(),
    # 1 is the first thing to do
    "priority": pl.Int64(),
    # outcomes so far; null: too few to compare
    "effect": EFFECT,
    # the client that it is about; null: about no client, or one without a name
    "client_name": pl.String(),
    # null: about no client
    "client_id": pl.String(),
    # number of further clients that it applies to
    "others": pl.Int64(),
    # signals of the client for its texts; null: about no client
    "about": pl.Struct(CLIENT_SCHEMA),
    # whether this supplier is in the control group of this recommendation, and must not see it
    "holdout": pl.Boolean(),
    "vendor_type": pl.String(),
    # points of the dimension now; null: no dimension, or unknown
    "points_before": pl.Float64(),
    "points_max": pl.Float64(),
}

EFFECTS_SCHEMA: dict[str, Any] = {
    "recommendation_id": pl.String(),
    # '': all vendor types together
    "vendor_type": pl.String(),
    "treated": pl.Int64(),
    "treated_improved": pl.Int64(),
    "control": pl.Int64(),
    "control_improved": pl.Int64(),
}


# ── the API ───────────────────────────────────────────────────────────────────────────────────────


class ActionAnswer(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class EffectCounts(Struct, frozen=True):
    """Of the suppliers that were shown this recommendation (treated), how many had improved two
    weeks later; and of those that it applied to but that were kept from seeing it at random
    (control). vendor_type: the vendor type that is counted; null: all."""

    treated: int
    treated_improved: int
    control: int
    control_improved: int
    vendor_type: str | None


class ClientAnswer(Struct, frozen=True):
    """The client that a recommendation is about. name: null when the platform has not sent one.
    others: number of further clients that it applies to."""

    client_id: str
    name: str | None
    others: int


class RecommendationAnswer(Struct, frozen=True):
    """One recommendation, with the supplier's own numbers.

    dimension, missing_points: the dimension of the health score that it improves, and how many
    points are missing there; null and 0 if it improves none. expected_points: the part of these
    that showing it is expected to win back. effect: null while there are too few to compare."""

    id: str
    title: str
    body: str
    reason: str
    action: ActionAnswer
    priority: Annotated[int, Meta(ge=1, description="1 is the first thing to do.")]
    dimension: str | None
    missing_points: float
    expected_points: float
    effect: EffectCounts | None
    client: ClientAnswer | None


class RecommendationsAnswer(Struct, frozen=True):
    """Recommendations, the most useful first; empty when none applies."""

    supplier_id: UUID
    external_id: str | None
    recommendations: list[RecommendationAnswer]


class ImpressionsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """ids: the recommendations that the platform showed, from the first of the list on, without a
    gap."""

    ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=1, max_length=50)
    ]


EffectConclusion = Literal["helps", "hurts", "not_yet_known", "too_few"]


class EffectAnswer(Struct, frozen=True):
    """The effect of showing one recommendation, in one vendor type (null: all together).

    lift: share of the treatment group that improved, less that of the control group; null: too few
    to compare. low, high: its 95 % confidence sequence, valid however often one looks. conclusion:
    "helps" and "hurts" are declared over all rows together, which limits false discoveries.
    expected_share: the share of the missing points that ranking expects it to win back."""

    id: str
    title: str
    dimension: str | None
    vendor_type: str | None
    treated: int
    treated_improved: int
    control: int
    control_improved: int
    lift: float | None
    low: float | None
    high: float | None
    conclusion: EffectConclusion
    expected_share: float


class EffectsAnswer(Struct, frozen=True):
    """Every recommendation that was measured at least once; measured_at: null before the first
    measurement."""

    measured_at: datetime | None
    effects: list[EffectAnswer]


@dataclass(frozen=True, slots=True)
class Measured:
    """Result of measuring impressions. measured: how many, including those that could not be
    compared. oldest: the first day of impressions among them; null: none."""

    measured: int
    improved: int
    oldest: date | None
