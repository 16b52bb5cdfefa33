"""The page of recommendations: which of them help."""

from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.playbook.labels import DIMENSION_LABELS, vendor_type_title
from everafter.recommendations import page_rules
from everafter.recommendations.effects_rules import list_effects
from everafter.recommendations.model import MIN_TO_COMPARE
from everafter.recommendations.queries import get_effects


@get("/recommendations")
async def show_recommendations(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Compare treatment and control group, by recommendation, and by vendor type where there are
    enough suppliers.
    """
    effects, measured_at = await get_effects(conn)

    def title_of(vendor_type: str) -> str:
        return vendor_type_title(vendor_type, state.playbook)

    return page(
        request,
        "recommendations/templates/recommendations.html",
        viewer=viewer,
        measured_at=measured_at,
        effects=page_rules.group_effects(list_effects(effects, state.playbook)),
        dimension_labels=DIMENSION_LABELS,
        describe_lift=page_rules.describe_lift,
        title_of=title_of,
        fewest=MIN_TO_COMPARE,
        recommendation_share=state.playbook.holdout.recommendation_share,
    )


handlers = [Router(path="/", route_handlers=[show_recommendations], include_in_schema=False)]
