"""Personal recommendations for one supplier, judged as it stands now; what of them was offered; what offering does."""

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
from everafter.health.live import judge_live
from everafter.recommendations.effects_rules import list_effects
from everafter.recommendations.live import recommend_live
from everafter.recommendations.model import (
    ActionAnswer,
    CoupleAnswer,
    EffectsAnswer,
    RecommendationAnswer,
    RecommendationsAnswer,
    ToldRequest,
    WorkedAnswer,
)
from everafter.recommendations.queries import get_effects, note_given
from everafter.recommendations.rules import shown_as_told, told

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
            description="`supplier`: what may be shown to it. `team`: with what by lot it is not offered; never show that to it."
        ),
    ] = "supplier",
    locale: Annotated[
        str | None,
        QueryParameter(max_length=35, description="Of the words, such as `de-AT`; where there are none, the playbook's own."),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100, description="How many at most.")] = 100,
) -> RecommendationsAnswer:
    """The playbook's recommendations that apply now, about the supplier and about single couples, the most useful first.

    What cannot wait comes first; then what can be expected to win back most of the gap in the health score: the points missing,
    times the share of them that offering it won back at similar suppliers, less what came back by itself (`worked`).
    """
    judged = await judge_live(state, [supplier_id])
    advice = await recommend_live(state, [str(supplier_id)], locale, judged=judged)
    shown = told(advice) if audience == "supplier" else advice
    answers = [_answer(row) for row in shown.head(limit).iter_rows(named=True)]
    return RecommendationsAnswer(supplier_id, judged["external_id"].item(), answers)


@post(
    "/api/success/recommendations/{supplier_id:str}/told",
    status_code=204,
    guards=[scope("write")],
    tags=TAGS,
    operation_id="noteTold",
    exception_handlers=BODY_ERRORS,
    summary="Say that recommendations were shown",
    responses=problems(not_found=NO_SUPPLIER, unprocessable_entity="one of them does not apply to this supplier now"),
)
async def post_told(state: State, supplier_id: FromPath[SupplierId], data: JSONBody[ToldRequest]) -> None:
    """For a platform that shows next steps in its own pages: note that these were offered, so that what came of them is looked at
    two weeks later. The coach and the e-mails do so by themselves. Repeating it changes nothing.

    What counts is the beginning of the list for the supplier as it stands now, as far as nothing of it is missing in `ids`, with
    what by lot was passed over on the way. What stands behind a gap is not noted: that it was picked out is no lot.
    """
    judged = await judge_live(state, [supplier_id])
    advice = await recommend_live(state, [str(supplier_id)], judged=judged)
    there = advice.filter(~pl.col("held_out"))["id"].to_list()
    if strange := [name for name in data.ids if name not in there]:
        raise UnprocessableError(f"ids: {strange[0]!r} is not among what this supplier may be offered now")
    shown = shown_as_told(advice, data.ids)
    pool: Pool = state.pool
    async with pool.connection() as conn:
        await note_given(conn, shown, "api", datetime.now(UTC).date())


@get(
    "/api/success/advice-effects",
    guards=[scope("read")],
    tags=TAGS,
    operation_id="listAdviceEffects",
    summary="What offering advice does",
    responses=problems(),
)
async def get_advice_effects(state: State, conn: NamedDependency[Connection]) -> EffectsAnswer:
    """For every recommendation that was offered and looked at again: how many of those it was offered to (`told`) were better, and
    how many of those to whom it applied as well and who by lot were not offered it (`untold`). Suppliers in trouble get better by
    chance; only the difference counts. Offered is served, seen or not, so those who never looked dilute the difference.
    """
    effects, measured_at = await get_effects(conn)
    return EffectsAnswer(measured_at, list_effects(effects, state.playbook))


def _answer(row: dict[str, Any]) -> RecommendationAnswer:
    couple = None if row["client_id"] is None else CoupleAnswer(row["client_id"], row["couple"], row["others"])
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
        couple=couple,
    )


handlers = [get_recommendations, post_told, get_advice_effects]
