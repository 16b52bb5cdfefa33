"""From conditions to decisions: what each trigger proposes, and the one eligibility check that all
of it must pass. Pure."""

import hashlib
import uuid
from datetime import UTC, datetime, time, timedelta
from typing import Any

import polars as pl

from everafter.core.zones import find_zone
from everafter.interventions.model import CONSENT_CHANNELS, SUPPLIER_CHANNELS
from everafter.playbook.model import Holdout, Messaging, Playbook
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.signals.text import placeholders, say

_TERMS: dict[str, Any] = {
    "trigger": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "priority": pl.Int64(),
    "cooldown_days": pl.Int64(),
    "essential": pl.Boolean(),
    "holdout": pl.Float64(),
}


def propose(
    scored: pl.DataFrame, playbook: Playbook, conditions: dict[str, pl.Expr]
) -> pl.DataFrame:
    """A row for every supplier and enabled trigger whose condition is true.

    Args:
        scored: a row per supplier with all signals, and name, email, timezone, consent.
        conditions: of each trigger, null counting as false (playbook.rules.compile_conditions).

    Returns: supplier_id, trigger and the trigger's terms, with what the eligibility check asks of
        the supplier."""
    enabled = {name: trigger for name, trigger in playbook.triggers.items() if trigger.enabled}
    # all conditions in one pass over the wide frame, then narrow ones
    asked = scored.select(
        "supplier_id",
        "email",
        "timezone",
        "consent",
        "subscription",
        *(conditions[name].alias(f"_{name}") for name in enabled),
    )
    found = [
        asked.filter(f"_{name}").select(
            "supplier_id",
            "email",
            "timezone",
            "consent",
            "subscription",
            pl.lit(name).alias("trigger"),
        )
        for name in enabled
    ]
    terms = pl.DataFrame(
        [
            (name, t.action, t.channel, t.priority, t.cooldown_days, t.essential, t.holdout)
            for name, t in enabled.items()
        ],
        schema=_TERMS,
        orient="row",
    )
    narrow = asked.drop(f"_{name}" for name in enabled).with_columns(
        pl.lit(None, pl.String).alias("trigger")
    )
    return pl.concat([narrow.clear(), *found]).join(
        terms, on="trigger", how="left", maintain_order="left"
    )


def check_eligibility(
    proposed: pl.DataFrame,
    history: pl.DataFrame,
    open_tasks: pl.DataFrame,
    suppressed: frozenset[str],
    playbook: Playbook,
    as_of: datetime,
) -> pl.DataFrame:
    """The verdict on each proposal: decided, skipped or in the holdout.

    Asked in this order, the first no decides: paused, address, consent, suppression, cooldown, an
    open task of the same kind, holdout, the week's frequency cap by priority. The holdout is drawn
    among those who passed all before it, so that the in the holdout and the treated are alike
    (docs/decisions/0006); a held-out supplier takes its place in the budget as a treated one would.
    Essential triggers are asked for address, suppression of everything, cooldown and open task
    alone.

    Args: proposed: from `propose`. intervention log: HISTORY_SCHEMA, what was decided or in the
        holdout before; rows scored already today are not scored again. open_tasks: supplier_id and
        kind (the trigger) of open tasks. suppressed: email addresses, lower case, that must get
        nothing of the topic 'success'; with a leading '*' nothing at all.

    Returns: `proposed` less what was scored today, with status, reason (null when decided) and
        `news`: false where the latest row of the intervention log skipped it for the same reason
        already. Such a verdict is counted but not written again, so that a month of silence is one
        line in the intervention log and not thirty."""
    task_marks = open_tasks.select(
        "supplier_id", pl.col("kind").alias("trigger"), pl.lit(True).alias("open_task")
    ).unique()
    used = history.group_by("supplier_id").agg(pl.col("messages_7d").sum().alias("used"))
    asked = (
        proposed.join(
            history.filter(pl.col("scored_today")), on=["supplier_id", "trigger"], how="anti"
        )
        .join(
            history.select("supplier_id", "trigger", "last_acted_at", "last_reason"),
            on=["supplier_id", "trigger"],
            how="left",
        )
        .join(used, on="supplier_id", how="left")
        .join(task_marks, on=["supplier_id", "trigger"], how="left")
    )
    optional = ~pl.col("essential")
    email = pl.col("email").str.to_lowercase()
    nothing = [address[1:] for address in suppressed if address.startswith("*")]
    no_success = [address for address in suppressed if not address.startswith("*")]
    # days of the calendar: tomorrow's run may begin some seconds earlier than today's
    days_since = (pl.lit(as_of.date()) - pl.col("last_acted_at").dt.date()).dt.total_days()
    asked = asked.with_columns(
        pl.when(optional & (pl.col("subscription") == "paused"))
        .then(pl.lit("paused"))
        .when((pl.col("channel") == "email") & (email.is_null() | (email == "")))
        .then(pl.lit("no_address"))
        .when(pl.col("channel").is_in(CONSENT_CHANNELS) & optional & ~pl.col("consent"))
        .then(pl.lit("no_consent"))
        .when(
            (pl.col("channel") == "email")
            & (email.is_in(nothing) | (optional & email.is_in(no_success)))
        )
        .then(pl.lit("suppressed"))
        .when(days_since < pl.col("cooldown_days"))
        .then(pl.lit("cooldown"))
        .when(pl.col("open_task"))
        .then(pl.lit("already_open"))
        .alias("reason")
    )
    return _draw_and_budget(asked, playbook.holdout, playbook.messaging)


