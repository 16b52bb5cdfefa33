"""The portfolio page and its CSV download."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.charts import sparkline
from everafter.core.db import Connection
from everafter.core.pages import download, page
from everafter.core.web import AnyRequest
from everafter.feeds.notice_rules import describe_notices
from everafter.feeds.queries import list_outages
from everafter.playbook.labels import vendor_type_title
from everafter.playbook.model import Playbook
from everafter.portfolio import change_pages, message_pages, queries, rules, supplier_pages
from everafter.portfolio.model import (
    ASCENDING_FIRST,
    BAND_LABELS,
    LEVELS,
    NO_VENDOR,
    REASON_LABELS,
    SORT_LABELS,
    SPARK_DAYS,
    Calendar,
    Overview,
    Portfolio,
    View,
)
from everafter.portfolio.supplier_rules import is_stale

_MOST_ROWS_IN_FILE = 1_000_000


@get("/")
async def show_portfolio(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the suppliers, filtered and sorted by the query string."""
    view = rules.parse_view(request.query_params)
    now = datetime.now(UTC)
    overview = await queries.get_overview(conn)
    portfolio, vendors = Portfolio([], [], 0), []
    days = await _choose_days(conn, overview.scored_on or now.date())
    if overview.scored_on:
        portfolio = await queries.get_portfolio(conn, view, days, now.date())
        vendors = await queries.count_vendor_types(conn, view, days)
    shown = _view_context(view, portfolio, rules.spark_places(days), state.playbook)
    return page(
        request,
        "portfolio/templates/portfolio.html",
        viewer=viewer,
        overview=overview,
        stale=is_stale(overview.scored_at, now),
        feeds=describe_notices(await list_outages(conn), now),
        vendors=vendors,
        **shown,
    )


async def _choose_days(conn: Connection, latest: date) -> Calendar:
    return rules.choose_days(
        latest, await queries.list_scored_days(conn, latest - timedelta(days=SPARK_DAYS))
    )


def _view_context(
    view: View, portfolio: Portfolio, places: list[float], playbook: Playbook
) -> dict[str, Any]:
    def vendor_type(vendor_type: str | None) -> str:
        return vendor_type_title(vendor_type, playbook)

    def page_query(number: int) -> str:
        return rules.view_query(view, page=number)

    bands = rules.all_bands(portfolio.bands)
    return {
        "view": view,
        "portfolio": portfolio,
        "bands": bands,
        "shares": rules.shares(bands),
        "total": sum(count.suppliers for count in bands),
        "filtered": bool(view.q or view.band or view.vendor or view.reason or view.churn),
        "sparks": [sparkline(row.scores, places) for row in portfolio.rows],
        "last": rules.last_page(portfolio),
        "off_season_below": playbook.season.off_season_below,
        "band_labels": BAND_LABELS,
        "reason_labels": REASON_LABELS,
        "sort_labels": SORT_LABELS,
        "levels": LEVELS,
        "no_vendor": NO_VENDOR,
        "ascending_first": ASCENDING_FIRST,
        "vendor_type": vendor_type,
        "reason": rules.describe_reason,
        "sort_query": rules.sort_query,
        "view_query": rules.view_query,
        "page_query": page_query,
    }


@get("/portfolio.csv")
async def get_portfolio_file(
    request: AnyRequest, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[bytes]:
    """Download all suppliers of a view as CSV, in its order."""
    view = rules.parse_view(request.query_params)
    overview: Overview = await queries.get_overview(conn)
    now = datetime.now(UTC)
    days = await _choose_days(conn, overview.scored_on or now.date())
    whole = replace(view, page=1)
    portfolio = await queries.get_portfolio(conn, whole, days, now.date(), limit=_MOST_ROWS_IN_FILE)
    return download(rules.portfolio_csv(portfolio.rows), f"portfolio-{days.latest}.csv")


handlers = [
    Router(
        path="/",
        route_handlers=[
            show_portfolio,
            get_portfolio_file,
            *change_pages.routes,
            *supplier_pages.routes,
            *message_pages.routes,
        ],
        include_in_schema=False,
    )
]
