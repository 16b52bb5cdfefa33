"""The onboarding path and milestones: what is read off a supplier's row, and what the API takes and gives."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import polars as pl
from msgspec import Meta, Struct

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
"""Onboarding actions that have a moment: the column it stands in; null there means not seen."""

SEVERAL_ACTIVE = 3
"""So many couples active in 30 days are the spec's `multiple_clients_active`."""

ACTIONS = (*ACTION_TIMES, "multiple_clients_active", "fully_activated")
"""All that an onboarding step may ask for."""

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

MilestoneType = Annotated[
    str,
    Meta(
        pattern="^[a-z][a-z0-9_]{0,63}$",
        description="One of the playbook's, or a name of your own: lower-case letters, digits and underscores.",
        examples=["first_form", "ten_clients", "first_automation"],
    ),
]


class MilestoneRequest(Struct, frozen=True):
    """An achievement to record."""

    supplier_id: UUID
    milestone_type: MilestoneType
    achieved_at: Annotated[
        datetime | None, Meta(description="When; without an offset in UTC. Default: now. Not in the future.")
    ] = None


class MilestoneAnswer(Struct, frozen=True):
    """An achievement. `title` is the playbook's, null for a name of your own."""

    supplier_id: UUID
    milestone_type: str
    title: str | None
    achieved_at: datetime
    celebrated: bool


class MilestonesAnswer(Struct, frozen=True):
    """A supplier's achievements, the first one first."""

    milestones: list[MilestoneAnswer]
