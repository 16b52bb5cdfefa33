"""The intervention log of interventions: what was decided, what was kept back, and why."""

from typing import Any, Literal

import polars as pl

from everafter.activity.model import TIME

Status = Literal["triggered", "skipped", "holdout"]

TIP_PREFIX = "tip_"
"""A tip's trigger in the intervention log is its name in the playbook behind this."""

CELEBRATION_PREFIX = "celebrate_"
"""The same for the email of a milestone."""

# Why the eligibility check kept something back, in the order in which it asks, and how people are
# told.
SKIP_REASONS: dict[str, str] = {
    "paused": "the subscription is paused: the supplier asked for rest",
    "no_address": "no email address is known",
    "no_consent": "the supplier has not consented to such messages",
    "suppressed": "the address unsubscribed or bounced",
    "cooldown": "the same was done, or in the holdout, within the trigger's cooldown",
    "already_open": "a task of the same kind is still open",
    "budget": "the week's messages are used up by more important ones",
}

HISTORY_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "trigger": pl.String(),
    "last_acted_at": TIME,
    "messages_7d": pl.Int64(),
    "scored_today": pl.Boolean(),
    "last_reason": pl.String(),
}

# Channels that reach the supplier; a task reaches our own people and uses none of the supplier's
# attention.
SUPPLIER_CHANNELS = ("email", "tip", "call")

# Those that come to the supplier unasked need consent. A tip is inside the platform that the
# supplier has opened: what it may use up is attention, which the budget guards, and "never" is one
# of its answers.
CONSENT_CHANNELS = ("email", "call")