def _draw_and_budget(asked: pl.DataFrame, holdout: Holdout, messaging: Messaging) -> pl.DataFrame:
    """Holdout, then the week's budget among what is left, the most important first."""
    left = asked.filter(pl.col("reason").is_null()).with_columns(
        pl.Series(
            "held",
            [
                not essential and is_in_holdout(supplier, trigger, share, holdout)
                for supplier, trigger, share, essential in asked.filter(pl.col("reason").is_null())
                .select("supplier_id", "trigger", "holdout", "essential")
                .iter_rows()
            ],
            dtype=pl.Boolean,
        )
    )
    counts = pl.col("channel").is_in(SUPPLIER_CHANNELS)
    # what is essential always goes, and uses its place before all others
    left = left.sort(
        ["supplier_id", "essential", "priority", "trigger"], descending=[False, True, True, False]
    ).with_columns(
        (counts.cast(pl.Int64).cum_sum().over("supplier_id") + pl.col("used").fill_null(0)).alias(
            "place"
        )
    )
    over = counts & ~pl.col("essential") & (pl.col("place") > messaging.messages_per_week)
    left = left.with_columns(
        pl.when(over)
        .then(pl.lit("skipped"))
        .when(pl.col("held"))
        .then(pl.lit("holdout"))
        .otherwise(pl.lit("triggered"))
        .alias("status"),
        pl.when(over)
        .then(pl.lit("budget"))
        .when(pl.col("held"))
        .then(pl.lit("holdout"))
        .alias("reason"),
    ).drop("held", "place")
    kept_back = asked.filter(pl.col("reason").is_not_null()).with_columns(
        pl.lit("skipped").alias("status")
    )
    results = pl.concat([left, kept_back.select(left.columns)])
    again = (pl.col("status") == "skipped") & (pl.col("reason") == pl.col("last_reason")).fill_null(
        False
    )
    return results.with_columns((~again).alias("news")).drop(
        "last_acted_at", "last_reason", "used", "open_task"
    )


def is_in_holdout(supplier_id: str, trigger: str, share: float, holdout: Holdout) -> bool:
    """Whether this supplier is in the holdout of this trigger, or of everything; the same answer on
    every day and machine.

    Source: docs/methods.md, Did the intervention help? (stable hash, drawn once, kept).
    """
    return (
        _draw(f"{holdout.salt}:{supplier_id}") < holdout.global_share
        or _draw(f"{holdout.salt}:{supplier_id}:{trigger}") < share
    )


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def intervention_id(supplier_id: str, trigger: str, day: str) -> str:
    """One id for one verdict, the same however often it is computed."""
    return str(
        uuid.UUID(
            bytes=hashlib.blake2b(
                f"{supplier_id}:{trigger}:{day}".encode(), digest_size=16
            ).digest()
        )
    )


def next_sending_time(as_of: datetime, timezone: str, messaging: Messaging) -> datetime:
    """The first moment from `as_of` on that is not in the quiet hours of that zone, in UTC; an
    unknown zone counts as UTC.

    Local clock time is compared, so the answer is right on days when the clocks change: a quiet end
    that falls into the gap of spring is taken as the moment the clocks jump past it."""
    zone = find_zone(timezone)
    local = as_of.astimezone(zone)
    start, end = time.fromisoformat(messaging.quiet_from), time.fromisoformat(messaging.quiet_until)
    clock = local.time().replace(tzinfo=None)
    overnight = start > end
    quiet = (clock >= start or clock < end) if overnight else (start <= clock < end)
    if not quiet:
        return as_of
    day = local.date() + timedelta(days=1 if overnight and clock >= start else 0)
    return max(as_of, datetime.combine(day, end, tzinfo=zone).astimezone(UTC))


