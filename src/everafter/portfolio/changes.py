"""Compare two daily runs: the answer of the page, the API and the command line."""

from datetime import date

from everafter.core.db import Connection
from everafter.metrics.queries import give_room
from everafter.portfolio import change_queries
from everafter.portfolio.change_model import ChangesAnswer, ChangeView, Place, Runs
from everafter.portfolio.change_rules import describe_supplier, sum_up
from everafter.portfolio.change_view_rules import check_since, write_place


async def answer_changes(
    conn: Connection, view: ChangeView, after: Place | None, limit: int
) -> tuple[ChangesAnswer, Runs]:
    """Compare the latest run with an earlier one; a later page keeps to the runs of the first.

    Raises:
        InputError: `since` is not before the latest run.
    """
    runs = await change_queries.find_runs(conn, view.days, view.since)
    check_since("since", view.since, runs)
    latest, before = (after.latest, after.before) if after else (runs.latest, runs.before)
    if latest is None or before is None:
        return ChangesAnswer(latest, None, None, [], None), runs
    return await _compare(conn, view, after, limit, (latest, before)), runs


async def _compare(
    conn: Connection, view: ChangeView, after: Place | None, limit: int, days: tuple[date, date]
) -> ChangesAnswer:
    await give_room(conn)
    moves = await change_queries.list_moves(conn, view, *days, after, limit + 1)
    totals = None if after else sum_up(await change_queries.count_moves(conn, view, *days))
    return ChangesAnswer(
        latest=days[0],
        compared_with=days[1],
        totals=totals,
        changes=[describe_supplier(one) for one in moves[:limit]],
        next_cursor=write_place(days, moves[limit - 1]) if len(moves) > limit else None,
    )
