"""The page of the intervention log: what was triggered, skipped and in the holdout, and why."""

from functools import partial
from itertools import groupby
from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.pages import page
from everafter.core.web import AnyRequest
from everafter.interventions import log_queries, log_rules
from everafter.interventions.log_model import DAYS_OFFERED, LOG_ROWS, STATUS_LABELS, LogEntry
from everafter.interventions.model import SKIP_REASONS
from everafter.mail.model import STATUS_TITLES


@get("/interventions")
async def show_log(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """The log by day, filtered by the query string, with counts by trigger above it. The counts
    cover all entries of the days shown, whatever the other filters."""
    view = log_rules.parse_log_view(request.query_params)
    latest = await log_queries.find_latest_day(conn)
    entries: list[LogEntry] = []
    counts: list[tuple[str, str, str, int]] = []
    if latest:
        entries = await log_queries.list_interventions(conn, view, latest)
        counts = await log_queries.count_interventions(conn, latest, view.days)
    shown = entries[:LOG_ROWS]
    return page(
        request,
        "interventions/templates/log.html",
        viewer=viewer,
        view=view,
        latest=latest,
        days=[
            (day, list(group))
            for day, group in groupby(shown, key=lambda entry: entry.evaluated_on)
        ],
        more=len(entries) > LOG_ROWS,
        triggers=log_rules.count_triggers(counts),
        reasons=sorted(
            {reason for _, status, reason, _ in counts if status == "skipped"} | set(SKIP_REASONS)
        ),
        days_offered=DAYS_OFFERED,
        status_labels=STATUS_LABELS,
        describe_trigger=log_rules.describe_trigger,
        describe_reason=log_rules.describe_reason,
        explain=partial(
            log_rules.explain_entry, cooldowns=log_rules.list_cooldowns(state.playbook)
        ),
        message_labels=STATUS_TITLES,
        log_query=log_rules.log_query,
        filtered=bool(view.trigger or view.status or view.reason),
    )


handlers = [Router(path="/", route_handlers=[show_log], include_in_schema=False)]
