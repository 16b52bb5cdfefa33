"""Time to the first form (with censoring), and ticket resolution times. Pure."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.activity.model import TIME, moment
from everafter.metrics.model import (
    CurvePoint,
    FirstValueMetric,
    FirstValueRow,
    TicketMetric,
    TicketRow,
    TicketSpread,
)
from everafter.tickets.hours_rules import OpenHours, from_micros, to_micros
from everafter.tickets.model import ORDER, Change, Transition
from everafter.tickets.rules import follow

Floats = npt.NDArray[np.float64]

SIGNED_UP_SCHEMA = {
    "group": pl.String(),
    "began_at": TIME,
    "form_at": TIME,
    "churned": pl.Boolean(),
    "churned_at": TIME,
}
"""One row per sign-up. churned: cancelled and not returned. churned_at: when; null: unknown."""

FIRST_FORM_SCHEMA = {
    "group": pl.String(),
    "days": pl.Float64(),
    "reached": pl.Boolean(),
    "churned": pl.Boolean(),
}
"""One row per sign-up. days: from sign-up to the first form, to churn without one, or until now."""

TICKETS_SCHEMA = {
    "group": pl.String(),
    "opened_at": TIME,
    "resolved_at": TIME,
    "in_period": pl.Boolean(),
    "opened_in_period": pl.Boolean(),
    "changes": pl.String(),
}
"""Tickets resolved or first opened in the period. resolved_at: null if not resolved now. changes:
"epoch-µs state" of each change, comma-separated, for tickets that waited for the supplier or were
reopened; else null."""

_EARLY_DAYS = 14.0
_HOUR = 3600.0
SPREAD_HOURS = (1.0, 4.0, 12.0, 24.0, 48.0, 96.0, 168.0)
_MOST_POINTS = 200
_TRANSITIONS: dict[str, Transition] = {state: state for state in ORDER}


# ── to the first form ─────────────────────────────────────────────────────────────


def time_first_forms(signed_up: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Compute FIRST_FORM_SCHEMA as of a moment.

    A supplier that churned without a form never reaches one; churn at an unknown time counts as at
    `as_of`. A form before the sign-up took 0 days.

    Args:
        signed_up: SIGNED_UP_SCHEMA, all before `as_of`.
    """
    now = moment(as_of)
    reached = (pl.col("form_at") <= now).fill_null(False)
    churned = ~reached & pl.col("churned") & (pl.col("churned_at").fill_null(now) <= now)
    end = (
        pl.when(reached)
        .then("form_at")
        .when(churned)
        .then(pl.col("churned_at").fill_null(now))
        .otherwise(now)
    )
    days = (end - pl.col("began_at")).dt.total_microseconds() / 86_400_000_000
    return signed_up.select(
        "group",
        days.clip(lower_bound=0).alias("days"),
        reached.alias("reached"),
        churned.alias("churned"),
    )


