"""The coach: what it knows of a supplier's tips, and what it takes and gives."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everafter.core.ids import SupplierId
from everafter.onboarding.model import Checklist

Answer = Literal["do", "later", "never"]
Until = Literal["day", "week", "season"]

SEASON_DAYS = 200
"""Who says "after the season" sees the tip again when the season turns, and at the latest after so
many days: not every vendor type and place has a season that turns."""


class ShownTip(Struct, frozen=True):
    """The latest showing of one tip. answer: null while there is none; snoozed_in: the season at an
    answer "after the season"."""

    tip_id: str
    shown_at: datetime
    answer: Answer | None
    snoozed_until: datetime | None
    snoozed_in: Literal["in", "off"] | None


class Celebrated(Struct, frozen=True):
    """The playbook's milestones that the coach celebrates, as three columns: name, fresh_days,
    certificate."""

    names: list[str]
    days: list[int]
    certificates: list[bool]


NO_MILESTONES = Celebrated([], [], [])


class CoachState(Struct, frozen=True):
    """All that changes about a supplier from one request to the next, as one statement reads it.

    told (events in the supplier's activity, kept actions of the path, celebrations shown),
    updated_at (of the suppliers row): a score holds while both stand. last_tip_at: when a tip was
    last decided or in the holdout, null: not lately. call_ahead: a call is booked that has not
    ended. uncelebrated: the milestone that waits for its celebration in the coach, null: none."""

    supplier_id: UUID
    name: str
    timezone: str | None
    reported: int
    updated_at: datetime
    tips: dict[str, ShownTip]
    last_tip_at: datetime | None
    call_ahead: bool
    uncelebrated: str | None
    external_id: str | None


# ── what the API takes and gives ──────────────────────────────────────────────────────────────────────────────────────


class CoachSupplier(Struct, frozen=True):
    """Whom the token names."""

    id: UUID
    external_id: str | None
    name: str


class CoachAction(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class CoachTip(Struct, frozen=True):
    """One tip, with why it is shown, in the supplier's own numbers."""

    id: str
    title: str
    body: str
    reason: str
    action: CoachAction


class CoachHelp(Struct, frozen=True):
    """A call that is offered to who needs it."""

    message: str
    reason: str
    minutes: int
    type: str


class CoachCelebration(Struct, frozen=True):
    """A milestone to celebrate, once the coach has claimed it. `certificate_url` opens without a
    token; null: there is none."""

    id: str
    title: str
    body: str
    certificate_url: str | None


class CoachNextStep(Struct, frozen=True):
    """One recommendation, in the supplier's own numbers."""

    id: str
    title: str
    body: str
    reason: str
    action: CoachAction


class Said(Struct, frozen=True):
    """The part of an answer that follows from the score alone."""

    help: CoachHelp | None
    checklist: Checklist | None
    next_steps: list[CoachNextStep]


class CoachAnswer(Struct, frozen=True):
    """All that the coach shows on a page. `locale`: the language of its texts. `words`: the
    interface's, when asked for."""

    locale: str
    supplier: CoachSupplier
    tip: CoachTip | None
    help: CoachHelp | None
    checklist: Checklist | None
    celebration: CoachCelebration | None
    next_steps: list[CoachNextStep]
    words: dict[str, str] | None = None


class TipRequest(Struct, frozen=True):
    """What the supplier says to a tip."""

    answer: Answer
    until: Annotated[
        Until | None,
        Meta(description='With "later": a day (the default), a week, or after the season.'),
    ] = None


class TipAnswer(Struct, frozen=True):
    """What is now. `snoozed_until`: not shown before then; after `season` at the latest then, since
    the season may turn."""

    answer: Answer
    snoozed_until: datetime | None


class CelebrateAnswer(Struct, frozen=True):
    """`celebrate` is true exactly once, for the one that is to show it."""

    celebrate: bool


class CoachCallRequest(Struct, frozen=True):
    """A call to book, of the kind that the coach offers."""

    starts_at: Annotated[
        datetime,
        Meta(
            description="One of the free times; without an offset, wall-clock time of the supplier."
        ),
    ]
    topic: (
        Annotated[
            str, Meta(max_length=500, description="What it is about, in the supplier's words.")
        ]
        | None
    ) = None


class TokenRequest(Struct, frozen=True):
    """A token to make. `locale` goes into it."""

    supplier_id: SupplierId
    locale: Annotated[str, Meta(max_length=35)] | None = None
    minutes: Annotated[int, Meta(ge=1, le=15, description="How long it is good.")] = 15


class TokenAnswer(Struct, frozen=True):
    """A token for one supplier's browser."""

    token: str
    supplier_id: UUID
    external_id: str | None
    expires_at: datetime
