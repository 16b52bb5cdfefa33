"""The parameters of the metrics, and the text of the results."""

from datetime import date

import polars as pl
import pytest

from everafter.core.errors import InputError
from everafter.metrics import (
    charts,
    churn_rules,
    level_rules,
    rules,
    text_rules,
    time_rules,
    view_rules,
)
from everafter.metrics.model import BYS, METRICS, Period
from everafter.metrics.text_model import METRIC_TEXTS
from test_metrics_rules import HOURS, TODAY, people, success


def test_the_default_period_is_the_last_90_days() -> None:
    assert rules.read_period(None, None, TODAY) == Period(date(2026, 8, 25), TODAY, 30)
    assert rules.read_period("2026-11-22", "2026-11-22", TODAY, "90") == Period(TODAY, TODAY, 90)
    assert rules.read_period(None, "2026-03-31", TODAY).first == date(2026, 1, 1)
    assert rules.read_period("2026-11-01", None, TODAY).days == 22


@pytest.mark.parametrize(
    ("first", "last", "horizon", "words"),
    [
        ("soon", None, None, "from: 'soon' is not a date such as 2026-08-01"),
        ("2026-02-30", None, None, "not a date"),
        (None, "2026-11-23", None, "until: 2026-11-23 is in the future"),
        ("2026-05-02", "2026-05-01", None, "from: 2026-05-02 is after until, 2026-05-01"),
        ("1999-12-31", "2000-01-02", None, "is before 2000-01-01"),
        ("2020-01-01", "2026-01-01", None, "the maximum is 1,100"),
        (None, None, "45", "horizon: '45' is not one of 30, 60, 90 days"),
    ],
)
def test_an_invalid_period_is_named(
    first: str | None, last: str | None, horizon: str | None, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        rules.read_period(first, last, TODAY, horizon)
    assert words in refused.value.message


def test_a_misspelt_metric_suggests_the_nearest() -> None:
    for asked, near in (
        ("health", "health_score"),
        ("churn-prediction", "churn_prediction"),
        ("Ticket resolution", "ticket_resolution"),
    ):
        with pytest.raises(InputError) as refused:
            rules.read_metrics([asked])
        assert refused.value.extra["did_you_mean"][0] == near and near in refused.value.message
    with pytest.raises(InputError, match="did you mean churn_prediction"):
        rules.read_metrics(["churn"])
    with pytest.raises(InputError, match="there are health_score, "):
        rules.read_metrics(["zzz"])
    with pytest.raises(InputError, match="did you mean cohort"):
        rules.read_by("cohorts")
    assert rules.read_metrics(["ticket_resolution", "health_score"]) == (
        "health_score",
        "ticket_resolution",
    )
    assert rules.read_metrics([]) == METRICS and rules.read_by("") is None


def test_a_view_survives_its_url() -> None:
    for params in (
        {},
        {"days": "365"},
        {"from": "2026-01-01", "until": "2026-03-31", "by": "plan", "horizon": "60"},
        {"days": "30", "by": "vendor_type"},
    ):
        view = view_rules.parse_view(params, TODAY)
        again = dict(pair.split("=") for pair in view_rules.view_query(view).split("&") if pair)
        assert view_rules.parse_view(again, TODAY) == view
    moved = view_rules.parse_view({"from": "2026-01-01", "until": "2026-03-31"}, TODAY)
    assert moved.preset is None and view_rules.view_query(moved, days=30) == "days=30"
    for days in ("31", "x", "-30", "²"):
        with pytest.raises(InputError, match="is not one of 30, 90, 180, 365"):
            view_rules.parse_view({"days": days}, TODAY)


def test_a_file_escapes_formulas_and_has_every_number() -> None:
    frame = pl.DataFrame(
        [("=1+1|cmd", TODAY, 2, 141.0, 1, 1, 0)], schema=level_rules.HEALTH_SCHEMA, orient="row"
    )
    found = level_rules.measure_health(frame, ["=1+1|cmd"], 1)
    text = rules.metric_csv("health_score", "plan", found.rows, found.all)
    lines = text.splitlines()
    assert lines[0] == "plan,value,latest,change,healthy,at_risk,critical,suppliers,n"
    assert lines[1] == "all,70.5,70.5,,0.5,0.5,0.0,2,2" and lines[2].startswith("'=1+1|cmd,70.5")


def test_metrics_without_data_are_described() -> None:
    """Every sentence and column accepts null."""
    empty = {
        "health_score": level_rules.measure_health(
            pl.DataFrame(schema=level_rules.HEALTH_SCHEMA), [], 0
        ),
        "intervention_success": success(),
        "time_to_first_value": time_rules.measure_first_value(people(), [], 0),
        "feature_adoption": level_rules.measure_adoption(
            pl.DataFrame(schema=level_rules.ADOPTION_SCHEMA), [], []
        ),
        "ticket_resolution": time_rules.measure_tickets(
            pl.DataFrame(schema=time_rules.TICKETS_SCHEMA), [], HOURS
        ),
        "churn_prediction": churn_rules.measure_churn(
            pl.DataFrame(schema=churn_rules.PREDICTIONS_SCHEMA),
            pl.DataFrame(schema=churn_rules.LEADS_SCHEMA),
            [],
            30,
        ),
    }
    assert set(empty) == set(METRICS) == set(METRIC_TEXTS)
    for metric, found in empty.items():
        assert not text_rules.has_anything(found) and text_rules.headline(found) == "–"
        assert all("None" not in sentence for sentence in text_rules.describe(found))
        for column in rules.table_of(metric):  # type: ignore[arg-type]
            assert "None" not in rules.format_cell(rules.cell(found.all, column), column)
        scale = charts.scale_of([found.all])
        assert charts.strip(found.all, scale).pieces == []


def test_groups_are_ordered() -> None:
    assert rules.order_groups("cohort", ["2025-12", "2026-01", None]) == [
        "2026-01",
        "2025-12",
        None,
    ]
    assert rules.order_groups("plan", ["a", None, "b"], {"a": 1, "b": 5, None: 9}) == [
        "b",
        "a",
        None,
    ]
    assert [rules.describe_group(by, None) for by in BYS] == [
        "Unknown cohort",
        "Unknown vendor type",
        "Unknown plan",
    ]


def test_a_strip_stays_in_its_cell() -> None:
    found = success(("pro", "a", False, 45, 45), ("pro", "a", True, 12, 0))
    scale = charts.scale_of(found.triggers)
    drawn = charts.strip(found.triggers[0], scale)
    assert (
        all(0 <= piece.start <= piece.start + piece.size <= 100.5 for piece in drawn.pieces)
        and (50.0, "zero") in drawn.marks
    )


def test_the_page_explains_the_interval() -> None:
    text = METRIC_TEXTS["intervention_success"].rests_on
    assert "repeated looks at a period with a fixed first day" in text
    assert "a single look at a moving period" in text
