"""Tickets that run late become tasks: once, with texts that stay true, closed when nothing is left to do."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.playbook.model import Clocks, Support
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.jobs import keep_tasks, watch_tickets
from everafter.tickets.model import Change, Ticket, Transition
from everafter.tickets.task_rules import OpenTask, plan_tasks
from everafter.worker import DUTIES
from helpers_pages import XSS, add_supplier
from helpers_server import Server

# open round the clock: here it is about tasks, not about hours
SUPPORT = Support(
    open_from="00:00",
    open_until="24:00",
    work_days=[1, 2, 3, 4, 5, 6, 7],
    clocks={"normal": Clocks(4, 24)},
)
START = datetime(2026, 11, 23, 9, tzinfo=UTC)


class Team:
    """One supplier's tickets in the database, and rounds of the worker at chosen hours after START."""

    def __init__(self, server: Server) -> None:
        self.server, self.supplier = server, add_supplier(server, "Golden Hour")

    def tell(
        self,
        transition: Transition,
        hours: float,
        ticket: str = "T",
        supplier: uuid.UUID | None = None,
    ) -> None:
        at, key = START + timedelta(hours=hours), (supplier or self.supplier, ticket)
        self.server.sql("INSERT INTO ticket_changes VALUES (%s, %s, %s, %s)", *key, at, transition)
        self.server.sql(
            "INSERT INTO tickets (supplier_id, ticket_id, subject, opened_at, last_opened_at, resolved_at)"
            " SELECT %s, %s, 'The import stops', min(at) FILTER (WHERE state = 'opened'), max(at) FILTER (WHERE state = 'opened'),"
            " max(at) FILTER (WHERE state = 'resolved') FROM ticket_changes WHERE supplier_id = %s AND ticket_id = %s"
            " ON CONFLICT (supplier_id, ticket_id) DO UPDATE"
            " SET last_opened_at = excluded.last_opened_at, resolved_at = excluded.resolved_at",
            *key, *key,
        )  # fmt: skip

    def round(self, hours: float, most: int = 1_000) -> str | None:
        return asyncio.run(
            keep_tasks(self.server.database, SUPPORT, START + timedelta(hours=hours), most=most)
        )

    def tasks(self) -> list[tuple[Any, ...]]:
        return self.server.sql(
            "SELECT status, priority, title, reason, due_at FROM tasks WHERE kind = 'ticket_overdue' ORDER BY created_at, id"
        )


@pytest.fixture
def changes(server: Server) -> Team:
    return Team(server)


def test_from_nearly_late_to_resolved(changes: Team) -> None:
    changes.tell("opened", 0)
    assert changes.round(2.9) is None and changes.tasks() == []
    assert changes.round(3.1) == "1 ticket runs late"
    due = START + timedelta(hours=4)
    said = "normal priority, opened 23 Nov 2026, 09:00 UTC: an answer was promised within 4 open hours, by 23 Nov 2026, 13:00 UTC"
    assert changes.tasks() == [
        ("open", "normal", "Answer the ticket “The import stops”", said, due)
    ]
    assert changes.round(3.5) is None, "the words do not depend on when it is looked at"
    assert changes.round(4.1) is None
    assert changes.tasks() == [
        (
            "open",
            "high",
            "Answer the ticket “The import stops”",
            said.replace(", by", ", which ran out"),
            due,
        )
    ]
    changes.tell("replied", 5)
    assert changes.round(5.1) == "1 is dealt with"
    assert [task[0] for task in changes.tasks()] == ["done"]
    assert changes.round(17.9) is None
    assert changes.round(18.1) == "1 ticket runs late"
    assert [(task[0], task[2]) for task in changes.tasks()][-1] == (
        "open",
        "Resolve the ticket “The import stops”",
    )
    changes.tell("resolved", 19)
    assert changes.round(19.1) == "1 is dealt with"
    assert [task[0] for task in changes.tasks()] == ["done", "done"]
    assert changes.round(90) is None and len(changes.tasks()) == 2


def test_a_queue_too_full_for_one_round_closes_nothing_that_was_not_read(changes: Team) -> None:
    changes.tell("opened", 0, "A")
    assert changes.round(5, most=1) == "1 ticket runs late"
    changes.tell(
        "opened", -2, "B"
    )  # reported late: by its age it would now be read instead of the other one
    assert changes.round(6, most=1) is None
    assert [task[0] for task in changes.tasks()] == ["open"]
    changes.tell("resolved", 6, "A")
    assert changes.round(7, most=1) == "1 ticket runs late, 1 is dealt with"


