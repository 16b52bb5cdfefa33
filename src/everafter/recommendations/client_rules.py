"""Signals of clients, and which recommendation applies to which client. Pure, for one supplier or
for many."""

from datetime import datetime
from typing import Any

import polars as pl

from everafter.mail.formatting import clean_text
from everafter.playbook.model import Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.client_model import RAW_SCHEMA
from everafter.signals.model import CLIENT_SCHEMA

_LONGEST_NAME = 60

CLIENTS: dict[str, Any] = {"supplier_id": pl.String(), "client_id": pl.String(), **CLIENT_SCHEMA}

CHOSEN: dict[str, Any] = {
    "supplier_id": pl.String(),
    "id": pl.String(),
    "others": pl.Int64(),
    "client_id": pl.String(),
    **CLIENT_SCHEMA,
}


def describe_clients(raw: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Compute the signals of clients as of a moment.

    Args:
        raw: rows of `RAW_SCHEMA`, without clients that are archived or lost or whose wedding is
            over.

    Returns:
        supplier_id, client_id and the columns of `CLIENT_SIGNALS`. Days are whole, rounded down; a
        name is one clean line of at most 60 characters, null when nothing of it is left.
    """
    now = pl.lit(as_of).cast(pl.Datetime("us", "UTC"))

    def days(column: str) -> pl.Expr:
        return (now - pl.col(column)).dt.total_days().clip(lower_bound=0).cast(pl.Int64)

    names = [clean_text(name, _LONGEST_NAME) or None if name else None for name in raw["name"]]
    return (
        raw.cast(pl.Schema(RAW_SCHEMA))
        .with_columns(
            pl.Series("client_name", names, dtype=pl.String),
            (pl.col("wedding_date") - pl.lit(as_of.date()))
            .dt.total_days()
            .cast(pl.Int64)
            .alias("days_to_wedding"),
            pl.col("forms_sent", "forms_unanswered", "emails_unopened").fill_null(0),
            days("form_sent_at").alias("form_waiting_days"),
            days("last_active_at").alias("days_since_active"),
            pl.coalesce(days("last_active_at"), days("added_at")).alias("portal_inactive_days"),
        )
        .select(list(CLIENTS))
    )


def choose_clients(clients: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """For each supplier and each recommendation about clients, choose the client to name.

    A client is named by one recommendation only, the first of the playbook that applies to it.
    Among several clients, the one with the nearest wedding comes first, then the one whose form has
    waited longest; clients without a date come last.

    Args:
        clients: from `describe_clients`; a condition that is null does not apply.

    Returns:
        Rows of `CHOSEN` in no order. `others` counts the further clients that it applies to.
    """
    policy = playbook.client_recommendations
    if not policy or clients.is_empty():
        return pl.DataFrame(schema=CHOSEN)
    asked = clients.cast(pl.Schema(CLIENTS)).with_columns(
        compile_condition(a.when).alias(f"_{name}") for name, a in policy.items()
    )
    first = pl.coalesce(pl.when(pl.col(f"_{name}")).then(pl.lit(name)) for name in policy)
    return (
        asked.with_columns(first.alias("id"))
        .filter(pl.col("id").is_not_null())
        .sort(
            ["days_to_wedding", "form_waiting_days", "client_id"],
            descending=[False, True, False],
            nulls_last=True,
            maintain_order=True,
        )
        .group_by("supplier_id", "id", maintain_order=True)
        .agg(
            (pl.len() - 1).cast(pl.Int64).alias("others"),
            pl.col("client_id", *CLIENT_SCHEMA).first(),
        )
        .select(list(CHOSEN))
    )
