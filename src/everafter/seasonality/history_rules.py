"""Bringing the peer activity index up to a day: what each evening adds. Pure.

A day's row depends on the days before it and on that day's events alone, so a replay of a past day
finds what was known then."""

from dataclasses import dataclass, replace

import numpy as np

from everafter.seasonality.bit_rules import (
    WINDOW,
    Small,
    between,
    count_all,
    weekly_logins,
)
from everafter.seasonality.count_model import PeerCounts
from everafter.seasonality.decline_rules import WEEKS, learn_dispersion
from everafter.seasonality.gap_rules import find_gaps
from everafter.seasonality.inactivity_rules import RARE, learn_calibration
from everafter.seasonality.index_rules import find_peak, last_seven, season_index
from everafter.seasonality.model import (
    CHANNELS,
    GROUPS,
    HEMISPHERE_OF_GROUP,
    HEMISPHERES,
    KEPT_DAYS,
    LIVE_DAYS,
    RATE_DAYS,
    TYPE_OF_GROUP,
    TYPES,
    WARM_UP_DAYS,
    Channel,
    ChannelDay,
    Floats,
    Ints,
    Norms,
    PeerActivity,
    prior_norms,
    sum_by,
)
from everafter.seasonality.peer_rules import (
    DayCounts,
    assume_day,
    measure_day,
    prior_state,
    step_season,
    weekday_effects,
)
from everafter.seasonality.prior_rules import prior_levels
from everafter.seasonality.rate_rules import Rates, login_rates, use_rates

_GAP_DAYS = 182
_LATE_SHARE = 0.02
"""A day is measured again when more than this share of its events arrived later."""
_YEAR_DAYS = 364
_MONDAY = 4
"""1970-01-05 was a Monday, and day number 4."""


@dataclass(frozen=True, slots=True)
class Day:
    """What one day adds to the history.

    Attributes:
        season_index: (groups,), 0 on a day on which no logins arrived.
        gaps: (vendor types, 3), of the gaps without logins that ended that day: their number, how
            many were rare, and the sum of ln(RARE ÷ probability) over those.
    """

    channels: dict[Channel, ChannelDay]
    season_index: Floats
    norms: Norms
    gaps: Floats


@dataclass(frozen=True, slots=True)
class History:
    """The days measured, without gaps between them."""

    first_day: int
    days: list[Day]

    @property
    def last_day(self) -> int:
        """The last day; the one before `first_day` where there is none."""
        return self.first_day + len(self.days) - 1

    def activity(self, channel: Channel) -> Floats:
        """(groups, days)."""
        if not self.days:
            return np.empty((GROUPS, 0))
        return np.stack([day.channels[channel].activity for day in self.days], axis=1)

    def levels(self, channel: Channel) -> Floats:
        """(hemispheres, days), NaN where not measured."""
        if not self.days:
            return np.empty((len(HEMISPHERES), 0))
        return np.stack([day.channels[channel].level_that_day for day in self.days], axis=1)


def advance(history: History, counts: PeerCounts, until: int) -> History:
    """Measure the days after the history's last, up to `until`.

    Args:
        counts: of all suppliers, whose columns reach from LOOKED_BACK_DAYS before the first new
            day (or the platform's first day) to `until`.
    """
    days = list(history.days)
    week, rates, usual = -1, dict[Channel, Floats](), dict[Channel, Floats]()
    for day in range(history.last_day + 1, until + 1):
        known = History(history.first_day, days)
        monday = day - (day + 3) % 7
        if week != monday:
            week = monday
            before = _usual_before(known, counts, monday)
            for channel in CHANNELS:
                rates[channel], usual[channel] = _rates_of_week(
                    known, counts, channel, monday, before[channel]
                )
        days.append(_measure(known, counts, day, rates, usual))
    return History(history.first_day, days)


def drop_changed(history: History, counts: PeerCounts, days: int) -> History:
    """The history up to the first of its last days of which events arrived after it was measured.

    A platform that sends its events once a day has not sent those of yesterday when yesterday is
    measured; the next evening measures that day again.

    Args:
        days: how many days to look at.
    """
    first = max(history.first_day, history.last_day - days + 1)
    for day in range(first, history.last_day + 1):
        known = history.days[day - history.first_day]
        if any(
            (
                np.abs(counts.total_on(channel, day) - known.channels[channel].counted)
                > _LATE_SHARE * known.channels[channel].counted
            ).any()
            for channel in CHANNELS
        ):
            return History(history.first_day, history.days[: day - history.first_day])
    return history


