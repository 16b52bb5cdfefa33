"""Benchmarks from grouped counts: quantiles, and the merging of small groups. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import cast
from urllib.parse import urlencode

import numpy as np
import polars as pl

from everafter.activity.model import LOGIN_SLOTS
from everafter.core.errors import InputError
from everafter.core.formatting import humanize, month, plural, sentence
from everafter.metrics.benchmark_model import (
    CHURN_DAYS,
    LOGIN_BYTES,
    LOGIN_DAYS,
    LOGINS_KEPT_DAYS,
    MIN_SUPPLIERS,
    MONTHS,
    NO_VENDOR_TYPE,
    REGION_LABELS,
    REGION_PLACES,
    Benchmark,
    BenchmarkMonth,
    Level,
    Merged,
    PeerScores,
    RegionName,
)
from everafter.seasonality.prior_model import VENDOR_TYPES
from everafter.seasonality.prior_rules import region_of, vendor_type_of

Run = tuple[date, datetime]
Group = tuple[str | None, RegionName | None]
"""Vendor type and region; null: all."""
_UNKNOWN: RegionName = "unknown"


def first_day(today: date) -> date:
    """The first day of the earliest month that is shown.

    >>> first_day(date(2026, 11, 29)), first_day(date(2026, 12, 1))
    (datetime.date(2025, 11, 1), datetime.date(2025, 12, 1))
    """
    number = today.year * 12 + today.month - MONTHS
    return date(number // 12, number % 12 + 1, 1)


def choose_runs(runs: Sequence[Run], only: str | None = None) -> list[Run]:
    """The last run of each month, the latest first.

    Args:
        runs: in order.
        only: a month such as "2026-11"; null: all.
    """
    by_month = {f"{day:%Y-%m}": (day, moment) for day, moment in runs}
    return [run for name, run in reversed(by_month.items()) if only in {None, name}]


def parse_month(text: str) -> str | None:
    """Parse a month; empty is null.

    Raises:
        InputError: it is not a month.
    """
    if not text:
        return None
    try:
        return f"{date.fromisoformat(f'{text}-01'):%Y-%m}"
    except ValueError:
        raise InputError(f"month: {text[:20]!r} is not a month such as 2026-08") from None


def parse_group(params: Mapping[str, str]) -> Group | None:
    """Parse `vendor` and `region`; null: neither is given. `vendor` may be "all".

    Raises:
        InputError: the region does not exist, or is given without a vendor type.
    """
    vendor = params.get("vendor", "").replace("\0", "").strip()[:100]
    region = parse_region(params.get("region", ""))
    if not vendor:
        if region:
            raise InputError("region: expected with vendor, the vendor type")
        return None
    return None if vendor == "all" else vendor, region


def parse_region(text: str) -> RegionName | None:
    """Parse a region; empty is null.

    Raises:
        InputError: it does not exist.
    """
    for name in REGION_LABELS:
        if name == text:
            return name
    if text:
        raise InputError(f"region: {text[:40]!r} is not one of {', '.join(REGION_LABELS)}")
    return None


def group_query(vendor_type: str | None, region: RegionName | None) -> str:
    """The query string of a group's page."""
    return urlencode({"vendor": vendor_type or "all"} | ({"region": region} if region else {}))


def login_window(day: date) -> tuple[int, list[str]]:
    """Where the login ring buffer, written twice in a row, holds the LOGIN_DAYS days up to a day.

    Returns:
        The byte, from 0, of the first of LOGIN_BYTES bytes; and the bits of the window in them by
        age: how many days before `day` the last event was. From LOGIN_DAYS on there are none.
    """
    last = (day - date(1970, 1, 1)).days
    byte, offset = divmod((last - LOGIN_DAYS + 1) % LOGIN_SLOTS, 8)
    masks = [
        "".join(
            "1" if offset <= bit < offset + LOGIN_DAYS - age else "0"
            for bit in range(8 * LOGIN_BYTES)
        )
        for age in range(LOGIN_DAYS + 1)
    ]
    return byte, masks


def choose_login_days(days: Sequence[date], today: date) -> list[date]:
    """The days whose login days are still kept."""
    return [day for day in days if (today - day).days <= LOGINS_KEPT_DAYS]


