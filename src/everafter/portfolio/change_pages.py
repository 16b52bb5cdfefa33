"""The page of score changes."""

from functools import partial
from typing import Any

from litestar import Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.cursor import read_cursor
from everafter.core.db import Connection
from everafter.core.errors import InputError
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.playbook.labels import DIMENSION_LABELS, vendor_type_title
from everafter.portfolio import change_queries, change_rules, change_view_rules
from everafter.portfolio.change_model import (
    MOVED_LABELS,
    ORDER_LABELS,
    PAGE_CHANGES,
    PERIODS,
    SCORED_BANDS,
    ChangesAnswer,
    Place,
    SupplierChange,
)
from everafter.portfolio.changes import answer_changes
from everafter.portfolio.model import BAND_LABELS, LEVELS, NO_VENDOR
from everafter.portfolio.supplier_model import CHURN_LABELS

_PERIOD_LABELS = {1: "Since the run before", 7: "7 days", 30: "30 days"}


@get("/changes")
async def show_changes(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the suppliers whose score or churn risk moved since an earlier run."""
    view = change_view_rules.parse_change_view(request.query_params)
    after = _place(request.query_params.get("after", ""))
    answer, runs = await answer_changes(conn, view, after, PAGE_CHANGES)
    vendors, plans = await change_queries.list_filters(conn)
    return page(
        request,
        "portfolio/templates/changes.html",
        viewer=viewer,
        view=view,
        answer=answer,
        missing="" if answer.compared_with else change_rules.describe_missing(runs, view),
        filtered=bool(view.q or view.vendor or view.plan or view.band or view.churn or view.moved),
        is_first=after is None,
        rows=[_row(change) for change in answer.changes],
        vendors=[(one or NO_VENDOR, vendor_type_title(one, state.playbook)) for one in vendors],
        plans=plans,
        periods={days: _PERIOD_LABELS[days] for days in PERIODS},
        bands=SCORED_BANDS,
        band_labels=BAND_LABELS,
        levels=LEVELS,
        moved_labels=MOVED_LABELS,
        order_labels=ORDER_LABELS,
        dimension_labels=DIMENSION_LABELS,
        vendor_type=partial(vendor_type_title, playbook=state.playbook),
        query=change_view_rules.change_query,
        **_totals(answer),
    )


def _place(text: str) -> Place | None:
    try:
        return read_cursor(text or None, change_view_rules.read_place)
    except InputError as error:
        raise InputError(
            f"after: {text[:80]!r} is not a valid cursor; start at /changes"
        ) from error


def _totals(answer: ChangesAnswer) -> dict[str, Any]:
    totals = answer.totals
    return {
        "sentences": change_rules.describe_totals(totals) if totals else [],
        "bars": change_rules.draw_contributions(totals) if totals else [],
    }


def _row(change: SupplierChange) -> dict[str, Any]:
    labels = {"base": "without evidence", **{name: CHURN_LABELS[name] for name in CHURN_LABELS}}
    return {
        "change": change,
        "by": int(change.score.after) - int(change.score.before),
        "reason": change_rules.describe_beside_score(change),
        "points": change_rules.shown_points(change),
        "causes": [
            (labels[name].lower(), by) for name, by in change_rules.shown_causes(change.churn)
        ]
        if change.churn
        else [],
    }


routes = [show_changes]
