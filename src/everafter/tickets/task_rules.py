"""Decide which tickets need a task, and write its text. Pure."""

from collections.abc import Iterable
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from everafter.core.formatting import moment, noun
from everafter.tickets.model import Clock, Evaluated

KIND = "ticket_overdue"
_MOST_SUBJECT = 80


class Task(Struct, frozen=True):
    """A task about one clock of a ticket since it was last opened. The id is derived from these, so
    that the task is created once.
    """

    supplier_id: UUID
    ticket_id: str
    id: UUID
    priority: str
    title: str
    reason: str
    due_at: datetime | None


class OpenTask(Task, frozen=True):
    """A task that is open in the database."""


class Plan(Struct, frozen=True):
    """Tasks to insert unless they ever existed, to update, and to close."""

    insert: list[Task]
    update: list[Task]
    close: list[OpenTask]


def plan_tasks(tickets: Iterable[Evaluated], standing: Iterable[OpenTask]) -> Plan:
    """Plan at most one task per ticket, for tickets that are late or soon will be.

    A task stays open as long as the clock it was made for runs or is paused. It is closed once the
    ticket was answered (first reply) or resolved. When the clock runs out, the task that warned of
    it is updated.

    Args:
        tickets: those that are not resolved, evaluated as of now, with every ticket that an open
            task is about.
        standing: every open task about a ticket.
    """
    known = {(task.supplier_id, task.ticket_id): task for task in standing}
    insert: list[Task] = []
    update: list[Task] = []
    for one in tickets:
        key = one.ticket.supplier_id, one.ticket.ticket_id
        running = {
            task_id(one, clock): clock
            for clock in (one.first_reply, one.resolution)
            if clock.stopped_at is None
        }
        task = known.get(key)
        if task is not None and task.id in running:
            del known[key]
            written = write_task(one, running[task.id])
            if _text_of(written) != _text_of(task):
                update.append(written)
        elif one.pressing.state in ("breached", "due_soon"):
            insert.append(write_task(one, one.pressing))
    return Plan(insert, update, list(known.values()))


def task_id(one: Evaluated, clock: Clock) -> UUID:
    """Return the id of the task, the same for one clock of a ticket between an opening and a
    resolution.
    """
    ticket = one.ticket
    return uuid5(
        NAMESPACE_URL,
        f"everafter:{KIND}:{ticket.supplier_id}:{clock.name}:{one.course.reopened}:{ticket.ticket_id}",
    )


def write_task(one: Evaluated, clock: Clock) -> Task:
    """Write the task with its reason. The text does not depend on the time of reading."""
    ticket, reply = one.ticket, clock.name == "first_reply"
    subject = (ticket.subject or ticket.ticket_id).strip()
    subject = (
        subject if len(subject) <= _MOST_SUBJECT else subject[: _MOST_SUBJECT - 1].rstrip() + "…"
    )
    opened = f"opened {moment(one.course.opened_at)}" + (
        ", opened again since" if one.course.reopened else ""
    )
    promise = f"{_hours(clock.limit)} open {noun(clock.limit / 3600, 'hour')}"
    what = "an answer" if reply else "a solution"
    if clock.state == "breached":
        why = f"{what} was promised within {promise}, which ran out {moment(clock.due_at)}"
    elif clock.due_at is None:
        why = (
            f"{what} was promised within {promise}; {_hours(clock.left)} of them are left when the"
            " supplier has answered"
        )
    else:
        why = f"{what} was promised within {promise}, by {moment(clock.due_at)}"
    return Task(
        ticket.supplier_id,
        ticket.ticket_id,
        task_id(one, clock),
        "high" if clock.state == "breached" else "normal",
        f"{'Answer' if reply else 'Resolve'} the ticket “{subject}”",
        f"{ticket.priority or 'normal'} priority, {opened}: {why}",
        clock.due_at,
    )


def _text_of(task: Task) -> tuple[str, str, str, datetime | None]:
    return task.priority, task.title, task.reason, task.due_at


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}".removesuffix(".0")
