"""The playbook that ships: the spec's names and numbers, and conditions that are true when they should be."""

import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everafter.core.messages import placeholders, required_names
from everafter.core.settings import Settings
from everafter.onboarding import model as onboarding_model
from everafter.playbook.conditions import signals_in
from everafter.playbook.loading import find_mistakes, load_playbook, playbook_path, read_playbook
from everafter.playbook.model import (
    CALL_TYPES,
    DIMENSIONS,
    FULLY_ACTIVATED,
    ONBOARDING_ACTIONS,
    Playbook,
    Weights,
)
from everafter.playbook.rules import compile_condition, compile_conditions
from everafter.seasonality.prior_model import VENDOR_TYPES
from everafter.signals.model import SIGNAL_SCHEMA, SIGNALS
from everafter.support import model as support_model

SETTINGS = Settings(None, Path(), None, None, "http://testserver", "secret")
TEXT = read_playbook(playbook_path(SETTINGS))
PLAYBOOK = load_playbook(SETTINGS)

# A healthy supplier in an ordinary week in season.
WELL: dict[str, Any] = {
    "vendor_type": "photographer",
    "plan": "pro",
    "country": "GB",
    "mrr_minor": 2900,
    "tenure_days": 400.0,
    "subscription": "active",
    "days_since_login": 0.6,
    "days_inactive": 0.6,
    "login_days_28d": 18,
    "login_days_84d": 55,
    "inactivity_probability": 0.7,
    "unusual_inactivity": False,
    "evidence_logins": -1.2,
    "evidence_uses": -1.0,
    "expected_uses_low": 22.0,
    "expected_uses_high": 41.0,
    "clients_total": 20,
    "clients_active_30d": 15,
    "client_activity": 0.75,
    "clients_lost_13w": 0,
    "client_loss_rate": 0.0,
    "weddings_90d": 6,
    "weddings_365d": 18,
    "days_to_next_wedding": 12,
    "forms_sent_13w": 30,
    "forms_answered_13w": 27,
    "form_completion_rate": 0.9,
    "forms_waiting": 0,
    "journey_emails_13w": 40,
    "journey_open_rate": 0.7,
    "features_adopted": 5,
    "feature_adoption": 1.0,
    "feature_uses_4w": 30,
    "feature_use_ratio": 1.0,
    "tickets_open": 0,
    "tickets_4w": 0,
    "payment_past_due": False,
    "days_past_due": None,
    "payments_failed_13w": 0,
    "limit_ratio": 0.5,
    "onboarding_steps_done": 5,
    "onboarding_steps_due": 5,
    "onboarding_days_behind": None,
    "fully_activated": True,
    "onboarding_state": "done",
    "onboarding_missed": None,
    "season_index": 1.0,
    "off_season": False,
    "client_season": 1.0,
    "stage": "mature",
    "health_score": 95.0,
    "risk_level": "healthy",
    "coverage": 1.0,
    "churn_risk": 0.05,
    "churn_evidence": -0.8,
    "churn_level": "low",
}


