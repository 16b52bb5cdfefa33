"""The onboarding funnel, cohorts, and suppliers that need help. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

import polars as pl

from everafter.activity.model import moment
from everafter.core.csv import write_csv
from everafter.core.errors import InputError
from everafter.core.formatting import humanize, month, sentence
from everafter.funnel.model import (
    PERIODS,
    STATE_LABELS,
    Cohort,
    FunnelAction,
    FunnelStep,
    Range,
    Ranges,
    View,
    Waiting,
)
from everafter.metrics.time_rules import SIGNED_UP_SCHEMA, measure_first_value, time_first_forms
from everafter.onboarding.path_rules import Path, path_of
from everafter.onboarding.rules import steps_of
from everafter.playbook.model import FULLY_ACTIVATED, OnboardingStep, Playbook
from everafter.signals.row_model import SignalRow


class _Row(SignalRow):
    """A row of `add_states`."""

    state: str


def parse_view(params: Mapping[str, str]) -> View:
    """Read the filters of an address.

    Raises:
        InputError: there is no such period.
    """
    days = params.get("days", "") or str(View().days)
    if days not in {str(offered) for offered in PERIODS}:
        raise InputError(f"days: {days[:20]!r} is not one of {', '.join(map(str, PERIODS))}")
    vendor, plan = (params.get(name, "").replace("\0", "")[:100] for name in ("vendor", "plan"))
    return View(int(days), vendor, plan)


def view_query(view: View, **changes: Any) -> str:
    """The query string of a view with some changes, without defaults.

    >>> view_query(View(days=30, vendor="dj"), days=90)
    'vendor=dj'
    """
    changed, default = replace(view, **changes), View()
    values = {field.name: getattr(changed, field.name) for field in fields(View)}
    return urlencode(
        {name: value for name, value in values.items() if value != getattr(default, name)}
    )


def add_states(followed: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """The frame with `state` String, one of STATE_LABELS; `_age` in days; and for each step of the
    path a Boolean `_step_n`, whether it is done.

    Args:
        followed: from scoring.rules.evaluate_signals, a row per supplier that signed up.
    """
    path = path_of(playbook)
    activated = pl.col("fully_activated")
    churned = pl.col("subscription").fill_null("active") == "cancelled"
    return followed.with_columns(
        pl.when(activated)
        .then(pl.lit("done"))
        .when(churned)
        .then(pl.lit("churned"))
        .otherwise(pl.col("onboarding_state").fill_null("over"))
        .alias("state"),
        (
            (moment(as_of) - pl.col("account_created_at")).dt.total_microseconds() / 86_400_000_000
        ).alias("_age"),
        *(
            _is_done(path, step.actions).alias(f"_step_{n}")
            for n, (_, step) in enumerate(path.steps)
        ),
    )


def _is_done(path: Path, actions: list[str]) -> pl.Expr:
    bits = path.bits_of(actions)
    whole = pl.lit(FULLY_ACTIVATED not in actions) & ((pl.col("onboarding_actions") & bits) == bits)
    return pl.col("fully_activated") | whole


def count_states(suppliers: pl.DataFrame) -> dict[str, int]:
    """The number of suppliers in each state, in the order of STATE_LABELS."""
    found = dict(suppliers.group_by("state").len().iter_rows())
    return {state: found.get(state, 0) for state in STATE_LABELS}


def count_funnel(suppliers: pl.DataFrame, playbook: Playbook) -> list[FunnelStep]:
    """The number of suppliers that completed each step and each action, of those whose path has it.

    Args:
        suppliers: from `add_states`.
    """
    path = path_of(playbook)
    found: list[FunnelStep] = []
    for number, (name, step) in enumerate(path.steps):
        of_path = suppliers.filter((pl.col("onboarding_asked") & (1 << number)) != 0)
        due = of_path.filter(pl.col("_age") >= step.day)
        done = f"_step_{number}"
        found.append(
            FunnelStep(
                id=name,
                title=step.title,
                day=step.day,
                vendor_types=tuple(step.vendor_types),
                conditional=step.when is not None,
                asked=of_path.height,
                reached=int(of_path[done].sum()),
                due=due.height,
                reached_due=int(due[done].sum()),
                actions=tuple(
                    _count_action(action, step, of_path, path, playbook) for action in step.actions
                ),
            )
        )
    return found


def _count_action(
    action: str, step: OnboardingStep, of_path: pl.DataFrame, path: Path, playbook: Playbook
) -> FunnelAction:
    declared = playbook.onboarding_actions.get(action)
    title = declared.title if declared else sentence(humanize(action))
    reached = int(of_path.select(_is_done(path, [action]).sum()).item())
    return FunnelAction(action, title, of_path.height, reached, action == step.success_metric)


def list_waiting(suppliers: pl.DataFrame, playbook: Playbook, most: int) -> list[Waiting]:
    """The first `most` suppliers that are behind or stuck: stuck ones first, then the longest
    overdue."""
    waiting = suppliers.filter(pl.col("state").is_in(["behind", "stuck"])).sort(
        [pl.col("state") == "stuck", "onboarding_days_behind", "supplier_id"],
        descending=[True, True, False],
    )
    rows = cast(Iterator[_Row], waiting.head(most).iter_rows(named=True))
    return [_waiting(row, playbook) for row in rows]


def _waiting(row: _Row, playbook: Playbook) -> Waiting:
    steps = steps_of(row, playbook)
    began_at, days_behind = row["account_created_at"], row["onboarding_days_behind"]
    assert began_at is not None and days_behind is not None  # noqa: S101 a step is due
    step = next(step for step in steps if step.id == row["onboarding_missed"])
    return Waiting(
        id=row["supplier_id"],
        name=row["name"],
        vendor_type=row["vendor_type"],
        plan=row["plan"],
        began_at=began_at,
        state=row["state"],
        step=step.title,
        todo=tuple(action.title for action in step.actions if not action.done),
        days_behind=days_behind,
        done=sum(step.done for step in steps),
        total=len(steps),
    )


def measure_cohorts(suppliers: pl.DataFrame, as_of: datetime) -> tuple[Cohort | None, list[Cohort]]:
    """Days from sign-up to the first form: of all suppliers (null: none signed up), and by month of
    sign-up, the latest first. Estimated as the metric is.
    """
    signed_up = suppliers.select(
        pl.col("account_created_at").dt.strftime("%Y-%m").alias("group"),
        pl.col("account_created_at").alias("began_at"),
        pl.col("first_form_at").alias("form_at"),
        (pl.col("subscription").fill_null("active") == "cancelled").alias("churned"),
        pl.col("subscription_at").alias("churned_at"),
    ).cast(pl.Schema(SIGNED_UP_SCHEMA))
    people = time_first_forms(signed_up, as_of)
    if people.is_empty():
        return None, []
    months = people["group"].unique().sort(descending=True).to_list()
    found = measure_first_value(people, months, 0)
    return Cohort("", found.all), [Cohort(row.group or "", row) for row in found.rows]


def draw_ranges(cohorts: list[Cohort], *, width: int = 720) -> Ranges:
    """The chart of the cohorts' times to the first form, a row each: a line from a quarter to three
    quarters of the suppliers, a dot at half."""
    left, right, top, row_height = 104.0, width - 20.0, 8.0, 26.0
    bottom = top + row_height * len(cohorts)
    marks = [
        day
        for c in cohorts
        for day in (c.first_form.quarter, c.first_form.value, c.first_form.three_quarters)
        if day is not None
    ]
    longest = max([*marks, 1.0])
    step = next((step for step in (1, 2, 5, 7, 14, 30, 60, 120) if longest / step <= 8), 365)
    end = step * (int(longest // step) + 1)

    def x(day: float | None) -> float | None:
        return None if day is None else left + (right - left) * day / end

    rows = [
        Range(
            y=top + row_height * (number + 0.5),
            month=cohort.month,
            n=cohort.first_form.n,
            quarter=x(cohort.first_form.quarter),
            half=x(cohort.first_form.value),
            three_quarters=x(cohort.first_form.three_quarters),
            label=_describe_cohort(cohort),
        )
        for number, cohort in enumerate(cohorts)
    ]
    ticks = [(left + (right - left) * day / end, str(day)) for day in range(0, end + 1, step)]
    return Ranges(width, int(bottom + 24), left, right, top, bottom, rows, ticks)


def _describe_cohort(cohort: Cohort) -> str:
    found = cohort.first_form
    half = "fewer than half so far" if found.value is None else f"half by day {found.value:.1f}"
    return f"{month(cohort.month)}: {half}; {found.reached} of {found.n} have one"


def cohort_csv(suppliers: pl.DataFrame, playbook: Playbook) -> str:
    """The suppliers that signed up, a line each, with the state and each step: done, open, or empty
    if the path does not have it."""
    path = path_of(playbook)
    header = [
        "supplier_id",
        "name",
        "vendor_type",
        "plan",
        "signed_up",
        "state",
        "oldest_open_step",
        "days_behind",
        "days_to_first_form",
    ]
    rows: list[list[Any]] = []
    for row in suppliers.iter_rows(named=True):
        form, began = row["first_form_at"], row["account_created_at"]
        values = [
            row["supplier_id"],
            row["name"],
            row["vendor_type"],
            row["plan"],
            began.isoformat(),
            row["state"],
            row["onboarding_missed"],
            None
            if row["onboarding_days_behind"] is None
            else round(row["onboarding_days_behind"], 1),
            None if form is None else round(max(0.0, (form - began).total_seconds() / 86_400), 2),
        ]
        asked = (bool(row["onboarding_asked"] & (1 << n)) for n in range(len(path.steps)))
        done = [
            ("done" if row[f"_step_{n}"] else "open") if has else None
            for n, has in enumerate(asked)
        ]
        rows.append([*values, *done])
    return write_csv([*header, *(name for name, _ in path.steps)], rows)
