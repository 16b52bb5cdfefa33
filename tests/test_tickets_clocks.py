"""Business time equals a count of open minutes, on every day the clocks change too; courses and clocks equal a plain reading."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everafter.core.holidays import knows_holidays, list_holidays
from everafter.playbook.model import Clocks, Support
from everafter.tickets.hours import open_hours
from everafter.tickets.hours_rules import OpenHours, from_micros, to_micros, work_out_hours
from everafter.tickets.model import Change, Clock, Course, Ticket, Transition
from everafter.tickets.rules import by_urgency, clock, evaluate, follow, why_not

MINUTE = timedelta(minutes=1)
ZONES = (
    "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Beirut",
    "America/St_Johns", "Africa/Casablanca", "Pacific/Chatham", "Asia/Kathmandu", "Europe/Dublin", "America/Havana",
)  # fmt: skip
OFFICE = Support(timezone="Europe/London", open_from="09:00", open_until="17:00")


def business_seconds(hours: OpenHours, start: datetime, end: datetime) -> float:
    """As clocks count them: seconds of open hours between two moments."""
    return max(0, hours.open_until(to_micros(end)) - hours.open_until(to_micros(start))) / 1_000_000


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def is_open(support: Support, holidays: frozenset[date], minute: datetime) -> bool:
    """The oracle: what does the wall clock in the office say at that minute?"""
    local = minute.astimezone(ZoneInfo(support.timezone))
    return (
        support.open_from <= f"{local:%H:%M}" < support.open_until
        and local.isoweekday() in support.work_days
        and local.date() not in holidays
        and local.date().isoformat() not in support.closed_on
    )


def count_minutes(
    support: Support, holidays: frozenset[date], start: datetime, end: datetime
) -> int:
    minutes = int((end - start) / MINUTE)
    return sum(is_open(support, holidays, start + n * MINUTE) for n in range(minutes))


def around(
    support: Support, holidays: frozenset[date], start: datetime, end: datetime
) -> OpenHours:
    return work_out_hours(
        support, holidays, start.date() - timedelta(days=40), end.date() + timedelta(days=400)
    )


# ── open time ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def transitions(zone: str, first: int, last: int) -> Iterator[datetime]:
    """The hours after which a zone's offset is another."""
    info = ZoneInfo(zone)
    hours = [
        datetime(first, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range((last - first) * 8766)
    ]
    for before, after in pairwise(hours):
        if before.astimezone(info).utcoffset() != after.astimezone(info).utcoffset():
            yield after


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_the_clocks_until_2031(zone: str) -> None:
    """Round the clock, over the change itself, and in ordinary hours: minute by minute the wall clock's word."""
    offices = [
        ("00:00", "24:00"),
        ("00:30", "02:30"),
        ("01:15", "03:00"),
        ("23:00", "24:00"),
        ("00:00", "00:15"),
        ("09:00", "17:00"),
    ]
    found = list(transitions(zone, 2026, 2031))
    assert found or zone == "Asia/Kathmandu"
    for opens, closes in offices:
        support = Support(
            timezone=zone, open_from=opens, open_until=closes, work_days=[1, 2, 3, 4, 5, 6, 7]
        )
        for change in found:
            start = change - timedelta(hours=30)
            hours = around(support, frozenset(), start, change)
            for minutes in range(0, 60 * 60, 7 * 60):
                a, b = start + minutes * MINUTE, start + (minutes + 7 * 60) * MINUTE
                expected = count_minutes(support, frozenset(), a, b)
                assert business_seconds(hours, a, b) == 60 * expected, (zone, opens, closes, a, b)


@st.composite
def _supports(draw: st.DrawFn) -> Support:
    opens = draw(st.integers(0, 94))
    closes = draw(st.integers(opens + 1, 96))
    return Support(
        timezone=draw(st.sampled_from(ZONES)),
        open_from=f"{opens // 4:02d}:{opens % 4 * 15:02d}",
        open_until=f"{closes // 4:02d}:{closes % 4 * 15:02d}",
        work_days=draw(st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True)),
        holidays=draw(st.sampled_from([None, "GB-ENG", "US", "EG"])),
        closed_on=[
            day.isoformat()
            for day in draw(st.lists(st.dates(date(2026, 1, 1), date(2027, 12, 31)), max_size=3))
        ],
        clocks={
            "normal": Clocks(
                draw(st.sampled_from([0.25, 1, 8])), draw(st.sampled_from([1.5, 8, 24]))
            )
        },
    )


