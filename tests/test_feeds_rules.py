"""When a feed counts as stopped or halved, and what is never taken for that."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from everafter.feeds.delay_rules import usual_delay
from everafter.feeds.expectation_rules import expect, find_dispersion, split
from everafter.feeds.model import EVERYTHING, Outage
from everafter.feeds.rules import find_outages
from everafter.feeds.watch_rules import ALARM, Run, Watch, weigh
from helpers_outages import RATES, TYPES, at, make_counts, stop, totals

COUNTS = make_counts()
DAYS = [at(day) for day in range(15, 60)]


def found(*terms: Any, **more: Any) -> list[tuple[str, str]]:
    return [(outage.type, outage.kind) for outage in find_outages(*terms, **more)]


def lasting(outages: list[Outage]) -> dict[str, Outage]:
    return {outage.type: outage for outage in outages if outage.ended_at is None}


# ── the evidence ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seen", "share", "hours"), [(0.0, 0.1, 3), (2.5, 0.5, 18)], ids=["F1", "F2"]
)
def test_the_reference_values_of_the_evidence(seen: float, share: float, hours: int) -> None:
    run, hour = Run(), 0
    while run.evidence < ALARM:
        hour += 1
        run.add(hour, weigh(5, seen, 1.5, share))
    assert hour == hours and run.start == 1


def test_the_same_evidence_raises_the_alarm_of_a_watch() -> None:
    for seen, kind, hours in ((0.0, "stopped", 3), (2.5, "halved", 18)):
        watch = Watch()
        for hour in range(hours):
            assert watch.current is None
            watch.step(hour, 5.0, seen, 1.5, 120.0)
        assert watch.current and (watch.current.kind, watch.current.begin) == (kind, 0)


@pytest.mark.parametrize(("share", "kind"), [(0.2, "stopped"), (0.3, "halved")])
def test_the_likelier_state_is_reported(share: float, kind: str) -> None:
    watch = Watch()
    for hour in range(200):
        watch.step(hour, 10.0, 10 * share, 1.0, 240.0)
    assert watch.current and watch.current.kind == kind and not watch.ended


def test_a_halved_feed_that_seems_stopped_and_well_for_hours_has_its_first_beginning() -> None:
    watch, hour = Watch(), 0
    for hours, share in ((48, 0.5), (12, 0.0), (12, 1.0), (24, 0.5)):
        for _ in range(hours):
            watch.step(hour, 10.0, 10 * share, 1.0, 240.0)
            hour += 1
    assert [stretch.kind for stretch in watch.ended] == ["halved", "stopped"]
    assert watch.current and (watch.current.kind, watch.current.begin) == ("halved", 0)
    assert watch.ended[1].begin == 48


def test_a_feed_that_is_halved_and_then_stops() -> None:
    watch = Watch()
    for hour in range(60):
        watch.step(hour, 10.0, 5.0 if hour < 30 else 0.0, 1.0, 240.0)
    assert watch.current and (watch.current.kind, watch.current.begin) == ("stopped", 30)
    assert [(one.kind, one.begin, one.end) for one in watch.ended] == [("halved", 0, 30)]


# ── what is expected ──────────────────────────────────────────────────────────────────────────────


def test_the_expectation_is_share_times_level_times_weekday_times_hour() -> None:
    days = np.arange(35)
    level = np.where((3 + days) % 7 >= 5, 50.0, 100.0) * np.where(days >= 28, 2.0, 1.0)
    hours = np.arange(1.0, 25.0) / 300
    share = np.array([0.75, 0.25])
    counts = share[:, None, None] * level[None, :, None] * hours * 100
    nothing = np.zeros((2, 35), dtype=bool)
    usual = expect(counts, nothing, 0, 35)  # the first day of 1970 was a Thursday, so is this one
    weekday_mean = (5 * 100 + 2 * 50) / 7
    assert usual.hourly.sum() == pytest.approx(2 * 100 * 100 * 1.0, rel=0.03)
    assert usual.hourly[0] / usual.hourly[1] == pytest.approx(3.0, rel=0.01)
    assert usual.hourly[0] / usual.hourly[0].sum() == pytest.approx(hours, rel=0.01)
    assert weekday_mean < 100 and usual.known.all() and usual.total_known


def test_days_on_which_a_feed_was_stopped_teach_nothing() -> None:
    daily = COUNTS[:, : 28 * 24].reshape(len(TYPES), 28, 24)
    nothing = np.zeros((len(TYPES), 28), dtype=bool)
    usual = expect(daily, nothing, 0, 28)
    missing = daily.copy()
    missing[0, 18:] = 0
    nothing[0, 18:] = True
    after = expect(missing, nothing, 0, 28)
    assert after.hourly.sum(axis=1) == pytest.approx(usual.hourly.sum(axis=1), rel=0.06)
    assert after.dispersion[0] < 1.5
    forgotten = expect(missing, np.zeros_like(nothing), 0, 28)
    assert forgotten.hourly[0].sum() < 0.7 * usual.hourly[0].sum()


def test_the_level_is_estimated_from_the_others_when_a_feed_is_stopped() -> None:
    share, level = split(
        np.array([[90.0, 90.0, 0.0], [10.0, 10.0, 10.0]]),
        np.array([[True, True, False], [True, True, True]]),
    )
    assert level.tolist() == pytest.approx([100, 100, 100], rel=1e-3)
    assert share.tolist() == pytest.approx([0.9, 0.1], rel=1e-3)
    _, none = split(np.zeros((1, 2)), np.array([[True, False]]))
    assert none[0] == 0 and np.isnan(none[1])


def test_the_dispersion_has_a_floor_and_a_cap() -> None:
    alive = np.ones((1, 10), dtype=bool)
    even = np.full((1, 10), 100.0)
    assert find_dispersion(even, even, alive).tolist() == [1.0]
    wild = find_dispersion(even * 20, even, alive)
    assert wild.tolist() == pytest.approx([(10 * 25 + 20) / 30])


# ── stopped ───────────────────────────────────────────────────────────────────────────────────────


def test_ten_days_without_logins() -> None:
    counts = stop(COUNTS, at(45, 9), at(55, 14), "login")
    noticed = [
        at(45) + timedelta(hours=hour)
        for hour in range(24 * 11)
        if "login" in lasting(find_outages(totals(counts, at(45, hour)), at(45, hour)))
    ]
    assert at(45, 10) < noticed[0] <= at(45, 13), "within four hours, by day"
    assert at(55, 15) <= noticed[-1] <= at(55, 19), "and it ends soon after the events return"
    assert len(noticed) >= 24 * 10, "without a break"
    (outage,) = find_outages(totals(counts, at(50)), at(50))
    assert (outage.type, outage.kind, outage.since) == ("login", "stopped", at(45, 9))
    assert outage.expected == pytest.approx(300, rel=0.1) and outage.seen == 0
    after = {(o.type, o.kind): o for o in find_outages(totals(counts, at(56)), at(56))}
    assert after["login", "stopped"].ended_at == at(55, 14)


def test_nothing_is_found_on_days_when_all_is_well() -> None:
    days = 0
    for seed in (2, 3, 4, 5):
        counts = make_counts(seed=seed)
        for day in DAYS:
            outages = find_outages(totals(counts, day), day)
            assert not [outage for outage in outages if outage.kind == "stopped"]
            days += bool(outages)
    assert days <= 0.1 * 4 * len(DAYS)


def test_an_outage_is_the_same_from_any_later_day() -> None:
    counts = stop(COUNTS, at(40, 10), at(43, 12), "feature_used")
    for day in (42, 44, 50, 59):
        ended = [o for o in find_outages(totals(counts, at(day)), at(day)) if o.kind == "stopped"]
        assert [(o.type, o.since) for o in ended] == [("feature_used", at(40, 10))], day
        assert ended[0].ended_at == (None if day == 42 else at(43, 12))


def test_a_longer_outage_than_the_window_is_continued_from_the_record() -> None:
    counts = stop(make_counts(140), at(45, 9), at(130), "login")
    record = lasting(find_outages(totals(counts, at(50)), at(50)))["login"]
    for day in (60, 75, 90, 110, 129):
        outages = lasting(find_outages(totals(counts, at(day)), at(day), [record]))
        assert outages["login"].since == at(45, 9), day
    back = find_outages(totals(counts, at(131)), at(131), [record])
    assert [(o.type, o.ended_at) for o in back if o.type == "login"] == [("login", at(130))]


def test_a_type_that_was_never_sent_is_not_missed() -> None:
    assert not find_outages(totals(stop(COUNTS, at(0), None, "form_sent"), at(50)), at(50))


@pytest.mark.parametrize("days", [1, 8, 13])
def test_with_less_than_two_weeks_nothing_is_found(days: int) -> None:
    counts = stop(make_counts(days + 10), at(days), None, "login")
    for more in (0.5, 1, 5):
        as_of = at(min(days + more, 14))
        assert not find_outages(totals(counts, as_of), as_of)


def test_a_few_events_are_no_feed() -> None:
    rates = {name: rate / 1000 for name, rate in RATES.items()}
    counts = stop(make_counts(60, rates), at(40))
    assert not find_outages(totals(counts, at(59)), at(59))
    burst = np.zeros_like(COUNTS)
    burst[0, 24 * 20 + 5] = 1000
    burst[1] = COUNTS[1]
    assert not found(totals(burst, at(45)), at(45)), "all on one day"


def test_rare_events_take_days() -> None:
    counts = stop(COUNTS, at(45), None, "ticket_opened")
    noticed = [
        day
        for day in range(45, 60)
        if "ticket_opened" in lasting(find_outages(totals(counts, at(day)), at(day)))
    ]
    assert 48 <= noticed[0] <= 51


def test_a_job_of_monday_nights_is_not_missed_by_day() -> None:
    counts = COUNTS.copy()
    jobs = np.zeros(counts.shape[1])
    jobs[[hour for hour in range(len(jobs)) if at(0, hour).weekday() == 0 and hour % 24 == 3]] = 600
    counts[TYPES.index("form_sent")] = jobs
    for day in DAYS[21:]:
        assert not [
            one for one in find_outages(totals(counts, day), day) if one.kind == "stopped"
        ], day


# ── halved ────────────────────────────────────────────────────────────────────────────────────────


def test_half_of_the_logins() -> None:
    counts = COUNTS.copy()
    counts[0, 45 * 24 :] = np.random.default_rng(6).binomial(counts[0, 45 * 24 :].astype(int), 0.5)
    outages = lasting(find_outages(totals(counts, at(46)), at(46)))
    assert outages["login"].kind == "halved"
    assert at(44, 18) <= outages["login"].since <= at(45, 12)
    assert outages["login"].seen == pytest.approx(120, rel=0.2)
    assert not lasting(find_outages(totals(counts, at(44)), at(44)))


def test_half_of_the_logins_for_ten_days_and_for_good() -> None:
    counts = COUNTS.copy()
    counts[0, 25 * 24 :] = np.random.default_rng(6).binomial(counts[0, 25 * 24 :].astype(int), 0.5)
    for day in range(26, 36):
        assert lasting(find_outages(totals(counts, at(day)), at(day)))["login"].kind == "halved"
    assert not lasting(find_outages(totals(counts, at(58)), at(58))), "it has become the rule"


# ── the whole platform ────────────────────────────────────────────────────────────────────────────


def test_everything_stops() -> None:
    counts = stop(COUNTS, at(45, 3))
    outages = lasting(find_outages(totals(counts, at(46)), at(46)))
    assert outages[EVERYTHING].since == at(45, 3)
    assert outages[EVERYTHING].expected == pytest.approx(sum(RATES.values()), rel=0.1)
    assert outages["login"].kind == "stopped", "the expectation does not fall with them"
    later = lasting(find_outages(totals(counts, at(400)), at(400)))
    assert later[EVERYTHING].since == at(45, 3), "a year later too"


def test_everything_stops_but_a_trickle() -> None:
    counts = stop(COUNTS, at(45, 3))
    counts[TYPES.index("ticket_opened")] = COUNTS[TYPES.index("ticket_opened")]
    outages = lasting(find_outages(totals(counts, at(48)), at(48)))
    assert EVERYTHING in outages


def test_logins_alone_are_not_everything() -> None:
    counts = stop(COUNTS, at(45, 3), None, "login", "feature_used")
    outages = lasting(find_outages(totals(counts, at(48)), at(48)))
    assert set(outages) == {"login", "feature_used"}


def test_everything_returns_but_logins() -> None:
    counts = stop(stop(COUNTS, at(45, 3), at(47, 12)), at(45, 3), None, "login")
    before = find_outages(totals(counts, at(47)), at(47))
    after = find_outages(totals(counts, at(49)), at(49), before)
    assert set(lasting(after)) == {"login"}
    assert lasting(after)["login"].since == at(45, 3)
    (everything,) = [outage for outage in after if outage.type == EVERYTHING]
    assert (everything.since, everything.ended_at) == (at(45, 3), at(47, 12))


def test_maintenance_in_the_night_is_no_outage_of_everything() -> None:
    counts = stop(COUNTS, at(45, 1))
    assert not lasting(find_outages(totals(counts, at(45, 5)), at(45, 5)))


def test_all_types_slowing_down_together_are_no_outage() -> None:
    """As at Christmas, from one hour to the next."""
    counts = COUNTS.copy()
    counts[:, 45 * 24 + 9 :] = np.random.default_rng(6).binomial(
        counts[:, 45 * 24 + 9 :].astype(int), 0.3
    )
    for hour in range(12, 24 * 6, 6):
        outages = find_outages(totals(counts, at(45, hour)), at(45, hour))
        assert not [outage for outage in outages if outage.kind == "stopped"], hour


def test_a_feed_that_stops_while_all_slow_down_is_found() -> None:
    counts = COUNTS.copy()
    counts[:, 45 * 24 :] = np.random.default_rng(6).binomial(counts[:, 45 * 24 :].astype(int), 0.4)
    counts = stop(counts, at(46, 9), None, "login")
    assert set(lasting(find_outages(totals(counts, at(48)), at(48)))) == {"login"}


def test_the_clients_that_a_platform_begins_with_are_not_a_rate() -> None:
    """Thousands are imported on the first day; later there are two a day."""
    counts = np.vstack([COUNTS, np.zeros((1, COUNTS.shape[1]))])
    counts[-1] = np.random.default_rng(4).poisson(2 / 24, counts.shape[1])
    counts[-1, 9:12] = 1200
    types = (*TYPES, "client_added")
    for day in range(14, 60):
        outages = find_outages(totals(counts, at(day), types=types), at(day))
        assert not [outage for outage in outages if outage.kind == "stopped"], day


# ── batches and imports ───────────────────────────────────────────────────────────────────────────


def nightly(hours: Any) -> Any:
    """The events of a day arrive in the next night at 2:00."""
    return (hours // 24 + 1) * 24 + 2.0


def imported(day: float) -> Any:
    moment = at(day).timestamp() / 3600

    def arrival(hours: Any) -> Any:
        return np.where(hours < moment, moment, hours)

    return arrival


@pytest.mark.parametrize("hour", [0, 1.9, 2.1, 5, 12, 23])
def test_nightly_batches_are_not_late_before_they_are_due(hour: float) -> None:
    for day in (30, 45, 58):
        as_of = at(day, hour)
        assert not find_outages(totals(COUNTS, as_of, nightly), as_of)


def test_a_batch_that_does_not_come_is_noticed() -> None:
    counts = stop(COUNTS, at(45))
    assert not find_outages(totals(counts, at(46), nightly), at(46))
    assert EVERYTHING in lasting(find_outages(totals(counts, at(47), nightly), at(47)))


def test_one_type_in_nightly_batches_beside_live_ones() -> None:
    def mixed(hours: Any) -> Any:
        arrivals = np.tile(hours, (len(TYPES), 1))
        arrivals[3] = nightly(hours)
        return arrivals

    for day in (44, 45, 46):
        for hour in (1, 5, 12, 23):
            assert not find_outages(totals(COUNTS, at(day, hour), mixed), at(day, hour))
    stopped = stop(COUNTS, at(45), None, "form_sent")
    noticed = lasting(find_outages(totals(stopped, at(48), mixed), at(48)))
    assert set(noticed) == {"form_sent"}


def test_an_old_export_imported_today_is_one_outage_of_everything() -> None:
    counts = stop(COUNTS, at(45, 7))
    as_of = at(200, 12)
    outages = find_outages(totals(counts, as_of, imported(200.2)), as_of)
    assert lasting(outages)[EVERYTHING].since == at(45, 7)


def test_an_export_of_yesterday_is_not_an_outage() -> None:
    counts = stop(COUNTS, at(45, 7))
    as_of = at(46, 12)
    assert not find_outages(totals(counts, as_of, imported(46.3)), as_of)


def test_an_outage_inside_an_imported_history_is_found() -> None:
    counts = stop(stop(COUNTS, at(45), None, "login"), at(50, 7))
    as_of = at(50, 12)
    outages = find_outages(totals(counts, as_of, imported(50.4)), as_of)
    assert {name: outage.since for name, outage in lasting(outages).items()} == {"login": at(45)}


def test_how_late_events_usually_arrive() -> None:
    hours = np.arange(0, 40 * 24, dtype=float)
    assert usual_delay(hours + 0.5, 0, 960) == 0
    assert usual_delay(nightly(hours), 0, 960) == 25
    incident = hours + 0.5
    incident[20 * 24 : 22 * 24] = 22 * 24
    assert usual_delay(incident, 0, 960) == 0, "one incident is not the usual"
    assert usual_delay(np.full(960, 959.0), 0, 960) is None, "an import"
    assert usual_delay(np.full(960, np.nan), 0, 960) is None
    assert usual_delay(np.where(hours < 720, 720.0, hours + 0.5), 0, 960) == 0
