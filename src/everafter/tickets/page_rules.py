"""Texts and charts of the support page. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from everafter.core.errors import InputError
from everafter.core.formatting import day, format_duration, format_local, plural
from everafter.tickets.model import Clock, Evaluated, State
from everafter.tickets.page_model import (
    NO_PRIORITY,
    NO_VENDOR_TYPE,
    PAGE_ROWS,
    SHOW_LABELS,
    WEEKS,
    Bar,
    ClockLine,
    Queue,
    Show,
    TicketLine,
    View,
    Week,
    WeeksChart,
)
from everafter.tickets.rules import by_urgency

_ACTIONS: dict[State, list[tuple[str, str]]] = {
    "open": [("reply", "Replied"), ("wait", "Wait for them"), ("resolve", "Resolve")],
    "waiting": [("resume", "They answered"), ("reply", "Replied"), ("resolve", "Resolve")],
    "resolved": [],
}
_MOST_TEXT = 60


def parse_view(params: Mapping[str, str]) -> View:
    """Read the query parameters.

    Raises:
        InputError: an unknown parameter or value.
    """
    show, page = params.get("show", ""), params.get("page", "1")
    wanted: Show | None = next((known for known in SHOW_LABELS if known == show), None)
    if wanted is None:
        raise InputError(
            f"show: there is no {show[:40]!r}; there are {', '.join(filter(None, SHOW_LABELS))}"
        )
    if not page.isascii() or not page.isdigit() or len(page) > 6 or int(page) < 1:
        raise InputError(f"page: {page[:20]!r} is not a page number")
    return View(
        wanted,
        params.get("priority", "")[:_MOST_TEXT],
        params.get("vendor", "")[:_MOST_TEXT],
        int(page),
    )


def view_query(view: View, show: Show | None = None, page: int = 1) -> str:
    """Return the query string of the same view with another tab or page, without defaults."""
    values = {
        "show": view.show if show is None else show,
        "priority": view.priority,
        "vendor": view.vendor,
        "page": page if page > 1 else "",
    }
    return urlencode({name: value for name, value in values.items() if value != ""})


def priority_of(priority: str | None) -> str:
    """Return the priority as the filter names it."""
    return (priority or "").strip().lower()[:_MOST_TEXT] or NO_PRIORITY


def make_queue(tickets: Iterable[Evaluated], view: View, zone: ZoneInfo, now: datetime) -> Queue:
    """Return the tickets of a view, the most urgent first, and the number in each tab."""
    passed = [
        one
        for one in tickets
        if view.priority in ("", priority_of(one.ticket.priority))
        and view.vendor in ("", one.ticket.vendor_type or NO_VENDOR_TYPE)
    ]
    counts: dict[Show, int] = dict.fromkeys(SHOW_LABELS, 0)
    shown: list[Evaluated] = []
    for one in passed:
        kinds = tabs_of(one)
        for kind in kinds:
            counts[kind] += 1
        if view.show in kinds:
            shown.append(one)
    pages = max(1, -(-len(shown) // PAGE_ROWS))
    page = min(view.page, pages)
    part = by_urgency(shown)[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    return Queue([describe_ticket(one, zone, now) for one in part], counts, page, pages)


def tabs_of(one: Evaluated) -> set[Show]:
    """Return the tabs of an open ticket; one that was late before it had to wait is in two."""
    state = one.pressing.state
    kinds: set[Show] = {""}
    if state in ("breached", "due_soon", "on_time"):
        kinds.add(state)
    if one.course.state == "waiting":
        kinds.add("waiting")
    return kinds


def describe_ticket(one: Evaluated, zone: ZoneInfo, now: datetime) -> TicketLine:
    """Describe a ticket as a row."""
    ticket, course = one.ticket, one.course
    notes = [
        f"waiting for the supplier since {format_local(course.waiting_since, zone, now)}"
        if course.waiting_since
        else "",
        f"resolved {format_local(course.resolved_at, zone, now)}" if course.resolved_at else "",
        f"reopened{f' {course.reopened} times' if course.reopened > 1 else ''}"
        if course.reopened
        else "",
    ]
    return TicketLine(
        ticket.supplier_id,
        ticket.supplier,
        ticket.vendor_type,
        ticket.ticket_id,
        (ticket.subject or "").strip() or ticket.ticket_id,
        (ticket.priority or "").strip()[:_MOST_TEXT] or "no priority",
        course.state,
        one.pressing.state,
        format_local(course.opened_at, zone, now),
        ", ".join(filter(None, notes)),
        describe_clock(one.first_reply, zone, now),
        describe_clock(one.resolution, zone, now),
        _ACTIONS[course.state],
    )


def describe_clock(clock: Clock, zone: ZoneInfo, now: datetime) -> ClockLine:
    """Describe a clock; durations are open hours."""
    due = format_local(clock.due_at, zone, now) if clock.due_at else ""
    match clock.state:
        case "breached":
            over = f"{format_duration(-clock.left)} over" if clock.left < 0 else "Over"
            return ClockLine(clock.state, over, f"ran out {due}")
        case "due_soon" | "on_time":
            return ClockLine(
                clock.state, f"{format_duration(clock.left)} left", f"by {due}" if due else ""
            )
        case "paused":
            return ClockLine(clock.state, f"Paused, {format_duration(clock.left)} left", "")
        case "missed":
            return ClockLine(
                clock.state,
                f"After {format_duration(clock.used)}",
                f"{format_duration(clock.limit)} promised",
            )
        case "met":
            return ClockLine(clock.state, f"After {format_duration(clock.used)}", "in time")


# ── how long it took ──────────────────────────────────────────────────────────────


def first_monday(now: datetime, zone: ZoneInfo, weeks: int = WEEKS) -> date:
    """Return the Monday of the first of the last so many weeks, including this one."""
    today = now.astimezone(zone).date()
    return today - timedelta(days=today.weekday(), weeks=weeks - 1)


def sum_weeks(
    tickets: Iterable[Evaluated], zone: ZoneInfo, now: datetime, weeks: int = WEEKS
) -> list[Week]:
    """Compute the resolution times by the week of resolution, in the zone of the team; the last
    week is the current one.
    """
    first = first_monday(now, zone, weeks)
    took: list[list[float]] = [[] for _ in range(weeks)]
    in_time = [0] * weeks
    for one in tickets:
        if one.course.resolved_at is None:
            continue
        place = (one.course.resolved_at.astimezone(zone).date() - first).days // 7
        if 0 <= place < weeks:
            took[place].append(one.resolution.used / 3600)
            in_time[place] += one.resolution.state == "met"
    return [
        Week(
            first + timedelta(weeks=place),
            len(hours),
            median(hours) if hours else None,
            in_time[place],
        )
        for place, hours in enumerate(took)
    ]


def draw_weeks(weeks: Sequence[Week], width: int, height: int = 170) -> WeeksChart:
    """Draw a bar per week: the median of open hours, filled by the share that took longer than
    promised.
    """
    left, right, top, bottom = 34.0, width - 6.0, 8.0, height - 22.0
    most = _round_up(max((week.hours or 0 for week in weeks), default=0))
    step = (right - left) / max(1, len(weeks))
    bars: list[Bar] = []
    for place, week in enumerate(weeks):
        tall = (bottom - top) * (week.hours or 0) / most
        late = tall * (1 - week.in_time / week.resolved) if week.resolved else 0.0
        words = f"Week of {day(week.starts)}: {describe_week(week)}"
        bars.append(
            Bar(left + step * place + step * 0.16, bottom - tall, step * 0.68, tall, late, words)
        )
    every = 2 if width >= 480 else 4
    return WeeksChart(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        bars=bars,
        levels=[(bottom - (bottom - top) * share, f"{most * share:g} h") for share in (0, 0.5, 1)],
        weeks=[
            (left + step * (place + 0.5), day(week.starts, weeks[-1].starts))
            for place, week in enumerate(weeks)
            if (len(weeks) - 1 - place) % every == 0
        ],
    )


def describe_week(week: Week) -> str:
    """Describe a week for `describe_weeks`."""
    if week.hours is None:
        return "no tickets resolved"
    tickets, half = plural(week.resolved, "ticket"), format_duration(week.hours * 3600)
    return f"{tickets} resolved, median {half}, {week.in_time:,} in time"


def describe_weeks(weeks: Sequence[Week]) -> str:
    """Describe the chart as text for screen readers."""
    known = [week for week in weeks if week.hours is not None]
    if not known:
        return "No tickets were resolved in these weeks."
    worst = max(known, key=lambda week: week.hours or 0)
    return (
        f"Last: {describe_week(known[-1])}. Longest in the week of {day(worst.starts)}:"
        f" {format_duration((worst.hours or 0) * 3600)}."
    )


def _round_up(hours: float) -> float:
    """Return the next round number for the end of a scale.

    >>> [_round_up(hours) for hours in (0, 0.7, 3, 17, 41, 2600)]
    [2, 2, 4, 20, 60, 4000]
    """
    unit = 1
    while True:
        for step in (2, 4, 6, 8, 10):
            if hours <= step * unit:
                return step * unit
        unit *= 10