def test_what_a_person_closed_stays_closed(changes: Team) -> None:
    changes.tell("opened", 0)
    changes.round(5)
    changes.server.sql("UPDATE tasks SET status = 'dismissed', closed_at = now()")
    assert changes.round(6) is None and [task[0] for task in changes.tasks()] == ["dismissed"]
    changes.tell("resolved", 7)
    changes.tell("opened", 8)
    changes.round(8.1)
    assert len(changes.tasks()) == 1, "the answer's clock has stopped for good"
    assert changes.round(35) == "1 ticket runs late", "opened again, it is another matter"


def test_while_the_supplier_is_waited_for(changes: Team) -> None:
    """A task that is stays, and says so; none is made for a clock that is still."""
    changes.tell("opened", 0)
    changes.round(3.5)
    changes.tell("waiting", 3.5)
    changes.round(30)
    (task,) = changes.tasks()
    assert (task[0], task[1], task[4]) == ("open", "normal", None)
    assert task[3].endswith(
        "within 4 open hours; 0.5 of them are left when the supplier has answered"
    )
    changes.tell("resumed", 40)
    changes.round(41)
    assert changes.tasks()[0][1] == "high" and changes.tasks()[0][4] == START + timedelta(
        hours=40.5
    )
    changes.tell("opened", 0, "Q")
    changes.tell("waiting", 1, "Q")
    assert changes.round(50) is None


def test_two_workers_at_once_make_one_task(changes: Team) -> None:
    other = add_supplier(changes.server, XSS)
    for ticket in range(20):
        changes.tell("opened", 0, f"T{ticket}")
        changes.tell("opened", 0, f"T{ticket}", other)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: changes.round(5), range(8)))
    assert len(changes.tasks()) == 40 and {task[0] for task in changes.tasks()} == {"open"}


def test_the_worker_does_it(server: Server) -> None:
    """As a duty, with the shipped playbook's hours; a ticket of last year is late by any."""
    changes = Team(server)
    changes.tell("opened", -8000)
    (duty,) = [duty for duty in DUTIES if duty.name == "tickets"]
    assert duty.seconds <= 60
    assert asyncio.run(watch_tickets(server.database, server.settings)) == "1 ticket runs late"
    assert asyncio.run(watch_tickets(server.database, server.settings)) is None


_transition = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 60),
    st.sampled_from(["opened", "replied", "waiting", "resumed", "resolved"]),
)


@settings(max_examples=200)
@given(
    transition=st.lists(_transition, max_size=14),
    rounds=st.lists(st.integers(0, 70), min_size=1, max_size=8),
)
def test_whatever_happens_tasks_are_true(
    transition: list[tuple[str, int, Transition]], rounds: list[int]
) -> None:
    """After any round: at most one open task a ticket, each for a clock still to be kept; every late ticket has or had its task."""
    supplier = uuid.UUID(int=1)
    tasks: dict[uuid.UUID, tuple[str, Any]] = {}
    for hour in sorted(rounds):
        now = START + timedelta(hours=hour)
        stories: dict[str, list[Change]] = {}
        for ticket, at, what in transition:
            if at <= hour:
                stories.setdefault(ticket, []).append(Change(START + timedelta(hours=at), what))
        tickets = [
            Ticket(supplier, name, None, None, "", None, sorted(story))
            for name, story in stories.items()
        ]
        evaluated = [
            one for one in evaluate_tickets(tickets, SUPPORT, now) if one.course.state != "resolved"
        ]
        standing = [
            OpenTask(**{name: getattr(task, name) for name in task.__struct_fields__})
            for status, task in tasks.values()
            if status == "open"
        ]
        plan = plan_tasks(evaluated, standing)
        for task in plan.close:
            tasks[task.id] = ("done", task)
        for task in plan.update:
            tasks[task.id] = ("open", task)
        for task in plan.insert:
            tasks.setdefault(task.id, ("open", task))
        open_of = [task.ticket_id for status, task in tasks.values() if status == "open"]
        assert len(open_of) == len(set(open_of))
        alive = {one.ticket.ticket_id: one for one in evaluated}
        assert set(open_of) <= set(alive)
        for name, one in alive.items():
            late = one.pressing.state in ("breached", "due_soon")
            assert (
                not late
                or name in open_of
                or any(task.ticket_id == name for _, task in tasks.values())
            )