def _usual_before(known: History, counts: PeerCounts, monday: int) -> dict[Channel, Floats]:
    """The mean rates as of the day before a Monday; where nothing is known before it, those of
    the history's first two weeks."""
    if monday > known.first_day and known.days:
        return {c: known.days[monday - 1 - known.first_day].channels[c].usual for c in CHANNELS}
    usual: dict[Channel, Floats] = {}
    first, last = known.first_day, known.first_day + WARM_UP_DAYS - 1
    days = np.clip(last + 1 - np.maximum(counts.began, first), 0, WARM_UP_DAYS)
    exposure = sum_by(counts.group, days, GROUPS)
    for channel in CHANNELS:
        total = sum_by(counts.group, _total(counts, channel, first, last), GROUPS)
        usual[channel] = (total + 0.5) / (exposure + 1.0)
    return usual


def _total(counts: PeerCounts, channel: Channel, first: int, last: int) -> Ints:
    """(n,): uses, or days with a login, between two days."""
    if channel == "uses":
        return counts.uses_of(first, last).sum(axis=1, dtype=np.int64)
    days = between(np.array([WINDOW - 1 - (last - first)]), np.array([WINDOW - 1]))
    return count_all(counts.login_window(last) & days)


def _rates_of_week(
    known: History, counts: PeerCounts, channel: Channel, monday: int, usual: Floats
) -> tuple[Floats, Floats]:
    """Own rates from the 112 days before this Monday, and the groups' means."""
    measured = max(monday - known.first_day, 0)
    if not measured:
        return usual[counts.group], usual
    width = min(measured, RATE_DAYS)
    activity = known.activity(channel)[:, measured - width : measured]
    rate: list[Floats] = []
    events, exposure = np.zeros(GROUPS), np.zeros(GROUPS)
    for block in counts.blocks():
        found = _block_rates(block, channel, monday, activity, usual)
        rate.append(found.rate)
        events += sum_by(block.group, found.events, GROUPS)
        exposure += sum_by(block.group, found.exposure, GROUPS)
    return np.concatenate(rate), (events + 0.5) / (exposure + 1.0)


def _block_rates(
    block: PeerCounts, channel: Channel, monday: int, activity: Floats, usual: Floats
) -> Rates:
    """Own rates from the days before a Monday, as many as `activity` has."""
    width = activity.shape[1]
    if channel == "uses":
        days = np.arange(monday - width, monday)
        included = (days >= block.began[:, None]) & (days < block.ended[:, None])
        uses = block.uses_of(monday - width, monday - 1)
        return use_rates(uses, included, activity, block.group, usual)
    origin = monday - WINDOW
    return login_rates(
        block.login_window(monday - 1),
        np.clip(block.began - origin, WINDOW - width, WINDOW),
        np.clip(block.ended - 1 - origin, WINDOW - width - 1, WINDOW - 1),
        np.pad(activity, ((0, 0), (WINDOW - width, 0))),
        block.group,
        usual,
    )


def _measure(
    known: History,
    counts: PeerCounts,
    day: int,
    rates: dict[Channel, Floats],
    usual: dict[Channel, Floats],
) -> Day:
    """One day in both channels, and what it teaches."""
    channels: dict[Channel, ChannelDay] = {
        channel: _measure_channel(known, counts, channel, day, rates[channel], usual[channel])
        for channel in CHANNELS
    }
    before = known.days[-1].norms if known.days else prior_norms()
    norms = _learn(known, counts, before) if day % 7 == _MONDAY else before
    gaps = _ended_gaps(known, counts, day, usual["logins"], channels["logins"])
    return Day(channels, _season_index(known, channels["logins"], day), norms, gaps)


def _measure_channel(
    known: History,
    counts: PeerCounts,
    channel: Channel,
    day: int,
    rate: Floats,
    usual: Floats,
) -> ChannelDay:
    level, deviation = prior_levels(day)
    if known.days:
        before, ahead = prior_levels(day - 1)
        state = step_season(
            known.days[-1].channels[channel].state, level - before, deviation - ahead
        )
    else:
        state = prior_state(level, deviation)
    if day - known.first_day < WARM_UP_DAYS:
        start = prior_state(level, deviation)
        return assume_day(start, usual, counts.total_on(channel, day))
    recent = counts.seen_in(channel, day - LIVE_DAYS, day - 1)
    live = np.flatnonzero((counts.began < day) & (counts.ended > day) & recent)
    effects = weekday_effects(known.levels(channel), day - 1)[:, (day + 3) % 7]
    seen = counts.seen_on(channel, day)[live]
    return measure_day(
        channel,
        state,
        effects,
        DayCounts(counts.group[live], rate[live], seen),
        usual,
        counts.total_on(channel, day),
    )


def _season_index(known: History, logins: ChannelDay, day: int) -> Floats:
    """(groups,): the season index of the day."""
    activity = np.column_stack([known.activity("logins"), logins.activity])
    measured = max(0, activity.shape[1] - WARM_UP_DAYS)
    peak = find_peak(activity[:, -_YEAR_DAYS:], prior_of_days(day), measured)
    index = season_index(last_seven(activity[:, -14:])[:, -1], peak)
    return np.where(logins.stopped[HEMISPHERE_OF_GROUP], 0.0, index)


