"""The onboarding path on frames, against a slow reading of the same words."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from everafter.core.errors import UnprocessableError
from everafter.onboarding.model import ACTION_TIMES, MILESTONES_SCHEMA, TIME
from everafter.onboarding.rules import add_onboarding, check_milestone, find_milestones
from everafter.playbook.model import (
    ONBOARDING_ACTIONS,
    Milestone,
    OnboardingStep,
    Playbook,
    Segment,
)
from everafter.signals.model import SIGNAL_SCHEMA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STEPS = {
    "day0": OnboardingStep(
        0, ["account_created", "vendor_type_selected", "completed_wizard"], "Account set up"
    ),
    "day1": OnboardingStep(1, ["first_login", "import_clients_started"], "In"),
    "day3": OnboardingStep(3, ["first_form_created", "invite_sent_to_client"], "Form"),
    "day7": OnboardingStep(7, ["customer_journey_started", "multiple_clients_active"], "Journey"),
    "day14": OnboardingStep(14, ["fully_activated"], "Activated"),
}
MILESTONES = {
    "first_form": Milestone("First form", "!"),
    "first_automation": Milestone("First automation", "!"),
    "ten_clients": Milestone("Ten clients", "!"),
    "five_active": Milestone("Five active", "!", "clients_active_30d >= 5"),
    "fully_activated": Milestone("Activated", "!", "fully_activated"),
    "by_hand": Milestone("By the API", "!"),
}
PLAYBOOK = Playbook(
    "test", {"default": Segment("All", ["forms"])}, {}, onboarding=STEPS, milestones=MILESTONES
)
NAMES = (
    "onboarding_steps_done",
    "onboarding_steps_due",
    "onboarding_days_behind",
    "fully_activated",
)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def make_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema: dict[str, Any] = {
        "supplier_id": pl.String(),
        **dict.fromkeys(ACTION_TIMES.values(), TIME),
        "clients_active_30d": pl.Int64(),
        "clients_total": pl.Int64(),
        "clients_added": pl.Int64(),
        "activated_at": TIME,
    }
    blank: dict[str, Any] = dict.fromkeys(schema)
    blank |= {"clients_active_30d": 0, "clients_total": 0, "clients_added": 0}
    return pl.DataFrame(
        [blank | {"supplier_id": f"s{n}"} | row for n, row in enumerate(rows)], schema=schema
    )


def score(**row: Any) -> dict[str, Any]:
    [found] = add_onboarding(make_frame([row]), PLAYBOOK, NOW).select(NAMES).to_dicts()
    return found


ALL_SEEN = dict.fromkeys(ACTION_TIMES.values(), ago(20))


def test_a_new_account_owes_its_first_step() -> None:
    assert score(account_created_at=ago(0.5)) == {
        "onboarding_steps_done": 0,
        "onboarding_steps_due": 1,
        "onboarding_days_behind": 0.5,
        "fully_activated": False,
    }


def test_behind_counts_from_the_day_of_the_oldest_open_step() -> None:
    done = {
        "account_created_at": ago(5),
        "vendor_type_selected_at": ago(5),
        "completed_wizard_at": ago(5),
    }
    assert score(**done)["onboarding_days_behind"] == 4
    assert (
        score(**done, first_login_at=ago(4), import_clients_started_at=ago(4))[
            "onboarding_days_behind"
        ]
        == 2
    )
    up_to_date = score(
        **done,
        first_login_at=ago(4),
        import_clients_started_at=ago(4),
        first_form_at=ago(2),
        first_invite_at=ago(2),
    )
    assert up_to_date == {
        "onboarding_steps_done": 3,
        "onboarding_steps_due": 3,
        "onboarding_days_behind": None,
        "fully_activated": False,
    }


def test_a_finished_path_is_fully_activated() -> None:
    assert score(**ALL_SEEN, clients_active_30d=3) == {
        "onboarding_steps_done": 5,
        "onboarding_steps_due": 5,
        "onboarding_days_behind": None,
        "fully_activated": True,
    }
    assert score(**ALL_SEEN, clients_active_30d=2)["onboarding_days_behind"] == 13


def test_a_finished_path_stays_finished_when_clients_become_inactive() -> None:
    inactive = score(**ALL_SEEN, clients_active_30d=0, activated_at=ago(3))
    assert (
        inactive["fully_activated"],
        inactive["onboarding_steps_done"],
        inactive["onboarding_days_behind"],
    ) == (True, 5, None)
    assert score(**ALL_SEEN, activated_at=NOW + timedelta(days=1))["fully_activated"] is False


def test_an_account_whose_beginning_was_never_seen_is_not_in_onboarding() -> None:
    assert score(first_login_at=ago(3), import_clients_started_at=ago(3)) == {
        "onboarding_steps_done": 1,
        "onboarding_steps_due": None,
        "onboarding_days_behind": None,
        "fully_activated": False,
    }


def test_what_comes_later_is_not_seen() -> None:
    later = NOW + timedelta(seconds=1)
    assert score(account_created_at=later)["onboarding_steps_due"] is None
    assert (
        score(account_created_at=ago(2), first_login_at=later, import_clients_started_at=ago(1))[
            "onboarding_steps_done"
        ]
        == 0
    )


def test_a_playbook_without_a_path_activates_nobody() -> None:
    empty = Playbook("test", PLAYBOOK.segments, {})
    [row] = (
        add_onboarding(make_frame([{"account_created_at": ago(9)}]), empty, NOW)
        .select(NAMES)
        .to_dicts()
    )
    assert row == {
        "onboarding_steps_done": 0,
        "onboarding_steps_due": 0,
        "onboarding_days_behind": None,
        "fully_activated": False,
    }


def test_an_action_that_nobody_knows_is_an_error() -> None:
    odd = Playbook(
        "test", PLAYBOOK.segments, {}, onboarding={"day0": OnboardingStep(0, ["dance"], "?")}
    )
    with pytest.raises(UnprocessableError, match="dance"):
        add_onboarding(make_frame([{}]), odd, NOW)


def test_the_columns_are_as_registered_also_for_no_rows() -> None:
    for rows in ([], [{}], [{"account_created_at": ago(1)}]):
        frame = add_onboarding(make_frame(rows), PLAYBOOK, NOW)
        assert {name: frame.schema[name] for name in NAMES} == {
            name: SIGNAL_SCHEMA[name] for name in NAMES
        }
        assert frame.height == len(rows)


moments = st.none() | st.floats(-3, 40).map(ago)
suppliers = st.fixed_dictionaries(
    {
        **dict.fromkeys(ACTION_TIMES.values(), moments),
        "clients_active_30d": st.integers(0, 6),
        "activated_at": moments,
    }
)
paths = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(
        OnboardingStep,
        st.integers(0, 30),
        st.lists(st.sampled_from(ONBOARDING_ACTIONS), max_size=4, unique=True),
        st.just("title"),
    ),
    max_size=4,
)


def read_slowly(row: dict[str, Any], steps: list[OnboardingStep]) -> dict[str, Any]:
    """The words of the registry and the playbook, one supplier and one action at a time."""

    def seen(action: str) -> bool:
        if action == "multiple_clients_active":
            return row["clients_active_30d"] >= 3
        at = row[ACTION_TIMES[action]]
        return at is not None and at <= NOW

    asked = [action for step in steps for action in step.actions if action != "fully_activated"]
    before = row["activated_at"] is not None and row["activated_at"] <= NOW
    activated = before or (bool(asked) and all(seen(action) for action in asked))
    done, due, behind = 0, 0, []
    age = (NOW - row["account_created_at"]) / timedelta(days=1) if seen("account_created") else None
    for step in steps:
        is_done = activated or all(
            activated if a == "fully_activated" else seen(a) for a in step.actions
        )
        done += is_done
        if age is not None and age >= step.day:
            due += 1
            if not is_done:
                behind.append(age - step.day)
    return {
        "onboarding_steps_done": done,
        "onboarding_steps_due": None if age is None else due,
        "onboarding_days_behind": pytest.approx(max(behind), abs=1e-6) if behind else None,
        "fully_activated": activated,
    }


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(suppliers, min_size=1, max_size=8), steps=paths)
def test_frames_agree_with_a_slow_reading(
    rows: list[dict[str, Any]], steps: dict[str, OnboardingStep]
) -> None:
    playbook = Playbook("test", PLAYBOOK.segments, {}, onboarding=steps)
    frame = make_frame(rows)
    found = add_onboarding(frame, playbook, NOW)
    assert found.select(NAMES).to_dicts() == [
        read_slowly(row, list(steps.values())) for row in rows
    ]
    alone = pl.concat([add_onboarding(frame[n], playbook, NOW) for n in range(len(rows))])
    assert_frame_equal(found, alone)


# ── milestones ────────────────────────────────────────────────────────────────────────────────────────────────────────


def found_milestones(*rows: dict[str, Any]) -> list[tuple[str, str, datetime]]:
    frame = add_onboarding(make_frame(list(rows)), PLAYBOOK, NOW)
    return find_milestones(frame, PLAYBOOK, NOW).rows()


def test_milestones_have_their_events_moment_or_the_first_notice() -> None:
    assert found_milestones(
        {"first_form_at": ago(9), "clients_active_30d": 5, "clients_added": 9},
        {"first_automation_at": ago(1), "clients_added": 10},
        {"first_form_at": NOW + timedelta(hours=1)},
    ) == [
        ("s0", "first_form", ago(9)),
        ("s0", "five_active", NOW),
        ("s1", "first_automation", ago(1)),
        ("s1", "ten_clients", NOW),
    ]


def test_full_activation_is_a_milestone() -> None:
    assert ("s0", "fully_activated", NOW) in found_milestones({**ALL_SEEN, "clients_active_30d": 3})


def test_a_condition_of_the_playbooks_own_replaces_the_built_in_one() -> None:
    playbook = Playbook(
        "test",
        PLAYBOOK.segments,
        {},
        milestones={
            "ten_clients": Milestone("Ten", "!", "clients_total >= 10"),
            "first_form": Milestone("Form", "!", "clients_total >= 1"),
        },
    )
    rows = [
        {"clients_added": 12, "clients_total": 2, "first_form_at": ago(4)},
        {"clients_added": 12, "clients_total": 10},
        {"first_form_at": ago(4)},
    ]
    assert find_milestones(make_frame(rows), playbook, NOW).rows() == [
        ("s0", "first_form", ago(4)),
        ("s1", "first_form", NOW),
        ("s1", "ten_clients", NOW),
    ]


def test_no_milestones_are_an_empty_frame_of_the_same_columns() -> None:
    none = find_milestones(make_frame([{}]), Playbook("test", PLAYBOOK.segments, {}), NOW)
    assert none.is_empty() and none.schema == pl.Schema(MILESTONES_SCHEMA)


@pytest.mark.parametrize("name", ["", "First", "9lives", "a-b", "x" * 65, "first_form\n", "ä"])
def test_a_milestone_type_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UnprocessableError, match="milestone_type"):
        check_milestone(name, None, NOW)


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (None, NOW),
        (ago(3), ago(3)),
        (ago(3).replace(tzinfo=None), ago(3)),
        (NOW + timedelta(minutes=4), NOW),
        (NOW + timedelta(minutes=6), None),
        (datetime(1999, 12, 31, tzinfo=UTC), None),
        (datetime.fromisoformat("0001-01-01T00:00:00+14:00"), None),
        (datetime.fromisoformat("9999-12-31T23:59:59-14:00"), None),
    ],
)
def test_a_milestones_time_is_in_the_past_and_in_our_days(
    at: datetime | None, kept: datetime | None
) -> None:
    if kept is None:
        with pytest.raises(UnprocessableError, match="achieved_at"):
            check_milestone("first_form", at, NOW)
    else:
        assert check_milestone("first_form", at, NOW) == kept