# ── one month ─────────────────────────────────────────────────────────────────────


def measure_month(
    run: Run, scores: pl.DataFrame, logins: pl.DataFrame, now: datetime
) -> BenchmarkMonth:
    """The benchmarks of one month; groups of fewer than MIN_SUPPLIERS are merged.

    Args:
        scores, logins: SCORES_SCHEMA and LOGINS_SCHEMA; rows of other days are ignored.
    """
    day, moment = run
    closes = moment + timedelta(days=CHURN_DAYS)
    scores, logins = (_fill(frame.filter(pl.col("day") == day)) for frame in (scores, logins))
    known = closes <= now
    if not logins.filter(pl.col("login_days") > 0)["n"].sum():
        logins = logins.clear()  # the platform sends no logins
    benchmarks: list[Benchmark] = []
    merged: list[Merged] = []
    everyone = _measure("all", None, None, scores, logins, known)
    benchmarks += [everyone] if everyone else []
    for name in _by_size(scores, "vendor_type"):
        of_type = scores.filter(pl.col("vendor_type") == name)
        their_logins = logins.filter(pl.col("vendor_type") == name)
        whole = _measure("vendor_type", name, None, of_type, their_logins, known)
        benchmarks += [whole] if whole else []
        if not whole:
            merged.append(Merged(name, None, "all" if everyone else None))
            continue
        for region in cast(list[RegionName], _by_size(of_type, "region")):
            here = pl.col("region") == region
            found = _measure(
                "region", name, region, of_type.filter(here), their_logins.filter(here), known
            )
            if found:
                benchmarks.append(found)
            else:
                merged.append(Merged(name, region, "vendor_type"))
    # as a date, the first on which all of it is over
    known_on = (closes.astimezone(UTC) + timedelta(days=1)).date()
    return BenchmarkMonth(f"{day:%Y-%m}", day, known_on, benchmarks, merged)


def _fill(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col("vendor_type").fill_null(NO_VENDOR_TYPE), pl.col("region").fill_null(_UNKNOWN)
    )


def _by_size(scores: pl.DataFrame, key: str) -> list[str]:
    """The groups, the largest first."""
    sizes = scores.group_by(key).agg(pl.col("n").sum()).sort("n", key, descending=[True, False])
    return [name for name in sizes[key].to_list() if name]


def _measure(
    level: Level,
    vendor_type: str | None,
    region: RegionName | None,
    scores: pl.DataFrame,
    logins: pl.DataFrame,
    churn_known: bool,
) -> Benchmark | None:
    """The figures of one group; null if it is too small."""
    n = int(scores["n"].sum())
    if n < MIN_SUPPLIERS:
        return None
    known = int(scores["adoption_known"].sum())
    lower, median, upper = quantiles(scores, "score", (0.25, 0.5, 0.75))
    enough_logins = int(logins["n"].sum()) >= MIN_SUPPLIERS
    return Benchmark(
        level=level,
        vendor_type=vendor_type,
        region=region,
        suppliers=n,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        healthy=int(scores["healthy"].sum()) / n,
        login_days=quantiles(logins, "login_days", (0.5,))[0] if enough_logins else None,
        feature_adoption=int(scores["adoption"].sum()) / known / 100
        if known >= MIN_SUPPLIERS
        else None,
        churned_45d=int(scores["churned"].sum()) / n if churn_known else None,
    )


def quantiles(counts: pl.DataFrame, value: str, shares: Sequence[float]) -> list[float]:
    """Quantiles of a value that is counted in `n`, interpolated between neighbours.

    >>> quantiles(pl.DataFrame({"x": [3, 1, 2], "n": [1, 2, 1]}), "x", (0, 0.5, 0.75, 1))
    [1.0, 1.5, 2.25, 3.0]
    """
    summed = counts.group_by(value).agg(pl.col("n").sum()).sort(value)
    values, ends = summed[value].to_numpy(), summed["n"].to_numpy().cumsum()
    found: list[float] = []
    for share in shares:
        place = share * (ends[-1] - 1)
        low = values[np.searchsorted(ends, int(place), side="right")]
        high = values[np.searchsorted(ends, int(np.ceil(place)), side="right")]
        found.append(float(low + (high - low) * (place - int(place))))
    return found