def frame(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame([{**WELL, **changes}], schema=SIGNAL_SCHEMA)


def fired(**changes: Any) -> set[str]:
    answers = frame(**changes).select(**compile_conditions(PLAYBOOK)).row(0, named=True)
    return {name for name, answer in answers.items() if answer}


def test_it_has_no_errors_and_no_warnings() -> None:
    assert find_mistakes(TEXT) == []


def test_the_default_segment_is_the_spec() -> None:
    default = PLAYBOOK.segments["default"]
    assert default.weights == Weights(30, 25, 25, 10, 10)
    assert default.login_days == (3, 7, 14)
    assert (PLAYBOOK.health.critical_below, PLAYBOOK.health.at_risk_below) == (40, 70)
    assert (PLAYBOOK.churn.medium_above, PLAYBOOK.churn.high_above) == (0.4, 0.7)


def test_each_vendor_type_of_the_field_has_its_own_segment() -> None:
    assert {"default", "photographer", "dj", "venue", "florist", "caterer", "planner"} <= set(
        PLAYBOOK.segments
    )
    assert set(PLAYBOOK.segments) == set(VENDOR_TYPES), (
        "season and segments know the same vendor types"
    )
    photographer, dj = PLAYBOOK.segments["photographer"], PLAYBOOK.segments["dj"]
    assert photographer.key_features != dj.key_features
    assert photographer.weights != dj.weights
    for name, segment in PLAYBOOK.segments.items():
        assert sum(getattr(segment.weights, dimension) for dimension in DIMENSIONS) == 100, name


def test_key_features_are_features_that_the_platform_has() -> None:
    known = {
        "automations",
        "reviews",
        "client_import",
        "calendar",
        "gallery",
        "journeys",
        "invoices",
        "forms",
    }
    for name, segment in PLAYBOOK.segments.items():
        assert set(segment.key_features) <= known, name


@pytest.mark.parametrize(
    ("trigger", "action", "template"),
    [
        ("no_login_7_days", "send_re_engagement_email", "we_miss_you"),
        ("low_client_adoption", "send_adoption_tips", "boost_client_engagement"),
        ("stuck_onboarding", "offer_setup_call", "lets_get_you_started"),
        ("high_usage_no_upgrade", "send_upgrade_benefits", "unlock_more_features"),
        ("approaching_limits", "notify_usage_limits", "reaching_plan_limits"),
    ],
)
def test_the_specs_triggers_under_their_own_names(trigger: str, action: str, template: str) -> None:
    assert (PLAYBOOK.triggers[trigger].action, PLAYBOOK.triggers[trigger].template) == (
        action,
        template,
    )
    assert PLAYBOOK.triggers[trigger].enabled


def test_the_specs_onboarding_path() -> None:
    spec = {
        0: ({"account_created", "vendor_type_selected", "completed_wizard"}, None),
        1: ({"first_login", "import_clients_started"}, "send_getting_started_video"),
        3: ({"first_form_created", "invite_sent_to_client"}, "offer_form_creation_help"),
        7: ({"customer_journey_started", "multiple_clients_active"}, "schedule_onboarding_call"),
        14: ({"fully_activated"}, None),
    }
    everyones = [
        step for step in PLAYBOOK.onboarding.values() if not step.vendor_types and not step.when
    ]
    assert {step.day: (set(step.actions), step.if_missed) for step in everyones} == spec
    assert {action for step in everyones for action in step.actions} <= set(ONBOARDING_ACTIONS)
    assert PLAYBOOK.onboarding["day0"].success_metric == "completed_wizard"
    last = PLAYBOOK.onboarding["day14"]
    assert (last.milestone, last.celebration) == ("fully_activated", "send_success_certificate")
    assert PLAYBOOK.milestones["fully_activated"].template == "success_certificate"


def test_vendor_types_have_steps_of_their_own_and_some_depend_on_a_condition() -> None:
    steps = PLAYBOOK.onboarding.values()
    vendor_types = {vendor_type for step in steps for vendor_type in step.vendor_types}
    assert {"venue", "dj", "florist"} <= vendor_types <= set(PLAYBOOK.segments)
    assert sum(step.when is not None for step in steps) >= 2
    declared = PLAYBOOK.onboarding_actions
    for action in {action for step in steps for action in step.actions}:
        assert action in declared and declared[action].translations["de"]["title"], action
        assert (
            action in ONBOARDING_ACTIONS or declared[action].done_when or declared[action].feature
        ), action


def test_names_that_the_playbook_owns_are_those_that_other_slices_implement() -> None:
    assert set(CALL_TYPES) == set(support_model.CALL_TYPES)
    assert set(ONBOARDING_ACTIONS) == {
        *onboarding_model.ACTION_TIMES,
        "multiple_clients_active",
        FULLY_ACTIVATED,
    }


def test_the_specs_milestones_are_there() -> None:
    assert {"first_form", "ten_clients", "first_automation", "fully_activated"} <= set(
        PLAYBOOK.milestones
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"days_since_login": 8.0, "days_inactive": 8.0}, {"no_login_7_days"}),
        ({"days_since_login": 8.0, "days_inactive": 4.0, "season_index": 0.5}, set()),  # a slow month
        ({"days_since_login": 400.0, "days_inactive": 400.0, "stage": "dormant"}, set()),
        ({"days_since_login": None, "days_inactive": None}, set()),
        ({"days_since_login": 4.0, "days_inactive": 4.0, "unusual_inactivity": True}, {"early_inactivity"}),
        ({"days_since_login": 4.0, "days_inactive": 4.0, "unusual_inactivity": False}, set()),
        ({"days_since_login": 9.0, "days_inactive": 7.0, "unusual_inactivity": True}, {"no_login_7_days"}),
        ({"clients_active_30d": 4, "client_activity": 0.2}, {"low_client_adoption"}),
        ({"clients_active_30d": 4, "client_activity": 0.2, "client_season": 0.4, "off_season": True}, set()),
        ({"clients_active_30d": 4, "client_activity": 0.2, "tenure_days": None}, {"low_client_adoption"}),
        ({"clients_active_30d": 4, "client_activity": 0.2, "tenure_days": 5.0}, set()),
        ({"clients_total": 2, "clients_active_30d": 0, "client_activity": 0.0}, set()),
        ({"clients_total": 0, "clients_active_30d": 0, "client_activity": None}, set()),
        ({"limit_ratio": 0.8}, {"approaching_limits"}),
        ({"limit_ratio": None}, set()),
        ({"plan": "free", "mrr_minor": 0}, {"high_usage_no_upgrade"}),
        ({"plan": "free", "health_score": 60.0, "risk_level": "at_risk"}, set()),
        ({"plan": "free", "feature_uses_4w": 5}, set()),
        ({"plan": "free", "feature_uses_4w": 7, "season_index": 0.5}, {"high_usage_no_upgrade"}),
        ({"plan": None}, set()),
        ({"payment_past_due": True, "days_past_due": 3.0}, {"billing_trouble"}),
        ({"payment_past_due": True, "days_past_due": 3.0, "subscription": "paused"}, {"billing_trouble"}),
        ({"payment_past_due": True, "days_past_due": 3.0, "subscription": "cancelled"}, set()),
        ({"churn_level": "high", "churn_risk": 0.8}, {"churn_high_assign", "churn_high_offer"}),
        ({"churn_level": "high", "churn_risk": 0.8, "subscription": "paused"}, {"churn_high_assign"}),
        ({"churn_level": "high", "churn_risk": 0.8, "subscription": None}, {"churn_high_assign", "churn_high_offer"}),
        ({"churn_level": "medium", "churn_risk": 0.5}, {"churn_medium_check_in"}),
    ],
)  # fmt: skip
def test_what_fires(changes: dict[str, Any], expected: set[str]) -> None:
    assert fired(**changes) == expected


