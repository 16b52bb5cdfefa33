"""Recommendations for one supplier as it is now, their impressions, and their effects."""

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
    EffectCounts,
    EffectsAnswer,
    ImpressionsRequest,
    RecommendationAnswer,
    RecommendationsAnswer,
)
from everafter.recommendations.queries import get_effects, insert_impressions
from everafter.recommendations.rules import drop_holdout, select_impressions
from everafter.scoring.live import score_live

TAGS = ["Success"]
NO_SUPPLIER = "there is no such supplier, or it has cancelled"


@get(
    "/api/success/recommendations/{supplier_id:str}",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listRecommendations",
    summary="List a supplier's recommendations",
    responses=problems(not_found=NO_SUPPLIER),
)
async def get_recommendations(
    state: State,
    supplier_id: FromPath[SupplierId],
    audience: Annotated[
        Literal["team", "supplier"],
        QueryParameter(
            description="`supplier`: recommendations to show. `team`: also those for which the"
            " supplier is in the control group, which it must never see."
        ),
    ] = "supplier",
    locale: Annotated[
        str | None,
        QueryParameter(
            max_length=35,
            description="Language of the texts, such as `de-AT`. Default: the playbook's own.",
        ),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=100, description="Maximum number of results.")
    ] = 100,
) -> RecommendationsAnswer:
    """The playbook's recommendations that apply now, about the supplier and about single clients,
    the most useful first.

    Urgent recommendations come first. The others are ordered by `expected_points`: the points
    missing in the health score, times the share of them that showing the recommendation won back at
    similar suppliers, compared with a control group (`effect`)."""
    scored = await score_live(state, [supplier_id])
    recommendations = await recommend_live(state, [str(supplier_id)], locale, scored=scored)
    shown = drop_holdout(recommendations) if audience == "supplier" else recommendations
    answers = [_answer(row) for row in shown.head(limit).iter_rows(named=True)]
    return RecommendationsAnswer(supplier_id, scored["external_id"].item(), answers)


@post(
    "/api/success/recommendations/{supplier_id:str}/impressions",
    status_code=204,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="recordImpressions",
    exception_handlers=BODY_ERRORS,
    summary="Record impressions of recommendations",
    responses=problems(
        not_found=NO_SUPPLIER,
        unprocessable_entity="one of them is not in the supplier's current list",
    ),
)
async def post_impressions(
    state: State, supplier_id: FromPath[SupplierId], data: JSONBody[ImpressionsRequest]
) -> None:
    """For platforms that show recommendations on their own pages: record that these were shown, so
    that their outcomes are measured two weeks later. The coach and the emails do so by themselves.
    Repeating the request changes nothing.

    Show the current list from the top, without leaving any out. What comes after the first
    recommendation that is missing in `ids` is not recorded, because a selection would distort the
    measured effects."""
    scored = await score_live(state, [supplier_id])
    recommendations = await recommend_live(state, [str(supplier_id)], scored=scored)
    allowed = recommendations.filter(~pl.col("holdout"))["id"].to_list()
    if unknown := [name for name in data.ids if name not in allowed]:
        raise UnprocessableError(
            f"ids: {unknown[0]!r} is not in this supplier's current list of recommendations"
        )
    impressions = select_impressions(recommendations, data.ids)
    pool: Pool = state.pool
    async with pool.connection() as conn:
        await insert_impressions(conn, impressions, "api", datetime.now(UTC).date())


@get(
    "/api/success/recommendation-effects",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listRecommendationEffects",
    summary="Effects of showing recommendations",
    responses=problems(),
)
async def get_recommendation_effects(
    state: State, conn: NamedDependency[Connection]
) -> EffectsAnswer:
    """For each measured recommendation: to how many suppliers it was shown (`treated`), how many
    were randomly assigned to the control group and did not see it (`control`), and how many of each
    improved. Suppliers in trouble often improve by chance, so only the lift counts. A
    recommendation counts as shown when it was served, seen or not, so suppliers who never look
    reduce the lift."""
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
        dimension=row["dimension"],
        missing_points=round(row["missing_points"], 1),
        expected_points=round(row["expected_points"], 1),
        effect=None if row["effect"] is None else EffectCounts(**row["effect"]),
        client=client,
    )


handlers = [get_recommendations, post_impressions, get_recommendation_effects]
