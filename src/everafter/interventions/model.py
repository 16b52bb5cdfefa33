"""Interventions: what can become of a trigger for a supplier, and why it was skipped."""

from typing import Any, Literal

import polars as pl

from everafter.activity.model import TIME

Status = Literal["triggered", "skipped", "holdout"]

FREQUENCY_CAP = "frequency_cap"

FEED_STOPPED = "feed_stopped"

SKIP_REASONS: dict[str, str] = {
    FEED_STOPPED: "events that the trigger depends on have stopped arriving",
    "paused": "the subscription is paused",
    "no_address": "no email address is known",
    "no_consent": "the supplier has not consented to such messages",
    "suppressed": "the address unsubscribed or bounced",
    "cooldown": "the trigger acted on this supplier too recently",
    "already_open": "a task of the same kind is still open",
    FREQUENCY_CAP: "this week's messages went to more urgent triggers",
}
"""Why the eligibility check skips a trigger, in the order of its checks, with the text for people.
"""

HISTORY_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "trigger": pl.String(),
    "last_acted_at": TIME,  # triggered or in the holdout
    "messages_7d": pl.Int64(),
    "scored_today": pl.Boolean(),
    "last_reason": pl.String(),  # of the latest row when that was skipped, else ''
}
"""What the intervention log holds on each supplier and trigger."""

SUPPLIER_CHANNELS = ("email", "tip", "call")
"""Channels that reach the supplier and count towards the frequency cap; a task reaches our own
people."""

CONSENT_CHANNELS = ("email", "call")
"""Channels that need the supplier's consent. A tip does not: it is shown inside the platform, which
the supplier has opened, and can be dismissed."""
