"""The formulas of seasonality against reference values, and at their edges."""

import numpy as np
import polars as pl
import pytest

from everafter.activity import model
from everafter.seasonality import (
    bit_rules,
    decline_rules,
    inactivity_rules,
    index_rules,
    peer_rules,
    rate_rules,
)
from everafter.seasonality.model import GROUPS, STOPPED_ACTIVITY, Floats


def near(*values: float, within: float = 1e-6) -> object:
    return pytest.approx(list(values), abs=within)


# ── peer activity ─────────────────────────────────────────────────────────────────


def test_counts_move_the_estimate_as_far_as_the_prior_lets_them() -> None:
    x, _ = peer_rules.estimate(
        np.array([3.0, 0, 2, 8, 1]),
        np.array([4.0, 1, 2, 6, 2]),
        np.array([0, 0, 0, 1, 1]),
        np.zeros(2),
        np.full(2, 10.0),
        bits=False,
    )
    assert x.tolist() == near(-0.120521, 0.054874)


def test_login_days_move_the_estimate_and_carry_their_information() -> None:
    x, information = peer_rules.estimate(
        np.array([1.0, 0, 1, 0, 0]),
        np.array([1.5, 0.4, 0.9, 2, 0.3]),
        np.array([0, 0, 0, 1, 1]),
        np.array([-0.1, 0]),
        np.full(2, 25.0),
        bits=True,
    )
    assert x.tolist() == near(-0.084724, -0.044080)
    assert information.tolist() == near(0.963526, 0.497758)


def test_a_group_without_members_stays_at_the_prior() -> None:
    none = np.array([], dtype=float)
    x, information = peer_rules.estimate(
        none, none, np.array([], dtype=int), np.array([-0.7]), np.array([4.0]), bits=True
    )
    assert x.tolist() == [-0.7] and information.tolist() == [0.0]


@pytest.mark.parametrize(
    ("seen", "expected", "stopped"),
    [
        (20, 150, True),
        (35, 150, False),
        (0, 9, False),
        (0, 9.999, False),
        (0, 10, True),
        (1, 10, True),
        (2, 10, False),
    ],
)
def test_so_few_of_so_many_mean_that_events_did_not_arrive(
    seen: float, expected: float, stopped: bool
) -> None:
    assert bool(peer_rules.is_stopped(np.array(seen), np.array(expected))) is stopped


def counts(*of: tuple[int, float, float, int]) -> peer_rules.DayCounts:
    """Members of groups: (group, rate, seen, number of suppliers)."""
    return peer_rules.DayCounts(
        np.concatenate([np.full(n, group) for group, _, _, n in of]),
        np.concatenate([np.full(n, rate) for _, rate, _, n in of]),
        np.concatenate([np.full(n, seen) for _, _, seen, n in of]),
    )


def start() -> tuple[peer_rules.ChannelState, Floats, Floats]:
    return peer_rules.prior_state(np.zeros(3), np.zeros(GROUPS)), np.zeros(3), np.ones(GROUPS)


def test_a_day_on_which_nothing_arrived_teaches_nothing() -> None:
    state, weekday, usual = start()
    day = peer_rules.measure_day(
        "uses", state, weekday, counts((0, 1.0, 0.0, 300)), usual, np.zeros(3)
    )
    assert day.stopped.tolist() == [True, True, True]  # the others are too small to tell
    assert day.activity[0] == STOPPED_ACTIVITY
    assert np.isnan(day.level_that_day[0])
    assert day.state.level[0] == 0 and day.state.level_precision[0] == state.level_precision[0]
    assert (day.state.deviation == state.deviation).all()


def test_a_large_group_follows_the_day_and_a_small_one_its_hemisphere() -> None:
    state, weekday, usual = start()
    found = counts((0, 1.0, 0.5, 2000), (1, 1.0, 2.0, 2))
    day = peer_rules.measure_day("uses", state, weekday, found, usual, np.zeros(3))
    assert day.activity[0] == pytest.approx(0.5, abs=0.02)
    assert 0.5 < day.activity[1] < 0.9  # two suppliers at 2 do not move it far
    assert day.activity[2] == pytest.approx(np.exp(day.state.level[0]), abs=0.01)


def test_one_supplier_alone_moves_no_group() -> None:
    state, weekday, usual = start()
    calm = peer_rules.measure_day(
        "uses", state, weekday, counts((0, 1.0, 1.0, 50)), usual, np.zeros(3)
    )
    script = counts((0, 1.0, 1.0, 49), (0, 1.0, 10_000.0, 1))
    loud = peer_rules.measure_day("uses", state, weekday, script, usual, np.zeros(3))
    assert loud.activity[0] < 1.3 * calm.activity[0]


