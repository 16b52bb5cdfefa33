"""The eligibility check: what each proposed intervention must pass before it reaches a supplier.
Pure."""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta

import polars as pl

from everafter.core.zones import find_zone
from everafter.interventions.model import (
    CONSENT_CHANNELS,
    FEED_STOPPED,
    FREQUENCY_CAP,
    SUPPLIER_CHANNELS,
)
from everafter.playbook.model import Holdout, Messaging, Playbook


def check_eligibility(
    proposed: pl.DataFrame,
    history: pl.DataFrame,
    open_tasks: pl.DataFrame,
    suppressed: frozenset[str],
    playbook: Playbook,
    as_of: datetime,
    resting: Collection[str] = (),
) -> pl.DataFrame:
    """Decide on each proposal: triggered, skipped or holdout.

    Checked in this order, and the first failure is the reason: feed, subscription paused, address,
    consent, suppression, cooldown, open task of the same kind. The holdout is drawn among the
    proposals that pass all of them, so that treatment and control group are alike
    (docs/decisions/0006). The frequency cap comes last, by priority; a proposal in the holdout
    counts towards it as if it had been sent.

    Essential triggers skip the checks of pause, consent, holdout and frequency cap, and are only
    suppressed for addresses that must receive nothing at all.

    Args:
        proposed: from `rules.propose`.
        history: HISTORY_SCHEMA; triggers already evaluated on this day are left out of the result.
        open_tasks: supplier_id, and kind: the trigger that created the task.
        suppressed: lower-case addresses that must receive no message of the topic 'success'; with a
            leading '*': none at all.
        as_of: the moment evaluated; cooldowns count its UTC days.
        resting: triggers that depend on a feed that is stopped (`rules.find_resting`), essential
            ones too.

    Returns:
        The rows of `proposed` with `status`, `reason` (null: triggered) and `is_new`: false where
        the latest row of the intervention log was skipped for the same reason. Such a row is not
        written again, so that a month of inactivity is one line in the log
        (docs/decisions/0009).
    """
    asked = _join_history(proposed, history, open_tasks)
    asked = asked.with_columns(_skip_reason(suppressed, as_of, resting).alias("reason"))
    passed = asked.filter(pl.col("reason").is_null())
    skipped = asked.filter(pl.col("reason").is_not_null()).with_columns(
        pl.lit("skipped").alias("status")
    )
    passed = _apply_frequency_cap(_draw_holdout(passed, playbook.holdout), playbook.messaging)
    results = pl.concat([passed, skipped.select(passed.columns)])
    repeated = (pl.col("status") == "skipped") & (pl.col("reason") == pl.col("last_reason"))
    return results.with_columns((~repeated.fill_null(False)).alias("is_new")).drop(
        "last_acted_at", "last_reason", "used", "open_task"
    )


def _join_history(
    proposed: pl.DataFrame, history: pl.DataFrame, open_tasks: pl.DataFrame
) -> pl.DataFrame:
    """The proposals not yet evaluated today, with last_acted_at, last_reason, used (messages in the
    last 7 days) and open_task; each null where there is none."""
    keys = ["supplier_id", "trigger"]
    used = history.group_by("supplier_id").agg(pl.col("messages_7d").sum().alias("used"))
    tasks = open_tasks.select(
        "supplier_id", pl.col("kind").alias("trigger"), pl.lit(True).alias("open_task")
    ).unique()
    return (
        proposed.join(history.filter(pl.col("scored_today")), on=keys, how="anti")
        .join(history.select(*keys, "last_acted_at", "last_reason"), on=keys, how="left")
        .join(used, on="supplier_id", how="left")
        .join(tasks, on=keys, how="left")
    )


