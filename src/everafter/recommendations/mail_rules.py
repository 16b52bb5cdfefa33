"""Recommendations in the emails that have room for them. Pure."""

from typing import Any

import msgspec
import polars as pl

from everafter.playbook.model import Playbook
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from everafter.recommendations.rules import drop_holdout, recommend

TEMPLATES = ("we_miss_you", "boost_client_engagement", "check_in", "lets_get_you_started")
MOST = 2
"""Recommendations in one email."""

_FIELDS = ("id", "title", "body", "reason", "action_label", "action_url")


def choose_emails(messages: pl.DataFrame) -> pl.DataFrame:
    """supplier_id and template of the emails to add recommendations to. Of several emails to one
    supplier, the first by name gets them."""
    return (
        messages.filter(pl.col("template").is_in(TEMPLATES))
        .sort("supplier_id", "template")
        .unique("supplier_id", keep="first")
        .select("supplier_id", "template")
    )


def recommend_for_emails(
    emails: pl.DataFrame,
    scored: pl.DataFrame,
    playbook: Playbook,
    clients: pl.DataFrame | None,
    effects: pl.DataFrame | None,
) -> pl.DataFrame:
    """The recommendations of each email, including those in the holdout, without those that the
    email itself makes (`excluded_templates`).

    Args:
        emails: from `choose_emails`. scored, clients, effects: as for `rules.recommend`.
    """
    found = [pl.DataFrame(schema=RECOMMENDATION_SCHEMA)]
    for (template,), group in emails.group_by("template", maintain_order=True):
        about_suppliers, about_clients = (
            {
                name: recommendation
                for name, recommendation in recommendations.items()
                if template not in recommendation.excluded_templates
            }
            for recommendations in (playbook.recommendations, playbook.client_recommendations)
        )
        policy = msgspec.structs.replace(
            playbook, recommendations=about_suppliers, client_recommendations=about_clients
        )
        rows = scored.join(group, on="supplier_id", how="semi")
        found.append(recommend(rows, policy, clients, effects, most=MOST))
    return pl.concat(found)


def write_steps(
    messages: pl.DataFrame, emails: pl.DataFrame, recommendations: pl.DataFrame
) -> pl.DataFrame:
    """The messages, with `next_steps` among the facts of those emails that got recommendations.

    Args:
        messages: outbox rows; facts is a JSON object as text.
    """
    steps: dict[str, list[dict[str, Any]]] = {}
    for row in drop_holdout(recommendations).select("supplier_id", *_FIELDS).iter_rows(named=True):
        steps.setdefault(row.pop("supplier_id"), []).append(row)
    if not steps:
        return messages
    rows = [
        (supplier, template, msgspec.json.encode(steps[supplier]).decode())
        for supplier, template in emails.iter_rows()
        if supplier in steps
    ]
    texts = pl.DataFrame(
        rows, schema=dict.fromkeys(("supplier_id", "template", "_steps"), pl.String), orient="row"
    )
    opened = pl.col("facts").str.strip_chars_end().str.strip_suffix("}")
    comma = pl.when(opened.str.strip_chars() == "{").then(pl.lit("")).otherwise(pl.lit(","))
    joined = opened + comma + pl.lit('"next_steps":') + pl.col("_steps") + pl.lit("}")
    return (
        messages.join(texts, on=["supplier_id", "template"], how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("_steps").is_not_null()).then(joined).otherwise("facts").alias("facts")
        )
        .drop("_steps")
    )
