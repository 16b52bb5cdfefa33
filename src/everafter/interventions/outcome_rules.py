"""What came of interventions: whether a trigger's success came true within its window, for the
treated and the in the holdout alike. Pure."""

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
"""Interventions whose window holds the day scored; succeeded_on: that day or a later one, or
null."""


def compile_successes(playbook: Playbook) -> dict[str, pl.Expr]:
    """The success of each trigger, and of each tip under the name it has in the intervention log;
    unknown (null) is "not yet".

    Disabled ones too: a window that was opened runs to its end.
    """
    said = {name: trigger.success for name, trigger in playbook.triggers.items()}
    said |= {TIP_PREFIX + name: tip.success for name, tip in playbook.tips.items()}
    return {name: compile_condition(success) for name, success in said.items()}


def find_outcomes(
    scored: pl.DataFrame, windows: pl.DataFrame, successes: dict[str, pl.Expr], day: date
) -> pl.DataFrame:
    """The windows of which this day's score says something new.

    The first day of success counts, whatever the order in which days are scored; scoring a day
    again replaces what it said.

    Args: scored: a row per supplier with all signals. Who has cancelled has none, and succeeds no
        more. windows: WINDOWS_SCHEMA, opened before the day and not over. successes: from
        `compile_successes`; windows of a trigger that is not among them are left as they are.

    Returns: WINDOWS_SCHEMA: succeeded_on is the day, or null where the same day said so before and
        does not any more."""
    known = windows.filter(pl.col("trigger").is_in(list(successes)))
    if known.is_empty():
        return known
    names = known["trigger"].unique().sort().to_list()
    # of the wide frame only what is asked for
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
    unsaid = ~hit & (pl.col("succeeded_on") == day).fill_null(False)
    first = hit & (pl.col("succeeded_on").is_null() | (pl.col("succeeded_on") > day))
    return found.filter(unsaid | first).select(
        "supplier_id",
        "evaluated_on",
        "trigger",
        pl.when(hit).then(pl.lit(day)).alias("succeeded_on"),
    )
