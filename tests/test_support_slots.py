"""Free times around every clock change 2026–2030 in twelve zones."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from everafter.playbook.support_rules import check_support
from everafter.suppliers.rules import read_traits
from everafter.support.model import (
    BUFFER,
    CALL_TYPES,
    HORIZON_DAYS,
    LEAD,
    QUARTER,
    CallType,
    Csm,
    Diary,
    Refusal,
    Slot,
)
from everafter.support.rules import (
    find_zone,
    held_quarters,
    is_free,
    is_open,
    list_quarters,
    next_quarter,
    number_quarter,
    rank_diaries,
    refuse_start,
    resolve_start,
    unknown_zone,
    works_through,
)
from everafter.support.slot_rules import list_slots

ZONES = (
    "Europe/London",
    "Europe/Berlin",
    "Europe/Dublin",  # winter is its "daylight saving", with a negative offset
    "America/New_York",
    "America/Santiago",  # changes at midnight: a day that begins at 01:00
    "America/Havana",  # likewise
    "America/Nuuk",  # changes on Saturday evening
    "Africa/Cairo",  # on a working Friday
    "Africa/Casablanca",  # an hour back for Ramadan
    "Asia/Beirut",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Chatham",  # at 12:45 and 13:45 from Greenwich
)
CHECK_IN, HALF_HOUR = CALL_TYPES["check_in"], CALL_TYPES["technical_support"]
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


def csm(
    zone: str = "UTC", start: str = "09:00", end: str = "17:00", days: tuple[int, ...] = EVERY_DAY
) -> Csm:
    return Csm(
        uuid4(),
        "Ada",
        "ada@example.org",
        zone,
        time.fromisoformat(start),
        time.fromisoformat(end),
        days,
    )


def diary(of: Csm, *held: datetime) -> Diary:
    """The CSM's diary with these quarters booked."""
    return Diary(of, tuple(number_quarter(at) for at in held))