def _moments() -> st.SearchStrategy[datetime]:
    return st.integers(0, 60 * 24 * 25).map(
        lambda minutes: at("2026-03-20T00:00") + minutes * MINUTE
    )


@settings(max_examples=120)
@given(support=_supports(), one=_moments(), other=_moments(), third=_moments())
def test_open_time_equals_a_count_of_minutes(
    support: Support, one: datetime, other: datetime, third: datetime
) -> None:
    start, middle, end = sorted((one, other, third))
    holidays = (
        list_holidays(support.holidays, range(2026, 2028))
        if support.holidays
        else frozenset[date]()
    )
    hours = around(support, holidays, start, end)
    assert business_seconds(hours, start, end) == 60 * count_minutes(support, holidays, start, end)
    assert business_seconds(hours, start, middle) + business_seconds(
        hours, middle, end
    ) == business_seconds(hours, start, end)
    assert business_seconds(hours, end, start) == 0
    shared = open_hours(support, start, end)
    assert business_seconds(shared, start, end) == business_seconds(hours, start, end)
    reached = shared.reach(shared.open_until(to_micros(end)))
    assert reached is not None and reached <= to_micros(end)
    assert business_seconds(shared, from_micros(reached), end) == 0, (
        "the earliest moment with as much behind it"
    )


def test_nights_weekends_and_holidays_do_not_count() -> None:
    hours = open_hours(
        Support(timezone="Europe/London", holidays="GB-ENG", closed_on=["2026-12-24"]),
        at("2026-12-01"),
        at("2026-12-31"),
    )
    assert business_seconds(hours, at("2026-12-04T16:00"), at("2026-12-07T10:00")) == 2 * 3600, (
        "a weekend"
    )
    # the 24th closed by the team, the 25th and the 28th holidays, the 26th and 27th a weekend
    assert business_seconds(hours, at("2026-12-23T16:00"), at("2026-12-29T10:00")) == 2 * 3600
    assert business_seconds(hours, at("2026-12-25T09:00"), at("2026-12-28T23:00")) == 0


def test_which_codes_have_holidays() -> None:
    assert all(map(knows_holidays, ("GB", "GB-ENG", "US", "US-CA", "DE-BY", "AT-9")))
    assert not any(
        map(
            knows_holidays,
            ("", "gb", "XX", "GB-ZZ", "England", "GB-", "__class__", "HolidayBase", "GB\n"),
        )
    )
    with pytest.raises(LookupError):
        list_holidays("XX", range(2026, 2027))


# ── courses and clocks ────────────────────────────────────────────────────────────────────────────────────────────────


