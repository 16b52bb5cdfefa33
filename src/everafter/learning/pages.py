"""The page on the models of churn: which one speaks, how good it was, and why not the others."""

from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Response, Router, get
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.learning import queries, snapshot_queries
from everafter.learning.charts import draw_calibration
from everafter.learning.model import (
    CALIBRATED_FROM,
    HORIZONS,
    KIND_LABELS,
    LOGISTIC_FROM,
    ModelVersion,
)
from everafter.learning.rules import FEATURE_LABELS
from everafter.learning.text_rules import (
    describe_quality,
    describe_speaking,
    describe_wait,
    find_speaking,
)

_SHOWN = timedelta(days=400)
_MOST_WEIGHTS = 8


@get("/insights/churn-model")
async def show_churn_model(
    request: AnyRequest, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[Any]:
    """Show the latest training."""
    now = datetime.now(UTC)
    months = await snapshot_queries.list_snapshot_months(conn)
    versions = await queries.list_versions(conn, now - _SHOWN, now)
    latest = [one for one in versions if one.trained_as_of == versions[0].trained_as_of]
    return page(
        request,
        "learning/templates/churn_model.html",
        viewer=viewer,
        months=[one for one in months if one.finished_at],
        training=await queries.get_training(conn),
        trained_as_of=latest[0].trained_as_of if latest else None,
        wait=describe_wait(months, now),
        sections=[
            _section(speaking, [one for one in latest if one.horizon == horizon])
            for horizon, speaking in sorted(find_speaking(latest).items())
        ],
        history=_history(versions),
        kind_labels=KIND_LABELS,
        horizons=HORIZONS,
        calibrated_from=CALIBRATED_FROM,
        logistic_from=LOGISTIC_FROM,
    )


def _section(speaking: ModelVersion, models: list[ModelVersion]) -> dict[str, Any]:
    """Collect what the template needs for one horizon.

    What is described is the model that speaks; while the index speaks alone, the index.
    """
    return {
        "horizon": speaking.horizon,
        "headline": describe_speaking(speaking.heard, speaking.horizon),
        "speaking": speaking,
        "description": describe_quality(speaking.metrics.untouched, speaking.kind),
        "everyone": describe_quality(speaking.metrics.all, speaking.kind),
        "chart": None
        if speaking.heard == "index"
        else draw_calibration(speaking.metrics.untouched.bins),
        "models": models,
        "weights": list_weights(speaking),
    }


def list_weights(version: ModelVersion) -> list[tuple[str, float]]:
    """What one standard deviation more of each signal adds to the log odds, the strongest first;
    empty for the calibrated index."""
    parameters = version.parameters
    if parameters is None:
        return []
    weights = [
        (FEATURE_LABELS.get(name, name), parameters.slope * weight)
        for name, weight in zip(parameters.features, parameters.weights, strict=True)
    ]
    return sorted(weights, key=lambda one: -abs(one[1]))[:_MOST_WEIGHTS]


def _history(versions: list[ModelVersion]) -> list[dict[str, Any]]:
    """Which model spoke after each training, the latest first."""
    trainings: dict[datetime, dict[int, ModelVersion]] = {}
    for one in versions:
        if one.promoted_at is not None:
            trainings.setdefault(one.trained_as_of, {})[one.horizon] = one
    return [{"as_of": as_of, "speaking": found} for as_of, found in trainings.items()]


handlers = [Router(path="/", route_handlers=[show_churn_model], include_in_schema=False)]
