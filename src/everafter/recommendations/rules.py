"""Which next steps apply to a supplier, and which first. Pure, for one row or many.

How the other slices use it:
- live (coach, pages, API): `await live.recommend_live(state, supplier_ids, language, most=3)` reads, judges and recommends;
- a batch: `recommend(judged, playbook, couples, effects, language, most=3)`;
- what may be offered to the supplier of it: `told(advice)`; the rest is held out by lot;
- one row in another language: `say_advice(row, facts, playbook, language)`;
- whoever shows it to the supplier then writes that down, in the same transaction:
  `await queries.note_given(conn, advice, "coach", day)`; a pressed button: `await queries.mark_taken(conn, supplier_id, id, day)`.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import polars as pl

from everafter.interventions.rules import is_held_out
from everafter.playbook.model import DIMENSIONS, Playbook, Recommendation
from everafter.playbook.rules import compile_condition
from everafter.recommendations.couples_model import UNNAMED
from everafter.recommendations.couples_rules import CHOSEN, choose_couples
from everafter.recommendations.effects_rules import expected_shares
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.signals.model import COUPLE_SCHEMA, SIGNAL_SCHEMA
from everafter.signals.wording import placeholders, say

# A frame made of one row has no type where the row has no value.
_TYPES: dict[str, Any] = {
    **SIGNAL_SCHEMA,
    **{f"{d}_points": pl.Float64() for d in DIMENSIONS},
    **{f"{d}_max": pl.Float64() for d in DIMENSIONS},
}
_WORDS = ("title", "body", "reason", "action_label")
_PLACEHOLDER = "{couple}"


def recommend(
    judged: pl.DataFrame,
    playbook: Playbook,
    couples: pl.DataFrame | None = None,
    effects: pl.DataFrame | None = None,
    language: str | None = None,
    most: int | None = None,
) -> pl.DataFrame:
    """The playbook's recommendations that apply, about the supplier and about single couples, ranked for each supplier.

    First stands what cannot wait: advice that closes no dimension and stands in its part of the playbook before all that do (a
    wedding tomorrow, then a failed payment). Then by expected points: the points missing in the dimension × the share of them
    that offering wins back (`effects_rules.expected_shares`: learned from the difference between those it was offered to and
    those it was by lot not, in this trade as far as it was seen there). What several pieces of advice would win back in one
    dimension is counted once: a later one is given what those before it are expected to leave. Equal ones keep the playbook's
    order, couples before the rest. An unknown dimension is left out of the score, so nothing is missing there.

    Args:
        judged: supplier_id, the signals, `<dimension>_points` (null: unknown) and `<dimension>_max`; a row per supplier.
        couples: from `couples_rules.describe_couples`; null: nothing is said of couples.
        effects: rows of `EFFECTS_SCHEMA`; null: none measured, so the missing points decide.
        language: of the words ("de", "de-AT"); null, or one without translation: the playbook's own.
        most: only so many that may be offered to each supplier, and what is held out before the last of them; null: all.

    Returns:
        The columns of `ADVICE_SCHEMA`, sorted by supplier and priority (1 first); sentences carry the supplier's own numbers.

    Source: issue 3, point 5; docs/methods.md, docs/decisions/0024.
    """
    rows = judged.cast({name: dtype for name, dtype in _TYPES.items() if name in judged.columns}).with_columns(
        pl.col("supplier_id").cast(pl.String)
    )
    applying = pl.concat([_about_couples(rows, couples, playbook), _about_suppliers(rows, playbook)])
    if applying.is_empty():
        return pl.DataFrame(schema=ADVICE_SCHEMA)
    ranked = _rank(applying.join(_gaps(rows), on=["supplier_id", "closes"], how="left", maintain_order="left"), effects)
    ranked = _draw(ranked, playbook)
    if most is not None:
        may = (~pl.col("held_out")).cast(pl.Int64)
        ranked = ranked.filter(may.cum_sum().over("supplier_id") - may < most)
    return _worded(ranked, rows, playbook, language)


def told(advice: pl.DataFrame) -> pl.DataFrame:
    """What of it may be offered to the supplier, with priorities counted anew."""
    shown = advice.filter(~pl.col("held_out"))
    return shown.with_columns((pl.int_range(pl.len()).over("supplier_id") + 1).cast(pl.Int64).alias("priority"))


def shown_as_told(advice: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """The rows to note when these were shown of one supplier's advice: the beginning of the list, up to the first that was not
    shown though it might have been, and what is held out before the last of them, which would have been shown too.

    Behind a gap somebody chose, and would have chosen otherwise of what is held out: those are not noted, on either side.
    """
    gap = ~pl.col("held_out") & ~pl.col("id").is_in(list(ids))
    front = advice.sort("priority").filter(gap.cast(pl.Int64).cum_sum() == 0)
    return front.filter((~pl.col("held_out")).cast(pl.Int64).cum_sum(reverse=True) > 0)


@lru_cache(maxsize=512)
def _condition(when: str) -> pl.Expr:
    return compile_condition(when)


def _terms(policy: dict[str, Recommendation], place: int) -> pl.DataFrame:
    """Order and dimension of each piece of advice; `_later`: false for what cannot wait."""
    closing = next((order for order, advice in enumerate(policy.values()) if advice.closes), 0)
    return pl.DataFrame(
        [(name, place + order, order >= closing, advice.closes) for order, (name, advice) in enumerate(policy.items())],
        schema={"id": pl.String, "_order": pl.Int64, "_later": pl.Boolean, "closes": pl.String},
        orient="row",
    )


def _about_suppliers(rows: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """supplier_id and id wherever a condition is true, with no couple."""
    policy = playbook.recommendations
    asked = rows.select("supplier_id", "vendor_type", *(_condition(a.when).alias(name) for name, a in policy.items()))
    if not policy:
        asked = asked.clear().with_columns(pl.lit(None, pl.Boolean).alias("_none"))
    return (
        asked.unpivot(index=["supplier_id", "vendor_type"], variable_name="id", value_name="_true")
        .filter("_true")
        .join(_terms(policy, len(playbook.couples)), on="id")
        .select(
            "supplier_id",
            "vendor_type",
            "id",
            "_order",
            "_later",
            "closes",
            pl.lit(0, pl.Int64).alias("others"),
            pl.lit(None, pl.String).alias("client_id"),
            *(pl.lit(None, dtype).alias(name) for name, dtype in COUPLE_SCHEMA.items()),
        )
    )


def _about_couples(rows: pl.DataFrame, couples: pl.DataFrame | None, playbook: Playbook) -> pl.DataFrame:
    chosen = pl.DataFrame(schema=CHOSEN) if couples is None else choose_couples(couples, playbook)
    return (
        chosen.join(rows.select("supplier_id", "vendor_type"), on="supplier_id")
        .join(_terms(playbook.couples, 0), on="id")
        .select("supplier_id", "vendor_type", "id", "_order", "_later", "closes", "others", "client_id", *COUPLE_SCHEMA)
    )


def _gaps(rows: pl.DataFrame) -> pl.DataFrame:
    """supplier_id, closes (the dimension), its points, its maximum and what is missing."""
    return pl.concat(
        rows.select(
            "supplier_id",
            pl.lit(d).alias("closes"),
            pl.col(f"{d}_points").alias("points_before"),
            pl.col(f"{d}_max").alias("points_max"),
            (pl.col(f"{d}_max") - pl.col(f"{d}_points")).clip(lower_bound=0).fill_null(0.0).alias("closes_points"),
        )
        for d in DIMENSIONS
    )


def _rank(found: pl.DataFrame, effects: pl.DataFrame | None) -> pl.DataFrame:
    shares = expected_shares(effects, found["id"].unique().to_list(), found["vendor_type"].unique().to_list())
    left_before = (1 - pl.col("share")).shift(1, fill_value=1.0).cum_prod().over("supplier_id", "closes")
    return (
        found.join(shares, on=["id", "vendor_type"], how="left", nulls_equal=True)
        .with_columns(
            pl.col("closes_points").fill_null(0.0),
            pl.when(pl.col("closes").is_not_null()).then("worked").alias("worked"),
        )
        .sort("supplier_id", "share", "_order", descending=[False, True, False])
        .with_columns((pl.col("closes_points") * pl.col("share") * left_before).alias("expected_points"))
        .sort("supplier_id", "_later", "expected_points", "closes_points", "_order", descending=[False, False, True, True, False])
        .with_columns((pl.int_range(pl.len()).over("supplier_id") + 1).cast(pl.Int64).alias("priority"))
    )


def _draw(ranked: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """Who is not offered what, by a lot that stays drawn. What serves no dimension is never held out: nothing would be learned."""
    share, holdout = playbook.holdout.advice_share, playbook.holdout
    draws = [
        closes is not None and share > 0 and is_held_out(supplier, f"advice:{advice}", share, holdout)
        for supplier, advice, closes in ranked.select("supplier_id", "id", "closes").iter_rows()
    ]
    return ranked.with_columns(pl.Series("held_out", draws, dtype=pl.Boolean))


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def words_of(advice: Recommendation, language: str | None) -> dict[str, str]:
    """Title, body, reason and the button's words: in the locale, else its language, else as the playbook says it; each by itself.

    >>> advice = Recommendation("true", "Send it", "Now.", "Late.", "Send", "/", translations={"de": {"title": "Senden"}})
    >>> words_of(advice, "de-AT")["title"], words_of(advice, "de-AT")["body"], words_of(advice, "fr")["title"]
    ('Senden', 'Now.', 'Send it')
    """
    exact = advice.translations.get(language or "", {})
    spoken = advice.translations.get(_base(language), {})
    return {key: exact.get(key) or spoken.get(key) or getattr(advice, key) for key in _WORDS}


def _base(language: str | None) -> str:
    return (language or "").replace("_", "-").partition("-")[0].lower()


def say_advice(row: Mapping[str, Any], facts: Mapping[str, Any], playbook: Playbook, language: str | None) -> dict[str, str]:
    """A row of advice in words: title, body, reason, action_label.

    Args:
        row: of `ADVICE_SCHEMA`; id and about count. facts: the supplier's signals.
        language: as for `words_of`. A couple without a name is "a couple" in it.

    Returns:
        Empty when the playbook does not know the advice.
    """
    advice = playbook.couples.get(row["id"]) or playbook.recommendations.get(row["id"])
    if advice is None:
        return {}
    about = facts
    if row["about"] is not None:
        about = {**row["about"], "couple": row["about"]["couple"] or UNNAMED.get(_base(language), UNNAMED["en"])}
    return {key: _say(text, about) for key, text in words_of(advice, language).items()}


def _say(text: str, about: Mapping[str, Any]) -> str:
    said = say(text, about)
    # "a couple" may have come to stand first
    return said[:1].upper() + said[1:] if text.startswith(_PLACEHOLDER) else said


def _worded(ranked: pl.DataFrame, rows: pl.DataFrame, playbook: Playbook, language: str | None) -> pl.DataFrame:
    policy = {**playbook.recommendations, **playbook.couples}
    texts = [text for name in ranked["id"].unique() for text in words_of(policy[name], language).values()]
    named = [name for name in dict.fromkeys(p for text in texts for p in placeholders(text)) if name in rows.columns]
    wanted = rows.filter(pl.col("supplier_id").is_in(ranked["supplier_id"].unique().implode()))
    facts = {row[0]: dict(zip(named, row[1:], strict=True)) for row in wanted.select("supplier_id", *named).iter_rows()}
    about = pl.when(pl.col("client_id").is_not_null()).then(pl.struct(list(COUPLE_SCHEMA)))
    ranked = ranked.with_columns(about.alias("about"))
    said: dict[str, list[str]] = {key: [] for key in (*_WORDS, "action_url")}
    for row in ranked.select("supplier_id", "id", "client_id", "about").iter_rows(named=True):
        for key, text in say_advice(row, facts[row["supplier_id"]], playbook, language).items():
            said[key].append(text)
        said["action_url"].append(policy[row["id"]].action_url.replace("{client_id}", quote(row["client_id"] or "", safe="")))
    made = [pl.Series(key, values, dtype=pl.String) for key, values in said.items()]
    return ranked.with_columns(made).select(list(ADVICE_SCHEMA)).cast(pl.Schema(ADVICE_SCHEMA))
