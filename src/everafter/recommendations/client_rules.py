"""What is known of each client, and which recommendations about one applies. Pure, for the clients
of one supplier or of many."""

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
    """What a playbook may ask of each client, as of a moment.

    Args: raw: rows of `RAW_SCHEMA`; archived and lost clients and those whose day is over are not
        among them.

    Returns: supplier_id, client_id and the columns of `CLIENT_SIGNALS`. Days are whole ones,
        rounded down; a name is one clean line of at most 60 characters, null when nothing of it is
        left."""
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
    """For each supplier and recommendations about clients the one client that needs it most.

    A client speaks for one recommendation only, the first of the playbook's that is true of it, so
    that the same names do not are in three sentences. Of several clients the one with the nearest
    wedding is chosen, then the one whose form has waited longest; those without a date come last.

    Args:
        clients: from `describe_clients`; what is null in a condition counts as no.

    Returns:
        Rows of `CHOSEN`: `others` counts the further clients of whom the same is true. In no order.
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
