"""What advice did: how far those it was offered to did better than those it was not, shrunk to what can be believed. Pure.

Suppliers are offered things when they are doing badly, and who does badly today does better in a fortnight by chance alone
(regression to the mean). A share of "it helped" by itself is therefore mostly noise that flatters. What counts here is the
difference to suppliers to whom the same advice applied at the same kind of moment, and who by lot were not offered it
(docs/methods.md, docs/decisions/0024).

Told, in names, is offered: served in an answer or sent in a letter, seen or not (intention to treat). Those who never look stand on
both sides alike, so the comparison is fair, and its difference smaller than what seeing the advice does.
"""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from everafter.metrics.effect_rules import Arms, confidence_sequence, declare, log_evidence
from everafter.playbook.model import DIMENSIONS, Playbook
from everafter.recommendations.couples_model import UNNAMED
from everafter.recommendations.model import BETTER_SHARE, EFFECTS_SCHEMA, LEAST_TO_SAY, WORKED, EffectAnswer, EffectVerdict
from everafter.signals.wording import say

PRIOR = 0.10
"""The share of what is missing that advice is taken to win back before anything was seen. An assumption; the same for all, so it
orders nothing by itself."""

STRENGTH = 25.0
"""How many compared pairs the parent's estimate weighs as much as. It is 0.25 ÷ sd² for a spread of 0.1 between trades around all
trades, and between advice around the prior."""

_ALL = ""
_COUNTS = ("told", "told_better", "untold", "untold_better")


def shrink(told: float, told_better: float, untold: float, untold_better: float, parent: float) -> float:
    """The difference between two shares, drawn towards `parent` as far as the numbers are small.

    Pairs n = told × untold ÷ (told + untold): with nobody on one side nothing was compared, and the parent stands.

    >>> round(shrink(0, 0, 0, 0, 0.1), 3), round(shrink(1000, 600, 1000, 300, 0.1), 3)
    (0.1, 0.29)
    >>> shrink(500, 500, 0, 0, 0.1)  # all better, nobody to compare with: says nothing
    0.1
    """
    pairs = told * untold / (told + untold) if told and untold else 0.0
    difference = told_better / told - untold_better / untold if pairs else 0.0
    return (pairs * difference + STRENGTH * parent) / (pairs + STRENGTH)


def expected_shares(effects: pl.DataFrame | None, advice: list[str], trades: list[str | None]) -> pl.DataFrame:
    """What offering each advice can be expected to win back, for each trade.

    Args:
        effects: rows of `EFFECTS_SCHEMA`; vendor_type '' is all trades together. Null: none were measured.

    Returns:
        id, vendor_type, share (0–1: the shrunken difference, trade → all trades → `PRIOR`; a harmful one counts as 0) and worked
        (`WORKED`: the trade's counts when there are enough on both sides, else all trades', else null).
    """
    counts = _counted(effects)
    rows: list[dict[str, object]] = []
    for name in advice:
        everywhere = counts.get((name, _ALL), (0, 0, 0, 0))
        general = shrink(*everywhere, PRIOR)
        for trade in trades:
            own = counts.get((name, trade or _ALL), (0, 0, 0, 0))
            share = shrink(*own, general) if trade else general
            rows.append(
                {
                    "id": name,
                    "vendor_type": trade,
                    "share": min(1.0, max(0.0, share)),
                    "worked": _worked(own, trade or None) or _worked(everywhere, None),
                }
            )
    return pl.DataFrame(rows, schema={"id": pl.String, "vendor_type": pl.String, "share": pl.Float64, "worked": WORKED})


def _counted(effects: pl.DataFrame | None) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    if effects is None:
        return {}
    columns = effects.select("advice_id", "vendor_type", *_COUNTS).iter_rows()
    return {(advice, trade): (told, better, untold, other) for advice, trade, told, better, untold, other in columns}


def _worked(counts: tuple[int, int, int, int], trade: str | None) -> dict[str, object] | None:
    told, better, untold, untold_better = counts
    if min(told, untold) < LEAST_TO_SAY:
        return None
    return {"told": told, "better": better, "untold": untold, "untold_better": untold_better, "vendor_type": trade}


def compare(told: int, told_better: int, untold: int, untold_better: int) -> tuple[float, float, float] | None:
    """The difference of the two shares with its 95 % confidence sequence; null while there are too few to say.

    Valid however often one looks. Shares are smoothed to (s + 1) ÷ (n + 2) for it, since small samples of rare outcomes would
    otherwise be far too sure of themselves.

    >>> d, low, high = compare(1800, 1620, 200, 160)
    >>> round(d, 3), low < d < high
    (0.1, True)

    Source: `metrics.effect_rules.confidence_sequence`.
    """
    if min(told, untold) < LEAST_TO_SAY:
        return None
    _, low, high = confidence_sequence([Arms(told, told_better, untold, untold_better)])
    return told_better / told - untold_better / untold, max(-1.0, low), min(1.0, high)


