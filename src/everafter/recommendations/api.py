"""Personal recommendations for one supplier, judged as it stands now."""

from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import FromPath

from everafter.core.openapi import problems
from everafter.core.web import scope
from everafter.health.live import judge_live
from everafter.recommendations.model import ActionAnswer, RecommendationAnswer, RecommendationsAnswer
from everafter.recommendations.rules import recommend


@get(
    "/api/success/recommendations/{supplier_id:uuid}",
    guards=[scope("read")],
    tags=["Success"],
    operation_id="listRecommendations",
    summary="What a supplier should do next",
    responses=problems(not_found="there is no such supplier"),
)
async def get_recommendations(state: State, supplier_id: FromPath[UUID]) -> RecommendationsAnswer:
    """The playbook's recommendations that apply now, first the one that closes most of the gap in the health score."""
    advice = recommend(await judge_live(state, [str(supplier_id)]), state.playbook)
    return RecommendationsAnswer(
        supplier_id,
        [
            RecommendationAnswer(
                row["id"],
                row["title"],
                row["body"],
                row["reason"],
                ActionAnswer(row["action_label"], row["action_url"]),
                row["priority"],
                row["closes"],
                round(row["closes_points"], 1),
            )
            for row in advice.iter_rows(named=True)
        ],
    )


handlers = [get_recommendations]