def read_plainly(
    changes: list[Change],
    support: Support,
    holidays: frozenset[date],
    limit_hours: float,
    as_of: datetime,
) -> dict[str, object]:
    """The oracle: minute after minute, is the ticket ours, is the office open, which clock counts? All moments are whole minutes."""
    order: tuple[Transition, ...] = ("opened", "replied", "waiting", "resumed", "resolved")
    story = sorted(
        {(c.at, order.index(c.transition), c.transition) for c in changes if c.at <= as_of}
    )
    first = next((moment for moment, _, transition in story if transition == "opened"), None)
    if first is None:
        return {}
    state, answered, resolved = "none", None, None
    reply_used = solve_used = 0
    reply_over = solve_over = False
    minute, place = first, 0
    story = [entry for entry in story if entry[0] >= first]
    while True:
        while place < len(story) and story[place][0] == minute:
            transition = story[place][2]
            place += 1
            if transition == "opened":
                state, resolved = "ours", None
            elif state == "done" or state == "none":
                pass
            elif transition == "replied":
                answered = answered or minute
            elif transition == "waiting":
                state = "theirs"
            elif transition == "resumed":
                state = "ours"
            elif transition == "resolved":
                state, resolved, answered = "done", minute, answered or minute
        if minute >= as_of:
            break
        if state == "ours":
            counts = is_open(support, holidays, minute)
            # over: a minute begins, open or not, with nothing left
            if answered is None:
                reply_over = reply_over or reply_used >= limit_hours * 60
                reply_used += counts
            solve_over = solve_over or solve_used >= limit_hours * 60
            solve_used += counts
        minute += MINUTE
    return {
        "state": {"ours": "open", "theirs": "waiting", "done": "resolved"}[state],
        "answered": answered, "resolved": resolved,
        "first_reply": (reply_used, reply_over), "resolution": (solve_used, solve_over),
    }  # fmt: skip


_transition = st.sampled_from(["opened", "replied", "waiting", "resumed", "resolved"])
_stories = st.lists(
    st.builds(
        Change,
        at=st.integers(0, 60 * 24 * 6).map(lambda n: at("2026-03-26T08:00") + n * MINUTE),
        transition=_transition,
    ),
    max_size=8,
)


@settings(max_examples=150)
@given(support=_supports(), changes=_stories, after=st.integers(0, 60 * 24 * 3), seed=st.integers())
def test_clocks_equal_a_reading_minute_by_minute(
    support: Support, changes: list[Change], after: int, seed: int
) -> None:
    changes = [Change(at("2026-03-26T08:00"), "opened"), *changes]
    as_of = at("2026-03-28T00:00") + after * MINUTE
    holidays = (
        list_holidays(support.holidays, range(2026, 2027))
        if support.holidays
        else frozenset[date]()
    )
    hours = around(support, holidays, as_of, as_of)
    limit = support.clocks["normal"].reply_hours
    expected = read_plainly(changes, support, holidays, limit, as_of)
    shuffled = random.Random(seed).choices(changes, k=3) + random.Random(seed).sample(
        changes, len(changes)
    )
    course = follow(shuffled, as_of)
    assert course is not None and course.state == expected["state"]
    assert (course.answered_at, course.resolved_at) == (expected["answered"], expected["resolved"])
    for name in ("first_reply", "resolution"):
        found = clock(name, course, hours, limit, as_of, 0.25)
        used, over = expected[name]  # type: ignore[misc]
        assert (found.used, found.state in ("breached", "missed")) == (60 * used, over), (
            name,
            course,
            found,
        )
        check_due(found, course, hours, as_of)


def check_due(found: Clock, course: Course, hours: OpenHours, as_of: datetime) -> None:
    """What is due is true: run on to that moment, and exactly the limit is used; a moment later it is over."""
    if found.stopped_at is not None:
        assert found.state in ("met", "missed") and (found.due_at is None) == (found.state == "met")
    elif found.state == "breached":
        assert found.due_at is not None and found.due_at < as_of
    elif found.state == "paused":
        assert course.state == "waiting" and found.due_at is None
    else:
        assert found.due_at is not None and found.due_at >= as_of
        on_time = clock(found.name, course, hours, found.limit / 3600, found.due_at, 0.25)
        late = clock(
            found.name,
            course,
            hours,
            found.limit / 3600,
            found.due_at + timedelta(microseconds=1),
            0.25,
        )
        assert (on_time.used, on_time.state, late.state) == (found.limit, "due_soon", "breached")
        assert (found.state == "due_soon") == (found.left <= 0.25 * found.limit)