def test_weekdays_are_learned_after_two_weeks_and_sum_to_zero() -> None:
    levels = np.tile(np.array([0.0, 0, 0, 0, 0, 0.3, -0.7]), (3, 8))
    last_day = 20_000 + 6 - (20_000 + 3) % 7  # a Sunday
    effects = peer_rules.weekday_effects(levels, last_day)
    assert effects.sum(axis=1).tolist() == near(0, 0, 0)
    assert effects[0].argmin() == 6 and effects[0].argmax() == 5
    assert (peer_rules.weekday_effects(levels[:, -13:], last_day) == 0).all()
    assert (peer_rules.weekday_effects(levels[:, -14:], last_day) != 0).any()


# ── own rates ─────────────────────────────────────────────────────────────────────


def step_login_rate(rate: Floats, logins: Floats, level: Floats, whole: Floats) -> Floats:
    """One step of expectation and maximisation; terms as in solve_login_rates."""
    value = rate[:, None] * level
    return ((logins * value / -np.expm1(-value)).sum(axis=1) + 1) / whole


@pytest.mark.parametrize(
    ("logins", "level", "exposure", "rate"),
    [([56.0], [1.0], 112.0, 0.691826), ([28.0, 28.0], [1.0, 0.4], 78.4, 0.895980)],
)
def test_a_step_of_the_login_rate(
    logins: list[float], level: list[float], exposure: float, rate: float
) -> None:
    step = step_login_rate(
        np.array([0.7]), np.array([logins]), np.array(level), np.array([exposure + 2])
    )
    assert step.tolist() == near(rate)


@pytest.mark.parametrize("days", [0, 1, 4, 56, 110, 112])
def test_the_login_rate_solves_its_equation(days: int) -> None:
    terms = np.array([[days / 2, days / 2]]), np.array([1.0, 0.3]), np.array([112 * 0.65 + 2])
    rate = rate_rules.solve_login_rates(*terms)
    assert step_login_rate(rate, *terms).tolist() == pytest.approx(rate.tolist(), rel=1e-6)


def test_one_day_alone_makes_no_rate_of_use() -> None:
    uses = np.ones((2, 112), dtype=np.uint8)
    uses[1, 50] = 255
    found = rate_rules.use_rates(
        uses, np.ones((2, 112), dtype=bool), np.ones((1, 112)), np.zeros(2, dtype=int), np.ones(1)
    )
    assert found.rate[0] == 1.0
    assert found.rate[1] < 1.15


def test_only_the_days_since_the_account_began_count() -> None:
    uses = np.full((1, 112), 2, dtype=np.uint8)
    included = np.zeros((1, 112), dtype=bool)
    included[0, -10:] = True
    group, one = np.zeros(1, dtype=int), np.ones(1)
    found = rate_rules.use_rates(uses, included, np.ones((1, 112)), group, one)
    assert (found.events[0], found.exposure[0]) == (20, 10)


# ── inactivity ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rate", "exposure", "missed", "last", "probability"),
    [
        (1.2, 100, 3, 0.9, 0.026623),
        (1.2, 100, 5, 1, 0.003387),
        (1.2, 100, 2, 0.4, 0.096741),
        (0.15, 80, 14, 1, 0.145545),
        (2.5, 20, 2, 0.1, 0.093268),
    ],
)
def test_the_probability_of_a_gap(
    rate: float, exposure: float, missed: float, last: float, probability: float
) -> None:
    found = inactivity_rules.inactivity_probability(
        1 - np.exp(-np.array([rate])),
        np.array([exposure]),
        np.array([missed]),
        np.array([last]),
    )
    assert found.tolist() == near(probability)


def test_probabilities_are_corrected_by_the_gaps_seen() -> None:
    seen = np.array([0.9, 0.5, 0.3, 0.15, 0.1, 0.04, 0.01, 0.6, 0.7, 0.8] * 50)
    rare = seen < inactivity_rules.RARE
    share, power = inactivity_rules.learn_calibration(
        np.array(float(len(seen))), np.array(rare.sum()), np.log(0.2 / seen[rare]).sum()
    )
    assert [float(share), float(power)] == near(0.342857, 0.790931)
    corrected = inactivity_rules.calibrate(np.array([0.01, 0.15, 0.2, 0.6, 1.0]), share, power)
    assert corrected.tolist() == near(0.032069, 0.273083, 0.342857, 0.671429, 1.0)


@pytest.mark.parametrize(
    ("days", "probability", "chance", "unusual"),
    [
        (4, 0.011, 0.7, True),
        (5, 0.011, 0.7, False),
        (7, 0.008, 0.3, True),
        (2, 0.0001, 0.3, False),
        (3, 0.0119, 0.5, True),
        (3, 0.012, 0.5, False),
        (3, 0.0119, 0.499, False),
        (5, 0.0019, 0.5, True),
        (5, 0.002, 0.5, False),
        (9, 0.009, 0.499, False),
        (90, np.nan, 0.5, False),
    ],
)
def test_what_is_unusual(days: int, probability: float, chance: float, unusual: bool) -> None:
    found = inactivity_rules.is_unusual(
        np.array([days]), np.array([probability]), np.array([chance]), np.array([1.2])
    )
    assert found.tolist() == [unusual]