def waiting(step: str, days: float, tenure: float) -> dict[str, Any]:
    """A supplier whose oldest open step has waited so long in a month at full season index."""
    season_index = PLAYBOOK.onboarding_timing
    state = (
        "stuck"
        if days >= season_index.stuck_after_days
        else "behind"
        if days >= season_index.behind_after_days
        else "on_track"
    )
    return {
        "onboarding_days_behind": days,
        "onboarding_missed": step,
        "onboarding_state": state if tenure <= season_index.lasts_days else None,
        "fully_activated": False,
        "tenure_days": tenure,
    }


@pytest.mark.parametrize("hours_before", [0.0, 0.9])
@pytest.mark.parametrize(
    ("age", "oldest_open", "expected"),
    [
        (0.5, 0, set()),
        (1.5, 1, set()),  # a day's grace
        (2.1, 1, {"onboarding_day1_missed"}),
        (2.1, 0, {"onboarding_day1_missed"}),
        (4.2, 3, {"onboarding_day3_missed"}),
        (8.5, 7, {"onboarding_day7_missed"}),
        (12.0, 7, {"onboarding_day7_missed", "stuck_onboarding"}),
        (20.0, 1, {"onboarding_day1_missed", "stuck_onboarding"}),
        (60.0, 3, {"stuck_onboarding"}),
        (120.0, 3, set()),
    ],
)
def test_a_missed_step_triggers_its_own_help(
    age: float, oldest_open: int, expected: set[str], hours_before: float
) -> None:
    """tenure_days counts from the day that the platform names, the path from the first event, up to a day later."""
    assert fired(**waiting(f"day{oldest_open}", age - oldest_open, age + hours_before)) == expected