def _verdicts(rows: Sequence[Mapping[str, int]], compared: Sequence[tuple[float, float, float] | None]) -> Iterator[EffectVerdict]:
    """What is declared of each row, over all that can be compared together: by the exact e-value and e-BH at 5 %."""
    evidence = [log_evidence(Arms(*(row[name] for name in _COUNTS))) for row, one in zip(rows, compared, strict=True) if one]
    declared = iter(declare(evidence))
    for one in compared:
        if one is None:
            yield "too_few"
        elif next(declared):
            yield "helps" if one[0] > 0 else "hurts"
        else:
            yield "not_yet_known"


def settle(due: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """Whether each supplier was clearly better when its advice was looked at again.

    Better: at least `BETTER_SHARE` of what was missing in the dimension has been won back. Shares of a dimension are compared
    (points ÷ its maximum), not points: a maximum grows when another dimension becomes unknown.

    Args:
        due: from `queries.read_due`; `judged` says whether a daily run took place on the day looked at, whose five
            `<dimension>_points` stand there, null where unknown.

    Returns:
        supplier_id, advice_id, given_on, channel, told, worked: null where nothing can be compared (no run that day, or the
        dimension was not known then or now). A supplier whom that day's run did not judge any more has left: not better.
    """
    gone = pl.all_horizontal(pl.col(f"{d}_points").is_null() for d in DIMENSIONS)
    before = pl.col("points_before") / pl.col("points_max")
    after = _share_after(playbook)
    better = after >= before + BETTER_SHARE * (1 - before) - 1e-9
    comparable = pl.col("judged") & (pl.col("points_max") > 0) & pl.col("points_before").is_not_null() & (before < 1)
    return due.select(
        "supplier_id",
        "advice_id",
        "given_on",
        "channel",
        "told",
        pl.when(comparable & gone).then(pl.lit(False)).when(comparable).then(better).alias("worked"),
    )


def _share_after(playbook: Playbook) -> pl.Expr:
    """The dimension's points of the day looked at ÷ its maximum then, which follows from the trade's weights and what was known."""

    def weight(dimension: str) -> pl.Expr:
        per_trade: Mapping[str, float] = {t: float(getattr(s.weights, dimension)) for t, s in playbook.segments.items()}
        return pl.col("vendor_type").replace_strict(per_trade, default=per_trade["default"], return_dtype=pl.Float64)

    known = pl.sum_horizontal(pl.when(pl.col(f"{d}_points").is_not_null()).then(weight(d)).otherwise(0.0) for d in DIMENSIONS)
    return pl.coalesce(
        pl.when(pl.col("closes") == d).then(pl.col(f"{d}_points") * known / (100 * weight(d))) for d in DIMENSIONS
    ).fill_nan(None)


def add_all_trades(by_trade: pl.DataFrame) -> pl.DataFrame:
    """The counts of each trade, and their sums over all trades under the vendor type ''.

    Args:
        by_trade: `EFFECTS_SCHEMA`; vendor_type '' stands for suppliers without a trade, who count in the sums alone.
    """
    counts = pl.col(*_COUNTS).sum()
    sums = by_trade.group_by("advice_id").agg(pl.lit(_ALL).alias("vendor_type"), counts)
    return (
        pl.concat([by_trade.filter(pl.col("vendor_type") != _ALL), sums.select(by_trade.columns)])
        .cast(pl.Schema(EFFECTS_SCHEMA))
        .sort("advice_id", "vendor_type")
    )


def list_effects(effects: pl.DataFrame, playbook: Playbook) -> list[EffectAnswer]:
    """Every count with its difference, in the order of the playbook (couples first), all trades before single ones.

    What the playbook does not say any more has no title but its id, and stands last.
    """
    policy = {**playbook.couples, **playbook.recommendations}
    place = {name: number for number, name in enumerate(policy)}
    trades = effects["vendor_type"].unique().to_list()
    shares = {
        (name, trade): share
        for name, trade, share, _ in expected_shares(effects, effects["advice_id"].unique().to_list(), trades).iter_rows()
    }
    rows = sorted(
        effects.iter_rows(named=True), key=lambda r: (place.get(r["advice_id"], len(place)), r["advice_id"], r["vendor_type"])
    )
    compared = [compare(*(row[name] for name in _COUNTS)) for row in rows]
    found: list[EffectAnswer] = []
    for row, one, verdict in zip(rows, compared, _verdicts(rows, compared), strict=True):
        advice = policy.get(row["advice_id"])
        difference, low, high = one or (None, None, None)
        found.append(
            EffectAnswer(
                id=row["advice_id"],
                title=say(advice.title, {"couple": UNNAMED["en"]}) if advice else row["advice_id"],
                closes=advice.closes if advice else None,
                vendor_type=row["vendor_type"] or None,
                told=row["told"],
                better=row["told_better"],
                untold=row["untold"],
                untold_better=row["untold_better"],
                difference=difference,
                low=low,
                high=high,
                verdict=verdict,
                expected_share=shares[row["advice_id"], row["vendor_type"]],
            )
        )
    return found
