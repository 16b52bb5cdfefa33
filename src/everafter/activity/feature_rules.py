"""Which features have a slot in `feature_days`, and which others a supplier's row stores. Pure.

Feature names are free text, and a client may send thousands of them. So only features that a
playbook names have a slot, which all suppliers share. The others are stored in the supplier's own
row, the MAX_OTHER_FEATURES used last, so a noisy supplier does not affect others.

The result does not depend on the order of events: a feature that is among the latest at the end was
also among the latest when its last use arrived, since days only grow.
"""

import json
from collections.abc import Collection

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.core.errors import InputError

USES_SCHEMA = {"supplier_id": pl.String(), "feature": pl.String(), "day": pl.Int64()}
"""The last day (since 1970-01-01, UTC) on which a supplier used a feature."""


def assign_slots(known: dict[str, int], named: Collection[str]) -> dict[str, int]:
    """The slot of every feature once `named` have one.

    A feature keeps its slot even if no playbook names it any longer, until all slots are used; then
    only named features keep theirs.

    Raises:
        InputError: more features are named than there are slots.

    >>> assign_slots({"forms": 0, "albums": 2}, ["forms", "gallery"])
    {'forms': 0, 'albums': 2, 'gallery': 1}
    """
    if len(set(named)) > model.MAX_FEATURES:
        raise InputError(
            f"the playbook names {len(set(named))} features; at most {model.MAX_FEATURES} can be"
            " followed"
        )
    kept = known
    if len(known.keys() | set(named)) >= model.MAX_FEATURES:
        kept = {feature: slot for feature, slot in known.items() if feature in set(named)}
    new = sorted(set(named) - kept.keys())
    free = sorted(set(range(model.MAX_FEATURES)) - set(kept.values()))
    return kept | dict(zip(new, free, strict=False))


def needs_slots(known: dict[str, int], named: Collection[str]) -> bool:
    """Whether a named feature has no slot, or all slots are used and some by features not named.

    The second can happen in an old installation: slots were given to any feature, in order of
    arrival.
    """
    full = len(known) >= model.MAX_FEATURES
    return not set(named) <= known.keys() or (full and not known.keys() <= set(named))


def merge_other_features(
    old: pl.DataFrame, index: pl.DataFrame, uses: pl.DataFrame
) -> list[pl.Series]:
    """`other_features` and `features_beyond` of a batch's rows.

    Args:
        old: the previous rows; null where there was none.
        index: supplier_id and row, in the order of `old`.
        uses: USES_SCHEMA, of features without a slot; may repeat features.
    """
    texts: list[str] = [text or "{}" for text in old["other_features"].to_list()]
    beyond: list[bool] = [bool(flag) for flag in old["features_beyond"].to_list()]
    latest = uses.group_by("supplier_id", "feature").agg(pl.col("day").max())
    by_row: dict[int, dict[str, int]] = {}
    named = latest.join(index, on="supplier_id").select("row", "feature", "day")
    for row, feature, day in named.iter_rows():
        by_row.setdefault(row, {})[feature] = day
    for row, used in by_row.items():
        texts[row], more = keep_latest(json.loads(texts[row]), used)
        beyond[row] = beyond[row] or more
    return [
        pl.Series("other_features", texts, dtype=pl.String),
        pl.Series("features_beyond", beyond, dtype=pl.Boolean),
    ]


def keep_latest(known: dict[str, int], used: dict[str, int]) -> tuple[str, bool]:
    """Merge the last days of features, and keep the features used last: as JSON with sorted keys,
    and whether there were more.

    >>> keep_latest({"albums": 7}, {"albums": 5, "maps": 6})
    ('{"albums": 7, "maps": 6}', False)
    """
    joined = {
        name: max(known.get(name, 0), used.get(name, 0)) for name in known.keys() | used.keys()
    }
    latest = sorted(joined.items(), key=lambda item: (item[1], item[0]))[
        -model.MAX_OTHER_FEATURES :
    ]
    return json.dumps(dict(sorted(latest))), len(joined) > model.MAX_OTHER_FEATURES


def move_features(
    rows: pl.DataFrame, old_ids: dict[str, int], new_ids: dict[str, int], uses: pl.DataFrame
) -> pl.DataFrame:
    """Move every feature to the slot that `new_ids` gives it.

    Args:
        rows: supplier_id, feature_days, other_features, features_beyond and last_feature_at, and
            any other columns.
        old_ids: the slots that `rows` were written with.
        uses: USES_SCHEMA, from `events`, of the suppliers with `features_beyond`: every feature of
            `new_ids`, and of the others the latest, one more than a row stores. That also decides
            `features_beyond`.

    Returns:
        `rows` in the same order.
    """
    used: dict[str, dict[str, int]] = {}
    for supplier_id, feature, day in uses.select("supplier_id", "feature", "day").iter_rows():
        used.setdefault(supplier_id, {})[feature] = day
    names = [(slot, name) for name, slot in old_ids.items()]
    slots = model.unpack_slots(rows["feature_days"], model.MAX_FEATURES)
    moved = np.zeros_like(slots)
    texts: list[str] = []
    beyond: list[bool] = []
    last: list[int] = []
    columns = rows.select("supplier_id", "other_features")
    for row, (supplier_id, text) in enumerate(columns.iter_rows()):
        days: dict[str, int] = json.loads(text or "{}")
        days |= {name: int(slots[row, slot]) for slot, name in names if slots[row, slot]}
        for name, day in used.get(supplier_id, {}).items():
            days[name] = max(days.get(name, 0), day)
        for name in days.keys() & new_ids.keys():
            moved[row, new_ids[name]] = days[name]
        other = {name: day for name, day in days.items() if name not in new_ids}
        kept, more = keep_latest({}, other)
        texts.append(kept)
        beyond.append(more)
        last.append(max(days.values(), default=0))
    known_last = (
        pl.Series("day", last, dtype=pl.Int32).replace(0, None).cast(pl.Date).cast(model.TIME)
    )
    return rows.with_columns(
        model.pack_slots(moved).alias("feature_days"),
        pl.Series("other_features", texts, dtype=pl.String),
        pl.Series("features_beyond", beyond, dtype=pl.Boolean),
        pl.max_horizontal("last_feature_at", known_last).alias("last_feature_at"),
    )
