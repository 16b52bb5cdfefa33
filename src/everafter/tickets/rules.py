"""Compute the state and the clocks of a ticket from its changes. Pure. Late, repeated and reordered
changes give the same result."""

from collections.abc import Iterable
from datetime import datetime

import polars as pl

from everafter.playbook.model import Clocks, Support
from everafter.tickets.hours_rules import OpenHours, from_micros, to_micros
from everafter.tickets.model import (
    CHANGES_BY_TYPE,
    CHANGES_SCHEMA,
    ORDER,
    Change,
    Clock,
    ClockName,
    ClockState,
    Course,
    Evaluated,
    State,
    Ticket,
    Transition,
)

_RANK = {transition: rank for rank, transition in enumerate(ORDER)}
_SECOND = 1_000_000
# Running clocks first, the worst on top; then paused and stopped ones.
_URGENCY: dict[ClockState, int] = {
    "breached": 0,
    "due_soon": 1,
    "on_time": 2,
    "paused": 3,
    "missed": 4,
    "met": 4,
}


def find_changes(events: pl.DataFrame) -> pl.DataFrame:
    """Extract the changes of tickets from events, each once.

    Changes are a set that only grows, so the order of events does not matter and stored changes
    need not be read to add to them.

    Args:
        events: supplier_id, type, occurred_at, properties (JSON text); any order, repeated or not.

    Returns:
        CHANGES_SCHEMA, in key order.
    """
    return (
        events.filter(pl.col("type").is_in(list(CHANGES_BY_TYPE)))
        .select(
            "supplier_id",
            pl.col("properties").str.json_path_match("$.ticket_id").alias("ticket_id"),
            pl.col("occurred_at").alias("at"),
            pl.col("type").replace(CHANGES_BY_TYPE).alias("state"),
        )
        .filter(pl.col("ticket_id").is_not_null())
        .unique()
        .sort(list(CHANGES_SCHEMA))
    )


# ── the course ────────────────────────────────────────────────────────────────────


def in_order(changes: Iterable[Change]) -> list[Change]:
    """Sort changes by time, then by ORDER, and remove duplicates."""
    return sorted(set(changes), key=lambda change: (change.at, _RANK[change.transition]))


def follow(changes: Iterable[Change], as_of: datetime) -> Course | None:
    """Compute the history of a ticket up to a moment; null if it was not open by then.

    Changes before the first opening or while the ticket is resolved have no effect, except an
    opening, which reopens it. An opening while waiting for the supplier ends the wait.
    """
    state: State | None = None
    opened_at = answered_at = resolved_at = waiting_since = None
    runs: list[tuple[datetime, datetime | None]] = []
    reopened = 0
    for change in in_order(change for change in changes if change.at <= as_of):
        at, transition = change.at, change.transition
        if transition == "opened" and state != "open":
            opened_at = opened_at or at
            reopened += state == "resolved"
            runs.append((at, None))
            state, resolved_at, waiting_since = "open", None, None
        elif state is None or state == "resolved":
            continue
        elif transition == "replied":
            answered_at = answered_at or at
        elif transition == "waiting" and state == "open":
            runs[-1] = (runs[-1][0], at)
            state, waiting_since = "waiting", at
        elif transition == "resumed" and state == "waiting":
            runs.append((at, None))
            state, waiting_since = "open", None
        elif transition == "resolved":
            if state == "open":
                runs[-1] = (runs[-1][0], at)
            state, resolved_at, waiting_since = "resolved", at, None
            answered_at = answered_at or at
    if state is None or opened_at is None:
        return None
    return Course(state, opened_at, runs, answered_at, resolved_at, waiting_since, reopened)


def why_not(course: Course | None, transition: Transition) -> str | None:
    """Return why a change is not possible in the ticket's state; null if it is."""
    match course.state if course else None, transition:
        case None, "opened":
            return None
        case None, _:
            return "it was not opened by then"
        case "resolved", "opened":
            return None
        case "resolved", _:
            return "it is resolved; open it again first"
        case _, "opened":
            return "it is open already"
        case "waiting", "waiting":
            return "it waits for the supplier already"
        case "open", "resumed":
            return "it does not wait for the supplier"
        case _:
            return None


# ── the clocks ────────────────────────────────────────────────────────────────────


def clocks_of(priority: str | None, support: Support) -> Clocks:
    """Return the clocks of a priority; those of "normal" if the playbook does not name it."""
    return support.clocks.get((priority or "normal").strip().lower()) or support.clocks["normal"]


def clock(
    name: ClockName,
    course: Course,
    hours: OpenHours,
    limit_hours: float,
    as_of: datetime,
    soon: float,
) -> Clock:
    """Compute the state of one clock.

    It runs in open hours from the first opening, but not while waiting for the supplier or between
    a resolution and the next opening. The first-reply clock stops at the first reply, or at a
    resolution without one. The resolution clock continues when the ticket is reopened.

    Args:
        soon: share of the limit; the clock is due soon when no more than that is left.
    """
    stopped_at = course.answered_at if name == "first_reply" else course.resolved_at
    limit, used = round(limit_hours * 3600 * _SECOND), 0
    due: int | None = None
    over = False
    runs = [(start, end) for start, end in course.runs if stopped_at is None or start < stopped_at]
    for start, end in runs:
        last = min(end or as_of, stopped_at or as_of)
        began = hours.open_until(to_micros(start))
        ran = hours.open_until(to_micros(last)) - began
        # beyond this period only if it still runs
        if due is None and (used + ran >= limit or (end is None and stopped_at is None)):
            due = hours.reach(began + limit - used)
        used += ran
        over = over or (due is not None and used >= limit and to_micros(last) > due)
    if stopped_at is not None:
        state: ClockState = "missed" if over else "met"
    elif over:
        state = "breached"
    elif course.state == "waiting":
        state = "paused"
    else:
        state = "due_soon" if limit - used <= soon * limit else "on_time"
    shown = (
        None
        if due is None or (stopped_at is not None and not over) or state == "paused"
        else from_micros(due)
    )
    return Clock(name, state, limit / _SECOND, used / _SECOND, shown, stopped_at)


def evaluate(
    ticket: Ticket, hours: OpenHours, support: Support, as_of: datetime
) -> Evaluated | None:
    """Evaluate a ticket and its clocks as of a moment; null if it was not open by then."""
    course = follow(ticket.changes, as_of)
    if course is None:
        return None
    limits, soon = clocks_of(ticket.priority, support), support.due_soon_share
    return Evaluated(
        ticket,
        course,
        clock("first_reply", course, hours, limits.reply_hours, as_of, soon),
        clock("resolution", course, hours, limits.resolve_hours, as_of, soon),
    )


def by_urgency(tickets: Iterable[Evaluated]) -> list[Evaluated]:
    """Sort by urgency: breached, due soon, on time, paused; then by due time."""

    def key(one: Evaluated) -> tuple[int, float, datetime]:
        pressing = one.pressing
        due = pressing.due_at.timestamp() if pressing.due_at else float("inf")
        return _URGENCY[pressing.state], due, one.course.opened_at

    return sorted(tickets, key=key)
