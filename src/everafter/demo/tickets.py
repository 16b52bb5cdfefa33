"""Simulate support tickets, answered from London in office hours."""

from random import Random

import numpy as np

from everafter.demo.calendar import day_of, midnight
from everafter.demo.life import Life
from everafter.demo.model import DAY_SECONDS, QUEUE_OUTAGE_DAYS
from everafter.demo.names import ANGRY_SUBJECTS, SUBJECTS

_SUPPORT_TIMEZONE = "Europe/London"
_HOUR = 3600
_OPENS, _CLOSES = 9 * _HOUR, 17 * _HOUR


def emit_tickets(life: Life, anchor: int) -> None:
    """Emit the supplier's tickets. Those of an angry story are frequent, urgent and slow.

    Args:
        anchor: the day from which `QUEUE_OUTAGE_DAYS` counts back.
    """
    supplier = life.supplier
    knots = sorted(supplier.story.tickets)
    rate = np.interp(life.days, [day for day, _ in knots], [value for _, value in knots]) / 7
    usual = knots[0][1]
    rng = Random(f"{life.seed}:{supplier.index}:tickets")
    for place in range(len(life.days)):
        chance, angry, hour, subject, slow = (rng.random() for _ in range(5))
        delay, lost = rng.lognormvariate(10.6, 0.9), rng.random()
        if chance >= rate[place] or life.is_paused(life.base + place):
            continue
        if anchor - (life.base + place) in QUEUE_OUTAGE_DAYS:
            continue
        day = life.base + place
        is_complaint = supplier.story.angry and rate[place] * 7 > 1.5 * usual and angry < 0.6
        subjects = ANGRY_SUBJECTS if is_complaint else SUBJECTS
        priority = "high" if is_complaint else ("normal" if angry < 0.6 else "low")
        ticket = f'{{"ticket_id":"{life.prefix}t{day}"'
        at = midnight(supplier.timezone, day) + round((8 + 11 * hour) * _HOUR)
        text = subjects[int(subject * len(subjects))]
        life.emit(
            "ticket_opened", at, f"t{day}", f'{ticket},"subject":"{text}","priority":"{priority}"}}'
        )
        patience = 1 + 3 * slow if is_complaint else 1
        solved = at + 1800 + round(min(delay, 9 * DAY_SECONDS) * patience)
        if lost <= (0.15 if is_complaint else 0.02):  # overlooked for weeks
            solved = at + round((9 + 16 * slow) * DAY_SECONDS)
        solved = _in_office_hours(_after_outage(solved, anchor))
        if life.cancelled_at is not None:  # tickets are closed on cancellation
            solved = max(at + 60, min(solved, life.cancelled_at - 60))
        _work_on(life, day, at, solved, patience, ticket + "}", anchor)


def _after_outage(at: int, anchor: int) -> int:
    """Return this time, or the morning after the outage if it falls into it."""
    return (
        midnight(_SUPPORT_TIMEZONE, anchor - QUEUE_OUTAGE_DAYS.start + 1) + _OPENS
        if anchor - day_of(at) in QUEUE_OUTAGE_DAYS
        else at
    )


def _work_on(
    life: Life, day: int, at: int, solved: int, patience: float, ticket: str, anchor: int
) -> None:
    """Emit a reply, perhaps a question with the supplier's answer, and the resolution."""
    rng = Random(f"{life.seed}:{life.supplier.index}:ticket:{day}")
    delay, asks, answers, share = (
        rng.lognormvariate(8.3, 0.8),
        rng.random(),
        rng.random(),
        rng.random(),
    )
    replied = _in_office_hours(at + 300 + round(min(delay, 2 * DAY_SECONDS) * patience))
    is_received = not any(
        anchor - day in QUEUE_OUTAGE_DAYS for day in range(day_of(replied), day_of(solved))
    )
    if replied < solved - 600 and is_received:
        life.emit("ticket_replied", replied, f"tr{day}", ticket)
        if asks < 0.4 and solved - replied > 5 * _HOUR:
            life.emit("ticket_waiting", replied + 120, f"tw{day}", ticket)
            if answers < 0.85:  # the others are resolved without an answer
                resumed = replied + 120 + round((0.2 + 0.65 * share) * (solved - replied - 240))
                life.emit("ticket_resumed", resumed, f"tu{day}", ticket)
    life.emit("ticket_resolved", solved, f"r{day}", ticket)


def _in_office_hours(at: int) -> int:
    """Return this time if it is in office hours, else a time early in the next working day."""
    day = day_of(at)
    while True:
        opens, closes = (
            midnight(_SUPPORT_TIMEZONE, day) + _OPENS,
            midnight(_SUPPORT_TIMEZONE, day) + _CLOSES,
        )
        if day % 7 not in (6, 0) and at < closes:  # ordinal 1 is a Monday
            return at if at >= opens else opens + 900 + at % 5400
        day += 1