def share_there(
    days: Floats, reached: npt.NDArray[np.bool_], churned: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Estimate the cumulative share that has reached the event, with churn as a competing event.

    Args:
        days: time to the event, to churn, or of observation without either.
        reached, churned: which of these it was; never both.

    Returns:
        days (ascending, distinct) and shares (0–1, ascending). An observation censored on the day
        of an event counts as at risk on that day. Without censoring, the share is events ÷ all;
        without churn, it is the Kaplan–Meier estimate.

    Source: Aalen and Johansen 1978.

    >>> reached = np.array([True, True, False, False])
    >>> days, shares = share_there(np.array([1.0, 2, 2, 3]), reached, np.array([False] * 4))
    >>> days.tolist(), shares.tolist()
    ([1.0, 2.0], [0.25, 0.5])
    >>> both = np.array([False, True]), np.array([True, False])
    >>> share_there(np.array([1.0, 5.0]), *both)[1].tolist()
    [0.5]
    """
    ends, place = np.unique(days, return_inverse=True)
    events = np.bincount(place, weights=reached, minlength=len(ends))
    lost = np.bincount(place, weights=churned, minlength=len(ends))
    ended = np.bincount(place, minlength=len(ends))
    at_risk = len(days) - np.concatenate(([0], np.cumsum(ended)[:-1]))
    neither = np.cumprod(1 - (events + lost) / np.maximum(at_risk, 1))
    before = np.concatenate(([1.0], neither))[: len(ends)]
    shares = np.cumsum(before * events / np.maximum(at_risk, 1))
    there = events > 0
    return ends[there], np.asarray(shares[there], dtype=np.float64)


def quantile(days: Floats, shares: Floats, share: float) -> float | None:
    """Find the first day at which the curve reaches `share`; null if it never does.

    >>> quantile(np.array([1.0, 2.0]), np.array([0.25, 0.5]), 0.5)
    2.0
    >>> quantile(np.array([1.0]), np.array([0.25]), 0.5) is None
    True
    """
    place = int(np.searchsorted(shares, share - 1e-12))
    return float(days[place]) if place < len(days) else None


def measure_first_value(
    people: pl.DataFrame, order: Sequence[str | None], unknown: int
) -> FirstValueMetric:
    """Measure the time to the first form by group.

    Args:
        people: FIRST_FORM_SCHEMA.
        order: the groups of the result, in order.
        unknown: number of suppliers without a sign-up date.
    """
    days, shares = _curve(people)
    points = [CurvePoint(float(day), float(share)) for day, share in zip(days, shares, strict=True)]
    if len(points) > _MOST_POINTS:
        points = [
            points[place] for place in np.linspace(0, len(points) - 1, _MOST_POINTS).astype(int)
        ]
    return FirstValueMetric(
        all=_first_value_row(None, people),
        rows=[_first_value_row(group, of_group(people, group)) for group in order],
        curve=points,
        unknown=unknown,
    )


def of_group(frame: pl.DataFrame, group: str | None) -> pl.DataFrame:
    """Select the rows of a group; null is a group too."""
    return frame.filter(pl.col("group").eq_missing(pl.lit(group, pl.String)))


def _curve(people: pl.DataFrame) -> tuple[Floats, Floats]:
    return share_there(*(people[name].to_numpy() for name in ("days", "reached", "churned")))


def _first_value_row(group: str | None, people: pl.DataFrame) -> FirstValueRow:
    days, shares = _curve(people)
    seen_long_enough = people.height > 0 and bool((people["days"] >= _EARLY_DAYS).any())
    all_triggered = people.height > 0 and bool((people["reached"] | people["churned"]).all())
    early = (
        float(shares[days <= _EARLY_DAYS].max(initial=0.0))
        if seen_long_enough or all_triggered
        else None
    )
    reached = int(people["reached"].sum())
    return FirstValueRow(
        group=group,
        value=quantile(days, shares, 0.5),
        n=people.height,
        reached=reached,
        share=reached / people.height if people.height else None,
        quarter=quantile(days, shares, 0.25),
        three_quarters=quantile(days, shares, 0.75),
        within_14_days=early,
    )


# ── tickets ───────────────────────────────────────────────────────────────────────


def measure_tickets(
    tickets: pl.DataFrame, order: Sequence[str | None], hours: OpenHours
) -> TicketMetric:
    """Measure resolution times by group.

    Args:
        tickets: TICKETS_SCHEMA.
        order: the groups of the result, in order.
        hours: support's open hours, covering all tickets.
    """
    numbered = tickets.with_row_index("ticket")
    resolved = numbered.filter(pl.col("in_period"))
    timed = numbered.with_columns(
        ((pl.col("resolved_at") - pl.col("opened_at")).dt.total_microseconds() / 1e6 / _HOUR)
        .clip(0)
        .alias("calendar"),
    ).join(
        resolved.select("ticket").with_columns(
            pl.Series("business", business_hours(resolved, hours), dtype=pl.Float64)
        ),
        on="ticket",
        how="left",
    )
    return TicketMetric(
        all=_ticket_row(None, timed),
        rows=[_ticket_row(group, of_group(timed, group)) for group in order],
        spread=_spread(timed.filter("in_period")["calendar"].to_numpy()),
    )


def business_hours(tickets: pl.DataFrame, hours: OpenHours) -> list[float]:
    """Compute the open hours from opening to resolution, excluding time waiting for the supplier
    and time in which the ticket was resolved.

    Tickets without changes in between are computed together, the others one by one.
    """
    edges = np.array(
        [edge for pair in zip(hours.starts, hours.ends, strict=True) for edge in pair],
        dtype=np.float64,
    )
    before = np.repeat(np.array(hours.before, dtype=np.float64), 2)[1:-1]
    spent = [
        np.interp(tickets[name].dt.epoch("us").to_numpy().astype(np.float64), edges, before)
        if len(edges)
        else np.zeros(tickets.height)
        for name in ("opened_at", "resolved_at")
    ]
    plain = np.maximum(spent[1] - spent[0], 0.0) / 1e6 / _HOUR
    return [
        float(plain[place]) if changes is None else _followed(changes, resolved_at, hours)
        for place, (changes, resolved_at) in enumerate(
            tickets.select("changes", "resolved_at").iter_rows()
        )
    ]


def _followed(changes: str, resolved_at: datetime, hours: OpenHours) -> float:
    transitions = (text.split(" ") for text in changes.split(","))
    course = follow(
        [Change(from_micros(int(at)), _TRANSITIONS[state]) for at, state in transitions],
        resolved_at,
    )
    if course is None:
        return 0.0
    spent = sum(
        hours.open_until(to_micros(end or resolved_at)) - hours.open_until(to_micros(start))
        for start, end in course.runs
    )
    return max(0, spent) / 1e6 / _HOUR


def _ticket_row(group: str | None, tickets: pl.DataFrame) -> TicketRow:
    resolved = tickets.filter(pl.col("in_period"))
    opened = tickets.filter(pl.col("opened_in_period"))
    return TicketRow(
        group=group,
        value=_percentile(resolved["calendar"], 50),
        n=resolved.height,
        p90=_percentile(resolved["calendar"], 90),
        business_median=_percentile(resolved["business"], 50),
        business_p90=_percentile(resolved["business"], 90),
        opened=opened.height,
        still_open=opened["resolved_at"].null_count(),
    )


def _spread(hours: Floats) -> list[TicketSpread]:
    if not len(hours):
        return []
    counts = np.bincount(np.searchsorted(SPREAD_HOURS, hours), minlength=len(SPREAD_HOURS) + 1)
    return [
        TicketSpread(until, int(n)) for until, n in zip([*SPREAD_HOURS, None], counts, strict=True)
    ]


def _percentile(values: pl.Series, percent: float) -> float | None:
    """Interpolate linearly, as PostgreSQL's percentile_cont does."""
    return float(np.percentile(values.to_numpy(), percent)) if len(values) else None
