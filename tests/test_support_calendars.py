"""Busy times of calendars with all kinds of oddities, none of which can hang or crash the parser."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.support import feeds
from everafter.support.calendar_rules import merge_times
from everafter.support.calendars import read_busy_times
from everafter.support.feeds import FeedError, compute_times
from everafter.support.model import BusyTime, FeedTask, FeedTimes

START = datetime(2026, 11, 23, tzinfo=UTC)
UNTIL = START + timedelta(days=100)
BERLIN_ZONE = """BEGIN:VTIMEZONE
TZID:Somewhere of ours
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE"""


def calendar(*events: str, before: str = "") -> bytes:
    parts = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *([before] if before else [])]
    for number, event in enumerate(events):
        uid = "" if "UID:" in event else f"UID:event-{number}\n"
        parts.append(f"BEGIN:VEVENT\n{uid}DTSTAMP:20261101T000000Z\n{event}\nEND:VEVENT")
    return "\n".join([*parts, "END:VCALENDAR", ""]).replace("\n", "\r\n").encode()


def task(body: bytes, zone: str = "Europe/Berlin", days: int = 100) -> FeedTask:
    return FeedTask(body, zone, "ada@example.org", START, START + timedelta(days=days))


def read(*events: str, zone: str = "Europe/Berlin", days: int = 100, before: str = "") -> FeedTimes:
    times = read_busy_times(task(calendar(*events, before=before), zone, days))
    assert times.failure is None
    return times


def spans(times: FeedTimes) -> list[str]:
    return [f"{one.starts_at:%m-%d %H:%M}/{one.ends_at:%m-%d %H:%M}" for one in times.busy]


@pytest.mark.parametrize(
    ("event", "busy"),
    [
        ("DTSTART:20261201T100000Z\nDTEND:20261201T110000Z", "12-01 10:00/12-01 11:00"),
        ("DTSTART:20261201T100000Z\nDURATION:PT45M", "12-01 10:00/12-01 10:45"),
        (
            "DTSTART;TZID=America/New_York:20261201T100000\nDTEND;TZID=America/New_York:20261201T110000",
            "12-01 15:00/12-01 16:00",
        ),
        # as Outlook names zones; a zone the calendar brings itself; no zone: the owner's own
        (
            "DTSTART;TZID=Eastern Standard Time:20261201T100000\nDURATION:PT1H",
            "12-01 15:00/12-01 16:00",
        ),
        (
            "DTSTART;TZID=Somewhere of ours:20261201T100000\nDURATION:PT1H",
            "12-01 09:00/12-01 10:00",
        ),
        ("DTSTART:20261201T100000\nDURATION:PT1H", "12-01 09:00/12-01 10:00"),
        # whole days are the owner's days
        ("DTSTART;VALUE=DATE:20261201\nDTEND;VALUE=DATE:20261203", "11-30 23:00/12-02 23:00"),
        ("DTSTART;VALUE=DATE:20261201", "11-30 23:00/12-01 23:00"),
        ("DTSTART;VALUE=DATE:20261201\nDTEND;VALUE=DATE:20261201", "11-30 23:00/12-01 23:00"),
        # what is under way already, and what goes on beyond
        ("DTSTART:20261101T000000Z\nDTEND:20261124T000000Z", "11-23 00:00/11-24 00:00"),
        ("DTSTART;TZID=Europe/Berlin:20261201T230000\nDURATION:PT2H", "12-01 22:00/12-02 00:00"),
        (
            "DTSTART:20261201T100000Z\nDTEND:20261201T110000Z\nSTATUS:TENTATIVE",
            "12-01 10:00/12-01 11:00",
        ),
        (
            "DTSTART:20261201T100000Z\nDURATION:PT1H\nATTENDEE;PARTSTAT=DECLINED:mailto:bob@example.org",
            "12-01 10:00/12-01 11:00",
        ),
    ],
)
def test_a_single_event(event: str, busy: str) -> None:
    times = read(event, before=BERLIN_ZONE)
    assert (spans(times), times.events, times.unread) == ([busy], 1, 0)


@pytest.mark.parametrize(
    "event",
    [
        "DTSTART:20261201T100000Z\nDTEND:20261201T110000Z\nTRANSP:TRANSPARENT",
        "DTSTART:20261201T100000Z\nDTEND:20261201T110000Z\nSTATUS:CANCELLED",
        "DTSTART:20261201T100000Z\nDTEND:20261201T110000Z\nX-MICROSOFT-CDO-BUSYSTATUS:FREE",
        "DTSTART:20261201T100000Z\nDURATION:PT1H\nATTENDEE;PARTSTAT=DECLINED:MAILTO:Ada@Example.org",
        "DTSTART:20261201T100000Z",
        "DTSTART:20261101T100000Z\nDTEND:20261101T110000Z",
        "DTSTART:20270801T100000Z\nDTEND:20270801T110000Z",
    ],
)
def test_events_that_are_not_busy(event: str) -> None:
    times = read(event)
    assert (times.busy, times.events, times.unread) == ([], 1, 0)


def test_a_series_keeps_its_local_time_and_has_exceptions() -> None:
    weekly = (
        "UID:standup\nDTSTART;TZID=Europe/Berlin:20260907T090000\nDTEND;TZID=Europe/Berlin:20260907T093000\n"
        "RRULE:FREQ=WEEKLY;BYDAY=MO\nEXDATE;TZID=Europe/Berlin:20261130T090000,20261207T090000\nRDATE;TZID=Europe/Berlin:20261209T090000"
    )
    moved = "UID:standup\nRECURRENCE-ID;TZID=Europe/Berlin:20261214T090000\nDTSTART;TZID=Europe/Berlin:20261215T140000\nDURATION:PT1H"
    dropped = "UID:standup\nRECURRENCE-ID;TZID=Europe/Berlin:20261221T090000\nDTSTART;TZID=Europe/Berlin:20261221T090000\nDURATION:PT1H\nSTATUS:CANCELLED"
    found = spans(read(weekly, moved, dropped, days=130))
    assert found[:5] == [
        "11-23 08:00/11-23 08:30",
        "12-09 08:00/12-09 08:30",
        "12-15 13:00/12-15 14:00",
        "12-28 08:00/12-28 08:30",
        "01-04 08:00/01-04 08:30",
    ]
    assert found[-1] == "03-29 07:00/03-29 07:30", "summer time: an hour earlier in UTC"


def test_every_day_at_ten_is_at_ten_on_each_day_of_the_year() -> None:
    daily = "DTSTART;TZID=America/New_York:20250101T100000\nDURATION:PT30M\nRRULE:FREQ=DAILY"
    found = read(daily, days=365).busy
    local = [one.starts_at.astimezone(ZoneInfo("America/New_York")) for one in found]
    assert len(local) == 365 and {f"{at:%H:%M}" for at in local} == {"10:00"}
    assert len({at.date() for at in local}) == 365


def test_adjacent_times_are_merged_except_for_our_own_calls() -> None:
    ours = uuid4()
    times = read(
        "DTSTART:20261201T100000Z\nDURATION:PT1H",
        "DTSTART:20261201T110000Z\nDURATION:PT1H",
        f"UID:{ours}@success.example.org\nDTSTART:20261201T103000Z\nDURATION:PT15M",
        f"UID:{str(uuid4()).upper()}\nDTSTART:20261201T113000Z\nDURATION:PT2H",
    )
    assert spans(times) == ["12-01 10:00/12-01 13:30", "12-01 10:30/12-01 10:45"]
    assert [one.uid for one in times.busy] == [None, ours]


def test_a_calendar_with_free_busy_components_only() -> None:
    body = (
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VFREEBUSY\r\nUID:1\r\nDTSTAMP:20261101T000000Z\r\n"
        b"FREEBUSY;FBTYPE=BUSY:20261201T100000Z/20261201T110000Z,20261202T100000Z/PT1H\r\n"
        b"FREEBUSY;FBTYPE=FREE:20261203T100000Z/PT1H\r\nFREEBUSY:20261204T100000Z/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n"
    )
    assert [one[:11] for one in spans(read_busy_times(task(body)))] == [
        "12-01 10:00",
        "12-02 10:00",
        "12-04 10:00",
    ]


def test_an_invalid_event_does_not_affect_others() -> None:
    good = "DTSTART:20261201T100000Z\nDTEND:20261201T110000Z"
    times = read(
        good,
        "DTSTART:tomorrow\nDTEND:20261201T110000Z",
        "DTEND:20261201T110000Z",
        "DTSTART:20261201T100000Z\nDURATION:PT1H\nRRULE:FREQ=NOW",
        "DTSTART:20261203T100000Z\nDURATION:PT1H\nRRULE:often",
        "DTSTART:20261201T100000Z\nDURATION:PT1H\nRRULE:FREQ=SECONDLY",
        "DTSTART:99990101T000000Z\nDTEND:99991231T235959Z",
    )
    assert spans(times) == ["12-01 10:00/12-01 11:00", "12-03 10:00/12-03 11:00"]
    assert (times.events, times.unread) == (7, 5)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "it is empty"),
        (b"  \r\n", "it is empty"),
        (
            b"<!doctype html><title>Sign in</title>",
            "it is not a calendar: it starts with '<!doctype html>",
        ),
        (b"\x00\xff\xfe garbage", "it is not a calendar"),
        (calendar("DTSTART:20261201T100000Z")[:-40], "it is incomplete"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n", "an event is not closed"),
        (
            b"BEGIN:VCALENDAR\r\n" + b"\x00nonsense\r\n" * 3 + b"END:VCALENDAR",
            "not a valid calendar",
        ),
    ],
)
def test_other_files_are_not_calendars(body: bytes, says: str) -> None:
    assert says in (read_busy_times(task(body)).failure or "")


@settings(deadline=None, max_examples=150)
@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda at, junk: (
                calendar("DTSTART:20261201T100000Z\nRRULE:FREQ=DAILY;COUNT=3\nDURATION:PT1H")[:at]
                + junk
            ),
            st.integers(0, 300),
            st.binary(max_size=40),
        ).map(lambda body: body + b"\r\nEND:VCALENDAR\r\n"),
    )
)
def test_no_bytes_raise_an_error(body: bytes) -> None:
    times = read_busy_times(task(body))
    assert times.failure or all(START <= one.starts_at < one.ends_at <= UNTIL for one in times.busy)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 60)), max_size=40))
def test_merged_times_cover_the_same_minutes(pieces: list[tuple[int, int]]) -> None:
    times = [
        BusyTime(START + timedelta(minutes=a), START + timedelta(minutes=a + b)) for a, b in pieces
    ]
    merged = merge_times(times)
    minutes = {a + n for a, b in pieces for n in range(b)}
    assert {int((one.starts_at - START).total_seconds() // 60) + n for one in merged
            for n in range(int((one.ends_at - one.starts_at).total_seconds() // 60))} == minutes  # fmt: skip
    assert all(first.ends_at < second.starts_at for first, second in pairwise(merged))


# ── in a process of its own ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_process_returns_the_result_of_the_function() -> None:
    body = calendar(
        "DTSTART:20261201T100000Z\nDURATION:PT1H", "DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=YEARLY"
    )
    assert asyncio.run(compute_times(task(body))) == read_busy_times(task(body))
    with pytest.raises(FeedError, match="it is incomplete"):
        asyncio.run(compute_times(task(body[:-20])))


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYHOUR="
        + ",".join(map(str, range(24)))
        + ";BYMINUTE="
        + ",".join(map(str, range(60))),
        "FREQ=HOURLY;BYMINUTE="
        + ",".join(map(str, range(60)))
        + ";BYSECOND="
        + ",".join(map(str, range(60))),
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY;BYSECOND=0,30",
    ],
)
def test_an_endless_rule_does_not_affect_other_events(rule: str) -> None:
    """Every second, every minute, or never but searched for ever."""
    body = calendar(
        f"DTSTART:20200101T000000Z\nDURATION:PT1M\nRRULE:{rule}",
        "DTSTART:20261201T100000Z\nDURATION:PT1H",
    )
    times = asyncio.run(compute_times(task(body)))
    assert (spans(times), times.events, times.unread) == (["12-01 10:00/12-01 11:00"], 2, 1)


def test_many_endless_rules_do_not_affect_other_events() -> None:
    endless = [
        f"DTSTART:20200101T000000Z\nDURATION:PT1M\nRRULE:FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30;INTERVAL={n}"
        for n in range(9)
    ]
    times = asyncio.run(
        compute_times(
            task(
                calendar(
                    *endless, "DTSTART:20261201T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=2"
                )
            )
        )
    )
    assert (spans(times), times.unread) == (
        ["12-01 10:00/12-01 11:00", "12-02 10:00/12-02 11:00"],
        9,
    )


def test_a_calendar_that_takes_too_long_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "COMPUTE_SECONDS", 0.02)
    with pytest.raises(FeedError, match="computed within"):
        asyncio.run(compute_times(task(calendar())))


def test_a_large_calendar_is_read_in_time() -> None:
    events = [
        f"DTSTART:2026{1 + n % 12:02d}{1 + n % 28:02d}T{n % 24:02d}0000Z\nDURATION:PT30M"
        for n in range(10_000)
    ]
    began = time.monotonic()
    times = asyncio.run(compute_times(task(calendar(*events))))
    assert times.events == 10_000 and times.unread == 0 and times.busy
    assert time.monotonic() - began < 15
