"""What helps: every next step that was offered, and what came of it."""

from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.pages import page
from everafter.portfolio.rules import say_trade
from everafter.portfolio.supplier_model import DIMENSION_WORDS
from everafter.recommendations import page_rules
from everafter.recommendations.effects_rules import list_effects
from everafter.recommendations.queries import get_effects

AnyRequest = Request[Any, Any, State]


@get("/advice")
async def show_advice(
    request: AnyRequest, state: State, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[Any]:
    """Offered and not offered compared, by next step and trade."""
    effects, measured_at = await get_effects(conn)

    def trade(vendor_type: str) -> str:
        return say_trade(vendor_type, state.playbook)

    return page(
        request,
        "recommendations/templates/advice.html",
        viewer=viewer,
        measured_at=measured_at,
        effects=page_rules.group_effects(list_effects(effects, state.playbook)),
        dimension_words=DIMENSION_WORDS,
        say_difference=page_rules.say_difference,
        trade=trade,
        advice_share=state.playbook.holdout.advice_share,
    )


handlers = [Router(path="/", route_handlers=[show_advice], include_in_schema=False)]