def test_no_condition_is_true_when_nothing_is_known() -> None:
    nothing = pl.DataFrame({name: [None] for name in SIGNAL_SCHEMA}, schema=SIGNAL_SCHEMA)
    assert not any(nothing.select(**compile_conditions(PLAYBOOK)).row(0))
    for name, recommendations in PLAYBOOK.recommendations.items():
        assert not nothing.select(compile_condition(recommendations.when)).item(), name


@pytest.mark.parametrize("subscription", ["cancelled"])
def test_a_cancelled_supplier_triggers_nothing(subscription: str) -> None:
    worst = {
        "days_since_login": 40.0,
        "days_inactive": 40.0,
        "client_activity": 0.0,
        "limit_ratio": 1.0,
        "churn_level": "high",
        "payment_past_due": True,
        **waiting("day1", 10.0, 20.0),
    }
    assert len(fired(**worst)) >= 5
    assert fired(**worst, subscription=subscription) == set()


def test_no_trigger_is_successful_when_it_fires() -> None:
    """Otherwise every intervention would look successful."""
    firing: list[dict[str, Any]] = [
        {"days_since_login": 8.0, "days_inactive": 8.0},
        {"days_since_login": 4.0, "days_inactive": 4.0, "unusual_inactivity": True},
        {"clients_active_30d": 4, "client_activity": 0.2},
        {"limit_ratio": 0.8},
        {"plan": "free"},
        {"payment_past_due": True},
        {"churn_level": "high", "days_since_login": 20.0, "days_inactive": 20.0},
        {"churn_level": "medium"},
        waiting("day1", 5.0, 6.0),
        waiting("day3", 5.0, 8.0),
        waiting("day7", 5.0, 12.0),
    ]
    seen: set[str] = set()
    for changes in firing:
        for name in fired(**changes):
            seen.add(name)
            success = (
                frame(**changes).select(compile_condition(PLAYBOOK.triggers[name].success)).item()
            )
            assert not success, (name, changes)
    assert seen == set(PLAYBOOK.triggers)
    for name, trigger in PLAYBOOK.triggers.items():
        if name != "high_usage_no_upgrade":
            assert frame().select(compile_condition(trigger.success)).item(), (
                f"{name}: a healthy supplier is a success"
            )


def test_only_billing_and_the_task_for_high_risk_are_essential() -> None:
    assert {name for name, t in PLAYBOOK.triggers.items() if t.essential} == {
        "billing_trouble",
        "churn_high_assign",
    }


# Signals that cannot be unknown when another one says what the condition asks.
IMPLIED = {
    "days_past_due": "payment_past_due",
    "onboarding_days_behind": "onboarding_state",
    "onboarding_steps_due": "onboarding_state",
    "days_since_login": "days_inactive",
}


def sentences(playbook: Playbook) -> list[tuple[str, str, str]]:
    """Name, condition and sentence of everything that names a supplier's values."""
    said = [(name, t.when, t.reason) for name, t in playbook.triggers.items()]
    said += [(name, m.when or "", m.celebration) for name, m in playbook.milestones.items()]
    for name, r in playbook.recommendations.items():
        said += [(name, r.when, text) for text in (r.title, r.body, r.reason)]
    return said


