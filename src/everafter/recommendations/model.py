"""Next steps for a supplier, as the API gives them."""

from typing import Annotated, Any
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

ADVICE_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "id": pl.String(),
    "title": pl.String(),
    "body": pl.String(),
    "reason": pl.String(),
    "action_label": pl.String(),
    "action_url": pl.String(),
    "closes": pl.String(),
    "closes_points": pl.Float64(),
    "priority": pl.Int64(),
}


class ActionAnswer(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class RecommendationAnswer(Struct, frozen=True):
    """One next step, in the supplier's own numbers.

    closes, closes_points: the dimension of the health score it helps and how many points are missing there; null and 0 where
    it serves something else.
    """

    id: str
    title: str
    body: str
    reason: str
    action: ActionAnswer
    priority: Annotated[int, Meta(ge=1, description="1 is the first thing to do.")]
    closes: str | None
    closes_points: float


class RecommendationsAnswer(Struct, frozen=True):
    """Next steps, the most useful first; empty when nothing of the playbook's applies."""

    supplier_id: UUID
    recommendations: list[RecommendationAnswer]
