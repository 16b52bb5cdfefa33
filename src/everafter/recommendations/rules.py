"""Which recommendations apply to a supplier, and in which order. Pure, for one row or many.

How other slices use this one:
- live (coach, pages, API): `await live.recommend_live(state, supplier_ids, language, most=3)`
  reads, scores and recommends;
- in a batch: `recommend(scored, playbook, clients, effects, language, most=3)`;
- what the supplier may see of it: `drop_holdout(recommendations)`;
- one row in another language: `render_recommendation(row, facts, playbook, language)`;
- after showing it, in the same transaction: `await queries.insert_impressions(conn,
  recommendations, "coach", day)`; after a click: `await queries.mark_clicked(conn, supplier_id, id,
  day)`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import polars as pl

from everafter.core.i18n import ENGLISH
from everafter.core.messages import placeholders
from everafter.interventions.eligibility import is_in_holdout
from everafter.playbook.model import DIMENSIONS, Playbook, Recommendation
from everafter.playbook.rules import compile_condition
from everafter.playbook.translation_rules import list_languages, translate
from everafter.recommendations.client_model import UNNAMED
from everafter.recommendations.client_rules import CHOSEN, choose_clients
from everafter.recommendations.effects_rules import expected_shares
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from everafter.signals.model import CLIENT_SCHEMA, SIGNAL_SCHEMA
from everafter.signals.text import format_sentence

# A frame made of one row has no type in columns where the row has no value.
_TYPES: dict[str, Any] = {
    **SIGNAL_SCHEMA,
    **{f"{d}_points": pl.Float64() for d in DIMENSIONS},
    **{f"{d}_max": pl.Float64() for d in DIMENSIONS},
}
_TEXTS = ("title", "body", "reason", "action_label")
_NAME = "{client_name}"


def recommend(
    scored: pl.DataFrame,
    playbook: Playbook,
    clients: pl.DataFrame | None = None,
    effects: pl.DataFrame | None = None,
    language: str | None = None,
    most: int | None = None,
) -> pl.DataFrame:
    """The playbook's recommendations that apply, about the supplier and about single clients,
    ranked for each supplier.

    What is urgent comes first: recommendations that improve no dimension and precede, in their part
    of the playbook, all those that do (a wedding tomorrow, then a failed payment). The rest is
    ordered by expected points: the points missing in the dimension, times the share of them that
    showing the recommendation wins back (`effects_rules.expected_shares`). What several
    recommendations would win back in one dimension is counted once: each is credited with what
    those before it are expected to leave. Equal ones keep the order of the playbook, clients first.
    An unknown dimension is left out of the score, so nothing is missing there.

    Args:
        scored: supplier_id, the signals, `<dimension>_points` (null: unknown) and
            `<dimension>_max`; a row per supplier.
        clients: from `client_rules.describe_clients`; null: recommend nothing about clients.
        effects: rows of `EFFECTS_SCHEMA`; null: none measured, so the missing points decide.
        language: of the texts ("de", "de-AT"); null, or one without translation: the playbook's
            own.
        most: recommendations to show per supplier; those in the holdout before the last of them are
            returned too. Null: all.

    Returns:
        The columns of `RECOMMENDATION_SCHEMA`, sorted by supplier and priority (1 first); the texts
        contain the supplier's own numbers.

    Source: docs/methods.md, docs/decisions/0024.
    """
    rows = scored.cast(
        {name: dtype for name, dtype in _TYPES.items() if name in scored.columns}
    ).with_columns(pl.col("supplier_id").cast(pl.String))
    applying = pl.concat(
        [_about_clients(rows, clients, playbook), _about_suppliers(rows, playbook)]
    )
    if applying.is_empty():
        return pl.DataFrame(schema=RECOMMENDATION_SCHEMA)
    ranked = _rank(
        applying.join(
            _gaps(rows), on=["supplier_id", "dimension"], how="left", maintain_order="left"
        ),
        effects,
    )
    ranked = _mark_holdout(ranked, playbook)
    if most is not None:
        shown = (~pl.col("holdout")).cast(pl.Int64)
        ranked = ranked.filter(shown.cum_sum().over("supplier_id") - shown < most)
    return _worded(ranked, rows, playbook, language)


def drop_holdout(recommendations: pl.DataFrame) -> pl.DataFrame:
    """The recommendations that the supplier may see, with their priorities renumbered."""
    shown = recommendations.filter(~pl.col("holdout"))
    return shown.with_columns(
        (pl.int_range(pl.len()).over("supplier_id") + 1).cast(pl.Int64).alias("priority")
    )


def select_impressions(recommendations: pl.DataFrame, ids: Sequence[str]) -> pl.DataFrame:
    """The rows to record when these of one supplier's recommendations were shown.

    These are the beginning of the list, up to the first one that could have been shown but was not,
    and those in the holdout before the last of them, which would have been shown too. Whatever
    comes after a gap was selected by somebody, who would have selected otherwise among those in the
    holdout; so it is recorded in neither group."""
    gap = ~pl.col("holdout") & ~pl.col("id").is_in(list(ids))
    front = recommendations.sort("priority").filter(gap.cast(pl.Int64).cum_sum() == 0)
    return front.filter((~pl.col("holdout")).cast(pl.Int64).cum_sum(reverse=True) > 0)


@lru_cache(maxsize=512)
def _condition(when: str) -> pl.Expr:
    return compile_condition(when)


def _terms(policy: dict[str, Recommendation], place: int) -> pl.DataFrame:
    """Order and dimension of each recommendation; `_later`: false for what is urgent."""
    first = next((n for n, one in enumerate(policy.values()) if one.closes), 0)
    return pl.DataFrame(
        [
            (name, place + order, order >= first, recommendation.closes)
            for order, (name, recommendation) in enumerate(policy.items())
        ],
        schema={"id": pl.String, "_order": pl.Int64, "_later": pl.Boolean, "dimension": pl.String},
        orient="row",
    )


def _about_suppliers(rows: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """The recommendations about suppliers whose condition is true, without a client."""
    policy = playbook.recommendations
    asked = rows.select(
        "supplier_id",
        "vendor_type",
        *(_condition(a.when).alias(name) for name, a in policy.items()),
    )
    if not policy:
        asked = asked.clear().with_columns(pl.lit(None, pl.Boolean).alias("_none"))
    return (
        asked.unpivot(index=["supplier_id", "vendor_type"], variable_name="id", value_name="_true")
        .filter("_true")
        .join(_terms(policy, len(playbook.client_recommendations)), on="id")
        .select(
            "supplier_id",
            "vendor_type",
            "id",
            "_order",
            "_later",
            "dimension",
            pl.lit(0, pl.Int64).alias("others"),
            pl.lit(None, pl.String).alias("client_id"),
            *(pl.lit(None, dtype).alias(name) for name, dtype in CLIENT_SCHEMA.items()),
        )
    )


def _about_clients(
    rows: pl.DataFrame, clients: pl.DataFrame | None, playbook: Playbook
) -> pl.DataFrame:
    chosen = pl.DataFrame(schema=CHOSEN) if clients is None else choose_clients(clients, playbook)
    return (
        chosen.join(rows.select("supplier_id", "vendor_type"), on="supplier_id")
        .join(_terms(playbook.client_recommendations, 0), on="id")
        .select(
            "supplier_id",
            "vendor_type",
            "id",
            "_order",
            "_later",
            "dimension",
            "others",
            "client_id",
            *CLIENT_SCHEMA,
        )
    )


def _gaps(rows: pl.DataFrame) -> pl.DataFrame:
    """supplier_id, dimension, its points, its maximum and how many points are missing."""
    return pl.concat(
        rows.select(
            "supplier_id",
            pl.lit(d).alias("dimension"),
            pl.col(f"{d}_points").alias("points_before"),
            pl.col(f"{d}_max").alias("points_max"),
            (pl.col(f"{d}_max") - pl.col(f"{d}_points"))
            .clip(lower_bound=0)
            .fill_null(0.0)
            .alias("missing_points"),
        )
        for d in DIMENSIONS
    )


def _rank(found: pl.DataFrame, effects: pl.DataFrame | None) -> pl.DataFrame:
    shares = expected_shares(
        effects, found["id"].unique().to_list(), found["vendor_type"].unique().to_list()
    )
    remaining = (
        (1 - pl.col("share")).shift(1, fill_value=1.0).cum_prod().over("supplier_id", "dimension")
    )
    return (
        found.join(shares, on=["id", "vendor_type"], how="left", nulls_equal=True)
        .with_columns(
            pl.col("missing_points").fill_null(0.0),
            pl.when(pl.col("dimension").is_not_null()).then("effect").alias("effect"),
        )
        .sort("supplier_id", "share", "_order", descending=[False, True, False])
        .with_columns(
            (pl.col("missing_points") * pl.col("share") * remaining).alias("expected_points")
        )
        .sort(
            "supplier_id",
            "_later",
            "expected_points",
            "missing_points",
            "_order",
            descending=[False, False, True, True, False],
        )
        .with_columns(
            (pl.int_range(pl.len()).over("supplier_id") + 1).cast(pl.Int64).alias("priority")
        )
    )


def holdout_key(recommendation: str) -> str:
    """The name under which a recommendation's holdout is drawn. It is that of release 0.2: with
    another one, every control group would be drawn again."""
    return f"advice:{recommendation}"


def _mark_holdout(ranked: pl.DataFrame, playbook: Playbook) -> pl.DataFrame:
    """Add `holdout`. It stays the same for a supplier and a recommendation. One that improves no
    dimension is never in the holdout, since its outcome could not be measured."""
    share, holdout = playbook.holdout.recommendation_share, playbook.holdout
    draws = [
        dimension is not None
        and share > 0
        and is_in_holdout(supplier, holdout_key(recommendation), share, holdout)
        for supplier, recommendation, dimension in ranked.select(
            "supplier_id", "id", "dimension"
        ).iter_rows()
    ]
    return ranked.with_columns(pl.Series("holdout", draws, dtype=pl.Boolean))


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────


def texts_of(
    recommendation: Recommendation, language: str | None, own: str = ENGLISH
) -> dict[str, tuple[str, str]]:
    """Title, body, reason and the button's label, each with the language it is in.

    Args:
        language: of the reader, or null; what has no translation is in the playbook's own.
        own: the playbook's language.

    >>> german = {"de": {"title": "Senden"}}
    >>> step = Recommendation("true", "Send it", "Now.", "Late.", "Send", "/", translations=german)
    >>> texts_of(step, "de-AT")["title"], texts_of(step, "de-AT")["body"]
    (('Senden', 'de'), ('Now.', 'en'))
    """
    languages = list_languages([language], own)
    return {
        key: translate(
            getattr(recommendation, key), key, recommendation.translations, languages, own
        )
        for key in _TEXTS
    }


def render_recommendation(
    row: Mapping[str, Any], facts: Mapping[str, Any], playbook: Playbook, language: str | None
) -> dict[str, str]:
    """The sentences of a recommendation with the supplier's values: title, body, reason,
    action_label.

    Args:
        row: of `RECOMMENDATION_SCHEMA`; only id and about are read.
        facts: the supplier's signals.
        language: as for `texts_of`. A client without a name gets a phrase in it.

    Returns:
        Empty when the playbook has no such recommendation.
    """
    recommendation = playbook.client_recommendations.get(row["id"]) or playbook.recommendations.get(
        row["id"]
    )
    if recommendation is None:
        return {}
    texts = texts_of(recommendation, language, playbook.coach.language)
    return {
        key: _format(text, facts if row["about"] is None else _about(row["about"], spoken), spoken)
        for key, (text, spoken) in texts.items()
    }


def _about(client: Mapping[str, Any], language: str) -> dict[str, Any]:
    unnamed = UNNAMED.get(language.partition("-")[0], UNNAMED[ENGLISH])
    return {**client, "client_name": client["client_name"] or unnamed}


def _format(text: str, facts: Mapping[str, Any], language: str) -> str:
    sentence = format_sentence(text, facts, language)
    # the phrase for an unnamed client may begin the sentence
    return sentence[:1].upper() + sentence[1:] if text.startswith(_NAME) else sentence


def _worded(
    ranked: pl.DataFrame, rows: pl.DataFrame, playbook: Playbook, language: str | None
) -> pl.DataFrame:
    policy = {**playbook.recommendations, **playbook.client_recommendations}
    texts = [
        text
        for name in ranked["id"].unique()
        for text, _ in texts_of(policy[name], language, playbook.coach.language).values()
    ]
    named = [
        name
        for name in dict.fromkeys(p for text in texts for p in placeholders(text))
        if name in rows.columns
    ]
    wanted = rows.filter(pl.col("supplier_id").is_in(ranked["supplier_id"].unique().implode()))
    facts = {
        row[0]: dict(zip(named, row[1:], strict=True))
        for row in wanted.select("supplier_id", *named).iter_rows()
    }
    about = pl.when(pl.col("client_id").is_not_null()).then(pl.struct(list(CLIENT_SCHEMA)))
    ranked = ranked.with_columns(about.alias("about"))
    made: dict[str, list[str]] = {key: [] for key in (*_TEXTS, "action_url")}
    for row in ranked.select("supplier_id", "id", "client_id", "about").iter_rows(named=True):
        for key, text in render_recommendation(
            row, facts[row["supplier_id"]], playbook, language
        ).items():
            made[key].append(text)
        made["action_url"].append(
            policy[row["id"]].action_url.replace(
                "{client_id}", quote(row["client_id"] or "", safe="")
            )
        )
    columns = [pl.Series(key, values, dtype=pl.String) for key, values in made.items()]
    return (
        ranked.with_columns(columns)
        .select(list(RECOMMENDATION_SCHEMA))
        .cast(pl.Schema(RECOMMENDATION_SCHEMA))
    )
