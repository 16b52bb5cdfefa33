"""The eligibility check: skip reasons in their order, holdout, frequency cap, and quiet hours in every time zone."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from everafter.interventions import eligibility
from everafter.interventions.eligibility import (
    check_eligibility,
    is_in_holdout,
    next_sending_time,
)
from everafter.interventions.model import HISTORY_SCHEMA
from everafter.playbook.model import Holdout, Messaging, Playbook, Segment

AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVERYONE_TREATED = Playbook(
    name="t",
    segments={"default": Segment(title="", key_features=["forms"])},
    triggers={},
    holdout=Holdout(global_share=0),
    messaging=Messaging(messages_per_week=2),
)


def proposal(trigger: str = "t", **terms: object) -> dict[str, object]:
    return {
        "supplier_id": "s", "email": "a@example.com", "timezone": "UTC", "consent": True, "subscription": "active", "trigger": trigger,
        "action": "x", "channel": "email", "priority": 50, "cooldown_days": 30, "essential": False, "holdout": 0.0,
    } | terms  # fmt: skip


def check(
    proposals: list[dict[str, object]],
    history: list[tuple[object, ...]] | None = None,
    tasks: list[tuple[str, str]] | None = None,
    suppressed: frozenset[str] = frozenset(),
    playbook: Playbook = EVERYONE_TREATED,
) -> dict[str, tuple[str, str | None, bool]]:
    results = check_eligibility(
        pl.DataFrame(proposals, schema_overrides={"email": pl.String, "subscription": pl.String}),
        pl.DataFrame(history or [], schema=HISTORY_SCHEMA, orient="row"),
        pl.DataFrame(
            tasks or [], schema={"supplier_id": pl.String, "kind": pl.String}, orient="row"
        ),
        suppressed,
        playbook,
        AS_OF,
    )
    return {row[0]: row[1:] for row in results.select("trigger", "status", "reason", "is_new").iter_rows()}  # fmt: skip


def acted(
    days_ago: float, trigger: str = "t", messages: int = 0, last_reason: str = ""
) -> tuple[object, ...]:
    return ("s", trigger, AS_OF - timedelta(days=days_ago), messages, False, last_reason)


def test_a_proposal_that_passes_is_triggered() -> None:
    assert check([proposal()]) == {"t": ("triggered", None, True)}


@pytest.mark.parametrize(
    ("terms", "history", "tasks", "suppressed", "reason"),
    [
        ({"subscription": "paused"}, None, None, frozenset(), "paused"),
        ({"email": None}, None, None, frozenset(), "no_address"),
        ({"email": ""}, None, None, frozenset(), "no_address"),
        ({"consent": False}, None, None, frozenset(), "no_consent"),
        ({"email": "A@Example.com"}, None, None, frozenset({"a@example.com"}), "suppressed"),
        ({}, None, None, frozenset({"*a@example.com"}), "suppressed"),
        ({}, [acted(29)], None, frozenset(), "cooldown"),
        ({}, [acted(-3)], None, frozenset(), "cooldown"),
        ({"channel": "task"}, None, [("s", "t")], frozenset(), "already_open"),
        ({}, [acted(3, "other", messages=2)], None, frozenset(), "frequency_cap"),
        # the first check that fails is the reason
        (
            {"consent": False, "subscription": "paused"},
            [acted(1)],
            None,
            frozenset({"a@example.com"}),
            "paused",
        ),
        (
            {"consent": False},
            [acted(1, messages=5)],
            None,
            frozenset({"a@example.com"}),
            "no_consent",
        ),
    ],
)
def test_each_skip_reason(terms: dict[str, object], history: list[tuple[object, ...]] | None, tasks: list[tuple[str, str]] | None,
                 suppressed: frozenset[str], reason: str) -> None:  # fmt: skip
    assert check([proposal(**terms)], history, tasks, suppressed) == {
        "t": ("skipped", reason, True)
    }


def test_what_is_not_a_reason_to_skip() -> None:
    assert check([proposal()], [acted(31)])["t"][0] == "triggered"
    assert check([proposal(channel="task", email=None, consent=False)])["t"][0] == "triggered", (
        "a task reaches our own people"
    )
    assert check([proposal()], tasks=[("other", "t"), ("s", "other")])["t"][0] == "triggered"
    essential = proposal(essential=True, consent=False, subscription="paused", holdout=1.0)
    assert (
        check(
            [essential], [acted(1, "other", messages=9)], suppressed=frozenset({"a@example.com"})
        )["t"][0]
        == "triggered"
    )
    assert check([essential], suppressed=frozenset({"*a@example.com"}))["t"][:2] == (
        "skipped",
        "suppressed",
    ), "an address that bounces gets nothing at all"


def test_a_cooldown_counts_calendar_days_and_not_seconds() -> None:
    last = AS_OF - timedelta(days=7) + timedelta(seconds=40)
    for cooldown_days, status in ((7, "triggered"), (8, "skipped")):
        found = check([proposal(cooldown_days=cooldown_days)], [("s", "t", last, 0, False, "")])
        assert found["t"][0] == status


def test_the_frequency_cap_goes_to_the_highest_priorities() -> None:
    three = [
        proposal("low", priority=1),
        proposal("high", priority=90),
        proposal("mid", priority=40),
    ]
    assert {n: v[0] for n, v in check(three).items()} == {
        "high": "triggered",
        "mid": "triggered",
        "low": "skipped",
    }
    # an essential trigger is always sent, and counts
    found = check([*three, proposal("bill", essential=True, priority=0)])
    assert {n: v[0] for n, v in found.items()} == {
        "bill": "triggered",
        "high": "triggered",
        "mid": "skipped",
        "low": "skipped",
    }
    # a task does not reach the supplier
    found = check([*three, proposal("call", channel="task", priority=99)])
    assert {n: v[0] for n, v in found.items()} == {
        "call": "triggered",
        "high": "triggered",
        "mid": "triggered",
        "low": "skipped",
    }


def test_a_repeated_skip_is_not_new() -> None:
    assert check([proposal(consent=False)], [("s", "t", None, 0, False, "no_consent")]) == {
        "t": ("skipped", "no_consent", False)
    }
    assert check([proposal(consent=False)], [("s", "t", None, 0, False, "paused")]) == {
        "t": ("skipped", "no_consent", True)
    }
    assert check([proposal()], [acted(2)]) == {"t": ("skipped", "cooldown", True)}
    assert check([proposal()], [acted(2, last_reason="cooldown")]) == {
        "t": ("skipped", "cooldown", False)
    }


def test_a_trigger_evaluated_today_is_left_out() -> None:
    assert check([proposal()], [("s", "t", None, 0, True, "paused")]) == {}


def test_the_holdout_passes_the_same_checks_and_counts_towards_the_cap() -> None:
    assert check([proposal(holdout=1.0)])["t"] == ("holdout", "holdout", True)
    assert check([proposal(holdout=1.0, consent=False)])["t"][:2] == ("skipped", "no_consent")
    found = check(
        [
            proposal("a", holdout=1.0, priority=90),
            proposal("b", priority=80),
            proposal("c", priority=70),
        ]
    )
    assert [found[name][0] for name in "abc"] == ["holdout", "triggered", "skipped"]


def test_holdouts_have_their_share_and_are_independent() -> None:
    holdout = Holdout(global_share=0.05, salt="x")
    ids = [f"supplier-{n}" for n in range(20_000)]
    first = [is_in_holdout(i, "one", 0.1, holdout) for i in ids]
    assert sum(first) / len(ids) == pytest.approx(0.05 + 0.95 * 0.1, abs=0.008)
    assert first == [is_in_holdout(i, "one", 0.1, holdout) for i in ids]
    alone = Holdout(global_share=0, salt="x")
    a = {i for i in ids if is_in_holdout(i, "one", 0.2, alone)}
    b = {i for i in ids if is_in_holdout(i, "two", 0.2, alone)}
    assert len(a & b) / len(ids) == pytest.approx(0.04, abs=0.006)
    assert {i for i in ids if is_in_holdout(i, "one", 0.1, alone)} < a, (
        "a smaller share is part of a larger one"
    )


def test_equal_priorities_go_by_name() -> None:
    found = check(
        [proposal("b"), proposal("a")],
        playbook=structs.replace(EVERYONE_TREATED, messaging=Messaging(messages_per_week=1)),
    )
    assert {name: result[0] for name, result in found.items()} == {
        "a": "triggered",
        "b": "skipped",
    }


def test_the_last_message_of_the_week_is_sent_and_the_next_is_not() -> None:
    assert check([proposal()], [acted(3, "other", messages=1)])["t"][0] == "triggered"
    assert check([proposal()], [acted(3, "other", messages=2)])["t"][0] == "skipped"


def test_a_draw_equal_to_the_share_is_not_in_the_holdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eligibility, "_draw", lambda text: 0.25)
    assert not is_in_holdout("s", "t", 0.25, Holdout(global_share=0.25))
    assert is_in_holdout("s", "t", 0.26, Holdout(global_share=0.25))
    assert is_in_holdout("s", "t", 0.25, Holdout(global_share=0.26))


@pytest.mark.parametrize(
    ("hours", "clock", "waits_until"),
    [
        (("20:00", "08:00"), time(19, 59, 59), None),
        (("20:00", "08:00"), time(20, 0), datetime(2026, 11, 23, 8, tzinfo=UTC)),
        (("20:00", "08:00"), time(7, 59, 59), datetime(2026, 11, 22, 8, tzinfo=UTC)),
        (("20:00", "08:00"), time(8, 0), None),
        (("12:00", "13:00"), time(11, 59, 59), None),
        (("12:00", "13:00"), time(12, 0), datetime(2026, 11, 22, 13, tzinfo=UTC)),
        (("12:00", "13:00"), time(12, 59, 59), datetime(2026, 11, 22, 13, tzinfo=UTC)),
        (("12:00", "13:00"), time(13, 0), None),
        (("12:00", "12:00"), time(12, 0), None),
    ],
)
def test_quiet_hours_include_their_start_and_exclude_their_end(
    hours: tuple[str, str], clock: time, waits_until: datetime | None
) -> None:
    at = datetime.combine(AS_OF.date(), clock, UTC)
    messaging = Messaging(quiet_from=hours[0], quiet_until=hours[1])
    assert next_sending_time(at, "UTC", messaging) == (waits_until or at)


ZONES = ["UTC", "Europe/London", "America/New_York", "America/Los_Angeles", "Australia/Sydney", "Pacific/Auckland", "Asia/Kolkata",
         "Australia/Lord_Howe", "America/St_Johns", "Africa/Johannesburg", "Pacific/Apia", "Nowhere/AtAll"]  # fmt: skip


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.sampled_from(
        [
            ("20:00", "08:00"),
            ("00:00", "07:30"),
            ("02:30", "03:30"),
            ("12:00", "13:00"),
            ("00:00", "00:00"),
        ]
    ),
)
def test_the_sending_time_is_outside_the_quiet_hours(
    as_of: datetime, name: str, hours: tuple[str, str]
) -> None:
    messaging = Messaging(quiet_from=hours[0], quiet_until=hours[1])
    at = next_sending_time(as_of, name, messaging)
    assert as_of <= at < as_of + timedelta(hours=25) and at.tzinfo == UTC
    zone = ZoneInfo("UTC" if name == "Nowhere/AtAll" else name)
    clock, start, end = (
        at.astimezone(zone).time(),
        time.fromisoformat(hours[0]),
        time.fromisoformat(hours[1]),
    )
    in_quiet_hours = (start <= clock < end) if start <= end else (clock >= start or clock < end)
    assert not in_quiet_hours
    if not ((start <= as_of.astimezone(zone).time() < end) if start <= end else (as_of.astimezone(zone).time() >= start or as_of.astimezone(zone).time() < end)):  # fmt: skip
        assert at == as_of
