"""The signals that rest on the peer activity index, for one supplier or a million. Pure.

Source: docs/methods.md: season, inactivity, decline evidence."""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.playbook.model import Playbook, Season
from everafter.seasonality.as_of_rules import peers_as_of
from everafter.seasonality.bit_rules import (
    WINDOW,
    Words,
    first_set,
    shift,
    weekly_logins,
)
from everafter.seasonality.count_rules import (
    LONG_AGO,
    epoch_days,
    groups_of,
    login_bits,
)
from everafter.seasonality.decline_rules import (
    WEEKS,
    decline_evidence,
    expect_month,
    expected_range,
    find_dispersion,
)
from everafter.seasonality.gap_rules import find_gaps
from everafter.seasonality.inactivity_rules import calibrate, is_unusual
from everafter.seasonality.index_rules import last_seven
from everafter.seasonality.model import (
    CHANNELS,
    TYPE_OF_GROUP,
    Channel,
    Floats,
    Ints,
    PeerActivity,
)

_SECONDS = 86_400
_CLIENT_DAYS = 30
_TREND_DAYS = 91


@dataclass(frozen=True, slots=True)
class _Rows:
    """The suppliers of a frame, as of a moment.

    Attributes:
        peers: up to the current day.
        group: (n,).
        logins: (n, 3), the 192 days up to the current one.
        began: (n,), the first day of the account.
        today: the current day.
        of_day: the part of it that is over, 0–1.
    """

    peers: PeerActivity
    group: Ints
    logins: Words
    began: Ints
    today: int
    of_day: float

    @property
    def weekday(self) -> int:
        """0: Monday."""
        return (self.today + 3) % 7

    @property
    def elapsed(self) -> float:
        """Days of the current week that are over, 0–7."""
        return self.weekday + self.of_day


