"""The ledger: what was decided, what was withheld and why, what was held out."""

from itertools import groupby
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts.model import Viewer
from everafter.core.db import Connection
from everafter.core.pages import page
from everafter.interventions.model import WITHHELD_REASONS
from everafter.portfolio import ledger_queries, ledger_rules
from everafter.portfolio.ledger_model import DAYS_OFFERED, LEDGER_ROWS, VERDICT_WORDS, Verdict

AnyRequest = Request[Any, Any, State]


@get("/interventions")
async def show_ledger(request: AnyRequest, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]) -> Response[Any]:
    """The ledger by day, filtered as the address says, with what became of each trigger's proposals above it."""
    view = ledger_rules.parse_ledger(request.query_params)
    latest = await ledger_queries.find_latest_day(conn)
    verdicts: list[Verdict] = []
    counts: list[tuple[str, str, str, int]] = []
    if latest:
        verdicts = await ledger_queries.list_verdicts(conn, view, latest)
        counts = await ledger_queries.count_verdicts(conn, latest, view.days)
    shown = verdicts[:LEDGER_ROWS]
    return page(
        request,
        "interventions/templates/ledger.html",
        viewer=viewer,
        view=view,
        latest=latest,
        days=[(day, list(group)) for day, group in groupby(shown, key=lambda verdict: verdict.decided_on)],
        more=len(verdicts) > LEDGER_ROWS,
        triggers=ledger_rules.count_triggers(counts),
        reasons=sorted({reason for _, status, reason, _ in counts if status == "withheld"} | set(WITHHELD_REASONS)),
        days_offered=DAYS_OFFERED,
        verdict_words=VERDICT_WORDS,
        say_trigger=ledger_rules.say_trigger,
        say_reason=ledger_rules.say_reason,
        ledger_query=ledger_rules.ledger_query,
        filtered=bool(view.trigger or view.status or view.reason),
    )


handlers = [Router(path="/", route_handlers=[show_ledger], include_in_schema=False)]