def _skip_reason(suppressed: frozenset[str], as_of: datetime, resting: Collection[str]) -> pl.Expr:
    """The first check that fails, as a key of SKIP_REASONS; null: none."""
    optional = ~pl.col("essential")
    by_email = pl.col("channel") == "email"
    email = pl.col("email").str.to_lowercase()
    for_all_topics = [address[1:] for address in suppressed if address.startswith("*")]
    for_success = [address for address in suppressed if not address.startswith("*")]
    # Calendar days, because tomorrow's run may begin some seconds earlier than today's.
    days_since = (pl.lit(as_of.date()) - pl.col("last_acted_at").dt.date()).dt.total_days()
    return (
        pl.when(pl.col("trigger").is_in(list(resting)))
        .then(pl.lit(FEED_STOPPED))
        .when(optional & (pl.col("subscription") == "paused"))
        .then(pl.lit("paused"))
        .when(by_email & (email.is_null() | (email == "")))
        .then(pl.lit("no_address"))
        .when(pl.col("channel").is_in(CONSENT_CHANNELS) & optional & ~pl.col("consent"))
        .then(pl.lit("no_consent"))
        .when(by_email & (email.is_in(for_all_topics) | (optional & email.is_in(for_success))))
        .then(pl.lit("suppressed"))
        .when(days_since < pl.col("cooldown_days"))
        .then(pl.lit("cooldown"))
        .when(pl.col("open_task"))
        .then(pl.lit("already_open"))
    )


def _draw_holdout(passed: pl.DataFrame, holdout: Holdout) -> pl.DataFrame:
    """Add `in_holdout` Boolean."""
    drawn = [
        not essential and is_in_holdout(supplier, trigger, share, holdout)
        for supplier, trigger, share, essential in passed.select(
            "supplier_id", "trigger", "holdout", "essential"
        ).iter_rows()
    ]
    return passed.with_columns(pl.Series("in_holdout", drawn, dtype=pl.Boolean))


def _apply_frequency_cap(passed: pl.DataFrame, messaging: Messaging) -> pl.DataFrame:
    """Replace `in_holdout` by status and reason, with the rest of the week's messages going to the
    highest priorities. Essential messages are always sent and count first."""
    counts = pl.col("channel").is_in(SUPPLIER_CHANNELS)
    place = counts.cast(pl.Int64).cum_sum().over("supplier_id") + pl.col("used").fill_null(0)
    over = counts & ~pl.col("essential") & (pl.col("place") > messaging.messages_per_week)
    return (
        passed.sort(
            ["supplier_id", "essential", "priority", "trigger"],
            descending=[False, True, True, False],
        )
        .with_columns(place.alias("place"))
        .with_columns(
            pl.when(over)
            .then(pl.lit("skipped"))
            .when(pl.col("in_holdout"))
            .then(pl.lit("holdout"))
            .otherwise(pl.lit("triggered"))
            .alias("status"),
            pl.when(over)
            .then(pl.lit(FREQUENCY_CAP))
            .when(pl.col("in_holdout"))
            .then(pl.lit("holdout"))
            .alias("reason"),
        )
        .drop("in_holdout", "place")
    )


def is_in_holdout(supplier_id: str, trigger: str, share: float, holdout: Holdout) -> bool:
    """Whether a supplier is in the holdout of this trigger, or in the global holdout; the same
    answer on every day and machine.

    Source: docs/methods.md, Did the intervention help? (stable hash, drawn once, kept).
    """
    return (
        _draw(f"{holdout.salt}:{supplier_id}") < holdout.global_share
        or _draw(f"{holdout.salt}:{supplier_id}:{trigger}") < share
    )


def _draw(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def next_sending_time(as_of: datetime, timezone: str, messaging: Messaging) -> datetime:
    """The first moment from `as_of` on outside the quiet hours of that time zone, in UTC.

    Local clock times are compared, so the result is right on days when the clocks change: an end of
    the quiet hours that falls into the gap in spring is the moment the clocks jump past it.

    Args:
        timezone: an IANA name; an unknown one counts as UTC.
    """
    zone = find_zone(timezone)
    local = as_of.astimezone(zone)
    start, end = time.fromisoformat(messaging.quiet_from), time.fromisoformat(messaging.quiet_until)
    clock = local.time().replace(tzinfo=None)
    overnight = start > end
    in_quiet_hours = (clock >= start or clock < end) if overnight else (start <= clock < end)
    if not in_quiet_hours:
        return as_of
    day = local.date() + timedelta(days=1 if overnight and clock >= start else 0)
    return max(as_of, datetime.combine(day, end, tzinfo=zone).astimezone(UTC))
