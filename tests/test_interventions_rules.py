"""What triggers propose, and the rows that an evaluation writes."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from msgspec import structs

from everafter.interventions.rules import make_interventions, make_messages, make_tasks, propose
from everafter.playbook.model import Playbook, Segment, Trigger
from everafter.playbook.rules import compile_conditions
from everafter.signals.model import SIGNAL_SCHEMA

AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
TRIGGER = Trigger(
    when="clients_total >= 3",
    action="write",
    channel="email",
    reason="{clients_total} clients",
    success="clients_total >= 5",
    template="check_in",
    success_days=7,
    expires_hours=5,
)
SUPPLIER: dict[str, Any] = {
    "supplier_id": "s",
    "name": "Ann",
    "email": "a@example.com",
    "timezone": "UTC",
    "consent": True,
}


def playbook(**triggers: Trigger) -> Playbook:
    return Playbook("t", {"default": Segment("Any", ["forms"])}, triggers)


def scored(**signals: Any) -> pl.DataFrame:
    schema = {
        **dict.fromkeys(SUPPLIER, pl.String()),
        "consent": pl.Boolean(),
        **SIGNAL_SCHEMA,
    }
    return pl.DataFrame([dict.fromkeys(SIGNAL_SCHEMA) | SUPPLIER | signals], schema=schema)


def evaluated(
    policy: Playbook, frame: pl.DataFrame, status: str = "triggered", *, replay: bool = False
) -> pl.DataFrame:
    """The log rows of everything that is proposed, all with that status."""
    proposed = propose(frame, policy, compile_conditions(policy))
    reason = None if status == "triggered" else status
    results = proposed.with_columns(
        pl.lit(status).alias("status"), pl.lit(reason, pl.String).alias("reason")
    )
    return make_interventions(results, frame, policy, AS_OF, 1, replay=replay)


@pytest.mark.parametrize(("clients", "proposes"), [(3, True), (2, False), (None, False)])
def test_a_trigger_proposes_where_its_condition_is_true(
    clients: int | None, proposes: bool
) -> None:
    policy = playbook(t=TRIGGER)
    frame = scored(clients_total=clients)
    assert propose(frame, policy, compile_conditions(policy)).height == proposes


def test_a_disabled_trigger_proposes_nothing() -> None:
    policy = playbook(t=structs.replace(TRIGGER, enabled=False))
    assert propose(scored(clients_total=9), policy, compile_conditions(policy)).is_empty()


def test_a_triggered_row_has_its_reason_facts_and_window() -> None:
    [row] = evaluated(playbook(t=TRIGGER), scored(clients_total=3)).to_dicts()
    assert row["reason"] == "3 clients"
    assert json.loads(row["facts"])["clients_total"] == 3
    assert json.loads(row["facts"])["name"] == "Ann"
    assert row["success_by"] == date(2026, 11, 29)
    assert (row["evaluated_at"], row["evaluated_on"]) == (AS_OF, AS_OF.date())


def test_a_row_in_the_holdout_has_facts_and_a_window_too() -> None:
    [row] = evaluated(playbook(t=TRIGGER), scored(clients_total=3), "holdout").to_dicts()
    assert row["reason"] == "holdout" and row["success_by"] == date(2026, 11, 29)
    assert json.loads(row["facts"])["clients_total"] == 3


def test_a_skipped_row_has_a_code_and_neither_facts_nor_window() -> None:
    [row] = evaluated(playbook(t=TRIGGER), scored(clients_total=3), "skipped").to_dicts()
    assert (row["reason"], row["facts"], row["success_by"]) == ("skipped", "{}", None)


@pytest.mark.parametrize(("essential", "topic"), [(True, "transactional"), (False, "success")])
def test_an_email_is_queued_until_it_expires(essential: bool, topic: str) -> None:
    policy = playbook(t=structs.replace(TRIGGER, essential=essential))
    frame = scored(clients_total=3)
    [message] = make_messages(
        evaluated(policy, frame), frame, policy, AS_OF, replay=False
    ).to_dicts()
    assert (message["template"], message["topic"], message["status"]) == (
        "check_in",
        topic,
        "queued",
    )
    assert message["send_after"] == AS_OF and message["status_reason"] is None
    assert message["expires_at"] == AS_OF + timedelta(hours=5)


def test_an_email_of_a_replay_is_not_queued() -> None:
    policy, frame = playbook(t=TRIGGER), scored(clients_total=3)
    rows = evaluated(policy, frame, replay=True)
    [message] = make_messages(rows, frame, policy, AS_OF, replay=True).to_dicts()
    assert message["status"] == "replayed" and message["status_reason"]


@pytest.mark.parametrize("status", ["skipped", "holdout"])
def test_only_triggered_rows_lead_to_messages_and_tasks(status: str) -> None:
    policy = playbook(e=TRIGGER, t=structs.replace(TRIGGER, channel="task"))
    frame = scored(clients_total=3)
    rows = evaluated(policy, frame, status)
    assert make_messages(rows, frame, policy, AS_OF, replay=False).is_empty()
    assert make_tasks(rows, frame, replay=False).is_empty()


@pytest.mark.parametrize(
    ("priority", "level", "days"), [(79, "normal", 3), (80, "high", 1), (81, "high", 1)]
)
def test_a_task_of_priority_80_or_more_is_high_and_due_within_a_day(
    priority: int, level: str, days: int
) -> None:
    policy = playbook(t=structs.replace(TRIGGER, channel="task", priority=priority))
    frame = scored(clients_total=3)
    [task] = make_tasks(evaluated(policy, frame), frame, replay=False).to_dicts()
    assert (task["priority"], task["status"], task["title"]) == (level, "open", "Call Ann")
    assert task["due_at"] == AS_OF + timedelta(days=days) and task["closed_at"] is None


def test_a_task_of_a_replay_is_dismissed() -> None:
    policy = playbook(t=structs.replace(TRIGGER, channel="task"))
    frame = scored(clients_total=3)
    [task] = make_tasks(evaluated(policy, frame, replay=True), frame, replay=True).to_dicts()
    assert (task["status"], task["closed_at"]) == ("dismissed", AS_OF)
