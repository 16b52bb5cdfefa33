"""The onboarding path and milestones: what is read off a supplier's row, and what the API takes and
gives."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

from everafter.core.ids import SupplierId
from everafter.signals.row_model import OnboardingState

TIME = pl.Datetime("us", "UTC")

ACTION_TIMES = {
    "account_created": "account_created_at",
    "vendor_type_selected": "vendor_type_selected_at",
    "completed_wizard": "completed_wizard_at",
    "first_login": "first_login_at",
    "import_clients_started": "import_clients_started_at",
    "first_form_created": "first_form_at",
    "invite_sent_to_client": "first_invite_at",
    "customer_journey_started": "first_journey_at",
    "first_automation": "first_automation_at",
}
"""Onboarding actions that have a moment: the column it is in; null there means not seen."""

SEVERAL_ACTIVE = 3
"""So many clients active in 30 days are the spec's `multiple_clients_active`."""

CHECKLIST_TITLES = {
    "en": "Getting started",
    "de": "Die ersten Schritte",
    "fr": "Premiers pas",
    "es": "Primeros pasos",
    "it": "Primi passi",
    "nl": "De eerste stappen",
    "pt": "Primeiros passos",
}

MILESTONE_TIMES = {
    "account_created": "account_created_at",
    "completed_wizard": "completed_wizard_at",
    "first_login": "first_login_at",
    "first_form": "first_form_at",
    "first_invite": "first_invite_at",
    "first_journey": "first_journey_at",
    "first_automation": "first_automation_at",
}
"""Milestones that have a moment of their own."""

TEN = 10

MILESTONES_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "milestone_type": pl.String(),
    "achieved_at": TIME,
}

PROGRESS_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "recorded": pl.Int64(),
    "onboarding_kept": pl.Int64(),
    "activated_at": TIME,
    "activation_shown": pl.Boolean(),
}


KEPT_SCHEMA: dict[str, Any] = {"supplier_id": pl.String(), "action": pl.String(), "done_at": TIME}


@dataclass(frozen=True, slots=True)
class Watch:
    """Since when somebody has looked for milestones, so that what is noticed now is known to be
    new.

    since: the moment of the last finished run before this one, null: there was none. names: the
    milestones it looked for, by the conditions of today."""

    since: datetime | None
    names: frozenset[str]


MilestoneType = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description=(
            "One of the playbook's, or a name of your own: lower-case emails, digits and"
            " underscores."
        ),
        examples=["first_form", "ten_clients", "first_automation"],
    ),
]


class ChecklistAction(Struct, frozen=True):
    """One thing to do. `url`: a path on the platform, null when it is not done there."""

    id: str
    title: str
    hint: str
    url: str | None
    done: bool


class ChecklistStep(Struct, frozen=True):
    """A step of the path. `due_on`: in the supplier's time zone; null when the account's beginning
    is not known."""

    id: str
    title: str
    done: bool
    due_on: date | None
    actions: list[ChecklistAction]


class Checklist(Struct, frozen=True):
    """The supplier's own view of the path; `done` of `total` steps."""

    title: str
    done: int
    total: int
    state: OnboardingState
    steps: list[ChecklistStep]


class Celebration(Struct, frozen=True):
    """A milestone that waits for its celebration. `certificate`: whether a certificate goes with
    it."""

    milestone_type: str
    title: str
    body: str
    certificate: bool


class CoachMilestones(Struct, frozen=True):
    """The playbook's milestones that the coach celebrates, as three columns."""

    names: list[str]
    fresh_days: list[int]
    certificates: list[bool]

    def as_parameters(self) -> dict[str, Any]:
        """For `queries.NEXT_CELEBRATION`."""
        return {
            "names": self.names,
            "fresh_days": self.fresh_days,
            "certificates": self.certificates,
        }


NO_MILESTONES = CoachMilestones([], [], [])


class MilestoneRequest(Struct, frozen=True):
    """An achievement to record."""

    supplier_id: SupplierId
    milestone_type: MilestoneType
    achieved_at: Annotated[
        datetime | None,
        Meta(description="When; without an offset in UTC. Default: now. Not in the future."),
    ] = None


class MilestoneAnswer(Struct, frozen=True):
    """An achievement. `title` is the playbook's, null for a name of your own."""

    supplier_id: UUID
    external_id: str | None
    milestone_type: str
    title: str | None
    achieved_at: datetime
    celebrated: bool


class MilestonesAnswer(Struct, frozen=True):
    """A supplier's achievements, the first one first."""

    milestones: list[MilestoneAnswer]


class ActionState(Struct, frozen=True):
    """One action. `url`: a path on the platform, null when it is not done there. `done_at`: the
    event's moment, or when it was reported or first noticed; null while it is not done, and until
    the daily run has noticed it."""

    id: str
    title: str
    hint: str
    url: str | None
    done: bool
    done_at: datetime | None


class StepState(Struct, frozen=True):
    """A step of the path. `day`: of the account's life; `due_on`: that day where the supplier is.
    `success_metric`: the action that says the step has worked; `if_missed`: what we do when it is
    not there in time."""

    id: str
    title: str
    day: int
    due_on: date | None
    done: bool
    success_metric: str | None
    if_missed: str | None
    actions: list[ActionState]


class NextAction(Struct, frozen=True):
    """The first thing on the path that is not done."""

    step: str
    action: str
    title: str
    hint: str
    url: str | None


class OnboardingAnswer(Struct, frozen=True):
    """How far a supplier is on its onboarding path. `state`: null when the path never began or its
    time is over; `missed`: the oldest step that is due and not done; `days_behind`: since its
    day."""

    supplier_id: UUID
    external_id: str | None
    state: OnboardingState | None
    started_at: datetime | None
    activated_at: datetime | None
    done: int
    total: int
    missed: str | None
    days_behind: float | None
    next: NextAction | None
    steps: list[StepState]


class ActionRequest(Struct, frozen=True):
    """An action of the path that the platform reports by itself."""

    action: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="One of the path's.",
            examples=["first_form_created", "completed_wizard"],
        ),
    ]
    done_at: Annotated[
        datetime | None,
        Meta(description="When; without an offset in UTC. Default: now. Not in the future."),
    ] = None


class ActionAnswer(Struct, frozen=True):
    """The action as it is kept, the state after it, and the milestones that were reached with
    it."""

    supplier_id: UUID
    external_id: str | None
    action: str
    done_at: datetime
    state: OnboardingState | None
    milestones: list[str]
