"""The figures of a replayed market. Definitions: docs/methods.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.record import DAILY_LOGINS, PROBABILITIES, Record, Stopped
from benchmarks.replay.statistics import (
    area_interval,
    area_under_curve,
    calibration_slope,
    find_alarms,
    log_loss,
    ratio_interval,
    threshold_for,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Figures = dict[str, Any]
"""A number, a (value, low, high) with a 95 % interval, or null where it cannot be measured."""

OFF_SEASON_BELOW, IN_SEASON_FROM = 0.6, 1.0
MEDIUM_ABOVE, HIGH_ABOVE = 0.4, 0.7
HORIZON = 45
_HEALTHY_DAYS = 120
_TENURE_DAYS = 60
_EVERY_DAYS = 5
_LEARNED_EVERY_DAYS = 15
_LEARNED_FROM = 10
_WITHOUT_TRUTH_DAYS = 28
"""Where no fades are known: the days before a cancellation in which an alarm counts as seen."""


@dataclass(frozen=True, slots=True)
class Masks:
    """(days, suppliers) of a record."""

    healthy: Bools
    off: Bools
    into: Bools
    until_churn: Floats

    @classmethod
    def of(cls, record: Record) -> "Masks":
        market, days = record.market, record.days[:, None]
        season = market.season[record.days]
        until = (market.cancelled[None, :] - days).astype(float)
        healthy = record.there & (until > _HEALTHY_DAYS)
        healthy &= np.nan_to_num(record.values["tenure_days"]) >= _TENURE_DAYS
        if market.fade_start is not None:
            healthy &= market.fade_start[None, :] > days
        return cls(healthy, season < OFF_SEASON_BELOW, season >= IN_SEASON_FROM, until)


def measure(record: Record, warnings_per_year: float | None = None) -> Figures:
    """All figures that need no damaged platform.

    Args:
        warnings_per_year: the number at which precision is compared; null: not compared.
    """
    masks = Masks.of(record)
    return {
        **_ranking(record, masks),
        **_warnings(record, masks, warnings_per_year),
        **_inactivity(record, masks),
        **_stopped(record, masks),
        **_november(record, masks),
        **_probabilities(record, masks),
    }


def _churned_within(record: Record, masks: Masks, horizon: int) -> tuple[Bools, Bools]:
    """Who cancels within the horizon, and whose horizon is over: (days, suppliers) and (days,)."""
    closed = record.days + horizon <= len(record.market.days)
    return (masks.until_churn >= 0) & (masks.until_churn < horizon), closed


def _ranking(record: Record, masks: Masks) -> Figures:
    figures: Figures = {}
    chosen = np.arange(len(record.days)) % _EVERY_DAYS == 0
    for horizon in (45, 90):
        churned, closed = _churned_within(record, masks, horizon)
        rows = record.there & (chosen & closed)[:, None]
        happened, risk = churned[rows], record.values["churn_risk"][rows]
        supplier = np.nonzero(rows)[1]
        figures[f"base_{horizon}"] = float(happened.mean()) if len(happened) else None
        figures[f"auc_{horizon}"] = None
        if happened.any():
            low, high = area_interval(happened, risk, supplier)
            figures[f"auc_{horizon}"] = (area_under_curve(happened, risk), low, high)
    return figures


def _warnings(record: Record, masks: Masks, warnings_per_year: float | None) -> Figures:
    risk = np.nan_to_num(record.values["churn_risk"])
    churned, closed = _churned_within(record, masks, HORIZON)
    figures: Figures = {"supplier_years": float(record.there.sum() / 365.25)}
    for name, above in (("medium", MEDIUM_ABOVE), ("high", HIGH_ABOVE)):
        alarms = find_alarms(risk > above, record.there)
        figures |= _alarm_figures(record, alarms, churned, closed, name)
        days = record.there & (risk > above) & closed[:, None]
        figures[f"days_precision_{name}"] = float(churned[days].mean()) if days.any() else None
    alarms = find_alarms(risk > MEDIUM_ABOVE, record.there)
    figures |= _by_season(alarms, masks)
    if warnings_per_year is not None:
        above = threshold_for(record.values["churn_risk"], record.there, warnings_per_year)
        alarms = find_alarms(risk > above, record.there)
        figures |= _alarm_figures(record, alarms, churned, closed, "matched")
        figures["matched_threshold"] = above
    return figures


def _alarm_figures(
    record: Record, alarms: Bools, churned: Bools, closed: Bools, name: str
) -> Figures:
    counted = alarms & closed[:, None]
    seen, early, fades = _fades_seen(record, alarms)
    return {
        f"alarms_{name}": float(alarms.sum() / (record.there.sum() / 365.25)),
        f"precision_{name}": float(churned[counted].mean()) if counted.any() else None,
        f"seen_{name}": seen / fades if fades else None,
        f"early_{name}": early / fades if fades else None,
        "fades": fades,
    }


def _fades_seen(record: Record, alarms: Bools) -> tuple[int, int, int]:
    """Fades with an alarm from their start to the cancellation, those with one at least 7 days
    before it, and all of them. Fades that began before the first day scored are not counted."""
    market, begin = record.market, int(record.days[0])
    starts = market.fade_start
    if starts is None:
        starts = market.cancelled - _WITHOUT_TRUTH_DAYS
    whole = (starts > begin) & (starts < market.cancelled)
    whole &= market.cancelled <= record.days[-1]
    seen = early = 0
    for n in np.flatnonzero(whole):
        at = np.flatnonzero(alarms[starts[n] - begin : market.cancelled[n] - begin + 1, n])
        seen += len(at) > 0
        early += len(at) > 0 and int(at[0]) + starts[n] <= market.cancelled[n] - 7
    return seen, early, int(whole.sum())


def _by_season(alarms: Bools, masks: Masks) -> Figures:
    """Alarms per healthy supplier-year off season, in season, and their quotient."""
    parts = [
        np.stack([(alarms & healthy).sum(axis=0), healthy.sum(axis=0) / 365.25], axis=1)
        for healthy in (masks.healthy & masks.off, masks.healthy & masks.into)
    ]
    rates = [
        float(part[:, 0].sum() / part[:, 1].sum()) if part[:, 1].sum() > 0 else None
        for part in parts
    ]
    ratio = None
    if rates[0] is not None and rates[1]:
        ratio = (rates[0] / rates[1], *ratio_interval(parts[0], parts[1]))
    return {"alarms_off": rates[0], "alarms_in": rates[1], "alarms_ratio": ratio}


def _inactivity(record: Record, masks: Masks) -> Figures:
    """Of the probabilities just before a login, the share under .05 and under .01; `gaps`: only
    where the last login was at least a day before."""
    probability = record.values["inactivity_probability"]
    ends = record.logged_in & ~np.isnan(probability)
    figures: Figures = {}
    for name, season in (("off", masks.off), ("in", masks.into)):
        values = probability[ends & season]
        for limit in (0.05, 0.01):
            share = float((values < limit).mean()) if len(values) else None
            figures[f"inactive_{name}_{limit}"] = share
            gaps = probability[ends & season & (record.values["days_since_login"] >= 1)]
            figures[f"gaps_{name}_{limit}"] = float((gaps < limit).mean()) if len(gaps) else None
    return figures


def _stopped(record: Record, masks: Masks) -> Figures:
    """Daily users that stop dead: the day of the first alarm, and the false ones of those who do
    not."""
    figures: Figures = {}
    for name, chosen in _stopped_by_season(record).items():
        figures[f"stopped_{name}_count"] = len(chosen)
        for sign, days in (
            ("inactive", [_first(one.alarms, 0) for one in chosen]),
            ("any", [_first(one.alarms, 1) for one in chosen]),
            ("still", [_first(one.alarms, 0) for one in chosen if one.still_daily]),
        ):
            figures |= _waits(f"stopped_{name}_{sign}", np.array(days))
    alarms = find_alarms(record.values["_inactive"] > 0, record.there)
    logins = np.nan_to_num(record.values["login_days_84d"])
    daily = masks.healthy & (np.maximum.accumulate(logins, axis=0) >= DAILY_LOGINS)
    for name, part in (("in", daily & masks.into), ("off", daily & masks.off)):
        years = part.sum() / 365.25
        figures[f"stopped_{name}_false"] = float((alarms & part).sum() / years) if years else None
    return figures


def _stopped_by_season(record: Record) -> dict[str, list[Stopped]]:
    season = record.market.season
    then = [(season[one.day, one.supplier], one) for one in record.stopped]
    return {
        "in": [one for now, one in then if now >= IN_SEASON_FROM],
        "off": [one for now, one in then if now < OFF_SEASON_BELOW],
    }


def _waits(name: str, days: Floats) -> Figures:
    """The median day, and the shares of alarms by the fourth day and of no alarm."""
    if not len(days):
        return {name: None, f"{name}_by_4": None, f"{name}_never": None}
    return {
        name: float(np.median(days)),
        f"{name}_by_4": float((days <= 4).mean()),
        f"{name}_never": float(np.isinf(days).mean()),
    }


def _first(alarms: list[tuple[bool, bool]], which: int) -> float:
    return next((n for n, signs in enumerate(alarms, start=1) if signs[which]), float("inf"))


def _november(record: Record, masks: Masks) -> Figures:
    """The share at risk or critical of healthy northern suppliers."""
    november = np.array([record.market.at(int(day)).month == 11 for day in record.days])
    health = record.values["_health"]
    north = masks.healthy & ~record.market.south[None, :] & ~np.isnan(health)
    figures: Figures = {}
    for name, part in (
        ("november", north & november[:, None]),
        ("in", north & masks.into),
        ("off", north & masks.off),
    ):
        figures[f"at_risk_{name}"] = float((health[part] > 0).mean()) if part.any() else None
    return figures


def _probabilities(record: Record, masks: Masks) -> Figures:
    """Log loss against the rate known by then, from the tenth cancellation on, and the slope."""
    figures: Figures = {}
    for horizon, column in PROBABILITIES.items():
        figures |= {f"loss_{horizon}": None, f"slope_{horizon}": None}
        if column not in record.values:
            continue
        churned, closed = _churned_within(record, masks, horizon)
        predicted, happened, base = _predictions(
            record, churned, closed, horizon, record.values[column]
        )
        if happened.any():
            figures[f"loss_{horizon}"] = log_loss(happened, predicted) - log_loss(happened, base)
            figures[f"slope_{horizon}"] = calibration_slope(happened, predicted)
            figures[f"expected_{horizon}"] = float(predicted.sum() / happened.sum())
    return figures


def _predictions(
    record: Record, churned: Bools, closed: Bools, horizon: int, probability: Floats
) -> tuple[Floats, Bools, Floats]:
    """The probabilities shown, what happened, and the base rate known at the time: a row per
    supplier and every 15th day."""
    predicted: list[Floats] = []
    happened: list[Bools] = []
    base: list[Floats] = []
    rows, events, known = 0, 0.0, np.arange(0, len(record.days), _LEARNED_EVERY_DAYS)
    open_rows: list[int] = []
    for place in known:
        open_rows.append(int(place))
        while open_rows and record.days[open_rows[0]] + horizon <= record.days[place]:
            past = open_rows.pop(0)
            rows += int(record.there[past].sum())
            events += float(churned[past][record.there[past]].sum())
        left = int((record.market.cancelled <= record.days[place]).sum())
        spoken = record.there[place] & ~np.isnan(probability[place])
        if left < _LEARNED_FROM or not closed[place] or not spoken.any():
            continue
        rate = (events + 0.5 * 0.03 * horizon / 45) / (rows + 0.5)
        predicted.append(probability[place][spoken])
        happened.append(churned[place][spoken])
        base.append(np.full(int(spoken.sum()), rate))
    if not predicted:
        return np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0)
    return np.concatenate(predicted), np.concatenate(happened), np.concatenate(base)
