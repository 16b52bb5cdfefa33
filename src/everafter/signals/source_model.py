"""The types of events whose absence changes a signal. Pure.

They are fewer than those in a signal's `source`: a plan stays what it was while no event says
otherwise, so it does not depend on the arrival of plan changes; a count of the last four weeks
does."""

from collections.abc import Iterable

from everafter.feeds.model import DIMENSION_EVENTS, Feeds
from everafter.signals.model import SIGNAL_SCHEMA, SIGNALS

_LOGIN = DIMENSION_EVENTS["login"]
_USES = DIMENSION_EVENTS["feature_adoption"]
_CLIENTS = DIMENSION_EVENTS["client_activity"]
_FORMS = DIMENSION_EVENTS["form_completion"]
_JOURNEYS = DIMENSION_EVENTS["journey_performance"]
_ONBOARDING = (
    "account_created",
    "vendor_type_selected",
    "completed_wizard",
    "login",
    "import_clients_started",
    "form_created",
    "invite_sent_to_client",
    "customer_journey_started",
    "automation_enabled",
)

SIGNAL_EVENTS: dict[str, tuple[str, ...]] = {
    "days_since_login": _LOGIN,
    "days_inactive": _LOGIN,
    "login_days_28d": _LOGIN,
    "login_days_84d": _LOGIN,
    "inactivity_probability": _LOGIN,
    "unusual_inactivity": _LOGIN,
    "evidence_logins": _LOGIN,
    "clients_total": ("client_added",),
    "clients_active_30d": _CLIENTS,
    "client_activity": _CLIENTS,
    "clients_lost_13w": ("client_lost",),
    "client_loss_rate": ("client_lost",),
    "weddings_90d": ("client_added",),
    "weddings_365d": ("client_added",),
    "days_to_next_wedding": ("client_added",),
    "forms_sent_13w": ("form_sent",),
    "forms_answered_13w": ("form_completed",),
    "form_completion_rate": _FORMS,
    "forms_waiting": _FORMS,
    "journey_emails_13w": ("journey_email_sent",),
    "journey_open_rate": _JOURNEYS,
    "features_adopted": _USES,
    "feature_adoption": _USES,
    "feature_uses_4w": _USES,
    "feature_use_ratio": _USES,
    "evidence_uses": _USES,
    "expected_uses_low": _USES,
    "expected_uses_high": _USES,
    "tickets_open": ("ticket_resolved",),
    "tickets_4w": ("ticket_opened",),
    "payment_past_due": ("payment_recovered",),
    "days_past_due": ("payment_recovered",),
    "payments_failed_13w": ("payment_failed",),
    "limit_ratio": ("usage_reported",),
    "onboarding_steps_done": _ONBOARDING,
    "onboarding_days_behind": _ONBOARDING,
    "fully_activated": _ONBOARDING,
    "onboarding_state": _ONBOARDING,
    "onboarding_missed": _ONBOARDING,
}

_ALL_GROUPS = frozenset(signal.name for signal in SIGNALS if signal.group == "score")


def rests_on_stopped(signals: Iterable[str], feeds: Feeds) -> bool:
    """Whether one of these signals depends on a feed that is stopped. Scores depend on all feeds:
    they count as long as one of them arrives.

    Args:
        signals: names; others are passed over.
    """
    named = set(signals) & SIGNAL_SCHEMA.keys()
    if feeds.everything_since is not None and named & (SIGNAL_EVENTS.keys() | _ALL_GROUPS):
        return True
    return any(feeds.is_stopped(*SIGNAL_EVENTS.get(name, ())) for name in named)
