"""Celebrations of milestones: by email, as proposals to the eligibility check; and in the coach.
Pure."""

from datetime import datetime

import msgspec
import polars as pl

from everafter.activity.model import moment
from everafter.onboarding.model import MILESTONES_SCHEMA, CoachMilestones
from everafter.playbook.model import CELEBRATION_PREFIX, Milestone, Playbook, Trigger
from everafter.playbook.rules import list_terms

_WITH_CERTIFICATE, _OTHERS = 75, 40
_LEAST_COOLDOWN_DAYS = 30


def emailed_milestones(playbook: Playbook) -> dict[str, Milestone]:
    """The playbook's milestones that are celebrated by email."""
    return {
        name: milestone
        for name, milestone in playbook.milestones.items()
        if "email" in milestone.celebrate
    }


def coach_milestones(playbook: Playbook) -> CoachMilestones:
    """The playbook's milestones that are celebrated in the coach."""
    celebrated = {
        name: milestone
        for name, milestone in playbook.milestones.items()
        if "coach" in milestone.celebrate
    }
    return CoachMilestones(
        list(celebrated),
        [milestone.fresh_days for milestone in celebrated.values()],
        [milestone.certificate for milestone in celebrated.values()],
    )


def with_celebrations(playbook: Playbook) -> Playbook:
    """The playbook with a trigger `celebrate_<milestone>` for each celebration by email.

    They are disabled, so no condition proposes them; `propose_celebrations` does. They share the
    eligibility check, the intervention log and the outbox with all others. They have no holdout of
    their own, only the global one."""
    actions = {
        step.milestone: step.celebration
        for step in playbook.onboarding.values()
        if step.milestone and step.celebration
    }
    celebrations = {
        f"{CELEBRATION_PREFIX}{name}": Trigger(
            when="false",
            enabled=False,
            action=actions.get(name, "send_celebration"),
            channel="email",
            template=milestone.template,
            reason=f"milestone reached: {milestone.title}",
            success="days_since_login < 7",
            priority=_WITH_CERTIFICATE if milestone.certificate else _OTHERS,
            cooldown_days=max(_LEAST_COOLDOWN_DAYS, min(400, milestone.fresh_days)),
            holdout=0,
        )
        for name, milestone in emailed_milestones(playbook).items()
    }
    return msgspec.structs.replace(playbook, triggers=playbook.triggers | celebrations)


def propose_celebrations(
    scored: pl.DataFrame,
    waiting: pl.DataFrame,
    found: pl.DataFrame,
    history: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
) -> pl.DataFrame:
    """A proposal for every milestone to celebrate by email; rows as from
    `interventions.rules.propose`.

    Args:
        scored: the slice's rows.
        waiting: MILESTONES_SCHEMA, recorded before and not celebrated by email yet.
        found: the same with `fresh`, found in this run.
        history: HISTORY_SCHEMA. A celebration that was triggered or in the holdout is over, and is
            not proposed every day again.
        playbook: from `with_celebrations`.
    """
    mailed = emailed_milestones(playbook)
    columns = list(MILESTONES_SCHEMA)
    reached = pl.concat([waiting.select(columns), found.filter("fresh").select(columns)])
    due = _keep_fresh(reached, mailed, as_of).select(
        pl.col("supplier_id"),
        (pl.lit(CELEBRATION_PREFIX) + pl.col("milestone_type")).alias("trigger"),
    )
    acted = history.filter(pl.col("last_acted_at").is_not_null())
    names = [f"{CELEBRATION_PREFIX}{name}" for name in mailed]
    terms = list_terms({name: playbook.triggers[name] for name in names})
    return (
        due.unique(maintain_order=True)
        .join(acted, on=["supplier_id", "trigger"], how="anti")
        .join(
            scored.select("supplier_id", "email", "timezone", "consent", "subscription"),
            on="supplier_id",
            how="inner",
        )
        .join(terms, on="trigger", how="left", maintain_order="left")
        .select("supplier_id", "email", "timezone", "consent", "subscription", *terms.columns)
    )


def _keep_fresh(
    reached: pl.DataFrame, mailed: dict[str, Milestone], as_of: datetime
) -> pl.DataFrame:
    """The milestones of `mailed` that were reached less than their `fresh_days` ago."""
    days = {name: milestone.fresh_days for name, milestone in mailed.items()}
    oldest = moment(as_of) - pl.duration(
        days=pl.col("milestone_type").replace_strict(days, default=0, return_dtype=pl.Int64)
    )
    return reached.filter(pl.col("milestone_type").is_in(list(mailed))).filter(
        (pl.col("achieved_at") > oldest) & (pl.col("achieved_at") <= moment(as_of))
    )


def celebrated_in(results: pl.DataFrame) -> pl.DataFrame:
    """supplier_id and milestone_type of the celebrations that a run has triggered."""
    is_one = (pl.col("status") == "triggered") & pl.col("trigger").str.starts_with(
        CELEBRATION_PREFIX
    )
    return results.filter(is_one).select(
        "supplier_id",
        pl.col("trigger").str.strip_prefix(CELEBRATION_PREFIX).alias("milestone_type"),
    )
