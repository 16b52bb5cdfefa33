"""Which next steps apply to a supplier, and which first. Pure, for one row or many."""

import polars as pl

from everafter.playbook.model import DIMENSIONS, Playbook
from everafter.playbook.rules import compile_condition
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.signals.wording import say

# A frame made of one row has no type where the row has no value.
_TYPES = {
    **SIGNAL_SCHEMA,
    **{f"{d}_points": pl.Float64() for d in DIMENSIONS},
    **{f"{d}_max": pl.Float64() for d in DIMENSIONS},
}


def recommend(frame: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """The playbook's recommendations whose condition is true, ranked for each supplier.

    Rank: by the missing points (max − points) of the dimension a recommendation closes, so by how much of the gap to 100 it
    could win back; equal ones in the playbook's order. An unknown dimension is left out of the score, so nothing is missing
    there. What closes no dimension and stands in the playbook before all that do (a failed payment) comes before them; other
    such advice after them.

    Args:
        frame: judged rows: supplier_id, the signals, and `<dimension>_points` (null: unknown) and `<dimension>_max`.

    Returns:
        The columns of `ADVICE_SCHEMA`, sorted by supplier and priority (1 first); sentences carry the supplier's own numbers.
    """
    frame = frame.cast({name: dtype for name, dtype in _TYPES.items() if name in frame.columns})
    frame = frame.with_row_index("_row").with_columns(
        (pl.col(f"{d}_max") - pl.col(f"{d}_points")).clip(lower_bound=0).fill_null(0.0).alias(f"_{d}_gap") for d in DIMENSIONS
    )
    policy = list(playbook.recommendations.items())
    closing = next((order for order, (_, advice) in enumerate(policy) if advice.closes), 0)
    applying = [
        frame.filter(compile_condition(advice.when)).select(
            "_row",
            pl.col("supplier_id").cast(pl.String),
            pl.lit(name).alias("id"),
            pl.lit(order).alias("_order"),
            pl.lit(order >= closing).alias("_later"),
            pl.lit(advice.closes, dtype=pl.String).alias("closes"),
            (pl.col(f"_{advice.closes}_gap") if advice.closes else pl.lit(0.0)).alias("closes_points"),
        )
        for order, (name, advice) in enumerate(policy)
    ]
    if not applying:
        return pl.DataFrame(schema=ADVICE_SCHEMA)
    ranked = (
        pl.concat(applying)
        .sort("supplier_id", "_later", "closes_points", "_order", descending=[False, False, True, False])
        .with_columns((pl.int_range(pl.len()).over("supplier_id") + 1).alias("priority"))
    )
    return _worded(ranked, frame, playbook)


def _worded(ranked: pl.DataFrame, frame: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    facts = {row: frame.row(row, named=True) for row in ranked["_row"].unique()}
    for found in ranked.iter_rows(named=True):
        advice = playbook.recommendations[found["id"]]
        about = facts[found["_row"]]
        rows.append(
            {
                **found,
                "title": say(advice.title, about),
                "body": say(advice.body, about),
                "reason": say(advice.reason, about),
                "action_label": advice.action_label,
                "action_url": advice.action_url,
            }
        )
    return pl.DataFrame([{name: row[name] for name in ADVICE_SCHEMA} for row in rows], schema=ADVICE_SCHEMA)
