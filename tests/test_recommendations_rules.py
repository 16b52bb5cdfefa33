"""Which recommendations apply, in what order, in whose numbers: on frames made by hand."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from polars.testing import assert_frame_equal

from everafter.core.messages import placeholders
from everafter.core.settings import Settings
from everafter.interventions.eligibility import is_in_holdout
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import DIMENSIONS, Holdout, Playbook, Recommendation, Segment
from everafter.recommendations.effects_rules import PRIOR
from everafter.recommendations.model import EFFECTS_SCHEMA, RECOMMENDATION_SCHEMA
from everafter.recommendations.rules import drop_holdout, holdout_key, recommend, select_impressions
from everafter.signals.model import SIGNAL_SCHEMA

SHIPPED = load_playbook(
    Settings(
        None, Path(), None, None, "http://testserver", "a-secret-for-tests-and-for-nothing-else"
    )
)


def recommendation(when: str, closes: Any = None, reason: str = "because") -> Recommendation:
    return Recommendation(when, "Do {clients_total} things", "Body", reason, "Go", "/go", closes)


def playbook(**recommendations: Recommendation) -> Playbook:
    return Playbook(
        "test", {"default": Segment("All", ["forms"])}, {}, recommendations=recommendations
    )


SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "name": pl.String(),
    **SIGNAL_SCHEMA,
    **dict.fromkeys(
        (f"{d}_{part}" for d in DIMENSIONS for part in ("points", "max")), pl.Float64()
    ),
}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    blank = dict.fromkeys(SCHEMA)
    return pl.DataFrame(
        [blank | {"supplier_id": f"s{n}"} | row for n, row in enumerate(rows)], schema=SCHEMA
    )


def ids(found: pl.DataFrame) -> list[tuple[str, str, int]]:
    return list(found.select("supplier_id", "id", "priority").iter_rows())


GAPS = {
    "login_points": 10.0,
    "login_max": 30.0,
    "form_completion_points": 2.0,
    "form_completion_max": 10.0,
}


def test_the_greatest_gap_comes_first_then_the_playbooks_order() -> None:
    policy = playbook(
        billing=recommendation("true"),
        forms=recommendation("true", "form_completion"),
        journeys=recommendation("true", "journey_performance"),  # unknown: nothing is missing there
        login=recommendation("true", "login"),
        login_too=recommendation("true", "login"),
        upgrade=recommendation("true"),
    )
    found = recommend(frame(GAPS), policy)
    assert found["id"].to_list() == [
        "billing",
        "login",
        "login_too",
        "forms",
        "journeys",
        "upgrade",
    ]
    assert found["missing_points"].to_list() == [0, 20, 20, 8, 0, 0]
    assert found["priority"].to_list() == [1, 2, 3, 4, 5, 6]
    expected = [0, 20 * PRIOR, 20 * (1 - PRIOR) * PRIOR, 8 * PRIOR, 0, 0]
    assert found["expected_points"].to_list() == pytest.approx(expected), (
        "a second one is given what the first leaves"
    )
    assert found["effect"].to_list() == [None] * 6


def test_each_supplier_has_its_own_ranking_and_only_what_applies() -> None:
    policy = playbook(
        forms=recommendation("forms_waiting >= 2", "form_completion"),
        login=recommendation("days_since_login >= 7", "login"),
    )
    rows = [
        {**GAPS, "forms_waiting": 3, "days_since_login": 9.0},
        {"forms_waiting": 2, "days_since_login": 7.0, "login_points": 30.0, "login_max": 30.0},
        {"forms_waiting": 1, "days_since_login": None},  # an unknown answer is no
    ]
    assert ids(recommend(frame(*rows), policy)) == [
        ("s0", "login", 1),
        ("s0", "forms", 2),
        ("s1", "forms", 1),
        ("s1", "login", 2),
    ]


def test_sentences_carry_the_suppliers_own_numbers() -> None:
    policy = playbook(
        a=recommendation(
            "true",
            reason="{forms_waiting} forms, {form_completion_rate} done, {days_since_login} days, {payment_past_due}",
        )
    )
    row = {
        "forms_waiting": 3,
        "form_completion_rate": 0.254,
        "days_since_login": 12.9,
        "payment_past_due": False,
        "clients_total": 4,
    }
    [found] = recommend(frame(row), policy).to_dicts()
    assert found["reason"] == "3 forms, 25% done, 12 days, no"
    assert found["title"] == "Do 4 things"
    assert (found["action_label"], found["action_url"]) == ("Go", "/go")


def test_nothing_applies_or_nobody_is_there() -> None:
    assert recommend(frame({}), playbook()).schema == pl.Schema(RECOMMENDATION_SCHEMA)
    assert recommend(
        frame({}), playbook(a=recommendation("clients_total > 1"))
    ).schema == pl.Schema(RECOMMENDATION_SCHEMA)
    assert recommend(frame(), playbook(a=recommendation("true", "login"))).is_empty()


def test_a_frame_of_one_row_without_types_will_do() -> None:
    untyped = pl.DataFrame(frame({**GAPS, "clients_total": 2}).to_dicts(), infer_schema_length=None)
    assert untyped.schema["days_since_login"] == pl.Null()
    policy = playbook(
        a=recommendation("days_since_login >= 7", "login"),
        b=recommendation("clients_total = 2", "journey_performance"),
    )
    assert recommend(untyped, policy)["id"].to_list() == ["b"]


def effects(*rows: tuple[str, str, int, int, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EFFECTS_SCHEMA, orient="row")


def test_what_worked_for_the_vendor_type_comes_before_the_greater_gap() -> None:
    policy = playbook(
        login=recommendation("true", "login"), forms=recommendation("true", "form_completion")
    )
    seen = effects(
        (
            "login",
            "",
            2000,
            600,
            2000,
            600,
        ),  # a third improve in both groups: no lift
        ("forms", "", 1000, 200, 1000, 150),
        ("forms", "dj", 400, 320, 400, 80),
    )
    rows = [{**GAPS, "vendor_type": "dj"}, {**GAPS, "vendor_type": "florist"}]
    found = recommend(frame(*rows), policy, effects=seen)
    assert ids(found) == [
        ("s0", "forms", 1),
        ("s0", "login", 2),
        ("s1", "forms", 1),
        ("s1", "login", 2),
    ]
    dj, florist = (found.filter(supplier_id=s, id="forms").row(0, named=True) for s in ("s0", "s1"))
    assert dj["expected_points"] > 3 > 1 > florist["expected_points"]
    assert dj["effect"] == {
        "treated": 400,
        "treated_improved": 320,
        "control": 400,
        "control_improved": 80,
        "vendor_type": "dj",
    }
    assert florist["effect"]["vendor_type"] is None and florist["effect"]["treated"] == 1000


def test_what_does_harm_comes_last_of_what_serves_the_score_and_is_not_hidden() -> None:
    policy = playbook(
        login=recommendation("true", "login"),
        forms=recommendation("true", "form_completion"),
        talk=recommendation("true"),
    )
    found = recommend(frame(GAPS), policy, effects=effects(("login", "", 500, 50, 500, 200)))
    assert found["id"].to_list() == ["forms", "login", "talk"]
    assert found.row(1, named=True)["expected_points"] == 0


def test_the_holdout_is_left_out_and_known() -> None:
    policy = playbook(
        **{f"a{n}": recommendation("true", "login") for n in range(5)},
        talk=recommendation("true"),
    )
    many = pl.concat(
        frame(GAPS).with_columns(pl.lit(f"supplier {n}").alias("supplier_id")) for n in range(400)
    )
    everything = recommend(many, policy)
    share = everything.filter(pl.col("dimension").is_not_null())["holdout"].mean()
    assert isinstance(share, float) and 0.11 < share < 0.18, (
        "5 % of everything, and of the rest 10 % of each"
    )
    assert not everything.filter(pl.col("dimension").is_null())["holdout"].any(), (
        "nothing can be learned there"
    )
    three = recommend(many, policy, most=3)
    shown = drop_holdout(three)
    counts = shown.group_by("supplier_id").len()["len"]
    assert counts.max() == 3 and shown.filter(supplier_id="supplier 7")["priority"].to_list() == [
        1,
        2,
        3,
    ]
    passed = three.filter("holdout")
    assert passed.height > 50
    everything = everything.with_columns(
        pl.col("holdout").not_().cast(pl.Int64).cum_sum().over("supplier_id").alias("shown")
    )
    expected = everything.filter(pl.col("holdout") & (pl.col("shown") < 3)).select(
        "supplier_id", "id"
    )
    assert_frame_equal(passed.select("supplier_id", "id"), expected)
    one = recommend(many, policy).filter(supplier_id=passed["supplier_id"][0])
    three_of_one = shown.filter(supplier_id=passed["supplier_id"][0])["id"].to_list()
    recorded = select_impressions(one, three_of_one)
    assert (
        recorded.filter("holdout").height >= 1
        and recorded.filter(~pl.col("holdout"))["id"].to_list() == three_of_one
    )
    assert_frame_equal(
        recorded, three.filter(supplier_id=passed["supplier_id"][0])
    )  # as the coach records it
    assert recorded["id"].to_list() == select_impressions(one, three_of_one[::-1])["id"].to_list()
    assert (
        select_impressions(one, three_of_one[1:]).is_empty()
        and select_impressions(one, []).is_empty()
    )
    before_gap = select_impressions(one, [three_of_one[0], three_of_one[2]])
    assert before_gap.filter(~pl.col("holdout"))["id"].to_list() == three_of_one[:1]
    assert before_gap["id"].to_list()[-1] == three_of_one[0]
    nobody = structs.replace(policy, holdout=Holdout(recommendation_share=0))
    assert not recommend(many, nobody)["holdout"].any()


def test_labels_in_the_readers_language_one_by_one() -> None:
    german = Recommendation(
        "true",
        "Do it",
        "Body",
        "{forms_waiting} wait",
        "Go",
        "/go",
        translations={
            "de": {"title": "Tun", "reason": "{forms_waiting} warten"},
            "de-AT": {"title": "Machen"},
        },
    )
    for language, title, reason in [
        ("de-AT", "Machen", "3 warten"),
        ("de-CH", "Tun", "3 warten"),
        ("de", "Tun", "3 warten"),
        ("fr", "Do it", "3 wait"),
        (None, "Do it", "3 wait"),
    ]:
        [row] = recommend(
            frame({"forms_waiting": 3}), playbook(a=german), language=language
        ).to_dicts()
        assert (row["title"], row["reason"], row["action_label"]) == (title, reason, "Go")


def test_the_shipped_recommendation_speaks_german_throughout() -> None:
    for name, one in {**SHIPPED.recommendations, **SHIPPED.client_recommendations}.items():
        german = one.translations["de"]
        assert set(german) == {"title", "body", "reason", "action_label"}, name
        for key in ("title", "body", "reason"):
            assert set(placeholders(german[key])) <= set(
                placeholders(one.title + one.body + one.reason)
            ), (name, key)


signals = st.fixed_dictionaries(
    {},
    optional={
        "days_since_login": st.none() | st.floats(0, 400),
        "days_inactive": st.none() | st.floats(0, 400),
        "clients_total": st.integers(0, 50),
        "clients_active_30d": st.integers(0, 50),
        "client_activity": st.none() | st.floats(0, 1),
        "forms_waiting": st.integers(0, 9),
        "forms_sent_13w": st.integers(0, 30),
        "form_completion_rate": st.none() | st.floats(0, 1),
        "payment_past_due": st.booleans(),
        "days_past_due": st.none() | st.floats(0, 30),
        **{f"{d}_points": st.none() | st.floats(0, 15) for d in DIMENSIONS},
        **{f"{d}_max": st.floats(0, 30) for d in DIMENSIONS},
    },
)


counts = st.tuples(st.integers(0, 300), st.floats(0, 1), st.integers(0, 300), st.floats(0, 1)).map(
    lambda c: (c[0], int(c[0] * c[1]), c[2], int(c[2] * c[3]))
)
seen = st.lists(
    st.tuples(
        st.sampled_from([*SHIPPED.recommendations]), st.sampled_from(["", "dj", "florist"]), counts
    ),
    unique_by=lambda e: e[:2],
    max_size=30,
).map(lambda rows: effects(*((name, vendor_type, *c) for name, vendor_type, c in rows)))


def oracle(
    row: dict[str, Any], found: list[str], policy: Playbook, measured: pl.DataFrame
) -> list[tuple[str, float]]:
    """The order in plain Python: the greedy choice of what adds most, one after the other."""
    table = {(r["recommendation_id"], r["vendor_type"]): r for r in measured.to_dicts()}

    def drawn(name: str, vendor_type: str, parent: float) -> float:
        one = table.get((name, vendor_type))
        if one is None or not one["treated"] or not one["control"]:
            return parent
        pairs = one["treated"] * one["control"] / (one["treated"] + one["control"])
        lift = one["treated_improved"] / one["treated"] - one["control_improved"] / one["control"]
        return (pairs * lift + 25 * parent) / (pairs + 25)

    order = list(policy.recommendations)
    closing = next(n for n, name in enumerate(order) if policy.recommendations[name].closes)
    chosen = [(name, 0.0) for name in found if order.index(name) < closing]
    chosen.sort(key=lambda c: order.index(c[0]))
    gaps = {
        d: max(0.0, (row[f"{d}_max"] or 0.0) - row[f"{d}_points"])
        if row[f"{d}_points"] is not None
        else 0.0
        for d in DIMENSIONS
    }
    rest, left = (
        [name for name in found if order.index(name) >= closing],
        dict.fromkeys(DIMENSIONS, 1.0),
    )
    general, vendor_type = {name: drawn(name, "", PRIOR) for name in rest}, row["vendor_type"]
    shares = {
        name: min(
            1.0, max(0.0, drawn(name, vendor_type, general[name]) if vendor_type else general[name])
        )
        for name in rest
    }
    while rest:
        best = max(
            rest,
            key=lambda n: (
                _adds(policy, n, gaps, left, shares),
                _gap(policy, n, gaps),
                -order.index(n),
            ),
        )
        chosen.append((best, _adds(policy, best, gaps, left, shares)))
        closes = policy.recommendations[best].closes
        if closes:
            left[closes] *= 1 - shares[best]
        rest.remove(best)
    return chosen


def _gap(policy: Playbook, name: str, gaps: dict[Any, float]) -> float:
    return gaps.get(policy.recommendations[name].closes, 0.0)


def _adds(
    policy: Playbook,
    name: str,
    gaps: dict[Any, float],
    left: dict[Any, float],
    shares: dict[str, float],
) -> float:
    closes = policy.recommendations[name].closes
    return gaps[closes] * left[closes] * shares[name] if closes else 0.0


@settings(deadline=None, max_examples=60)
@given(row=signals, vendor_type=st.sampled_from([None, "dj", "florist", "juggler"]), measured=seen)
def test_the_ranking_is_the_greedy_one(
    row: dict[str, Any], vendor_type: str | None, measured: pl.DataFrame
) -> None:
    one = frame({**row, "vendor_type": vendor_type})
    found = recommend(one, SHIPPED, effects=measured)
    expected = oracle(one.row(0, named=True), found["id"].to_list(), SHIPPED, measured)
    assert found["expected_points"].to_list() == pytest.approx(
        [points for _, points in expected], abs=1e-9
    )
    # names are compared where floating point cannot have turned two that are equal but for the last bit
    if all(abs(a - b) > 1e-9 or a == b == 0 for (_, a), (_, b) in pairwise(expected)):
        assert found["id"].to_list() == [name for name, _ in expected]
    assert (found["expected_points"] <= found["missing_points"] + 1e-9).all() and (
        found["expected_points"] >= 0
    ).all()
    for dimension, group in found.filter(pl.col("dimension").is_not_null()).group_by("dimension"):
        assert group["expected_points"].sum() <= group["missing_points"][0] + 1e-9, (
            f"more than is missing in {dimension}"
        )


def place(found: pl.DataFrame, name: str) -> int:
    return found.filter(pl.col("id") == name)["priority"][0]


@settings(deadline=None, max_examples=60)
@given(row=signals, measured=seen, gain=st.integers(1, 200), data=st.data())
def test_who_helps_more_or_has_more_to_win_never_falls(
    row: dict[str, Any], measured: pl.DataFrame, gain: int, data: st.DataObject
) -> None:
    before = recommend(frame(row), SHIPPED, effects=measured)
    served = before.filter(pl.col("dimension").is_not_null())
    if served.is_empty():
        return
    name, dimension = data.draw(st.sampled_from(list(served.select("id", "dimension").iter_rows())))
    wider = {**row, f"{dimension}_max": (row.get(f"{dimension}_max") or 0.0) + gain}
    after = recommend(frame(wider), SHIPPED, effects=measured)
    for other in served.filter(dimension=dimension)["id"]:
        assert place(after, other) <= place(before, other), "a wider gap"
    mine = measured.filter(recommendation_id=name, vendor_type="").to_dicts() or [
        {"treated": 50, "treated_improved": 0, "control": 50, "control_improved": 50}
    ]
    rest = measured.filter(~((pl.col("recommendation_id") == name) & (pl.col("vendor_type") == "")))
    treated, better, control, other = (
        mine[0][key] for key in ("treated", "treated_improved", "control", "control_improved")
    )
    worse = recommend(
        frame(row),
        SHIPPED,
        effects=pl.concat([rest, effects((name, "", treated, better, control, other))]),
    )
    more = effects((name, "", treated, min(treated, better + gain), control, other))
    better_now = recommend(frame(row), SHIPPED, effects=pl.concat([rest, more]))
    assert place(better_now, name) <= place(worse, name), "more of the treated improved"


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(signals, min_size=1, max_size=6))
def test_one_row_or_many_and_the_shipped_playbook_never_breaks(rows: list[dict[str, Any]]) -> None:
    policy = SHIPPED
    many = frame(*rows)
    together = recommend(many, policy)
    alone = pl.concat([recommend(many[n], policy) for n in range(len(rows))])
    assert_frame_equal(together, alone.sort("supplier_id", "priority"))
    for _, group in together.group_by("supplier_id"):
        assert group["priority"].to_list() == list(range(1, group.height + 1))
        points = group.filter(pl.col("dimension").is_not_null())["expected_points"].to_list()
        assert points == sorted(points, reverse=True)
    assert (
        not together.select(
            pl.any_horizontal(pl.col("title", "body", "reason").str.contains(r"[{}]"))
        )
        .to_series()
        .any()
    )


def test_control_groups_are_those_of_release_0_2() -> None:
    """The suppliers that 0.2 drew, with its salt and a share of 10 %, and no others."""
    policy = Holdout(global_share=0)
    suppliers = [f"0b5e7a10-5a1e-4c0d-9a7e-{number:012d}" for number in range(40)]
    drawn = [
        number
        for number, supplier in enumerate(suppliers)
        if is_in_holdout(supplier, holdout_key("finish_setup"), 0.1, policy)
    ]
    assert drawn == [0, 24, 27, 28, 32]
