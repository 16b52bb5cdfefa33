"""The coach: a supplier's state as it is read, and what its API takes and returns."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from everafter.core.ids import SupplierId
from everafter.onboarding.model import Checklist

TipResponse = Literal["completed", "snoozed", "dismissed"]
Until = Literal["day", "week", "season"]
Version = tuple[int, datetime]
"""Changes whenever something about a supplier does; see `CoachState.version`."""

SEASON_DAYS = 200
"""A tip snoozed until after the season returns when the season turns, at the latest after so many
days: not every vendor type and region has a season that turns."""


class TipImpression(Struct, frozen=True):
    """The latest impression of one tip. response: null until there is one. snoozed_in: whether it
    was in or off season when the tip was snoozed until after the season; null otherwise."""

    tip_id: str
    shown_at: datetime
    response: TipResponse | None
    snoozed_until: datetime | None
    snoozed_in: Literal["in", "off"] | None


class CoachState(Struct, frozen=True):
    """What may change about a supplier between two requests, as one statement reads it.

    changes: counts events, onboarding actions and celebrations. updated_at: of the suppliers row.
    last_tip_at: when a tip was last shown, or kept back by the holdout; null: not lately.
    call_ahead: whether a booked call has not ended yet. uncelebrated: the milestone to celebrate
    next; null: none."""

    supplier_id: UUID
    name: str
    timezone: str | None
    changes: int
    updated_at: datetime
    tips: dict[str, TipImpression]
    last_tip_at: datetime | None
    call_ahead: bool
    uncelebrated: str | None
    external_id: str | None

    @property
    def version(self) -> Version:
        """A score holds while this stays the same."""
        return self.changes, self.updated_at


# ── the API ───────────────────────────────────────────────────────────────────────────────────────


class CoachSupplier(Struct, frozen=True):
    """The supplier that the token names."""

    id: UUID
    external_id: str | None
    name: str


class CoachAction(Struct, frozen=True):
    """The one thing to do; `url` is a path on the platform."""

    label: str
    url: str


class CoachTip(Struct, frozen=True):
    """One tip. `reason` says why it is shown, with the supplier's own numbers."""

    id: str
    title: str
    body: str
    reason: str
    action: CoachAction


class CoachHelp(Struct, frozen=True):
    """The offer of a call, for suppliers at risk."""

    message: str
    reason: str
    minutes: int
    type: str


class CoachCelebration(Struct, frozen=True):
    """A milestone to celebrate, after claiming it. `certificate_url` opens without a token; null:
    the milestone has no certificate."""

    id: str
    title: str
    body: str
    certificate_url: str | None


class CoachRecommendation(Struct, frozen=True):
    """One recommendation, with the supplier's own numbers."""

    id: str
    title: str
    body: str
    reason: str
    action: CoachAction


class CoachTexts(Struct, frozen=True):
    """The part of an answer that follows from the score and the language alone."""

    help: CoachHelp | None
    checklist: Checklist | None
    recommendations: list[CoachRecommendation]


class CoachAnswer(Struct, frozen=True):
    """All that the coach shows on a page. `locale`: the language of its texts. `messages`: the
    texts of the interface; null unless asked for."""

    locale: str
    supplier: CoachSupplier
    tip: CoachTip | None
    help: CoachHelp | None
    checklist: Checklist | None
    celebration: CoachCelebration | None
    recommendations: list[CoachRecommendation]
    messages: dict[str, str] | None = None


class TipRequest(Struct, frozen=True):
    """The supplier's response to a tip."""

    response: TipResponse
    until: Annotated[
        Until | None,
        Meta(description='With "snoozed": a day (the default), a week, or after the season.'),
    ] = None


class TipAnswer(Struct, frozen=True):
    """The response as stored. `snoozed_until`: when the tip returns; with `season` it returns
    earlier if the season turns."""

    response: TipResponse
    snoozed_until: datetime | None


class CelebrateAnswer(Struct, frozen=True):
    """`celebrate` is true for one request only: that one shows the celebration."""

    celebrate: bool


class CoachCallRequest(Struct, frozen=True):
    """A call to book, of the type that the playbook offers in the coach."""

    starts_at: Annotated[
        datetime,
        Meta(description="A free time; without an offset, local time of the supplier."),
    ]
    topic: (
        Annotated[
            str,
            Meta(max_length=500, description="What the call is about, as the supplier says it."),
        ]
        | None
    ) = None


class TokenRequest(Struct, frozen=True):
    """A token to create. `locale` is put into it."""

    supplier_id: SupplierId
    locale: Annotated[str, Meta(max_length=35)] | None = None
    minutes: Annotated[int, Meta(ge=1, le=15, description="How long the token is valid.")] = 15


class TokenAnswer(Struct, frozen=True):
    """A token for one supplier's browser."""

    token: str
    supplier_id: UUID
    external_id: str | None
    expires_at: datetime
