"""What recommendations did: how far those it was offered to did better than those it was not,
shrunk to what can be believed. Pure.

Suppliers are offered things when they are doing badly, and who does badly today does better in a
fortnight by chance alone (regression to the mean). A share of "it helped" by itself is therefore
mostly noise that flatters. What counts here is the difference to suppliers to whom the same
recommendations applied at the same kind of moment, and who at random were not offered it
(docs/methods.md, docs/decisions/0024).

Told, in names, is offered: served in an answer or sent in an email, seen or not (intention to
treat). Those who never look are on both sides alike, so the comparison is fair, and its difference
smaller than what seeing the recommendations does."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from everafter.metrics.effect_rules import Arms, confidence_sequence, declare, log_evidence
from everafter.playbook.model import DIMENSIONS, Playbook
from everafter.recommendations.client_model import UNNAMED
from everafter.recommendations.model import (
    BETTER_SHARE,
    EFFECTS_SCHEMA,
    MIN_TO_COMPARE,
    WORKED,
    EffectAnswer,
    EffectConclusion,
)
from everafter.signals.text import format_sentence

PRIOR = 0.10
"""The share of what is missing that recommendations is taken to win back before anything was seen.
An assumption; the same for all, so it orders nothing by itself."""

STRENGTH = 25.0
"""How many compared pairs the parent's estimate weighs as much as. It is 0.25 ÷ sd² for a spread of
0.1 between vendor types around all vendor types, and between recommendations around the prior."""

_ALL = ""
_COUNTS = ("treated", "treated_improved", "control", "control_improved")


def shrink(
    treated: float, treated_improved: float, control: float, control_improved: float, parent: float
) -> float:
    """The difference between two shares, drawn towards `parent` as far as the numbers are small.

    Pairs n = told × control ÷ (told + control): with nobody on one side nothing was compared, and
    the parent is.

    >>> round(shrink(0, 0, 0, 0, 0.1), 3), round(shrink(1000, 600, 1000, 300, 0.1), 3)
    (0.1, 0.29)
    >>> shrink(500, 500, 0, 0, 0.1)  # all better, nobody to compare with: says nothing
    0.1
    """
    pairs = treated * control / (treated + control) if treated and control else 0.0
    difference = treated_improved / treated - control_improved / control if pairs else 0.0
    return (pairs * difference + STRENGTH * parent) / (pairs + STRENGTH)


def expected_shares(
    effects: pl.DataFrame | None, recommendations: list[str], vendor_types: list[str | None]
) -> pl.DataFrame:
    """What offering each recommendations can be expected to win back, for each vendor type.

    Args: effects: rows of `EFFECTS_SCHEMA`; vendor_type '' is all vendor types together. Null: none
        were measured.

    Returns: id, vendor_type, share (0–1: the shrunken difference, vendor type → all vendor types →
        `PRIOR`; a harmful one counts as 0) and worked (`WORKED`: the vendor type's counts when
        there are enough on both sides, else all vendor types', else null)."""
    counts = _counted(effects)
    rows: list[dict[str, object]] = []
    for name in recommendations:
        everywhere = counts.get((name, _ALL), (0, 0, 0, 0))
        general = shrink(*everywhere, PRIOR)
        for vendor_type in vendor_types:
            own = counts.get((name, vendor_type or _ALL), (0, 0, 0, 0))
            share = shrink(*own, general) if vendor_type else general
            rows.append(
                {
                    "id": name,
                    "vendor_type": vendor_type,
                    "share": min(1.0, max(0.0, share)),
                    "worked": _worked(own, vendor_type or None) or _worked(everywhere, None),
                }
            )
    return pl.DataFrame(
        rows,
        schema={"id": pl.String, "vendor_type": pl.String, "share": pl.Float64, "worked": WORKED},
    )


def _counted(effects: pl.DataFrame | None) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    if effects is None:
        return {}
    columns = effects.select("recommendation_id", "vendor_type", *_COUNTS).iter_rows()
    return {
        (recommendations, vendor_type): (treated, better, control, other)
        for recommendations, vendor_type, treated, better, control, other in columns
    }


def _worked(counts: tuple[int, int, int, int], vendor_type: str | None) -> dict[str, object] | None:
    treated, better, control, control_improved = counts
    if min(treated, control) < MIN_TO_COMPARE:
        return None
    return {
        "treated": treated,
        "better": better,
        "control": control,
        "control_improved": control_improved,
        "vendor_type": vendor_type,
    }


def compare(
    treated: int, treated_improved: int, control: int, control_improved: int
) -> tuple[float, float, float] | None:
    """The difference of the two shares with its 95 % confidence sequence; null while there are too
    few to say.

    Valid however often one looks. Shares are smoothed to (s + 1) ÷ (n + 2) for it, since small
    samples of rare outcomes would otherwise be far too sure of themselves.

    >>> d, low, high = compare(1800, 1620, 200, 160)
    >>> round(d, 3), low < d < high
    (0.1, True)

    Source: `metrics.effect_rules.confidence_sequence`.
    """
    if min(treated, control) < MIN_TO_COMPARE:
        return None
    _, low, high = confidence_sequence([Arms(treated, treated_improved, control, control_improved)])
    return treated_improved / treated - control_improved / control, max(-1.0, low), min(1.0, high)


def _conclusions(
    rows: Sequence[Mapping[str, int]], compared: Sequence[tuple[float, float, float] | None]
) -> Iterator[EffectConclusion]:
    """What is declared of each row, over all that can be compared together: by the exact e-value
    and e-BH at 5 %."""
    evidence = [
        log_evidence(Arms(*(row[name] for name in _COUNTS)))
        for row, one in zip(rows, compared, strict=True)
        if one
    ]
    declared = iter(declare(evidence))
    for one in compared:
        if one is None:
            yield "too_few"
        elif next(declared):
            yield "helps" if one[0] > 0 else "hurts"
        else:
            yield "not_yet_known"


def settle(due: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """Whether each supplier was clearly better when its recommendations was looked at again.

    Better: at least `BETTER_SHARE` of what was missing in the dimension has been won back. Shares
    of a dimension are compared (points ÷ its maximum), not points: a maximum grows when another
    dimension becomes unknown.

    Args: due: from `queries.read_due`; `scored` says whether a daily run took place on the day
        looked at, whose five `<dimension>_points` are there, null where unknown.

    Returns: supplier_id, recommendation_id, shown_on, channel, told, worked: null where nothing can
        be compared (no run that day, or the dimension was not known then or now). A supplier whom
        that day's run did not score any more has left: not better."""
    gone = pl.all_horizontal(pl.col(f"{d}_points").is_null() for d in DIMENSIONS)
    before = pl.col("points_before") / pl.col("points_max")
    after = _share_after(playbook)
    better = after >= before + BETTER_SHARE * (1 - before) - 1e-9
    comparable = (
        pl.col("scored")
        & (pl.col("points_max") > 0)
        & pl.col("points_before").is_not_null()
        & (before < 1)
    )
    return due.select(
        "supplier_id",
        "recommendation_id",
        "shown_on",
        "channel",
        "treated",
        pl.when(comparable & gone)
        .then(pl.lit(False))
        .when(comparable)
        .then(better)
        .alias("worked"),
    )


def _share_after(playbook: Playbook) -> pl.Expr:
    """The dimension's points of the day looked at ÷ its maximum then, which follows from the vendor
    type's weights and what was known."""

    def weight(dimension: str) -> pl.Expr:
        per_vendor_type: Mapping[str, float] = {
            t: float(getattr(s.weights, dimension)) for t, s in playbook.segments.items()
        }
        return pl.col("vendor_type").replace_strict(
            per_vendor_type, default=per_vendor_type["default"], return_dtype=pl.Float64
        )

    known = pl.sum_horizontal(
        pl.when(pl.col(f"{d}_points").is_not_null()).then(weight(d)).otherwise(0.0)
        for d in DIMENSIONS
    )
    return pl.coalesce(
        pl.when(pl.col("closes") == d).then(pl.col(f"{d}_points") * known / (100 * weight(d)))
        for d in DIMENSIONS
    ).fill_nan(None)


def add_all_vendor_types(by_vendor_type: pl.DataFrame) -> pl.DataFrame:
    """The counts of each vendor type, and their sums over all vendor types under the vendor type
    ''.

    Args: by_vendor_type: `EFFECTS_SCHEMA`; vendor_type '' means suppliers without a vendor type,
        who count in the sums alone."""
    counts = pl.col(*_COUNTS).sum()
    sums = by_vendor_type.group_by("recommendation_id").agg(
        pl.lit(_ALL).alias("vendor_type"), counts
    )
    return (
        pl.concat(
            [
                by_vendor_type.filter(pl.col("vendor_type") != _ALL),
                sums.select(by_vendor_type.columns),
            ]
        )
        .cast(pl.Schema(EFFECTS_SCHEMA))
        .sort("recommendation_id", "vendor_type")
    )


def list_effects(effects: pl.DataFrame, playbook: Playbook) -> list[EffectAnswer]:
    """Every count with its difference, in the order of the playbook (clients first), all vendor
    types before single ones.

    What the playbook does not say any more has no title but its id, and is last.
    """
    policy = {**playbook.client_recommendations, **playbook.recommendations}
    place = {name: number for number, name in enumerate(policy)}
    vendor_types = effects["vendor_type"].unique().to_list()
    shares = {
        (name, vendor_type): share
        for name, vendor_type, share, _ in expected_shares(
            effects, effects["recommendation_id"].unique().to_list(), vendor_types
        ).iter_rows()
    }
    rows = sorted(
        effects.iter_rows(named=True),
        key=lambda r: (
            place.get(r["recommendation_id"], len(place)),
            r["recommendation_id"],
            r["vendor_type"],
        ),
    )
    compared = [compare(*(row[name] for name in _COUNTS)) for row in rows]
    found: list[EffectAnswer] = []
    for row, one, conclusion in zip(rows, compared, _conclusions(rows, compared), strict=True):
        recommendations = policy.get(row["recommendation_id"])
        difference, low, high = one or (None, None, None)
        found.append(
            EffectAnswer(
                id=row["recommendation_id"],
                title=format_sentence(recommendations.title, {"client_name": UNNAMED["en"]})
                if recommendations
                else row["recommendation_id"],
                closes=recommendations.closes if recommendations else None,
                vendor_type=row["vendor_type"] or None,
                treated=row["treated"],
                better=row["treated_improved"],
                control=row["control"],
                control_improved=row["control_improved"],
                difference=difference,
                low=low,
                high=high,
                conclusion=conclusion,
                expected_share=shares[row["recommendation_id"], row["vendor_type"]],
            )
        )
    return found
