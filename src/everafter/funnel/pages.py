"""The team's onboarding page: the funnel, the time to first value, and who needs help."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.activity.queries import list_vendor_types
from everafter.core.db import Connection
from everafter.core.pages import download, page
from everafter.core.web import AnyRequest
from everafter.funnel import rules
from everafter.funnel.cohort import follow_cohort
from everafter.funnel.model import LISTED, MOST_FOLLOWED, NOT_REPORTED, PERIODS, STATE_LABELS, View
from everafter.onboarding import queries
from everafter.playbook.labels import vendor_type_title


def _in_period(followed: pl.DataFrame, view: View, now: datetime) -> pl.DataFrame:
    return followed.filter(pl.col("account_created_at") >= now - timedelta(days=view.days))


@get("/onboarding")
async def show_onboarding(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the funnel, the time to the first form by cohort, and who is behind or stuck now."""
    view = rules.parse_view(request.query_params)
    now = datetime.now(UTC)
    followed = await follow_cohort(state.url, state.playbook, view, now)
    signed_up = _in_period(followed, view, now)
    all_states = rules.count_states(followed)
    whole, cohorts = rules.measure_cohorts(signed_up, now)

    def title_of(vendor_type: str | None) -> str:
        return vendor_type_title(
            None if vendor_type == NOT_REPORTED else vendor_type, state.playbook
        )

    return page(
        request,
        "funnel/templates/onboarding.html",
        viewer=viewer,
        view=view,
        periods=PERIODS,
        vendors=[(name or NOT_REPORTED, count) for name, count in await list_vendor_types(conn)],
        plans=await queries.list_plans(conn),
        title_of=title_of,
        not_reported=NOT_REPORTED,
        total=signed_up.height,
        cut=followed.height == MOST_FOLLOWED,
        states=rules.count_states(signed_up),
        state_labels=STATE_LABELS,
        funnel=rules.count_funnel(signed_up, state.playbook),
        whole=whole,
        cohorts=cohorts,
        ranges=[rules.draw_ranges(cohorts), rules.draw_ranges(cohorts, width=360)],
        waiting=rules.list_waiting(followed, state.playbook, LISTED),
        waiting_total=all_states["behind"] + all_states["stuck"],
        view_query=rules.view_query,
        filtered=bool(view.vendor or view.plan),
    )


@get("/onboarding.csv")
async def get_onboarding_file(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[bytes]:
    """Download the suppliers of the funnel."""
    view = rules.parse_view(request.query_params)
    now = datetime.now(UTC)
    signed_up = _in_period(await follow_cohort(state.url, state.playbook, view, now), view, now)
    text = await asyncio.to_thread(rules.cohort_csv, signed_up, state.playbook)
    return download(text, f"onboarding-{now.date()}.csv")


handlers = [
    Router(path="/", route_handlers=[show_onboarding, get_onboarding_file], include_in_schema=False)
]
