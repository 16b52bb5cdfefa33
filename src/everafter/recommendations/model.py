"""Next steps for a supplier: what is known of its clients, what was offered, what came of it, and
the API's words for them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.signals.model import CLIENT_SCHEMA

Channel = Literal["coach", "email", "dashboard", "api"]

MOST_CLIENTS = 200
"""The nearest weddings that are looked at for one supplier."""

SETTLE_AFTER_DAYS = 14
"""How long after it was offered recommendations is looked at again; for so long, offering it once
more is the same offer."""

BETTER_SHARE = 0.25
"""The part of what was missing in the dimension that must have been won back to count as better."""

MIN_TO_COMPARE = 10
"""Suppliers on either side of a comparison below which there are too few to say."""

WORKED = pl.Struct(
    {
        "treated": pl.Int64(),
        "better": pl.Int64(),
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
    "closes": pl.String(),  # the dimension of the score it serves; null: none
    "closes_points": pl.Float64(),  # points missing there
    "expected_points": pl.Float64(),  # of these, what offering it can be expected to win back; see `recommend`
    "priority": pl.Int64(),  # 1 is the first thing to do
    "worked": WORKED,  # what came of it so far; null: too few to say
    "client_name": pl.String(),  # the client it speaks of; null: of none, or of one without a name
    "client_id": pl.String(),  # null: it speaks of no client
    "others": pl.Int64(),  # further clients of whom the same is true
    "about": pl.Struct(
        CLIENT_SCHEMA
    ),  # what its words say of that client; null: it speaks of no client
    "holdout": pl.Boolean(),  # at random not offered to this supplier, so that there is something to compare with
    "vendor_type": pl.String(),
    "points_before": pl.Float64(),  # of the dimension it serves, now; null: none, or unknown
    "points_max": pl.Float64(),
}

EFFECTS_SCHEMA: dict[str, Any] = {
    "recommendation_id": pl.String(),
    "vendor_type": pl.String(),  # '': all vendor types together
    "treated": pl.Int64(),
    "treated_improved": pl.Int64(),
    "control": pl.Int64(),
    "control_improved": pl.Int64(),
}


# ── the API's words ───────────────────────────────────────────────────────────────────────────────────────────────────


class ActionAnswer(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class WorkedAnswer(Struct, frozen=True):
    """Of suppliers to whom this was offered (told: served, seen or not), how many were clearly
    better two weeks later; and of those to whom it applied as well and who were, at random, not
    offered it (control). vendor_type: the vendor type it is counted over; null: all vendor
    types."""

    treated: int
    better: int
    control: int
    control_improved: int
    vendor_type: str | None


class ClientAnswer(Struct, frozen=True):
    """The client it speaks of. name: null when the platform told none. others: further clients of
    whom the same is true."""

    client_id: str
    name: str | None
    others: int


class RecommendationAnswer(Struct, frozen=True):
    """One next step, in the supplier's own numbers.

    closes, closes_points: the dimension of the health score it helps and how many points are
    missing there; null and 0 where it serves something else. expected_points: of these, what
    offering it can be expected to win back. worked: null while there are too few to say."""

    id: str
    title: str
    body: str
    reason: str
    action: ActionAnswer
    priority: Annotated[int, Meta(ge=1, description="1 is the first thing to do.")]
    closes: str | None
    closes_points: float
    expected_points: float
    worked: WorkedAnswer | None
    client: ClientAnswer | None


class RecommendationsAnswer(Struct, frozen=True):
    """Next steps, the most useful first; empty when nothing of the playbook's applies."""

    supplier_id: UUID
    external_id: str | None
    recommendations: list[RecommendationAnswer]


class ImpressionsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """ids: the next steps that the platform showed to the supplier, from the first of the list on,
    without a gap."""

    ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=1, max_length=50)
    ]


EffectConclusion = Literal["helps", "hurts", "not_yet_known", "too_few"]


class EffectAnswer(Struct, frozen=True):
    """What came of one recommendation, in one vendor type (null: all together).

    difference: the share better of those it was offered to (told) less that of those it was at
    random not (control); null: too few to say. low, high: its 95 % confidence sequence, however
    often one looks. verdict: "helps" and "hurts" are declared over every answer together, so that
    among many that do nothing few are called helpful by chance. expected_share: the share of what
    is missing that ranking takes it to win back."""

    id: str
    title: str
    closes: str | None
    vendor_type: str | None
    treated: int
    better: int
    control: int
    control_improved: int
    difference: float | None
    low: float | None
    high: float | None
    conclusion: EffectConclusion
    expected_share: float


class EffectsAnswer(Struct, frozen=True):
    """Every recommendation that was settled at least once; measured_at: null before the first."""

    measured_at: datetime | None
    effects: list[EffectAnswer]


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement of recommendations found; rows that could not be compared are among
    `settled` with nothing learned."""

    settled: int
    better: int
    oldest: date | None
