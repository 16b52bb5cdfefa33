"""Next steps for a supplier: what is known of its couples, what was offered, what came of it, and the API's words for them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.signals.model import COUPLE_SCHEMA

Channel = Literal["coach", "email", "dashboard", "api"]

MOST_COUPLES = 200
"""The nearest weddings that are looked at for one supplier."""

SETTLE_AFTER_DAYS = 14
"""How long after it was offered advice is looked at again; for so long, offering it once more is the same offer."""

BETTER_SHARE = 0.25
"""The part of what was missing in the dimension that must have been won back to count as better."""

LEAST_TO_SAY = 10
"""Suppliers on either side of a comparison below which there are too few to say."""

WORKED = pl.Struct(
    {
        "told": pl.Int64(),
        "better": pl.Int64(),
        "untold": pl.Int64(),
        "untold_better": pl.Int64(),
        "vendor_type": pl.String(),
    }
)

ADVICE_SCHEMA: dict[str, Any] = {
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
    "couple": pl.String(),  # the couple it speaks of; null: of none, or of one without a name
    "client_id": pl.String(),  # null: it speaks of no couple
    "others": pl.Int64(),  # further couples of whom the same is true
    "about": pl.Struct(COUPLE_SCHEMA),  # what its words say of that couple; null: it speaks of no couple
    "held_out": pl.Boolean(),  # by lot not offered to this supplier, so that there is something to compare with
    "vendor_type": pl.String(),
    "points_before": pl.Float64(),  # of the dimension it serves, now; null: none, or unknown
    "points_max": pl.Float64(),
}

EFFECTS_SCHEMA: dict[str, Any] = {
    "advice_id": pl.String(),
    "vendor_type": pl.String(),  # '': all trades together
    "told": pl.Int64(),
    "told_better": pl.Int64(),
    "untold": pl.Int64(),
    "untold_better": pl.Int64(),
}


# ── the API's words ───────────────────────────────────────────────────────────────────────────────────────────────────


class ActionAnswer(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class WorkedAnswer(Struct, frozen=True):
    """Of suppliers to whom this was offered (told: served, seen or not), how many were clearly better two weeks later; and of those
    to whom it applied as well and who were, by lot, not offered it (untold). vendor_type: the trade it is counted over; null: all
    trades."""

    told: int
    better: int
    untold: int
    untold_better: int
    vendor_type: str | None


class CoupleAnswer(Struct, frozen=True):
    """The couple it speaks of. name: null when the platform told none. others: further couples of whom the same is true."""

    client_id: str
    name: str | None
    others: int


class RecommendationAnswer(Struct, frozen=True):
    """One next step, in the supplier's own numbers.

    closes, closes_points: the dimension of the health score it helps and how many points are missing there; null and 0 where
    it serves something else. expected_points: of these, what offering it can be expected to win back. worked: null while there
    are too few to say.
    """

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
    couple: CoupleAnswer | None


class RecommendationsAnswer(Struct, frozen=True):
    """Next steps, the most useful first; empty when nothing of the playbook's applies."""

    supplier_id: UUID
    external_id: str | None
    recommendations: list[RecommendationAnswer]


class ToldRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """ids: the next steps that the platform showed to the supplier, from the first of the list on, without a gap."""

    ids: Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=1, max_length=50)]


EffectVerdict = Literal["helps", "hurts", "not_yet_known", "too_few"]


class EffectAnswer(Struct, frozen=True):
    """What came of one piece of advice, in one trade (null: all together).

    difference: the share better of those it was offered to (told) less that of those it was by lot not (untold); null: too few to
    say. low, high: its 95 % confidence sequence, however often one looks. verdict: "helps" and "hurts" are declared over every
    answer together, so that among many that do nothing few are called helpful by chance. expected_share: the share of what is
    missing that ranking takes it to win back.
    """

    id: str
    title: str
    closes: str | None
    vendor_type: str | None
    told: int
    better: int
    untold: int
    untold_better: int
    difference: float | None
    low: float | None
    high: float | None
    verdict: EffectVerdict
    expected_share: float


class EffectsAnswer(Struct, frozen=True):
    """Every piece of advice that was settled at least once; measured_at: null before the first."""

    measured_at: datetime | None
    effects: list[EffectAnswer]


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement of advice found; rows that could not be compared are among `settled` with nothing learned."""

    settled: int
    better: int
    oldest: date | None
