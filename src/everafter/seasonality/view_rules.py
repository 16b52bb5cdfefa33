"""The peer activity index by week, and in words. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, cast

import polars as pl

from everafter.core.formatting import percent, sentence
from everafter.seasonality.model import CHANNELS, HEMISPHERES, LIVE_DAYS, TYPES, Channel
from everafter.seasonality.prior_model import VENDOR_TYPES, Hemisphere
from everafter.seasonality.view_model import (
    ENOUGH_LOGINS,
    SHOWN_DAYS,
    SeasonAnswer,
    SeasonGroup,
    SeasonWeek,
    Source,
    StoppedDay,
)

_WEEK = 7
_YEAR_WEEKS = 52
_MEASURED_WEEKS = 48
_EVIDENCE_DAYS = 28


def describe_season(rows: pl.DataFrame, off_season_below: float) -> SeasonAnswer:
    """Describe every group that has active suppliers, by vendor type and hemisphere.

    Args:
        rows: VIEW_SCHEMA of SHOWN_DAYS days.
        off_season_below: a season index below it is off season.
    """
    if rows.is_empty():
        return SeasonAnswer(None, None, [], [])
    last = cast(date, rows["day"].max())
    rows = _with_measured(rows)
    measured = rows.filter(pl.col("measured"))["day"].min()
    recent = rows.filter(pl.col("day") > last - timedelta(days=LIVE_DAYS))
    expected = recent.group_by("vendor_type", "hemisphere").agg(
        (pl.col("logins_expected") + pl.col("uses_expected")).sum().alias("expected")
    )
    live = {
        (vendor_type, hemisphere)
        for vendor_type, hemisphere, total in expected.iter_rows()
        if total > 0
    }
    return SeasonAnswer(
        measured_until=last,
        measured_from=cast(date | None, measured),
        groups=[
            _describe_group(rows, vendor_type, hemisphere, last, off_season_below)
            for vendor_type in _types_in_order(recent)
            for hemisphere in HEMISPHERES
            if (vendor_type, hemisphere) in live
        ],
        stopped=list_stopped(rows),
    )


def _with_measured(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `measured`: whether the hemisphere's logins of that day were."""
    halves = rows.filter(pl.col("vendor_type") == "").select(
        "day", "hemisphere", pl.col("logins").is_not_null().alias("measured")
    )
    joined = rows.join(halves, on=["day", "hemisphere"], how="left")
    return joined.with_columns(pl.col("measured").fill_null(value=False))


def _types_in_order(recent: pl.DataFrame) -> list[str]:
    """The vendor types, the one with most logins and uses first."""
    sizes = recent.group_by("vendor_type").agg(
        (pl.col("logins_expected") + pl.col("uses_expected")).sum().alias("size")
    )
    by_type = dict(sizes.iter_rows())
    return sorted(TYPES, key=lambda name: (-(by_type.get(name) or 0.0), name))


def _describe_group(
    rows: pl.DataFrame, vendor_type: str, hemisphere: Hemisphere, last: date, off_below: float
) -> SeasonGroup:
    own = rows.filter(
        (pl.col("vendor_type") == vendor_type) & (pl.col("hemisphere") == hemisphere)
    ).sort("day")
    weeks = against_mean_week(list_weeks(own, last))
    week = own.filter(pl.col("day") > last - timedelta(days=_WEEK))
    found = week.filter(pl.col("season_index") > 0)["season_index"]  # 0: no logins arrived
    index = float(found[-1]) if len(found) else None
    name = name_peers(vendor_type, hemisphere)
    return SeasonGroup(
        hemisphere=hemisphere,
        vendor_type=vendor_type,
        name=name,
        season_index=index,
        off_season=None if index is None else index < off_below,
        source=_source(own, last),
        logins_last_week=weeks[-1].logins,
        uses_last_week=weeks[-1].uses,
        description=_describe(name, weeks[-1]),
        weeks=weeks,
    )


def _source(own: pl.DataFrame, last: date) -> Source:
    recent = own.filter(pl.col("day") > last - timedelta(days=_EVIDENCE_DAYS))
    if not recent["measured"].any():
        return "published"
    return "measured" if recent["logins_expected"].sum() >= ENOUGH_LOGINS else "hemisphere"