@pytest.mark.parametrize(
    ("days", "probability", "power", "unusual"),
    [
        (4, 0.0058, 0.7, True),
        (4, 0.0059, 0.7, False),
        (5, 0.0028, 0.7, True),
        (5, 0.0029, 0.7, False),
        (4, 0.0019, 0.1, True),
        (4, 0.0020, 0.1, False),
    ],
)
def test_where_long_gaps_are_common_short_ones_tell_less(
    days: int, probability: float, power: float, unusual: bool
) -> None:
    found = inactivity_rules.is_unusual(
        np.array([days]), np.array([probability]), np.array([0.6]), np.array([power])
    )
    assert found.tolist() == [unusual]


# ── decline ───────────────────────────────────────────────────────────────────────

FULL = [7.0] * 16


@pytest.mark.parametrize(
    ("weeks", "exposure", "dispersion", "evidence"),
    [
        ([14] * 16, FULL, 2, -1.363116),
        ([2, 4, 7, 10] + [14] * 12, FULL, 2, 4.636353),
        ([2, 4, 7, 10] + [14] * 12, [1.4, 2.1, 3.5, 4.9] + [7.0] * 12, 2, -0.639280),
        ([0, 0, 0] + [14] * 13, FULL, 2, 13.208322),
        ([2, 4, 7, 10] + [14] * 12, FULL, 5, 1.579330),
        ([0, 0] + [14] * 14, [0.0, 0.0] + [7.0] * 14, 2, -0.512755),
        ([5, 5, 5] + [0] * 13, [7.0] * 3 + [0.0] * 13, 2, -0.027093),
    ],
    ids=["steady", "fading", "season", "stopped", "bursty", "no events arrived", "three weeks old"],
)
def test_the_evidence_of_a_decline(
    weeks: list[float], exposure: list[float], dispersion: float, evidence: float
) -> None:
    found = decline_rules.decline_evidence(
        np.array([weeks], dtype=float),
        np.array([exposure]),
        np.array([2.0]),
        np.array([float(dispersion)]),
        7,
    )
    assert found.tolist() == near(evidence, within=1e-5)


@pytest.mark.parametrize(
    ("burst", "drift", "monthly", "dispersion"),
    [(1.1, 0.015, 40, 2.0), (2.8, 0.05, 60, 5.8), (2.0, 0.0, 0, 2.0)],
)
def test_the_dispersion_has_a_floor(
    burst: float, drift: float, monthly: float, dispersion: float
) -> None:
    found = decline_rules.find_dispersion(*(np.array([v]) for v in (burst, drift, monthly)))
    assert found.tolist() == near(dispersion)


def test_dispersion_is_learned_from_counts() -> None:
    random = np.random.default_rng(7)
    exposure = np.full((4000, 16), 7.0)
    steady = random.poisson(14, (4000, 16)).astype(float)
    bursty = random.negative_binomial(14 / 2, 1 / 3, (4000, 16)).astype(float)  # variance 3 × mean
    wander = random.poisson(14 * random.gamma(10, 0.1, (4000, 4)).repeat(4, axis=1)).astype(float)
    burst, drift = decline_rules.learn_dispersion(steady, exposure)
    assert burst == pytest.approx(1, abs=0.05) and drift == pytest.approx(0, abs=0.003)
    burst, drift = decline_rules.learn_dispersion(bursty, exposure)
    assert burst == pytest.approx(3, rel=0.06) and drift == pytest.approx(0, abs=0.006)
    burst, drift = decline_rules.learn_dispersion(wander, exposure)
    assert burst == pytest.approx(1, abs=0.06) and drift == pytest.approx(0.1, rel=0.15)
    assert decline_rules.learn_dispersion(steady[:0], exposure[:0]) == (1.2, 0.02)


def test_four_of_five_weeks_are_in_the_expected_range() -> None:
    random = np.random.default_rng(3)
    rate = random.gamma(1.5, 2 / 1.5, 20_000)
    counts = random.poisson(rate[:, None] * 7, (20_000, 16)).astype(float)
    exposure = np.full((20_000, 16), 7.0)
    one = np.ones(20_000)
    low, high = decline_rules.expected_range(
        counts, exposure, 2 * one, 3.5 * one, one, one, 0 * one
    )
    following = random.poisson(rate * 3.5)
    inside = (following >= low) & (following <= high)
    assert 0.78 < inside.mean() < 0.9


