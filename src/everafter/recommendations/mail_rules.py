"""Next steps in the emails that have room for them. Pure."""

from typing import Any

import msgspec
import polars as pl

from everafter.playbook.model import Playbook
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from everafter.recommendations.rules import recommend, treated

TEMPLATES = ("we_miss_you", "boost_client_engagement", "check_in", "lets_get_you_started")
MOST = 2
"""Next steps in one email: an email is not a list."""

_WORDS = ("id", "title", "body", "reason", "action_label", "action_url")


def choose_emails(messages: pl.DataFrame) -> pl.DataFrame:
    """supplier_id and template of the emails that have room; of several to one supplier the first
    by name, so that no two say the same."""
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
    """The recommendations of each email, held-out rows included: what the email itself says already
    (`excluded_templates`) is not repeated.

    Args:
        emails: from `choose_emails`. scored, clients, effects: as for `rules.recommend`.
    """
    found = [pl.DataFrame(schema=RECOMMENDATION_SCHEMA)]
    for (template,), group in emails.group_by("template", maintain_order=True):
        rest = {
            name: recommendations
            for name, recommendations in playbook.recommendations.items()
            if template not in recommendations.excluded_templates
        }
        about = {
            name: recommendations
            for name, recommendations in playbook.client_recommendations.items()
            if template not in recommendations.excluded_templates
        }
        policy = msgspec.structs.replace(
            playbook, recommendations=rest, client_recommendations=about
        )
        rows = scored.join(group, on="supplier_id", how="semi")
        found.append(recommend(rows, policy, clients, effects, most=MOST))
    return pl.concat(found)


def write_steps(
    messages: pl.DataFrame, emails: pl.DataFrame, recommendations: pl.DataFrame
) -> pl.DataFrame:
    """The messages, with `next_steps` among the facts of the emails that have some.

    Args:
        messages: outbox rows; facts is a JSON object as text.
    """
    steps: dict[str, list[dict[str, Any]]] = {}
    for row in treated(recommendations).select("supplier_id", *_WORDS).iter_rows(named=True):
        steps.setdefault(row.pop("supplier_id"), []).append(row)
    if not steps:
        return messages
    said = [
        (supplier, template, msgspec.json.encode(steps[supplier]).decode())
        for supplier, template in emails.iter_rows()
        if supplier in steps
    ]
    texts = pl.DataFrame(
        said, schema=dict.fromkeys(("supplier_id", "template", "_steps"), pl.String), orient="row"
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
