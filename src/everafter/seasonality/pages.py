"""The season page: how active the peers are, by vendor type and hemisphere."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.formatting import sentence
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.playbook.model import Playbook
from everafter.seasonality.charts import draw_season, find_top
from everafter.seasonality.prior_model import VENDOR_TYPES
from everafter.seasonality.queries import read_view
from everafter.seasonality.view_model import (
    SOURCE_LABELS,
    SeasonAnswer,
    SeasonGroup,
)
from everafter.seasonality.view_rules import describe_season, describe_stopped

_HEMISPHERE_LABELS = {"north": "North", "south": "South", "unknown": "Elsewhere"}
_WEEKS_IN_TABLE = 4


@get("/insights/season")
async def show_season(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the peer activity index of the last 13 months."""
    playbook: Playbook = state.playbook
    answer = describe_season(await read_view(conn), playbook.season.off_season_below)
    top = find_top(answer.groups)
    return page(
        request,
        "seasonality/templates/season.html",
        viewer=viewer,
        answer=answer,
        sections=[
            _section(name, list(groups), answer, top)
            for name, groups in groupby(answer.groups, key=lambda group: group.vendor_type)
        ],
        stopped=describe_stopped(answer.stopped),
        source_labels=SOURCE_LABELS,
        hemisphere_labels=_HEMISPHERE_LABELS,
    )


def _section(
    vendor_type: str,
    groups: Sequence[SeasonGroup],
    answer: SeasonAnswer,
    top: float,
) -> dict[str, Any]:
    """Collect what the template needs for one vendor type."""
    last = answer.measured_until
    plural = VENDOR_TYPES[vendor_type].plural
    return {
        "vendor_type": vendor_type,
        "title": "Other vendor types" if vendor_type == "default" else sentence(plural),
        "groups": groups,
        "chart": draw_season(groups, answer.stopped, last, top) if last else None,
        # every fourth week, the latest first
        "table": [
            [group.weeks[place] for group in groups]
            for place in range(len(groups[0].weeks) - 1, -1, -_WEEKS_IN_TABLE)
        ],
    }


handlers = [Router(path="/", route_handlers=[show_season], include_in_schema=False)]
