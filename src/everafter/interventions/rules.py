"""What triggers propose, and the rows that an evaluation writes: the intervention log, messages and
tasks. Pure."""

import hashlib
import uuid
from datetime import datetime, timedelta

import polars as pl

from everafter.activity.model import TIME
from everafter.core.messages import placeholders
from everafter.feeds.model import Feeds
from everafter.interventions.eligibility import next_sending_time
from everafter.playbook.conditions import signals_in
from everafter.playbook.model import Playbook
from everafter.playbook.rules import list_terms
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.signals.source_model import rests_on_stopped
from everafter.signals.text import format_sentence

_HIGH_PRIORITY = 80


def find_resting(playbook: Playbook, feeds: Feeds) -> frozenset[str]:
    """The triggers whose condition names a signal that depends on a stopped feed."""
    return frozenset(
        name
        for name, trigger in playbook.triggers.items()
        if rests_on_stopped(signals_in(trigger.when), feeds)
    )


def propose(
    scored: pl.DataFrame, playbook: Playbook, conditions: dict[str, pl.Expr]
) -> pl.DataFrame:
    """A row for every supplier and enabled trigger whose condition is true.

    Args:
        scored: a row per supplier with all signals, and name, email, timezone, consent.
        conditions: by trigger; null counts as false (playbook.rules.compile_conditions).

    Returns:
        supplier_id, the trigger with its terms (`TERMS_SCHEMA`), and the supplier's columns that
        the eligibility check needs: email, timezone, consent, subscription.
    """
    enabled = {name: trigger for name, trigger in playbook.triggers.items() if trigger.enabled}
    # All conditions in one pass over the wide frame; what follows works on narrow ones.
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
    narrow = asked.drop(f"_{name}" for name in enabled).with_columns(
        pl.lit(None, pl.String).alias("trigger")
    )
    return pl.concat([narrow.clear(), *found]).join(
        list_terms(enabled), on="trigger", how="left", maintain_order="left"
    )


def intervention_id(supplier_id: str, trigger: str, day: str) -> str:
    """The id of the log row of a supplier, trigger and day, the same however often it is
    computed."""
    return str(
        uuid.UUID(
            bytes=hashlib.blake2b(
                f"{supplier_id}:{trigger}:{day}".encode(), digest_size=16
            ).digest()
        )
    )


def make_interventions(
    results: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    playbook_version: int,
    *,
    replay: bool,
) -> pl.DataFrame:
    """The rows of the intervention log for what the eligibility check decided.

    `reason` is the trigger's sentence with the supplier's numbers where it triggered, else a code.
    `facts` holds all signals and the name, as JSON, for triggered rows and the holdout: messages
    name them, and the two groups are compared by them later. A skipped row has none.

    Args:
        results: rows of `check_eligibility`.
        replay: the day evaluated is a past one.
    """
    day = as_of.date()
    ids = [
        intervention_id(supplier, trigger, day.isoformat())
        for supplier, trigger in results.select("supplier_id", "trigger").iter_rows()
    ]
    success_by = {
        name: day + timedelta(days=trigger.success_days)
        for name, trigger in playbook.triggers.items()
    }
    is_skipped = pl.col("status") == "skipped"
    return (
        results.with_columns(pl.Series("id", ids, dtype=pl.String))
        .join(_texts(results, scored, playbook), on=["supplier_id", "trigger"], how="left")
        .join(_facts(results, scored), on="supplier_id", how="left")
        .with_columns(
            pl.coalesce("text", "reason").alias("reason"),
            pl.when(is_skipped).then(pl.lit("{}")).otherwise("facts").alias("facts"),
            pl.when(~is_skipped)
            .then(pl.col("trigger").replace_strict(success_by, return_dtype=pl.Date))
            .alias("success_by"),
            pl.lit(as_of).cast(TIME).alias("evaluated_at"),
            pl.lit(day).alias("evaluated_on"),
            pl.lit(playbook_version, pl.Int64).alias("playbook_version"),
            pl.lit(replay).alias("replay"),
        )
        .drop("text")
    )


def _facts(results: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """supplier_id and facts, of suppliers with a row that was not skipped."""
    acted = results.filter(pl.col("status") != "skipped").select("supplier_id").unique()
    return scored.join(acted, on="supplier_id", how="semi").select(
        "supplier_id", pl.struct("name", *SIGNAL_SCHEMA).struct.json_encode().alias("facts")
    )


def _texts(results: pl.DataFrame, scored: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """supplier_id, trigger, text: the reasons of the triggered rows as sentences."""
    triggered = results.filter(pl.col("status") == "triggered")
    empty = pl.DataFrame(schema=dict.fromkeys(("supplier_id", "trigger", "text"), pl.String()))
    texts = [
        _reasons(
            triggered.filter(pl.col("trigger") == name),
            scored,
            trigger.reason,
            playbook.coach.language,
        )
        for name, trigger in playbook.triggers.items()
    ]
    return pl.concat([empty, *texts])


def _reasons(
    triggered: pl.DataFrame, scored: pl.DataFrame, text: str, language: str
) -> pl.DataFrame:
    """supplier_id, trigger, text: one trigger's reason with each supplier's values."""
    named = [name for name in placeholders(text) if name in scored.columns]
    rows = triggered.select("supplier_id", "trigger").join(
        scored.select("supplier_id", *named), on="supplier_id", maintain_order="left"
    )
    texts = [text] * rows.height
    if named:
        values = rows.select(named).iter_rows(named=True)
        texts = [format_sentence(text, row, language) for row in values]
    return rows.select("supplier_id", "trigger").with_columns(
        pl.Series("text", texts, dtype=pl.String)
    )


def make_messages(
    results: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    *,
    replay: bool,
) -> pl.DataFrame:
    """The outbox rows of the triggered emails: when to send each, and when it expires.

    Args:
        results: rows of `make_interventions`.
        replay: the day evaluated is a past one, so the messages are recorded and never sent.
    """
    emails = results.filter((pl.col("status") == "triggered") & (pl.col("channel") == "email"))
    zones = {
        zone: next_sending_time(as_of, zone, playbook.messaging)
        for zone in ["UTC", *emails["timezone"].unique()]
    }
    template = {name: trigger.template or "" for name, trigger in playbook.triggers.items()}
    hours = {name: trigger.expires_hours for name, trigger in playbook.triggers.items()}
    send_after = pl.col("timezone").replace_strict(zones, return_dtype=TIME)
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
        .then(pl.lit("triggered for a past day, never sent"))
        .alias("status_reason"),
        send_after.alias("send_after"),
        (
            send_after
            + pl.duration(hours=pl.col("trigger").replace_strict(hours, return_dtype=pl.Int64))
        ).alias("expires_at"),
        pl.col("evaluated_at").alias("created_at"),
    )


def make_tasks(results: pl.DataFrame, scored: pl.DataFrame, *, replay: bool) -> pl.DataFrame:
    """The triggered tasks; due within one day from _HIGH_PRIORITY on, else within three.

    Args:
        results: rows of `make_interventions`.
        replay: the day evaluated is a past one, so the tasks are recorded as dismissed.
    """
    tasks = results.filter((pl.col("status") == "triggered") & (pl.col("channel") == "task"))
    high = pl.col("priority") >= _HIGH_PRIORITY
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