def add_season(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, peers: PeerActivity | None
) -> pl.DataFrame:
    """Add the season and what is measured against it.

    Args:
        frame: a row per supplier, as signals.queries reads it.
        peers: null: nothing is measured, and the prior season counts.

    Returns:
        The frame with season_index, off_season, client_season (season index of the last 30 days),
        season_trend (peer activity in uses of the last 4 weeks ÷ that of the 8 before),
        days_inactive, inactivity_probability, unusual_inactivity, evidence_logins, evidence_uses,
        and expected_uses_low and expected_uses_high of the coming week.
    """
    today = int(as_of.timestamp() // _SECONDS)
    peers = _with_floor(peers_as_of(peers, today), playbook.season)
    group = groups_of(frame)
    logins = login_bits(frame, today)
    of_day = as_of.timestamp() / _SECONDS - today
    rows = _Rows(peers, group, logins, _began(frame, logins, today), today, of_day)
    columns = (
        _season(playbook.season, peers, group)
        | {"days_inactive": season_days(frame, peers, group, as_of)}
        | _inactivity(rows)
        | _decline(frame, rows)
    )
    return frame.with_columns(
        pl.Series(name, values, nan_to_null=True) for name, values in columns.items()
    )


def _with_floor(peers: PeerActivity, season: Season) -> PeerActivity:
    """The playbook's terms: no index below the floor, or none at all. Days on which no logins
    arrived stay at 0."""
    least = season.floor if season.enabled else 1.0
    index = np.where(peers.season_index > 0, np.maximum(peers.season_index, least), 0.0)
    return replace(peers, season_index=index)


def _began(frame: pl.DataFrame, logins: Words, today: int) -> Ints:
    """(n,): the first day of the account; a login before it was said to begin counts."""
    began = epoch_days(
        frame.select(pl.coalesce("account_created_at", "created_at", "first_event_at")).to_series(),
        today,
    )
    first = first_set(logins)
    return np.minimum(began, np.where(first < 0, today, today - WINDOW + 1 + first))


def _season(season: Season, peers: PeerActivity, group: Ints) -> dict[str, np.ndarray]:
    index = peers.season_index
    living = index > 0
    recent, days = index[:, -_CLIENT_DAYS:], living[:, -_CLIENT_DAYS:]
    month = np.where(days.any(axis=1), recent.sum(axis=1) / np.maximum(days.sum(axis=1), 1), 1.0)
    last = index.shape[1] - 1 - np.argmax(living[:, ::-1], axis=1)
    now = index[np.arange(len(index)), last]
    uses = last_seven(peers.uses[:, -_TREND_DAYS:])[:, ::-7]
    trend = uses[:, :4].mean(axis=1) / uses[:, 4:12].mean(axis=1)
    return {
        "season_index": now[group],
        "off_season": now[group] < season.off_season_below,
        "client_season": month[group],
        "season_trend": trend[group],
    }


def _inactivity(rows: _Rows) -> dict[str, np.ndarray]:
    peers, group = rows.peers, rows.group
    began = rows.began - (rows.today - WINDOW + 1)
    gaps = find_gaps(rows.logins, began, peers.logins[:, -WINDOW:], group, peers.login_usual)
    norms, kind = peers.norms, TYPE_OF_GROUP[group]
    power = norms.inactivity_power[kind]
    probability = calibrate(gaps.probability, norms.inactivity_share[kind], power)
    chance_now = 1 - (1 - gaps.login_chance) ** _last_week(peers.logins)[group]
    return {
        "inactivity_probability": probability,
        "unusual_inactivity": is_unusual(gaps.days, probability, chance_now, power),
    }


def _last_week(activity: Floats) -> Floats:
    """(groups,): the mean of the last seven days, as index_rules.last_seven."""
    return last_seven(activity[:, -14:])[:, -1]


def season_days(frame: pl.DataFrame, peers: PeerActivity, group: Ints, as_of: datetime) -> Floats:
    """(n,): the days since the last login, each counted by its season index; a day on which no
    logins arrived does not count. NaN: no login, and the start of the account is unknown.

    Args:
        peers: up to the day of as_of.
    """
    now = as_of.timestamp() / _SECONDS
    since = frame.select(
        pl.coalesce("last_login_at", "account_created_at", "created_at")
        .dt.epoch("us")
        .cast(pl.Float64)
        / (_SECONDS * 1e6)
    ).to_series()
    start = since.fill_null(np.nan).to_numpy()
    index = peers.season_index
    first = peers.first_day
    whole = np.concatenate([np.zeros((len(index), 1)), np.cumsum(index, axis=1)], axis=1)

    def until(moment: Floats) -> Floats:
        """The season days from the first column to a moment; before it, calendar days count in
        full."""
        place = np.nan_to_num(moment - first, nan=0.0)
        day = np.clip(np.floor(place).astype(np.int64), 0, index.shape[1] - 1)
        inside = whole[group, day] + index[group, day] * np.clip(place - day, 0.0, 1.0)
        return np.where(place < 0, place, inside)

    days = until(np.full(frame.height, now)) - until(start)
    return np.where(np.isnan(start), np.nan, np.maximum(days, 0.0))


def _decline(frame: pl.DataFrame, rows: _Rows) -> dict[str, np.ndarray]:
    peers, group, kind = rows.peers, rows.group, TYPE_OF_GROUP[rows.group]
    norms = peers.norms
    columns: dict[str, np.ndarray] = {}
    for channel in CHANNELS:
        if channel == "logins":
            counts, usual = _weekly_logins(rows.logins, rows.weekday), peers.login_usual[group]
            burst, drift = norms.login_burst[kind], norms.login_drift[kind]
        else:
            counts, usual = _weekly_uses(frame, rows.today), peers.use_usual[group]
            burst, drift = norms.use_burst[kind], norms.use_drift[kind]
        exposure = _weekly_exposure(rows, channel)
        dispersion = find_dispersion(burst, drift, expect_month(counts, exposure, usual))
        columns[f"evidence_{channel}"] = decline_evidence(
            counts, exposure, usual, dispersion, rows.elapsed
        )
        if channel == "uses":
            coming = 7 * _last_week(peers.uses)[group]
            low, high = expected_range(counts, exposure, usual, coming, dispersion, burst, drift)
            columns |= {"expected_uses_low": low, "expected_uses_high": high}
    return columns


def _weekly_logins(logins: Words, weekday: int) -> Floats:
    """(n, 16): login days of each calendar week, the current one first."""
    return weekly_logins(shift(logins, weekday - 6), WEEKS)


def _weekly_uses(frame: pl.DataFrame, today: int) -> Floats:
    """(n, 16): feature uses of each calendar week, the current one first."""
    ring = model.read_ring(frame["feature_uses_w"], model.WEEK_SLOTS)
    head = (epoch_days(frame["last_event_at"], LONG_AGO) + 3) // 7
    week = (today + 3) // 7 - np.arange(WEEKS)
    inside = (week <= head[:, None]) & (week > head[:, None] - model.WEEK_SLOTS)
    return (ring[:, week % model.WEEK_SLOTS] * inside).astype(float)


def _weekly_exposure(rows: _Rows, channel: Channel) -> Floats:
    """(n, 16): the sum of peer activity over each week's days since the account began, the current
    week first; the current day counts by the part of it that is over."""
    length = 7 * (WEEKS - 1) + rows.weekday + 1
    days = rows.peers.of(channel)[:, -length:].copy()
    days[:, -1] *= rows.of_day
    whole = np.concatenate([np.zeros((len(days), 1)), np.cumsum(days, axis=1)], axis=1)
    ends = np.minimum(7 * np.arange(1, WEEKS + 1), length)
    starts = 7 * np.arange(WEEKS)
    born = np.clip(rows.began - (rows.today - length + 1), 0, length)
    first = np.minimum(np.maximum(starts[None, :], born[:, None]), ends)
    of = rows.group[:, None]
    return (whole[of, ends[None, :]] - whole[of, first])[:, ::-1]