@pytest.mark.parametrize(("name", "when", "sentence"), sentences(PLAYBOOK))
def test_a_sentence_names_only_numbers_that_are_known_when_it_is_shown(
    name: str, when: str, sentence: str
) -> None:
    if name == "churn_high_assign":
        return  # a person reads it, and may read that a login was never seen
    unknowable = {signal.name for signal in SIGNALS if signal.null != "never null"}
    asked = set(signals_in(when))
    for word in required_names(sentence) & unknowable:
        assert word in asked or IMPLIED.get(word) in asked, word


def test_there_are_enough_recommendations_for_each_dimension() -> None:
    recommendations = PLAYBOOK.recommendations
    assert 15 <= len(recommendations) <= 25
    closed = [r.closes for r in recommendations.values()]
    assert all(closed.count(dimension) >= 2 for dimension in DIMENSIONS)
    assert len({r.title for r in recommendations.values()}) == len(recommendations)
    assert all(r.action_url.startswith("/") for r in recommendations.values())


def test_a_healthy_supplier_gets_no_recommendation() -> None:
    offered = [
        n
        for n, r in PLAYBOOK.recommendations.items()
        if frame().select(compile_condition(r.when)).item()
    ]
    assert offered == []


def test_every_recommendation_can_apply() -> None:
    """Each is true of some supplier that is healthy except for one problem."""
    troubles: list[dict[str, Any]] = [
        {"payment_past_due": True, "days_past_due": 2.0},
        {"onboarding_days_behind": 2.0, "fully_activated": False, "tenure_days": 5.0},
        {"days_inactive": 9.0, "days_since_login": 9.0},
        {"login_days_28d": 4},
        {"clients_total": 1},
        {"client_activity": 0.1, "clients_active_30d": 2},
        {"client_activity": 0.4, "clients_active_30d": 8},
        {"clients_active_30d": 3},
        {"clients_lost_13w": 3, "client_loss_rate": 0.13},
        {"forms_waiting": 3},
        {"forms_waiting": 3, "days_to_next_wedding": None},
        {"form_completion_rate": 0.3},
        {"forms_sent_13w": 0, "form_completion_rate": None},
        {"journey_emails_13w": 0, "journey_open_rate": None},
        {"journey_open_rate": 0.2},
        {"journey_open_rate": 0.5},
        {"feature_adoption": 0.2},
        {"feature_adoption": 0.8},
        {"feature_use_ratio": 0.3},
        {"tickets_open": 3},
        {"limit_ratio": 0.9},
        {"off_season": True, "season_index": 0.4},
        {"off_season": True, "season_index": 0.4, "churn_level": "high"},
    ]
    reached = {
        name
        for changes in troubles
        for name, recommendations in PLAYBOOK.recommendations.items()
        if frame(**changes).select(compile_condition(recommendations.when)).item()
    }
    assert reached == set(PLAYBOOK.recommendations)


def test_the_file_contains_every_table_of_numbers() -> None:
    """Also those with defaults, so that a success lead can see and change them."""
    written = tomllib.loads(TEXT)
    weights = {
        key: written["churn"][key]
        for key in ("login", "support_tickets", "feature_usage", "client_churn", "billing")
    }
    assert sum(weights.values()) == pytest.approx(1)
    assert set(written) >= {
        "health",
        "season",
        "churn",
        "messaging",
        "holdout",
        "onboarding",
        "milestones",
    }


def test_no_text_compares_steps_done_with_steps_due() -> None:
    """A step done before its day counts as done and not as due: "2 of 2" would be said of who is behind."""
    reasons = [
        one.reason
        for group in (PLAYBOOK.triggers, PLAYBOOK.recommendations)
        for one in group.values()
    ]
    reasons += [
        words.get("reason", "")
        for recommendations in PLAYBOOK.recommendations.values()
        for words in recommendations.translations.values()
    ]
    named = {name for reason in reasons for name in placeholders(reason)}
    assert "onboarding_steps_done" in named and "onboarding_steps_due" not in named