def make_interventions(
    results: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    playbook_version: int,
    *,
    replay: bool,
) -> pl.DataFrame:
    """The rows of the intervention log: each verdict with its id, its reason in words or as a code,
    and the supplier's numbers.

    Facts (all signals and the name) are kept for what was decided or in the holdout: the first are
    said in messages, both are compared later. What was skipped has none."""
    day = as_of.date()
    acted = results.filter(pl.col("status") != "skipped").select("supplier_id").unique()
    facts = scored.join(acted, on="supplier_id", how="semi").select(
        "supplier_id", pl.struct("name", *SIGNAL_SCHEMA).struct.json_encode().alias("facts")
    )
    no_text = pl.DataFrame(schema=dict.fromkeys(("supplier_id", "trigger", "words"), pl.String()))
    words = [
        _reasons(
            results.filter((pl.col("status") == "triggered") & (pl.col("trigger") == name)),
            scored,
            trigger.reason,
        )
        for name, trigger in playbook.triggers.items()
    ]
    ids = [
        intervention_id(supplier, trigger, day.isoformat())
        for supplier, trigger in results.select("supplier_id", "trigger").iter_rows()
    ]
    results = (
        results.with_columns(pl.Series("id", ids, dtype=pl.String))
        .join(pl.concat([no_text, *words]), on=["supplier_id", "trigger"], how="left")
        .join(facts, on="supplier_id", how="left")
        .with_columns(
            pl.coalesce("words", "reason").alias("reason"),
            pl.when(pl.col("status") == "skipped")
            .then(pl.lit("{}"))
            .otherwise(pl.col("facts"))
            .alias("facts"),
        )
        .drop("words")
    )
    success = {
        name: day + timedelta(days=trigger.success_days)
        for name, trigger in playbook.triggers.items()
    }
    return results.with_columns(
        pl.when(pl.col("status") != "skipped")
        .then(pl.col("trigger").replace_strict(success, return_dtype=pl.Date))
        .alias("success_by"),
        pl.lit(as_of).cast(pl.Datetime("us", "UTC")).alias("evaluated_at"),
        pl.lit(day).alias("evaluated_on"),
        pl.lit(playbook_version, pl.Int64).alias("playbook_version"),
        pl.lit(replay).alias("replay"),
    )


def _reasons(triggered: pl.DataFrame, scored: pl.DataFrame, text: str) -> pl.DataFrame:
    """One trigger's reason with each supplier's own numbers: supplier_id, trigger, words."""
    named = [name for name in placeholders(text) if name in scored.columns]
    rows = triggered.select("supplier_id", "trigger").join(
        scored.select("supplier_id", *named), on="supplier_id", maintain_order="left"
    )
    words = (
        [say(text, row) for row in rows.select(named).iter_rows(named=True)]
        if named
        else [text] * rows.height
    )
    return rows.select("supplier_id", "trigger").with_columns(
        pl.Series("words", words, dtype=pl.String)
    )


def messages_of(
    results: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    *,
    replay: bool,
) -> pl.DataFrame:
    """The outbox rows of the decided emails: when to send, and until when it makes sense.

    replay: the day is past, so the message is recorded and never sent.
    """
    emails = results.filter((pl.col("status") == "triggered") & (pl.col("channel") == "email"))
    zones = {
        zone: next_sending_time(as_of, zone, playbook.messaging)
        for zone in ["UTC", *emails["timezone"].unique()]
    }
    template = {name: trigger.template or "" for name, trigger in playbook.triggers.items()}
    hours = {name: trigger.expires_hours for name, trigger in playbook.triggers.items()}
    send_after = pl.col("timezone").replace_strict(zones, return_dtype=pl.Datetime("us", "UTC"))
    names = scored.select("supplier_id", pl.col("name").alias("to_name"))
    return emails.join(names, on="supplier_id").select(
        "supplier_id",
        "id",
        pl.col("id").alias("intervention_id"),
        pl.col("trigger").replace_strict(template, return_dtype=pl.String).alias("template"),
        pl.when(pl.col("essential"))
        .then(pl.lit("transactional"))
        .otherwise(pl.lit("success"))
        .alias("topic"),
        pl.col("email").alias("to_email"),
        "to_name",
        "facts",
        pl.lit("replayed" if replay else "queued").alias("status"),
        pl.when(pl.lit(replay))
        .then(pl.lit("decided for a past day, never sent"))
        .alias("status_reason"),
        send_after.alias("send_after"),
        (
            send_after
            + pl.duration(hours=pl.col("trigger").replace_strict(hours, return_dtype=pl.Int64))
        ).alias("expires_at"),
        pl.col("evaluated_at").alias("created_at"),
    )


def tasks_of(results: pl.DataFrame, scored: pl.DataFrame, *, replay: bool) -> pl.DataFrame:
    """The tasks for our own people that were decided; due within a day when the priority is high,
    else within three.

    replay: the day is past, so the task is on record and asks nothing of anybody.
    """
    tasks = results.filter((pl.col("status") == "triggered") & (pl.col("channel") == "task"))
    high = pl.col("priority") >= 80
    names = scored.select("supplier_id", "name")
    return tasks.join(names, on="supplier_id").select(
        "supplier_id",
        "id",
        pl.col("trigger").alias("kind"),
        pl.when(high).then(pl.lit("high")).otherwise(pl.lit("normal")).alias("priority"),
        ("Call " + pl.col("name")).alias("title"),
        "reason",
        pl.lit("dismissed" if replay else "open").alias("status"),
        pl.when(pl.lit(replay)).then(pl.col("evaluated_at")).alias("closed_at"),
        pl.col("id").alias("intervention_id"),
        pl.col("evaluated_at").alias("created_at"),
        (
            pl.col("evaluated_at")
            + pl.when(high).then(pl.duration(days=1)).otherwise(pl.duration(days=3))
        ).alias("due_at"),
    )
