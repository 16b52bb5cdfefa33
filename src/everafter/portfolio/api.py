"""The API of the portfolio: what changed between two runs."""

from datetime import date
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from everafter.core.cursor import read_cursor
from everafter.core.db import Connection
from everafter.core.ids import MAX_ID_CHARACTERS
from everafter.core.openapi import problems
from everafter.core.web import scope
from everafter.portfolio.change_model import (
    DEFAULT_PERIOD,
    MOVED,
    MOVED_RISK,
    ORDERS,
    SCORED_BANDS,
    ChangesAnswer,
    ChangeView,
)
from everafter.portfolio.change_view_rules import one_of, read_place, read_since
from everafter.portfolio.changes import answer_changes
from everafter.portfolio.model import LEVELS


def _choice(text: str, values: tuple[str, ...]) -> QueryParameter:
    return QueryParameter(min_length=1, description=text, schema_extra={"enum": list(values)})


@get(
    "/api/suppliers/changes",
    guards=[scope("read")],
    tags=["health"],
    operation_id="listChanges",
    summary="List the suppliers whose score or churn risk changed",
    responses=problems(
        bad_request="an unknown value, or a day that is not before the last daily run"
    ),
)
async def list_changes(
    conn: NamedDependency[Connection],
    since: Annotated[
        str | None,
        QueryParameter(
            min_length=1,
            description=f"The day to compare with, UTC; default: {DEFAULT_PERIOD} days before the"
            " last daily run. The last run on or before it is used.",
            schema_extra={"format": "date", "examples": ["2026-08-01"]},
        ),
    ] = None,
    q: Annotated[
        str | None,
        QueryParameter(
            min_length=1, max_length=MAX_ID_CHARACTERS, description="Part of the name, or an id."
        ),
    ] = None,
    vendor_type: Annotated[
        str | None, QueryParameter(min_length=1, max_length=100, description="`none`: without one.")
    ] = None,
    plan: Annotated[str | None, QueryParameter(min_length=1, max_length=100)] = None,
    band: Annotated[str | None, _choice("The band now.", SCORED_BANDS)] = None,
    churn: Annotated[str | None, _choice("The churn level now.", LEVELS)] = None,
    moved: Annotated[
        str | None,
        _choice(
            f"Default: score by a point or more, or churn risk by {MOVED_RISK} or more.", MOVED
        ),
    ] = None,
    sort: Annotated[str | None, _choice("Default: fall, the largest first.", ORDERS)] = None,
    cursor: Annotated[
        str | None,
        QueryParameter(max_length=200, description="`next_cursor` of the previous page."),
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=200, description="Maximum number of results.")
    ] = 50,
) -> ChangesAnswer:
    """Compares the last daily run with an earlier one. Contributions sum to the change."""
    day: date | None = read_since("since", since or "")
    view = ChangeView(
        since=day,
        q=_clean(q),
        vendor=_clean(vendor_type),
        plan=_clean(plan),
        band=one_of("band", band or "", SCORED_BANDS),
        churn=one_of("churn", churn or "", LEVELS),
        moved=one_of("moved", moved or "", MOVED),
        sort=one_of("sort", sort or "", ORDERS) or "fall",
    )
    answer, _ = await answer_changes(conn, view, read_cursor(cursor, read_place), limit)
    return answer


def _clean(text: str | None) -> str:
    return (text or "").replace("\0", "").strip()


handlers = [list_changes]
