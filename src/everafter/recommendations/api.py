"""Personal recommendations for one supplier, scored as it is now; what of them was offered; what
offering does."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import polars as pl
from litestar import get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection, Pool
from everafter.core.errors import UnprocessableError
from everafter.core.ids import SupplierId
from everafter.core.openapi import problems
from everafter.core.web import scope
from everafter.recommendations.effects_rules import list_effects
from everafter.recommendations.live import recommend_live
from everafter.recommendations.model import (
    ActionAnswer,
    ClientAnswer,
    EffectsAnswer,
    ImpressionsRequest,
    RecommendationAnswer,
    RecommendationsAnswer,
    WorkedAnswer,
)
from everafter.recommendations.queries import get_effects, note_given
from everafter.recommendations.rules import shown_in_order, treated
from everafter.scoring.live import score_live

TAGS = ["Success"]
NO_SUPPLIER = "there is no such supplier, or it has cancelled"


@get(
    "/api/success/recommendations/{supplier_id:str}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listRecommendations",
    summary="What a supplier should do next",
    responses=problems(not_found=NO_SUPPLIER),
)
async def get_recommendations(
    state: State,
    supplier_id: FromPath[SupplierId],
    audience: Annotated[
        Literal["team", "supplier"],
        QueryParameter(
            description="`supplier`: what may be shown to it. `team`: with what at random it is not offered; never show that to it."
        ),
    ] = "supplier",
    locale: Annotated[
        str | None,
        QueryParameter(
            max_length=35,
            description="Of the words, such as `de-AT`; where there are none, the playbook's own.",
        ),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="How many at most.")] = 100,
) -> RecommendationsAnswer:
    """The playbook's recommendations that apply now, about the supplier and about single clients,
    the most useful first.

    What cannot wait comes first; then what can be expected to win back most of the gap in the
    health score: the points missing, times the share of them that offering it won back at similar
    suppliers, less what came back by itself (`worked`)."""
    scored = await score_live(state, [supplier_id])
    recommendations = await recommend_live(state, [str(supplier_id)], locale, scored=scored)
    shown = treated(recommendations) if audience == "supplier" else recommendations
    answers = [_answer(row) for row in shown.head(limit).iter_rows(named=True)]
    return RecommendationsAnswer(supplier_id, scored["external_id"].item(), answers)


@post(
    "/api/success/recommendations/{supplier_id:str}/treated",
    status_code=204,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordImpressions",
    exception_handlers=BODY_ERRORS,
    summary="Say that recommendations were shown",
    responses=problems(
        not_found=NO_SUPPLIER,
        unprocessable_entity="one of them does not apply to this supplier now",
    ),
)
async def post_impressions(
    state: State, supplier_id: FromPath[SupplierId], data: JSONBody[ImpressionsRequest]
) -> None:
    """For a platform that shows next steps in its own pages: note that these were offered, so that
    what came of them is looked at two weeks later. The coach and the emails do so by themselves.
    Repeating it changes nothing.

    What counts is the beginning of the list for the supplier as it is now, as far as nothing of it
    is missing in `ids`, with what at random was passed over on the way. What is behind a gap is not
    noted: that it was picked out is no lot."""
    scored = await score_live(state, [supplier_id])
    recommendations = await recommend_live(state, [str(supplier_id)], scored=scored)
    there = recommendations.filter(~pl.col("holdout"))["id"].to_list()
    if strange := [name for name in data.ids if name not in there]:
        raise UnprocessableError(
            f"ids: {strange[0]!r} is not among what this supplier may be offered now"
        )
    shown = shown_in_order(recommendations, data.ids)
    pool: Pool = state.pool
    async with pool.connection() as conn:
        await note_given(conn, shown, "api", datetime.now(UTC).date())


@get(
    "/api/success/recommendations-effects",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listRecommendationEffects",
    summary="What offering recommendations does",
    responses=problems(),
)
async def get_recommendation_effects(
    state: State, conn: NamedDependency[Connection]
) -> EffectsAnswer:
    """For every recommendation that was offered and looked at again: how many of those it was
    offered to (`treated`) were better, and how many of those to whom it applied as well and who at
    random were not offered it (`control`). Suppliers in trouble get better by chance; only the
    difference counts. Offered is served, seen or not, so those who never looked dilute the
    difference."""
    effects, measured_at = await get_effects(conn)
    return EffectsAnswer(measured_at, list_effects(effects, state.playbook))


def _answer(row: dict[str, Any]) -> RecommendationAnswer:
    client = (
        None
        if row["client_id"] is None
        else ClientAnswer(row["client_id"], row["client_name"], row["others"])
    )
    return RecommendationAnswer(
        id=row["id"],
        title=row["title"],
        body=row["body"],
        reason=row["reason"],
        action=ActionAnswer(row["action_label"], row["action_url"]),
        priority=row["priority"],
        closes=row["closes"],
        closes_points=round(row["closes_points"], 1),
        expected_points=round(row["expected_points"], 1),
        worked=None if row["worked"] is None else WorkedAnswer(**row["worked"]),
        client=client,
    )


handlers = [get_recommendations, post_impressions, get_recommendation_effects]