def evaluated(
    *transition: tuple[str, Transition], as_of: str, support: Support = OFFICE
) -> tuple[Course, Clock, Clock]:
    changes = [Change(at(moment), what) for moment, what in transition]
    ticket = Ticket(SUPPLIER, "t", None, None, "Golden Hour", None, changes)
    found = evaluate(ticket, open_hours(support, changes[0].at, at(as_of)), support, at(as_of))
    assert found is not None
    return found.course, found.first_reply, found.resolution


SUPPLIER = UUID(int=7)


def test_a_ticket_on_a_friday_evening() -> None:
    _, reply, solve = evaluated(("2026-11-20T16:30", "opened"), as_of="2026-11-21T12:00")
    assert (reply.state, reply.used, reply.due_at) == ("on_time", 1800, at("2026-11-23T16:30"))
    assert solve.due_at == at("2026-11-25T16:30")
    _, reply, _ = evaluated(("2026-11-20T16:30", "opened"), as_of="2026-11-23T15:00")
    assert (reply.state, reply.left) == ("due_soon", 1.5 * 3600)
    _, reply, _ = evaluated(("2026-11-20T16:30", "opened"), as_of="2026-11-23T16:31")
    assert (reply.state, reply.due_at) == ("breached", at("2026-11-23T16:30"))


def test_waiting_for_the_supplier_stops_the_clocks() -> None:
    story = (
        ("2026-11-23T09:00", "opened"),
        ("2026-11-23T11:00", "waiting"),
        ("2026-11-26T10:00", "resumed"),
    )
    course, reply, _ = evaluated(*story[:2], as_of="2026-11-25T12:00")
    assert course.state == "waiting" and course.waiting_since == at("2026-11-23T11:00")
    assert (reply.state, reply.used, reply.due_at) == ("paused", 2 * 3600, None)
    _, reply, solve = evaluated(*story, as_of="2026-11-26T11:00")
    assert (reply.used, reply.due_at) == (3 * 3600, at("2026-11-26T16:00"))
    assert solve.used == 3 * 3600


def test_a_ticket_opened_again() -> None:
    """The resolution's clock goes on where it stood; the first reply stays answered."""
    story: list[tuple[str, Transition]] = [
        ("2026-11-23T09:00", "opened"), ("2026-11-23T10:00", "replied"), ("2026-11-23T12:00", "resolved"), ("2026-11-30T09:00", "opened"),
    ]  # fmt: skip
    course, reply, solve = evaluated(*story, as_of="2026-11-30T10:00")
    assert (course.state, course.reopened, course.resolved_at) == ("open", 1, None)
    assert (reply.state, reply.used) == ("met", 3600)
    assert (solve.state, solve.used, solve.stopped_at) == ("on_time", 4 * 3600, None)


def test_resolved_without_a_reply_is_an_answer() -> None:
    course, reply, solve = evaluated(
        ("2026-11-23T09:00", "opened"), ("2026-11-23T12:00", "resolved"), as_of="2026-11-24T12:00"
    )
    assert (reply.state, reply.stopped_at, solve.state) == ("met", course.resolved_at, "met")
    _, reply, solve = evaluated(
        ("2026-11-23T09:00", "opened"), ("2026-11-25T12:00", "resolved"), as_of="2026-11-27T12:00"
    )
    assert (reply.state, reply.due_at, solve.state) == ("missed", at("2026-11-23T17:00"), "met")


def test_changes_before_the_opening_or_after_the_end_have_no_effect() -> None:
    transition: list[tuple[str, Transition]] = [
        ("2026-11-23T08:00", "replied"),
        ("2026-11-23T08:30", "resolved"),
        ("2026-11-23T09:00", "opened"),
    ]
    course, reply, _ = evaluated(*transition, as_of="2026-11-23T10:00")
    assert (course.state, course.answered_at, reply.used) == ("open", None, 3600)
    transition += [
        ("2026-11-23T11:00", "resolved"),
        ("2026-11-23T12:00", "waiting"),
        ("2026-11-23T13:00", "resumed"),
        ("2026-11-23T14:00", "replied"),
    ]
    course, reply, solve = evaluated(*transition, as_of="2026-11-23T16:00")
    assert (course.state, course.answered_at, solve.used) == (
        "resolved",
        at("2026-11-23T11:00"),
        2 * 3600,
    )
    assert follow([Change(at("2026-11-23T09:00"), "resolved")], at("2026-12-01")) is None


