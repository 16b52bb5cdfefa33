"""Next steps in the letters that have room for them. Pure."""

from typing import Any

import msgspec
import polars as pl

from everafter.playbook.model import Playbook
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.recommendations.rules import recommend, told

TEMPLATES = ("we_miss_you", "boost_client_engagement", "check_in", "lets_get_you_started")
MOST = 2
"""Next steps in one letter: a letter is not a list."""

_WORDS = ("id", "title", "body", "reason", "action_label", "action_url")


def choose_letters(messages: pl.DataFrame) -> pl.DataFrame:
    """supplier_id and template of the letters that have room; of several to one supplier the first by name, so that no two say
    the same."""
    return (
        messages.filter(pl.col("template").is_in(TEMPLATES))
        .sort("supplier_id", "template")
        .unique("supplier_id", keep="first")
        .select("supplier_id", "template")
    )


def advise_letters(
    letters: pl.DataFrame, judged: pl.DataFrame, playbook: Playbook, couples: pl.DataFrame | None, effects: pl.DataFrame | None
) -> pl.DataFrame:
    """The advice of each letter, held-out rows included: what the letter itself says already (`left_out_of`) is not repeated.

    Args:
        letters: from `choose_letters`. judged, couples, effects: as for `rules.recommend`.
    """
    found = [pl.DataFrame(schema=ADVICE_SCHEMA)]
    for (template,), group in letters.group_by("template", maintain_order=True):
        rest = {name: advice for name, advice in playbook.recommendations.items() if template not in advice.left_out_of}
        about = {name: advice for name, advice in playbook.couples.items() if template not in advice.left_out_of}
        policy = msgspec.structs.replace(playbook, recommendations=rest, couples=about)
        rows = judged.join(group, on="supplier_id", how="semi")
        found.append(recommend(rows, policy, couples, effects, most=MOST))
    return pl.concat(found)


def write_steps(messages: pl.DataFrame, letters: pl.DataFrame, advice: pl.DataFrame) -> pl.DataFrame:
    """The messages, with `next_steps` among the facts of the letters that have some.

    Args:
        messages: outbox rows; facts is a JSON object as text.
    """
    steps: dict[str, list[dict[str, Any]]] = {}
    for row in told(advice).select("supplier_id", *_WORDS).iter_rows(named=True):
        steps.setdefault(row.pop("supplier_id"), []).append(row)
    if not steps:
        return messages
    said = [
        (supplier, template, msgspec.json.encode(steps[supplier]).decode())
        for supplier, template in letters.iter_rows()
        if supplier in steps
    ]
    texts = pl.DataFrame(said, schema=dict.fromkeys(("supplier_id", "template", "_steps"), pl.String), orient="row")
    opened = pl.col("facts").str.strip_chars_end().str.strip_suffix("}")
    comma = pl.when(opened.str.strip_chars() == "{").then(pl.lit("")).otherwise(pl.lit(","))
    joined = opened + comma + pl.lit('"next_steps":') + pl.col("_steps") + pl.lit("}")
    return (
        messages.join(texts, on=["supplier_id", "template"], how="left", maintain_order="left")
        .with_columns(pl.when(pl.col("_steps").is_not_null()).then(joined).otherwise("facts").alias("facts"))
        .drop("_steps")
    )
