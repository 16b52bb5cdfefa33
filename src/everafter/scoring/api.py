"""GET /api/health/score/{supplier_id}: the live score and its contributions."""

from datetime import datetime

from litestar import get
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import Struct

from everafter.core.ids import SupplierId
from everafter.core.web import scope
from everafter.playbook.model import CHURN_SIGNALS
from everafter.scoring.health_rules import read_components
from everafter.scoring.live import LiveScorer
from everafter.scoring.model import Component
from everafter.signals.row_model import ChurnLevel, LiveRow, RiskLevel, Stage, churn_contribution


class ChurnAnswer(Struct):
    """risk: index 0–1. level: low, medium or high.

    signals: what each adds to the index, below 0 where it speaks against a decline; null: unknown.
    With `base`, the index of any supplier without evidence, they sum to it. evidence: the decline
    evidence behind the index. probability_45d, probability_90d: of cancelling within so many days;
    null until a model is better than the base rate.
    """

    risk: float
    level: ChurnLevel
    signals: dict[str, float | None]
    evidence: float
    probability_45d: float | None
    probability_90d: float | None


class ScoreAnswer(Struct):
    """score: 0–100, floored; null when nothing is known of the supplier. The components' points sum
    to it before flooring.

    stage: new, growing, mature or dormant.

    coverage: share of the weights that was known, 0–1. season_index: activity expected now against
    the supplier's own peak, (0, 1].
    """

    supplier_id: str
    external_id: str | None
    score: int | None
    risk: RiskLevel | None
    components: dict[str, Component]
    coverage: float
    season_index: float
    off_season: bool
    main_reason: str
    stage: Stage
    churn: ChurnAnswer
    calculated_at: datetime


@get(
    "/api/health/score/{supplier_id:str}",
    guards=[scope("read")],
    tags=["health"],
    operation_id="getHealthScore",
    summary="Get a supplier's health score",
)
async def get_health_score(supplier_id: FromPath[SupplierId], state: State) -> ScoreAnswer:
    """The supplier's health as of now, by the same rules as the daily run: score, risk level,
    contributions, churn risk."""
    live: LiveScorer = state.live
    return answer(await live.score(supplier_id))


def answer(row: LiveRow) -> ScoreAnswer:
    """The API's form of a row of the live score."""
    score = row["health_score"]
    return ScoreAnswer(
        supplier_id=row["supplier_id"],
        external_id=row["external_id"],
        score=None if score is None else int(score),
        risk=row["risk_level"],
        components=read_components(row, row["days_since_login"]),
        coverage=row["coverage"],
        season_index=row["season_index"],
        off_season=row["off_season"],
        main_reason=row["main_reason"],
        stage=row["stage"],
        churn=ChurnAnswer(
            risk=row["churn_risk"],
            level=row["churn_level"],
            signals={
                "base": row["churn_base"],
                **{name: churn_contribution(row, name) for name in CHURN_SIGNALS},
            },
            evidence=row["churn_evidence"],
            probability_45d=row["churn_probability_45d"],
            probability_90d=row["churn_probability_90d"],
        ),
        calculated_at=row["as_of"],
    )


handlers = [get_health_score]