# ── season index ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("week", "index"), [(0.45, 0.344828), (1.2, 0.919540), (2.0, 1.0)])
def test_the_index_compares_with_a_busy_week_of_the_year(week: float, index: float) -> None:
    year = np.repeat([[0.4, 0.9, 1.2, 1.5]], [8 * 7, 18 * 7, 18 * 7, 8 * 7], axis=1)
    peak = index_rules.find_peak(year, year, 364)
    assert index_rules.season_index(np.array([week]), peak).tolist() == near(index)


def test_weeks_that_were_not_measured_have_the_shape_of_the_prior_at_the_level_measured() -> None:
    prior = np.repeat([[0.5, 1.0, 1.5, 1.0]], 91, axis=1)
    measured = np.full((1, 91), 2.0)  # twice the prior of the last quarter
    peak = index_rules.find_peak(measured, prior, 91)
    assert peak.tolist() == near(3.0)
    assert index_rules.find_peak(measured, prior, 6).tolist() == near(1.5)  # no whole week


def test_days_on_which_nothing_arrived_are_left_out_of_the_week() -> None:
    week = np.array([[0.6] * 7 + [STOPPED_ACTIVITY] * 3])
    assert index_rules.last_seven(week)[0].tolist()[-3:] == near(0.6, 0.6, 0.6)
    long = np.array([[0.6] * 7 + [STOPPED_ACTIVITY] * 10])
    assert index_rules.last_seven(long)[0, -1] == pytest.approx(0.6)


# ── bits ──────────────────────────────────────────────────────────────────────────


def test_words_hold_the_same_days_as_a_matrix() -> None:
    random = np.random.default_rng(11)
    days = (random.random((200, bit_rules.WINDOW)) < 0.2).astype(np.uint8)
    days[0] = 0
    words = bit_rules.pack(days)
    first, last = (random.integers(0, bit_rules.WINDOW, 200) for _ in range(2))
    place = np.arange(bit_rules.WINDOW)
    inside = (place >= first[:, None]) & (place <= last[:, None])
    assert (bit_rules.between(first, last) == bit_rules.pack(inside.astype(np.uint8))).all()
    none = ~days.any(axis=1)
    assert (bit_rules.first_set(words) == np.where(none, -1, days.argmax(axis=1))).all()
    assert (
        bit_rules.last_set(words) == np.where(none, -1, 191 - days[:, ::-1].argmax(axis=1))
    ).all()
    assert (bit_rules.count_all(words) == days.sum(axis=1)).all()
    weekly = days.reshape(200, -1)[:, -112:].reshape(200, 16, 7).sum(axis=2)[:, ::-1]
    assert (bit_rules.weekly_logins(words, 16) == weekly).all()


@pytest.mark.parametrize("by", [0, 1, 5, 63, 64, 65, 128, 191, 192, 400, -1, -6, -64, -70, -192])
def test_a_window_is_moved_by_days(by: int) -> None:
    random = np.random.default_rng(12)
    days = (random.random((50, bit_rules.WINDOW)) < 0.3).astype(np.uint8)
    moved = np.zeros_like(days)
    if 0 <= by < 192:
        moved[:, by:] = days[:, : 192 - by]
    elif -192 < by < 0:
        moved[:, :by] = days[:, -by:]
    assert (bit_rules.shift(bit_rules.pack(days), by) == bit_rules.pack(moved)).all()


@pytest.mark.parametrize("start", [-250, -192, -5, 0, 1, 7, 8, 13, 200, 211, 300, 420])
def test_a_window_is_read_from_packed_days(start: int) -> None:
    random = np.random.default_rng(13)
    days = (random.random((50, 403)) < 0.3).astype(np.uint8)
    wanted = np.zeros((50, bit_rules.WINDOW), dtype=np.uint8)
    for place in range(bit_rules.WINDOW):
        if 0 <= start + place < 403:
            wanted[:, place] = days[:, start + place]
    found = bit_rules.read_window(np.packbits(days, axis=1), start)
    assert (found == bit_rules.pack(wanted)).all()


@pytest.mark.parametrize("head", [20_000 - 5, 20_000, 20_000 + 1, 20_000 + 70, 20_000 + 300])
def test_a_ring_buffer_that_went_on_keeps_only_the_days_of_its_own(head: int) -> None:
    """Logins on every day up to the last event, seen from day 20,000."""
    today, slots = 20_000, model.LOGIN_SLOTS
    full = pl.Series([np.packbits(np.ones(slots, dtype=np.uint8)).tobytes()])
    words = bit_rules.read_login_ring(full, np.array([head]), today)
    held = [day for day in range(today - 191, today + 1) if head - slots < day <= head]
    first, last = (held[0] - today + 191, held[-1] - today + 191) if held else (-1, -1)
    assert bit_rules.count_all(words).tolist() == [len(held)]
    assert (bit_rules.first_set(words)[0], bit_rules.last_set(words)[0]) == (first, last)
