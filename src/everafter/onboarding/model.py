"""The onboarding path and milestones: columns of frames, and what the API takes and returns."""

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
"""Onboarding actions with an event of their own, and the column with its time; null: not seen."""

SEVERAL_ACTIVE = 3
"""Clients active in 30 days that make `multiple_clients_active`."""

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
"""Milestones that have an event of their own, and the column with its time."""

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
    """The last search for milestones, which tells whether a milestone that is noticed now is new.

    since: as_of of the last finished run before this one; null: there was none. names: the
    milestones that it looked for with the same conditions as today."""

    since: datetime | None
    names: frozenset[str]


MilestoneType = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="One of the playbook's, or a name of your own: a to z, digits and underscores.",
        examples=["first_form", "ten_clients", "first_automation"],
    ),
]


class ChecklistAction(Struct, frozen=True):
    """One thing to do. `url`: a path on the platform; null: it is not done there."""

    id: str
    title: str
    hint: str
    url: str | None
    done: bool


class ChecklistStep(Struct, frozen=True):
    """A step of the path. `due_on`: in the supplier's time zone; null: the sign-up is unknown."""

    id: str
    title: str
    done: bool
    due_on: date | None
    actions: list[ChecklistAction]


class Checklist(Struct, frozen=True):
    """The path as the supplier sees it. `done`, `total`: number of steps."""

    title: str
    done: int
    total: int
    state: OnboardingState
    steps: list[ChecklistStep]


class Celebration(Struct, frozen=True):
    """A milestone to celebrate. `certificate`: whether it comes with a certificate."""

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
    """A milestone to record."""

    supplier_id: SupplierId
    milestone_type: MilestoneType
    achieved_at: Annotated[
        datetime | None,
        Meta(description="When; without an offset in UTC. Default: now. Not in the future."),
    ] = None


class MilestoneAnswer(Struct, frozen=True):
    """A milestone. `title` is the playbook's; null for a name of your own."""

    supplier_id: UUID
    external_id: str | None
    milestone_type: str
    title: str | None
    achieved_at: datetime
    celebrated: bool


class MilestonesAnswer(Struct, frozen=True):
    """A supplier's milestones, the earliest first."""

    milestones: list[MilestoneAnswer]


class ActionState(Struct, frozen=True):
    """One action. `url`: a path on the platform; null: it is not done there. `done_at`: the time of
    the event, of the report, or of the run that first noticed it; null: not done, or not noticed by
    a daily run yet."""

    id: str
    title: str
    hint: str
    url: str | None
    done: bool
    done_at: datetime | None


class StepState(Struct, frozen=True):
    """A step of the path. `day`: days after sign-up. `due_on`: that day in the supplier's time
    zone. `success_metric`: the action that shows that the step has worked. `if_missed`: the
    intervention if the step is late."""

    id: str
    title: str
    day: int
    due_on: date | None
    done: bool
    success_metric: str | None
    if_missed: str | None
    actions: list[ActionState]


class NextAction(Struct, frozen=True):
    """The first open action on the path."""

    step: str
    action: str
    title: str
    hint: str
    url: str | None


class OnboardingAnswer(Struct, frozen=True):
    """A supplier's onboarding path. `state`: null if the path never started or its time is over.
    `missed`: the oldest step that is due and not done. `days_behind`: days since that was due."""

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
    """An action of the path that the platform reports."""

    action: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="An action of the path.",
            examples=["first_form_created", "completed_wizard"],
        ),
    ]
    done_at: Annotated[
        datetime | None,
        Meta(description="When; without an offset in UTC. Default: now. Not in the future."),
    ] = None


class ActionAnswer(Struct, frozen=True):
    """The stored action, the state after it, and the milestones that were reached with it."""

    supplier_id: UUID
    external_id: str | None
    action: str
    done_at: datetime
    state: OnboardingState | None
    milestones: list[str]