def prior_of_days(last: int, days: int = _YEAR_DAYS) -> Floats:
    """(groups, days): the prior's activity up to a day."""
    each = [prior_levels(one) for one in range(last - days + 1, last + 1)]
    return np.exp(
        np.stack([level[HEMISPHERE_OF_GROUP] + deviation for level, deviation in each], axis=1)
    )


def _ended_gaps(
    known: History, counts: PeerCounts, day: int, usual: Floats, logins: ChannelDay
) -> Floats:
    """The gaps that ended on a day, by vendor type."""
    sums = np.zeros((len(TYPES), 3))
    if day - known.first_day < WARM_UP_DAYS or logins.stopped.any():
        return sums
    activity = np.column_stack([known.activity("logins"), logins.activity])[:, -WINDOW:]
    activity = np.pad(activity, ((0, 0), (WINDOW - activity.shape[1], 0)))
    for block in counts.blocks():
        ended = np.flatnonzero(block.seen_on("logins", day))
        window = block.login_window(day)[ended]
        window[:, -1] &= ~np.uint64(1)
        began = block.began[ended] - (day - WINDOW + 1)
        found = find_gaps(window, began, activity, block.group[ended], usual)
        sums += _sum_gaps(found.probability, TYPE_OF_GROUP[block.group[ended]])
    return sums


def _sum_gaps(probability: Floats, kind: Ints) -> Floats:
    """(vendor types, 3): as in `Day.gaps`. NaN: not known, and not counted."""
    known = ~np.isnan(probability)
    probability, kind = probability[known], kind[known]
    rare = probability < RARE
    rarity = np.log(RARE / np.maximum(probability[rare], 1e-12))
    return np.column_stack(
        [
            sum_by(kind, np.ones(len(kind)), len(TYPES)),
            sum_by(kind[rare], np.ones(int(rare.sum())), len(TYPES)),
            sum_by(kind[rare], rarity, len(TYPES)),
        ]
    )


def _learn(known: History, counts: PeerCounts, before: Norms) -> Norms:
    """The norms on a Monday, from the weeks that are over."""
    gaps = sum((day.gaps for day in known.days[-_GAP_DAYS:]), np.zeros((len(TYPES), 3)))
    share, power = learn_calibration(gaps[:, 0], gaps[:, 1], gaps[:, 2])
    if len(known.days) < 7 * WEEKS:
        return replace(before, inactivity_share=share, inactivity_power=power)
    login_burst, login_drift = _dispersions(known, counts, "logins")
    use_burst, use_drift = _dispersions(known, counts, "uses")
    return Norms(login_burst, login_drift, use_burst, use_drift, share, power)


def _dispersions(known: History, counts: PeerCounts, channel: Channel) -> tuple[Floats, Floats]:
    """(vendor types,) burst and drift of the sixteen weeks that are over."""
    last = known.last_day
    first = last - 7 * WEEKS + 1
    activity = known.activity(channel)[:, -7 * WEEKS :]
    exposures = activity.reshape(GROUPS, WEEKS, 7).sum(axis=2)[:, ::-1]
    weekly = (
        _weekly(counts.uses_of(first, last))
        if channel == "uses"
        else weekly_logins(counts.login_window(last), WEEKS)
    )
    kind = TYPE_OF_GROUP[counts.group]
    whole = (counts.began < first) & (counts.ended > last)
    burst, drift = np.empty(len(TYPES)), np.empty(len(TYPES))
    for number in range(len(TYPES)):
        rows = np.flatnonzero(whole & (kind == number))
        burst[number], drift[number] = learn_dispersion(weekly[rows], exposures[counts.group[rows]])
    return burst, drift


def _weekly(days: Small) -> Floats:
    """(n, weeks): sums of sevens, the last first."""
    return days.reshape(len(days), -1, 7).sum(axis=2, dtype=np.int64)[:, ::-1].astype(float)


def to_peer_activity(history: History) -> PeerActivity:
    """The history as scoring takes it; without days, the prior is taken (prior_activity)."""
    last = history.days[-1]
    days = history.days[-KEPT_DAYS:]
    measured = [
        number
        for number, day in enumerate(history.days)
        if any(~np.isnan(one.level_that_day).all() for one in day.channels.values())
    ]
    return PeerActivity(
        last_day=history.last_day,
        logins=np.stack([day.channels["logins"].activity for day in days], axis=1),
        uses=np.stack([day.channels["uses"].activity for day in days], axis=1),
        season_index=np.stack([day.season_index for day in days], axis=1),
        login_usual=last.channels["logins"].usual,
        use_usual=last.channels["uses"].usual,
        norms=last.norms,
        first_measured=history.first_day + measured[0] if measured else None,
    )
