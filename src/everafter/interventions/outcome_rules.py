"""Outcomes of interventions: whether a trigger's success came true within its window, for the
treatment group and the holdout alike. Pure."""

from datetime import date
from typing import Any

import polars as pl

from everafter.playbook.model import TIP_PREFIX, Playbook
from everafter.playbook.rules import compile_condition

WINDOWS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "evaluated_on": pl.Date(),
    "trigger": pl.String(),
    "succeeded_on": pl.Date(),
}
"""Interventions whose window includes the day scored. succeeded_on: null, or that day or a later
one."""


def compile_successes(playbook: Playbook) -> dict[str, pl.Expr]:
    """The success condition of each trigger, and of each tip under its name in the intervention
    log. Unknown (null) means "not yet".

    Disabled ones are included: a window that was opened runs to its end.
    """
    conditions = {name: trigger.success for name, trigger in playbook.triggers.items()}
    conditions |= {TIP_PREFIX + name: tip.success for name, tip in playbook.tips.items()}
    return {name: compile_condition(success) for name, success in conditions.items()}


def find_outcomes(
    scored: pl.DataFrame, windows: pl.DataFrame, successes: dict[str, pl.Expr], day: date
) -> pl.DataFrame:
    """The windows whose succeeded_on changes with this day's scores.

    The first day of success counts, whatever the order in which days are scored. Scoring a day
    again replaces what it recorded.

    Args:
        scored: a row per supplier with all signals. A supplier that has cancelled has none, and
            cannot succeed any more.
        windows: WINDOWS_SCHEMA, opened before the day and not over.
        successes: from `compile_successes`; windows of other triggers are left as they are.

    Returns:
        WINDOWS_SCHEMA: succeeded_on is the day, or null where this day was recorded before and is
        not a success any more.
    """
    known = windows.filter(pl.col("trigger").is_in(list(successes)))
    if known.is_empty():
        return known
    names = known["trigger"].unique().sort().to_list()
    # Only the columns that the conditions name, of the few suppliers with a window.
    needed = sorted(
        {column for name in names for column in successes[name].meta.root_names()} - {"supplier_id"}
    )
    asked = scored.select("supplier_id", *needed).join(known, on="supplier_id", how="semi")
    hits = [
        asked.filter(successes[name]).select(
            "supplier_id", pl.lit(name).alias("trigger"), pl.lit(True).alias("hit")
        )
        for name in names
    ]
    found = known.join(pl.concat(hits), on=["supplier_id", "trigger"], how="left")
    hit = pl.col("hit").fill_null(False)
    withdrawn = ~hit & (pl.col("succeeded_on") == day).fill_null(False)
    first = hit & (pl.col("succeeded_on").is_null() | (pl.col("succeeded_on") > day))
    return found.filter(withdrawn | first).select(
        "supplier_id",
        "evaluated_on",
        "trigger",
        pl.when(hit).then(pl.lit(day)).alias("succeeded_on"),
    )