def transitions(zone: ZoneInfo) -> Iterator[datetime]:
    """The UTC hours in which the zone's offset changes."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    while at.year <= 2030:
        after = at + timedelta(hours=1)
        if at.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            yield at
        at = after


TRANSITIONS = [(name, at) for name in ZONES for at in transitions(ZoneInfo(name))]


def test_each_zone_has_clock_changes_each_year() -> None:
    counts = Counter((name, at.year) for name, at in TRANSITIONS)
    assert len(counts) == 12 * 5
    assert set(counts.values()) <= {2, 3}, "3: Ramadan comes twice in Casablanca's 2030"


def minutes_of_day(name: str, day: datetime) -> int:
    """The length of a local day."""
    zone = ZoneInfo(name)
    first = datetime(day.year, day.month, day.day, tzinfo=zone)
    # the first moment of a day that the clocks begin late is the one at which the date changes
    start = first.astimezone(UTC)
    while start.astimezone(zone).date() < first.date():
        start += QUARTER
    end = start
    while end.astimezone(zone).date() == first.date():
        end += QUARTER
    return int((end - start).total_seconds() // 60)


@pytest.mark.parametrize(("name", "change"), TRANSITIONS)
def test_slots_around_a_clock_change(name: str, change: datetime) -> None:
    zone = ZoneInfo(name)
    night = csm(name, "00:30", "04:30")
    now = change - timedelta(days=3)
    slots = list_slots([diary(night)], CHECK_IN, change - timedelta(days=2), 4, now)
    starts = [slot.starts_at for slot in slots]
    assert starts == sorted(set(starts))
    for slot in slots:
        local, last = (
            slot.starts_at.astimezone(zone),
            (slot.ends_at - timedelta(seconds=1)).astimezone(zone),
        )
        assert slot.ends_at - slot.starts_at == CHECK_IN.length
        assert local.minute % 15 == 0 and local.second == 0
        assert time(0, 30) <= local.time() < time(4, 30) and last.time() < time(4, 30)
        # an hour that the clocks skip is never offered: the wall-clock time said must be the one that comes
        assert resolve_start(local.replace(tzinfo=None), name) in (
            slot.starts_at,
            *repeated(name, local),
        )
    # a slot for each quarter of real time with such a wall clock, and no other: walked through in UTC, minute by minute
    at, expected = change - timedelta(days=2), list[datetime]()
    while at < change + timedelta(days=2):
        minutes = [(at + timedelta(minutes=minute)).astimezone(zone).time() for minute in range(15)]
        if at.minute % 15 == 0 and all(time(0, 30) <= clock < time(4, 30) for clock in minutes):
            expected.append(at)
        at += timedelta(minutes=15)
    assert starts == expected


def repeated(name: str, local: datetime) -> list[object]:
    """Whether it is the refusal of a repeated local time."""
    found = resolve_start(local.replace(tzinfo=None), name)
    return [found] if isinstance(found, Refusal) and found.reason == "dst_overlap" else []


@pytest.mark.parametrize(("name", "change"), TRANSITIONS)
def test_a_day_of_23_or_25_hours_has_as_many_slots(name: str, change: datetime) -> None:
    day = (change + timedelta(hours=1)).astimezone(ZoneInfo(name))
    around_the_clock = csm(name, "00:00", "00:00")
    slots = list_slots(
        [diary(around_the_clock)],
        CHECK_IN,
        change - timedelta(days=2),
        4,
        change - timedelta(days=3),
    )
    of_day = [
        slot for slot in slots if slot.starts_at.astimezone(ZoneInfo(name)).date() == day.date()
    ]
    assert len(of_day) * 15 == minutes_of_day(name, day)


@pytest.mark.parametrize(("name", "change"), TRANSITIONS)
def test_skipped_and_repeated_local_times_are_refused(name: str, change: datetime) -> None:
    zone = ZoneInfo(name)
    at = change + timedelta(hours=1)
    offset = at.astimezone(zone).utcoffset()
    last = max(
        at - QUARTER * n
        for n in range(5)
        if (at - QUARTER * n).astimezone(zone).utcoffset() != offset
    )
    # forward: what the clock would show next, were it not changed, never comes; back: what it shows last comes again
    forward = offset > last.astimezone(zone).utcoffset()  # pyright: ignore
    wall = last.astimezone(zone).replace(tzinfo=None)
    found = resolve_start(wall + QUARTER if forward else wall, name)
    assert isinstance(found, Refusal)
    assert found.reason == ("dst_gap" if forward else "dst_overlap")
    assert name in found.detail
    assert resolve_start(wall - timedelta(hours=3), name) == last - timedelta(hours=3)


def test_a_time_with_an_offset_is_that_instant() -> None:
    assert resolve_start(
        datetime.fromisoformat("2026-03-29T02:30:00+01:00"), "Europe/Berlin"
    ) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert resolve_start(datetime.fromisoformat("2026-12-01T09:00"), None) == datetime(
        2026, 12, 1, 9, tzinfo=UTC
    )
    assert resolve_start(datetime.fromisoformat("2026-12-01T09:00Z"), "Not/AZone") == datetime(
        2026, 12, 1, 9, tzinfo=UTC
    )


def test_local_time_in_an_unknown_zone_is_refused() -> None:
    found = resolve_start(datetime.fromisoformat("2026-12-01T09:00"), "Europe/Berln")
    assert isinstance(found, Refusal) and found.reason == "unknown_zone"
    assert "'Europe/Berln' is unknown; did you mean Europe/Berlin" in found.detail


NO_PLACES = ["localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/Europe/Berlin"]


@pytest.mark.parametrize("name", NO_PLACES)
def test_other_files_of_the_zone_database_are_not_zones(name: str) -> None:
    assert unknown_zone(name) == name
    good, bad = read_traits({"timezone": name})
    assert not good and len(bad) == 1
    assert [found.message for found in check_support({"timezone": name}, None)] == [
        f"there is no time zone {name!r}"
    ]


@pytest.mark.parametrize(
    "name", ["", "../etc/passwd", "Europe", "No/Where", "\x00", "ä", "x" * 500, *NO_PLACES]
)
def test_an_unknown_zone_is_utc(name: str) -> None:
    assert find_zone(name).key == "UTC"


NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday


def test_lead_time_days_and_horizon_bound_the_slots() -> None:
    ada = csm(days=(1, 2, 3, 4, 5))
    slots = list_slots([diary(ada)], HALF_HOUR, NOW, 7, NOW)
    assert slots[0].starts_at == NOW + LEAD
    assert slots[-1].ends_at == datetime(2026, 11, 27, 17, 0, tzinfo=UTC)
    # Monday from 10:00, four whole days; the last half hour begins at 16:30
    assert len(slots) == 27 + 4 * 31
    assert all(slot.starts_at.isoweekday() <= 5 for slot in slots)
    assert list_slots([diary(ada)], HALF_HOUR, NOW + timedelta(days=HORIZON_DAYS), 7, NOW) == []


def test_a_busy_quarter_blocks_overlapping_calls_and_buffers() -> None:
    ada = csm()
    booked = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    held = held_quarters(ada, booked, CHECK_IN)
    assert held == [booked, booked + BUFFER]
    free = {slot.starts_at for slot in list_slots([diary(ada, *held)], HALF_HOUR, NOW, 1, NOW)}
    taken = {
        booked + QUARTER * n for n in range(-2, 2)
    }  # half an hour and the pause before; the call and its pause
    assert not free & taken
    assert {booked + QUARTER * -3, booked + QUARTER * 2} <= free


def test_hours_after_midnight_belong_to_the_evening_before() -> None:
    night = csm("UTC", "22:00", "02:00", days=(7,))  # Sunday night
    slots = [s.starts_at for s in list_slots([diary(night)], CHECK_IN, NOW, 10, NOW)]
    assert slots[0] == datetime(2026, 11, 29, 22, 0, tzinfo=UTC)
    assert slots[-1] == datetime(2026, 11, 30, 1, 45, tzinfo=UTC)
    assert len(slots) == 16


def test_working_hours_off_the_grid_offer_only_whole_quarters() -> None:
    odd = csm("UTC", "09:10", "10:05")
    slots = list_slots([diary(odd)], CHECK_IN, NOW + timedelta(days=1), 1, NOW)
    assert [f"{slot.starts_at:%H:%M}" for slot in slots] == ["09:15", "09:30", "09:45"]


def test_the_known_csm_comes_first_then_the_least_booked() -> None:
    ada, bob, cem = (
        Csm(uuid4(), n, f"{n}@example.org", "UTC", time(9), time(17), EVERY_DAY) for n in "abc"
    )
    diaries = [diary(ada, NOW, NOW + QUARTER), diary(bob, NOW), diary(cem)]
    assert [one.csm for one in rank_diaries(diaries, None)] == [cem, bob, ada]
    assert [one.csm for one in rank_diaries(diaries, ada.id)] == [ada, cem, bob]
    slots = list_slots([diary(cem, NOW + LEAD), diary(bob)], CHECK_IN, NOW, 1, NOW, limit=2)
    assert [slot.csm for slot in slots] == [bob, cem]


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (NOW, "past"),
        (NOW + LEAD - QUARTER, "too_soon"),
        (NOW + timedelta(days=HORIZON_DAYS), "too_far"),
        (NOW + timedelta(hours=3, minutes=7), "off_grid"),
        (NOW + timedelta(hours=3, microseconds=1), "off_grid"),
        (NOW + timedelta(hours=12), "outside_hours"),
        (
            datetime(2026, 11, 23, 16, 45, tzinfo=UTC),
            "outside_hours",
        ),  # half an hour would end at 17:15
        (NOW + LEAD, None),
    ],
)
def test_an_impossible_time_is_refused_with_a_reason(at: datetime, reason: str | None) -> None:
    refusal = refuse_start([diary(csm())], HALF_HOUR, at, NOW)
    assert (refusal.reason if refusal else None) == reason


# ── buffers, holidays, the CSM's own calendar ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("minutes", [0, 15, 30, 120])
def test_each_csm_has_their_own_buffer(minutes: int) -> None:
    ada = replace(csm(), buffer=timedelta(minutes=minutes))
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    held = held_quarters(ada, noon, CHECK_IN)
    assert len(held) == 1 + minutes // 15
    free = {
        slot.starts_at
        for slot in list_slots([diary(ada, *held)], CHECK_IN, noon - timedelta(hours=3), 1, NOW)
    }
    # before the call its own length and buffer must fit, after it the buffer must have passed
    assert max(at for at in free if at < noon) == noon - QUARTER - ada.buffer
    assert min(at for at in free if at >= noon) == noon + QUARTER + ada.buffer


def test_days_off_are_in_the_csms_time_zone() -> None:
    sydney = csm("Australia/Sydney", "08:00", "18:00")
    closed = Diary(sydney, closed=frozenset({date(2026, 11, 25)}))
    days = {
        slot.starts_at.astimezone(ZoneInfo("Australia/Sydney")).date()
        for slot in list_slots([closed], CHECK_IN, NOW, 5, NOW)
    }
    assert days == {date(2026, 11, 24), date(2026, 11, 26), date(2026, 11, 27), date(2026, 11, 28)}
    # a night belongs to the day it begins on, work and holiday alike
    night = Diary(csm("UTC", "22:00", "02:00"), closed=frozenset({date(2026, 11, 25)}))
    hours = {f"{slot.starts_at:%d %H}" for slot in list_slots([night], CHECK_IN, NOW, 4, NOW)}
    assert {"24 22", "25 01", "26 22", "27 00"} <= hours and not {"25 22", "26 01"} & hours


def test_busy_times_block_to_the_minute() -> None:
    ada = csm()
    away = (
        number_quarter(datetime(2026, 11, 24, 10, tzinfo=UTC)),
        number_quarter(datetime(2026, 11, 24, 11, tzinfo=UTC)),
    )
    starts = {
        f"{s.starts_at:%H:%M}"
        for s in list_slots([Diary(ada, away=(away,))], CHECK_IN, NOW + timedelta(days=1), 1, NOW)
    }
    assert {"09:30", "11:00"} <= starts
    assert not {"09:45", "10:00", "10:45"} & starts, "09:45 would leave no pause before what comes"


# ── the arrays against the plain definition ───────────────────────────────────────────────────────────────────────────


def plain_slots(
    diaries: list[Diary], call: CallType, start: datetime, days: int, now: datetime
) -> list[Slot]:
    """Check each quarter of the grid for each CSM."""
    first = next_quarter(max(start, now + LEAD).astimezone(UTC))
    last = min(start + timedelta(days=days), now + timedelta(days=HORIZON_DAYS)).astimezone(UTC)
    found: list[Slot] = []
    for at in list_quarters(first, last):
        for one in diaries:
            if works_through(one, at, call) and is_free(one, at, call):
                found.append(Slot(at, at + call.length, one.csm))
                break
    return found


clocks = st.builds(
    time, st.integers(0, 23), st.sampled_from([0, 10, 15, 30, 45, 59]), st.sampled_from([0, 1])
)


@st.composite
def a_diary(draw: st.DrawFn, origin: datetime) -> Diary:
    begin = number_quarter(origin)
    spans = st.tuples(st.integers(begin - 50, begin + 500), st.integers(1, 120)).map(
        lambda span: (span[0], span[0] + span[1])
    )
    who = Csm(
        uuid4(),
        "Ada",
        "ada@example.org",
        draw(st.sampled_from([*ZONES, "Asia/Kathmandu", "No/Where"])),
        draw(clocks),
        draw(clocks),
        tuple(sorted(draw(st.sets(st.integers(1, 7), max_size=7)))),
        timedelta(minutes=15 * draw(st.integers(0, 8))),
    )
    closed = draw(
        st.sets(st.integers(-2, 6).map(lambda n: origin.date() + timedelta(days=n)), max_size=3)
    )
    booked = draw(st.sets(st.integers(begin - 20, begin + 500), max_size=30))
    return Diary(who, tuple(booked), tuple(draw(st.lists(spans, max_size=3))), frozenset(closed))


def is_day(at: datetime, zone: str) -> bool:
    return 7 <= at.astimezone(ZoneInfo(zone)).hour < 21


def test_the_suppliers_night_is_offered_only_if_nothing_else_is_free() -> None:
    """London's working day is Adelaide's evening and night: 9 to 10.30 in London is before 21 there in winter."""
    london = diary(csm("Europe/London", "09:00", "17:00"))
    start = datetime(2026, 12, 7, tzinfo=UTC)
    found = list_slots(
        [london],
        CALL_TYPES["check_in"],
        start,
        1,
        start - timedelta(days=3),
        awake_in="Australia/Adelaide",
    )
    assert [slot.starts_at.hour * 60 + slot.starts_at.minute for slot in found] == [
        540,
        555,
        570,
        585,
        600,
        615,
    ]
    late = diary(csm("Europe/London", "13:00", "17:00"))
    assert (
        len(
            list_slots(
                [late],
                CALL_TYPES["check_in"],
                start,
                1,
                start - timedelta(days=3),
                awake_in="Australia/Adelaide",
            )
        )
        == 16
    )


@settings(deadline=None, max_examples=150)
@given(
    data=st.data(),
    place=st.integers(0, len(TRANSITIONS) - 1),
    kind=st.sampled_from(sorted(CALL_TYPES)),
)
def test_the_arrays_equal_the_plain_definition(data: st.DataObject, place: int, kind: str) -> None:
    start = TRANSITIONS[place][1] - timedelta(
        hours=data.draw(st.integers(0, 40)), minutes=data.draw(st.integers(0, 59))
    )
    now = start - timedelta(hours=data.draw(st.integers(-30, 24 * 89)))
    diaries = data.draw(st.lists(a_diary(start), max_size=4))
    days = data.draw(st.integers(1, 3))
    expected = plain_slots(diaries, CALL_TYPES[kind], start, days, now)
    assert list_slots(diaries, CALL_TYPES[kind], start, days, now) == expected
    assert list_slots(diaries, CALL_TYPES[kind], start, days, now, limit=5) == expected[:5]
    zone = data.draw(st.sampled_from(ZONES))
    by_day = [
        slot
        for slot in expected
        if all(is_day(at, zone) for at in (slot.starts_at, slot.ends_at - timedelta(seconds=1)))
    ]
    assert (
        list_slots(diaries, CALL_TYPES[kind], start, days, now, limit=9, awake_in=zone)
        == (by_day or expected)[:9]
    )


@settings(deadline=None, max_examples=60)
@given(
    held=st.sets(st.integers(0, 40), max_size=20),
    start=st.integers(0, 2000),
    minutes=st.sampled_from(sorted(CALL_TYPES)),
    zone=st.sampled_from(ZONES),
)
def test_every_slot_can_be_booked_and_no_bookable_time_is_missing(
    held: set[int], start: int, minutes: str, zone: str
) -> None:
    call = CALL_TYPES[minutes]
    begin = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=start)
    now = begin - timedelta(days=1)
    ada = csm(zone, "08:00", "12:00")
    busy = {begin + QUARTER * n for n in held}
    hers = diary(ada, *busy)
    offered = {slot.starts_at for slot in list_slots([hers], call, begin, 1, now)}
    for n in range(96):
        at = begin + QUARTER * n
        possible = refuse_start([hers], call, at, now) is None and not busy & set(
            held_quarters(ada, at, call)
        )
        assert (at in offered) == possible
        assert is_open(hers, at) or at not in offered