def list_weeks(own: pl.DataFrame, last: date) -> list[SeasonWeek]:
    """The weeks of one group up to `last`, the earliest first.

    Args:
        own: VIEW_SCHEMA with `measured`, of one group.
    """
    arrived = [
        pl.col(channel).filter(~pl.col(f"{channel}_stopped")).mean().alias(channel)
        for channel in CHANNELS
    ]
    back = (pl.lit(last) - pl.col("day")).dt.total_days() // _WEEK
    by_week = (
        own.filter(pl.col("day") > last - timedelta(days=SHOWN_DAYS))
        .group_by(back.alias("back"))
        .agg(*arrived, pl.col("measured").mean() > 0.5)
        .sort("back", descending=True)
    )
    return [
        SeasonWeek(last - timedelta(days=_WEEK * number), logins, uses, bool(measured))
        for number, logins, uses, measured in by_week.select(
            "back", "logins", "uses", "measured"
        ).iter_rows()
    ]


def against_mean_week(weeks: Sequence[SeasonWeek]) -> list[SeasonWeek]:
    """The weeks with 1 as the mean of the last 52, once nearly all of those were measured.

    Before that the level of the index is the one at which the platform's history began, which is
    only roughly that of a mean week: rates and index are measured from the same logins.
    """
    year = [week for week in weeks[-_YEAR_WEEKS:] if week.measured]
    if len(year) < _MEASURED_WEEKS:
        return list(weeks)
    logins = _mean([week.logins for week in year])
    uses = _mean([week.uses for week in year])
    return [
        replace(week, logins=_divide(week.logins, logins), uses=_divide(week.uses, uses))
        for week in weeks
    ]


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def _divide(value: float | None, mean: float) -> float | None:
    return value if value is None or mean <= 0 else value / mean


def list_stopped(rows: pl.DataFrame) -> list[StoppedDay]:
    """The days on which a hemisphere's events of a channel did not arrive, the latest first."""
    halves = rows.filter(pl.col("vendor_type") == "").sort(
        "day", "hemisphere", descending=[True, False]
    )
    return [
        StoppedDay(row["day"], channel, row["hemisphere"])
        for row in cast(Any, halves).iter_rows(named=True)
        for channel in CHANNELS
        if row[f"{channel}_stopped"]
    ]


# ── words ─────────────────────────────────────────────────────────────────────────


def name_peers(vendor_type: str, hemisphere: Hemisphere) -> str:
    """A group in words.

    >>> name_peers("dj", "south"), name_peers("default", "unknown")
    ('DJs in the south', 'suppliers of other types elsewhere')
    """
    plural = VENDOR_TYPES[vendor_type].plural
    kind = "suppliers of other types" if vendor_type == "default" else plural
    return f"{kind} elsewhere" if hemisphere == "unknown" else f"{kind} in the {hemisphere}"


def _describe(name: str, week: SeasonWeek) -> str:
    if week.logins is None:
        return f"No logins of {name} arrived last week"
    verb = "did" if week.measured else "are expected to have done"
    return f"{sentence(name)} {verb} {percent(week.logins)} of their usual last week"


_CHANNEL_LABELS: dict[Channel, str] = {"logins": "logins", "uses": "feature uses"}


def describe_stopped(stopped: Sequence[StoppedDay]) -> list[tuple[date, str]]:
    """A line for each day, the latest first."""
    by_day: dict[date, dict[Channel, list[Hemisphere]]] = {}
    for one in stopped:
        by_day.setdefault(one.day, {}).setdefault(one.channel, []).append(one.hemisphere)
    return [
        (day, sentence(" and ".join(_name_feed(*pair) for pair in channels.items())))
        for day, channels in by_day.items()
    ]


def _name_feed(channel: Channel, hemispheres: Sequence[Hemisphere]) -> str:
    label = _CHANNEL_LABELS[channel]
    if {"north", "south"} <= set(hemispheres) or list(hemispheres) == ["unknown"]:
        return label
    return f"{label} of the {' and '.join(h for h in hemispheres if h != 'unknown')}"