# ── one supplier ──────────────────────────────────────────────────────────────────


def find_peers(peers: PeerScores, vendor_type: str | None, country: str | None) -> Benchmark | None:
    """The smallest group of at least MIN_SUPPLIERS that a supplier is part of: its vendor type in
    its region, its vendor type, or all. Only the scores of the result are measured."""
    scores = _fill(peers.scores)
    kind, region = vendor_type or NO_VENDOR_TYPE, region_of(country) or _UNKNOWN
    of_type = scores.filter(pl.col("vendor_type") == kind)
    none = pl.DataFrame(schema={"login_days": pl.Int64(), "n": pl.Int64()})
    return (
        _measure("region", kind, region, of_type.filter(pl.col("region") == region), none, False)
        or _measure("vendor_type", kind, None, of_type, none, False)
        or _measure("all", None, None, scores, none, False)
    )


def describe_peers(peers: Benchmark, score: float, day: date, today: date) -> str:
    """A supplier's score among its peers.

    Args:
        score: of the supplier; it is shown rounded down, like those of its peers.
        day: the day of the peers' scores.
    """
    whole = int(score)
    this_month = (day.year, day.month) == (today.year, today.month)
    when = "this month" if this_month else f"in {month(f'{day:%Y-%m}')}"
    return (
        f"{sentence(name_group(peers.vendor_type, peers.region))} {when}: median score"
        f" {peers.median:.0f} ({plural(peers.suppliers, 'supplier')}); this one: {whole},"
        f" {_rank(whole, peers)}"
    )


def _rank(score: int, peers: Benchmark) -> str:
    if score < peers.lower_quartile:
        return "in the lowest quarter"
    if score > peers.upper_quartile:
        return "in the highest quarter"
    if score == peers.median:
        return "at the median"
    return "below the median" if score < peers.median else "above the median"


def name_group(vendor_type: str | None, region: RegionName | None) -> str:
    """A group in words.

    >>> name_group("photographer", "britain"), name_group("dj", None)
    ('photographers in Britain and Ireland', 'DJs')
    >>> name_group(None, None), name_group("balloon_artist", "us"), name_group("none", None)
    ('all suppliers', 'suppliers (balloon artist) in the United States', 'suppliers without a vendor type')
    """  # noqa: E501
    if vendor_type is None:
        return "all suppliers"
    place = f" {REGION_PLACES[region]}" if region else ""
    return f"{_plural(vendor_type)}{place}"


def _plural(vendor_type: str) -> str:
    if vendor_type == NO_VENDOR_TYPE:
        return "suppliers without a vendor type"
    known = vendor_type_of(vendor_type)
    if known == "default":
        return f"suppliers ({humanize(vendor_type)})"
    return VENDOR_TYPES[known].plural


def describe_merged(merged: Sequence[Merged]) -> list[str]:
    """Sentences on the groups that are too small to be shown, by where they are counted."""
    found: list[str] = []
    by_type: dict[str, list[RegionName]] = {}
    for one in merged:
        if one.region:
            by_type.setdefault(one.vendor_type, []).append(one.region)
    for name, regions in by_type.items():
        places = " and ".join(_listed([REGION_PLACES[region] for region in regions]))
        found.append(
            f"{sentence(_plural(name))} {places} are counted in {_plural(name)} as a whole"
        )
    into_all = [_plural(one.vendor_type) for one in merged if not one.region and one.into == "all"]
    if into_all:
        found.append(f"{sentence(' and '.join(_listed(into_all)))} are counted in all suppliers")
    return found


def _listed(names: Sequence[str]) -> list[str]:
    """The last two, with what comes before them joined by commas."""
    return [", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names)


def as_rows(months: Sequence[BenchmarkMonth], group: Group) -> list[Benchmark | None]:
    """The benchmark of one group in each month; null where it is too small."""
    return [
        next((one for one in each.benchmarks if (one.vendor_type, one.region) == group), None)
        for each in months
    ]