@given(priority=st.text(max_size=20), hours=st.floats(0.01, 8760))
@example(priority="HIGH ", hours=1)
def test_a_priority_without_a_clock_is_normal(priority: str, hours: float) -> None:
    support = Support(clocks={"normal": Clocks(8, 24), "high": Clocks(hours, 8760)})
    ticket = Ticket(
        SUPPLIER, "t", None, priority, "", None, [Change(at("2026-11-23T09:00"), "opened")]
    )
    as_of = at("2026-11-23T10:00")
    found = evaluate(ticket, open_hours(support, as_of, as_of), support, as_of)
    assert found is not None
    assert found.first_reply.limit == pytest.approx(
        3600 * (hours if priority.strip().lower() == "high" else 8), abs=1e-5
    )
    assert found.resolution.due_at is not None, "even a clock of four years runs out some day"


def test_the_worst_comes_first() -> None:
    support = Support(clocks={"normal": Clocks(4, 24)})
    as_of = at("2026-11-25T12:00")
    stories: dict[str, list[tuple[str, Transition]]] = {
        "breached late": [("2026-11-24T12:00", "opened")],
        "breached": [("2026-11-24T10:00", "opened")],
        "due soon": [("2026-11-25T09:00", "opened")],
        "answered": [("2026-11-25T08:00", "opened"), ("2026-11-25T09:00", "replied")],
        "waits": [("2026-11-25T08:00", "opened"), ("2026-11-25T09:00", "waiting")],
    }
    hours = open_hours(support, at("2026-11-01"), as_of)
    tickets = [
        evaluate(
            Ticket(SUPPLIER, name, None, None, "", None, [Change(at(a), b) for a, b in story]),
            hours,
            support,
            as_of,
        )
        for name, story in reversed(stories.items())
    ]
    ordered = [one.ticket.ticket_id for one in by_urgency(filter(None, tickets))]
    assert ordered == ["breached", "breached late", "due soon", "answered", "waits"]


@pytest.mark.parametrize(
    ("course", "transition", "refused"),
    [
        ("", "replied", "not opened"), ("", "opened", None), ("o", "opened", "open already"), ("o", "replied", None), ("o", "waiting", None),
        ("o", "resumed", "does not wait"), ("o", "resolved", None), ("ow", "waiting", "waits for the supplier already"), ("ow", "resumed", None),
        ("ow", "replied", None), ("ow", "resolved", None), ("od", "opened", None), ("od", "waiting", "is resolved"), ("od", "resolved", "is resolved"),
    ],
)  # fmt: skip
def test_what_may_be_done_to_a_ticket(
    course: str, transition: Transition, refused: str | None
) -> None:
    words: dict[str, Transition] = {"o": "opened", "w": "waiting", "d": "resolved"}
    changes = [
        Change(at("2026-11-23T09:00") + n * MINUTE, words[email]) for n, email in enumerate(course)
    ]
    reason = why_not(follow(changes, at("2026-11-24")), transition)
    assert (reason is None) if refused is None else (reason is not None and refused in reason)


def test_working_out_years_is_quick(benchmark_seconds: float = 2.0) -> None:
    """A page must not wait for it: three years of a zone with changes and holidays in far less than this."""
    from time import perf_counter

    started = perf_counter()
    open_hours(
        Support(timezone="America/Toronto", holidays="CA"), at("2024-01-01"), at("2026-11-22")
    )
    assert perf_counter() - started < benchmark_seconds
