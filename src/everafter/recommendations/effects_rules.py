"""The effect of showing recommendations: treatment against control group, with shrinkage. Pure.

Suppliers get recommendations when they are doing badly, and such suppliers often do better two
weeks later by chance alone (regression to the mean). So the share that improved means little by
itself. What counts is the lift over the control group: suppliers that the same recommendation
applied to and that, at random, were not shown it (docs/methods.md, docs/decisions/0024).

Treated means that the recommendation was served in an answer or sent in an email, seen or not
(intention to treat). Those who never look are in both groups alike. The comparison is fair, and the
lift smaller than the effect of reading the recommendation."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from everafter.metrics.effect_rules import Arms, confidence_sequence, declare, log_evidence
from everafter.playbook.model import DIMENSIONS, Playbook
from everafter.recommendations.client_model import UNNAMED
from everafter.recommendations.model import (
    EFFECT,
    EFFECTS_SCHEMA,
    IMPROVED_SHARE,
    MIN_TO_COMPARE,
    EffectAnswer,
    EffectConclusion,
)
from everafter.signals.text import format_sentence

PRIOR = 0.10
"""The share of the missing points that a recommendation is assumed to win back before anything was
measured. The same for all, so it does not affect their order."""

STRENGTH = 25.0
"""The weight of the parent's estimate, in compared pairs: 0.25 ÷ sd² for a standard deviation of
0.1 between vendor types around all vendor types, and between recommendations around the prior."""

_ALL = ""
_COUNTS = ("treated", "treated_improved", "control", "control_improved")


def shrink(
    treated: float, treated_improved: float, control: float, control_improved: float, parent: float
) -> float:
    """The lift, shrunk toward `parent` the more the fewer suppliers were compared.

    The weight is the number of pairs, treated × control ÷ (treated + control). If one group is
    empty, nothing was compared and the result is `parent`.

    >>> round(shrink(0, 0, 0, 0, 0.1), 3), round(shrink(1000, 600, 1000, 300, 0.1), 3)
    (0.1, 0.29)
    >>> shrink(500, 500, 0, 0, 0.1)  # all improved, but no control group
    0.1
    """
    pairs = treated * control / (treated + control) if treated and control else 0.0
    lift = treated_improved / treated - control_improved / control if pairs else 0.0
    return (pairs * lift + STRENGTH * parent) / (pairs + STRENGTH)


def expected_shares(
    effects: pl.DataFrame | None, recommendations: list[str], vendor_types: list[str | None]
) -> pl.DataFrame:
    """The share of the missing points that showing each recommendation is expected to win back.

    Args:
        effects: rows of `EFFECTS_SCHEMA`; vendor_type '' is all vendor types together. Null: none
            were measured.

    Returns:
        id, vendor_type; share (0–1): the lift of the vendor type, shrunk toward that of all vendor
        types, which is shrunk toward `PRIOR`; 0 for a harmful one. effect (`EFFECT`): the counts of
        the vendor type if both groups are large enough, else those of all, else null.
    """
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
                    "effect": _effect(own, vendor_type or None) or _effect(everywhere, None),
                }
            )
    return pl.DataFrame(
        rows,
        schema={"id": pl.String, "vendor_type": pl.String, "share": pl.Float64, "effect": EFFECT},
    )


def _counted(effects: pl.DataFrame | None) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    if effects is None:
        return {}
    columns = effects.select("recommendation_id", "vendor_type", *_COUNTS).iter_rows()
    return {
        (recommendation, vendor_type): (treated, treated_improved, control, control_improved)
        for (
            recommendation,
            vendor_type,
            treated,
            treated_improved,
            control,
            control_improved,
        ) in columns
    }


def _effect(counts: tuple[int, int, int, int], vendor_type: str | None) -> dict[str, object] | None:
    treated, _, control, _ = counts
    if min(treated, control) < MIN_TO_COMPARE:
        return None
    return {**dict(zip(_COUNTS, counts, strict=True)), "vendor_type": vendor_type}


def compare(
    treated: int, treated_improved: int, control: int, control_improved: int
) -> tuple[float, float, float] | None:
    """The lift with its 95 % confidence sequence; null while a group is too small.

    The sequence is valid however often one looks. It uses smoothed shares, (s + 1) ÷ (n + 2):
    without smoothing, it would be far too narrow for small samples of rare outcomes.

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
    """The conclusion of each row, by exact e-values and e-BH at 5 % over all rows that can be
    compared."""
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


def measure(due: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """Whether each supplier has improved since its impression.

    It has improved if it won back at least `IMPROVED_SHARE` of what was missing in the dimension.
    Shares of a dimension are compared (points ÷ its maximum), not points: a maximum grows when
    another dimension becomes unknown.

    Args:
        due: from `queries.read_due`. `scored`: whether there was a daily run on the day of
            measurement; its five `<dimension>_points` are null where unknown.

    Returns:
        supplier_id, recommendation_id, shown_on, channel, treated, improved. improved is null where
        nothing can be compared: there was no run, or the dimension was unknown then or now. A
        supplier that the run did not score any more has churned, and has not improved.
    """
    has_churned = pl.all_horizontal(pl.col(f"{d}_points").is_null() for d in DIMENSIONS)
    before = pl.col("points_before") / pl.col("points_max")
    after = _share_after(playbook)
    improved = after >= before + IMPROVED_SHARE * (1 - before) - 1e-9
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
        pl.when(comparable & has_churned)
        .then(pl.lit(False))
        .when(comparable)
        .then(improved)
        .alias("improved"),
    )


def _share_after(playbook: Playbook) -> pl.Expr:
    """The dimension's points on the day of measurement ÷ its maximum on that day. The maximum
    follows from the weights of the vendor type and from which dimensions were known."""

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
        pl.when(pl.col("dimension") == d).then(pl.col(f"{d}_points") * known / (100 * weight(d)))
        for d in DIMENSIONS
    ).fill_nan(None)


def add_all_vendor_types(by_vendor_type: pl.DataFrame) -> pl.DataFrame:
    """The counts of each vendor type, and their sums over all vendor types as vendor type ''.

    Args:
        by_vendor_type: `EFFECTS_SCHEMA`. vendor_type '' means suppliers without a vendor type; they
            count in the sums only.
    """
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
    """All counts with their lift, in the order of the playbook (clients first), all vendor types
    before single ones.

    Recommendations that the playbook does not have any more come last, with their id as title.
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
        recommendation = policy.get(row["recommendation_id"])
        lift, low, high = one or (None, None, None)
        found.append(
            EffectAnswer(
                id=row["recommendation_id"],
                title=format_sentence(recommendation.title, {"client_name": UNNAMED["en"]})
                if recommendation
                else row["recommendation_id"],
                dimension=recommendation.closes if recommendation else None,
                vendor_type=row["vendor_type"] or None,
                treated=row["treated"],
                treated_improved=row["treated_improved"],
                control=row["control"],
                control_improved=row["control_improved"],
                lift=lift,
                low=low,
                high=high,
                conclusion=conclusion,
                expected_share=shares[row["recommendation_id"], row["vendor_type"]],
            )
        )
    return found
