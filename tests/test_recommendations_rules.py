"""Which recommendations apply, in what order, in whose numbers: on frames made by hand."""

from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from everafter.core.settings import Settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import DIMENSIONS, Playbook, Recommendation, Segment
from everafter.recommendations.model import ADVICE_SCHEMA
from everafter.recommendations.rules import recommend
from everafter.signals.model import SIGNAL_SCHEMA

SHIPPED = load_playbook(Settings(None, Path(), None, None, "http://testserver", "a-secret-for-tests"))


def advice(when: str, closes: Any = None, reason: str = "because") -> Recommendation:
    return Recommendation(when, "Do {clients_total} things", "Body", reason, "Go", "/go", closes)


def playbook(**recommendations: Recommendation) -> Playbook:
    return Playbook("test", {"default": Segment("All", ["forms"])}, {}, recommendations=recommendations)


SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "name": pl.String(),
    **SIGNAL_SCHEMA,
    **dict.fromkeys((f"{d}_{part}" for d in DIMENSIONS for part in ("points", "max")), pl.Float64()),
}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    blank = dict.fromkeys(SCHEMA)
    return pl.DataFrame([blank | {"supplier_id": f"s{n}"} | row for n, row in enumerate(rows)], schema=SCHEMA)


def ids(found: pl.DataFrame) -> list[tuple[str, str, int]]:
    return list(found.select("supplier_id", "id", "priority").iter_rows())


GAPS = {"login_points": 10.0, "login_max": 30.0, "form_completion_points": 2.0, "form_completion_max": 10.0}


def test_the_greatest_gap_comes_first_then_the_playbooks_order() -> None:
    policy = playbook(
        billing=advice("true"),
        forms=advice("true", "form_completion"),
        journeys=advice("true", "journey_performance"),  # unknown: nothing is missing there
        login=advice("true", "login"),
        login_too=advice("true", "login"),
        upgrade=advice("true"),
    )
    found = recommend(frame(GAPS), policy)
    assert found["id"].to_list() == ["billing", "login", "login_too", "forms", "journeys", "upgrade"]
    assert found["closes_points"].to_list() == [0, 20, 20, 8, 0, 0]
    assert found["priority"].to_list() == [1, 2, 3, 4, 5, 6]


def test_each_supplier_has_its_own_ranking_and_only_what_applies() -> None:
    policy = playbook(
        forms=advice("forms_waiting >= 2", "form_completion"),
        login=advice("days_since_login >= 7", "login"),
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
        a=advice("true", reason="{forms_waiting} forms, {form_completion_rate} done, {days_since_login} days, {payment_past_due}")
    )
    row = {
        "forms_waiting": 3,
        "form_completion_rate": 0.254,
        "days_since_login": 12.9,
        "payment_past_due": False,
        "clients_total": 4,
    }
    [found] = recommend(frame(row), policy).to_dicts()
    assert found["reason"] == "3 forms, 25 % done, 12 days, no"
    assert found["title"] == "Do 4 things"
    assert (found["action_label"], found["action_url"]) == ("Go", "/go")


def test_nothing_applies_or_nobody_is_there() -> None:
    assert recommend(frame({}), playbook()).schema == pl.Schema(ADVICE_SCHEMA)
    assert recommend(frame({}), playbook(a=advice("clients_total > 1"))).schema == pl.Schema(ADVICE_SCHEMA)
    assert recommend(frame(), playbook(a=advice("true", "login"))).is_empty()


def test_a_frame_of_one_row_without_types_will_do() -> None:
    untyped = pl.DataFrame(frame({**GAPS, "clients_total": 2}).to_dicts(), infer_schema_length=None)
    assert untyped.schema["days_since_login"] == pl.Null()
    policy = playbook(a=advice("days_since_login >= 7", "login"), b=advice("clients_total = 2", "journey_performance"))
    assert recommend(untyped, policy)["id"].to_list() == ["b"]


signals = st.fixed_dictionaries(
    {},
    optional={
        "days_since_login": st.none() | st.floats(0, 400),
        "quiet_days": st.none() | st.floats(0, 400),
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
        gaps = group.filter(pl.col("closes").is_not_null())["closes_points"].to_list()
        assert gaps == sorted(gaps, reverse=True)
    assert not together.select(pl.any_horizontal(pl.col("title", "body", "reason").str.contains(r"[{}]"))).to_series().any()
