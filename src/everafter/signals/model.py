"""The registry of signals: every column that a rule, a condition or a page may name.

A signal is a named column of the scored frame, which has one row per supplier. Signals are declared
here and nowhere else; the documentation page (docs/signals.md), the playbook's checker and the
type of a scored row (row_model.py) follow from this list or are tested against it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

Group = Literal[
    "profile",
    "activity",
    "clients",
    "forms",
    "journeys",
    "features",
    "support",
    "money",
    "onboarding",
    "season",
    "score",
    "client",
]

WEDDINGS_DAYS = 90
"""Days of `weddings_90d`, today included."""
WEDDINGS_YEAR_DAYS = 365
"""Days of `weddings_365d`, today included."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One named column.

    Attributes:
        dtype: its Polars type.
        unit: what a value of 1 means.
        null: when it is null.
        source: what it is computed from: traits, event types, or other parts of the scoring.
    """

    name: str
    group: Group
    dtype: pl.DataType
    unit: str
    meaning: str
    null: str
    source: str


_FLOAT = pl.Float64()
_INT = pl.Int64()
_BOOL = pl.Boolean()
_TEXT = pl.String()
_NEVER = "never null"

SIGNALS: tuple[Signal, ...] = (
    # ── profile ──
    Signal(
        "vendor_type", "profile", _TEXT, "name",
        "the supplier's vendor type, which selects its segment",
        "not sent; the default segment applies", "suppliers",
    ),
    Signal(
        "plan", "profile", _TEXT, "name",
        "the plan the supplier is on",
        "not sent", "suppliers, subscription_changed",
    ),
    Signal(
        "country", "profile", _TEXT, "ISO 3166-1",
        "where the supplier works",
        "not sent; no season is assumed", "suppliers",
    ),
    Signal(
        "mrr_minor", "profile", _INT, "minor units a month",
        "what the supplier pays each month",
        "not sent", "suppliers",
    ),
    Signal(
        "tenure_days", "profile", _FLOAT, "days",
        "age of the account",
        "not sent, and no account_created event", "suppliers, account_created",
    ),
    Signal(
        "subscription", "profile", _TEXT, "active, paused or cancelled",
        "state of the subscription",
        "no subscription event; treated as active", "subscription_*",
    ),
    # ── activity ──
    Signal(
        "days_since_login", "activity", _FLOAT, "days",
        "time since the last login, or since the account began when there was none",
        "no login, and the start of the account is unknown; or the platform never sent logins, or"
        " the account began after they stopped arriving", "login",
    ),
    Signal(
        "days_inactive", "activity", _FLOAT, "days",
        "days since the last login, each counted by its season index; a day on which no logins"
        " arrived does not count",
        "as days_since_login", "login, season",
    ),
    Signal(
        "login_days_28d", "activity", _INT, "days of 28",
        "days with a login in the last 28",
        _NEVER, "login",
    ),
    Signal(
        "login_days_84d", "activity", _INT, "days of 84",
        "days with a login in the last 84",
        _NEVER, "login",
    ),
    Signal(
        "inactivity_probability", "activity", _FLOAT, "0–1",
        "probability of being inactive for so long, given the supplier's own rhythm and how active"
        " its peers are; small means unusual",
        "fewer than 4 login days in the 16 weeks before the last login", "login, season",
    ),
    Signal(
        "unusual_inactivity", "activity", _BOOL, "yes or no",
        "inactive for 3 full days or more, and the probability of that is small",
        _NEVER, "login, season",
    ),
    Signal(
        "evidence_logins", "activity", _FLOAT, "nats",
        "decline evidence in the logins: above 0, the last weeks look like a decline; below 0, like"
        " any others",
        "the platform has never sent logins", "login, season",
    ),
    # ── clients ──
    Signal(
        "clients_total", "clients", _INT, "clients",
        "current clients: neither archived nor lost",
        _NEVER, "client_*",
    ),
    Signal(
        "clients_active_30d", "clients", _INT, "clients",
        "of these, active in the last 30 days",
        _NEVER, "client_active, form_completed",
    ),
    Signal(
        "client_activity", "clients", _FLOAT, "0–1",
        "active clients ÷ clients",
        "no clients; or the platform never sent client_active or form_completed", "client_*",
    ),
    Signal(
        "clients_lost_13w", "clients", _INT, "clients",
        "clients lost in the last 13 weeks",
        _NEVER, "client_lost",
    ),
    Signal(
        "client_loss_rate", "clients", _FLOAT, "0–1",
        "clients lost in 13 weeks ÷ (clients + those lost)",
        "no clients and none lost", "client_*",
    ),
    Signal(
        "weddings_90d", "clients", _INT, "weddings",
        f"weddings of current clients in the next {WEDDINGS_DAYS} days",
        _NEVER, "client_added",
    ),
    Signal(
        "weddings_365d", "clients", _INT, "weddings",
        f"the same in the next {WEDDINGS_YEAR_DAYS} days",
        _NEVER, "client_added",
    ),
    Signal(
        "days_to_next_wedding", "clients", _INT, "days",
        "until the next wedding of a current client; 0 is today",
        "no wedding is coming", "client_added",
    ),
    # ── forms ──
    Signal(
        "forms_sent_13w", "forms", _INT, "forms",
        "forms sent to clients in the last 13 weeks",
        _NEVER, "form_sent",
    ),
    Signal(
        "forms_answered_13w", "forms", _INT, "forms",
        "of these, completed by now",
        _NEVER, "form_completed",
    ),
    Signal(
        "form_completion_rate", "forms", _FLOAT, "0–1",
        "completed ÷ sent",
        "none sent in 13 weeks; or the platform never sent form_completed", "form_*",
    ),
    Signal(
        "forms_waiting", "forms", _INT, "forms",
        "sent in the last 13 weeks but before this week, and not completed",
        _NEVER, "form_*",
    ),
    # ── journeys ──
    Signal(
        "journey_emails_13w", "journeys", _INT, "emails",
        "journey emails sent in the last 13 weeks",
        _NEVER, "journey_email_sent",
    ),
    Signal(
        "journey_open_rate", "journeys", _FLOAT, "0–1",
        "of these, opened by now ÷ sent",
        "none sent in 13 weeks; or the platform never sent journey_email_opened", "journey_email_*",
    ),
    # ── features ──
    Signal(
        "features_adopted", "features", _INT, "features",
        "key features of the segment used within the playbook's feature_window_days",
        _NEVER, "feature_used",
    ),
    Signal(
        "feature_adoption", "features", _FLOAT, "0–1",
        "features_adopted ÷ key features of the segment",
        "no event was ever received; or the platform never sent one that implies a feature",
        "feature_used",
    ),
    Signal(
        "feature_uses_4w", "features", _INT, "uses",
        "feature uses in the last 4 weeks",
        _NEVER, "feature_used",
    ),
    Signal(
        "feature_use_ratio", "features", _FLOAT, "ratio",
        "uses in the last 4 weeks ÷ what the 8 weeks before and the season predict",
        "fewer than 8 uses in those 8 weeks; but 0 for a supplier that used features before and"
        " none in the last 12 weeks", "feature_used, season",
    ),
    Signal(
        "evidence_uses", "features", _FLOAT, "nats",
        "decline evidence in feature use, as evidence_logins",
        "the platform has never sent feature_used", "feature_used, season",
    ),
    Signal(
        "expected_uses_low", "features", _FLOAT, "uses",
        "in four of five weeks, a supplier like this has at least so many feature uses in the"
        " coming seven days",
        _NEVER, "feature_used, season",
    ),
    Signal(
        "expected_uses_high", "features", _FLOAT, "uses",
        "the same, at most",
        _NEVER, "feature_used, season",
    ),
    # ── support ──
    Signal(
        "tickets_open", "support", _INT, "tickets",
        "tickets opened and not resolved",
        _NEVER, "ticket_*",
    ),
    Signal(
        "tickets_4w", "support", _INT, "tickets",
        "tickets opened in the last 4 weeks",
        _NEVER, "ticket_opened",
    ),
    # ── money ──
    Signal(
        "payment_past_due", "money", _BOOL, "yes or no",
        "the last payment failed and has not recovered",
        _NEVER, "payment_*",
    ),
    Signal(
        "days_past_due", "money", _FLOAT, "days",
        "time since that failure",
        "not past due", "payment_*",
    ),
    Signal(
        "payments_failed_13w", "money", _INT, "payments",
        "payments that failed in the last 13 weeks",
        _NEVER, "payment_failed",
    ),
    Signal(
        "limit_ratio", "money", _FLOAT, "ratio",
        "how full the fullest of the plan's limits is: clients ÷ client limit, or usage reported",
        "no limit is known", "suppliers, usage_reported",
    ),
    # ── onboarding ──
    Signal(
        "onboarding_steps_done", "onboarding", _INT, "steps",
        "steps of the onboarding path that are done",
        _NEVER, "onboarding events",
    ),
    Signal(
        "onboarding_steps_due", "onboarding", _INT, "steps",
        "steps whose day has come",
        "the start of the account is unknown", "playbook",
    ),
    Signal(
        "onboarding_days_behind", "onboarding", _FLOAT, "days",
        "time since the day of the oldest due step that is not done",
        "no step is due, or the start of the account is unknown", "playbook",
    ),
    Signal(
        "fully_activated", "onboarding", _BOOL, "yes or no",
        "all steps are done",
        _NEVER, "onboarding events",
    ),
    Signal(
        "onboarding_state", "onboarding", _TEXT, "on_track, behind, stuck or done",
        "how late the oldest due step is, by onboarding_days_behind × season_index; done: fully"
        " activated",
        "the start of the account is unknown, or onboarding is over", "playbook, season",
    ),
    Signal(
        "onboarding_missed", "onboarding", _TEXT, "name",
        "the oldest due step that is not done",
        "there is none, or the start of the account is unknown", "playbook",
    ),
    # ── season ──
    Signal(
        "season_index", "season", _FLOAT, "(0, 1]",
        "how active suppliers of the vendor type and hemisphere are this week ÷ a busy week of"
        " theirs; 1 when nothing is known of the season",
        _NEVER, "login, season",
    ),
    Signal(
        "client_season", "season", _FLOAT, "(0, 1]",
        "the mean season_index of the last 30 days, which client_activity is compared with",
        _NEVER, "login, season",
    ),
    Signal(
        "off_season", "season", _BOOL, "yes or no",
        "season_index is below the playbook's off_season_below",
        _NEVER, "season",
    ),
    # ── score ──
    Signal(
        "health_score", "score", _FLOAT, "0–100",
        "the health score, not floored",
        "nothing is known", "health",
    ),
    Signal(
        "risk_level", "score", _TEXT, "healthy, at_risk or critical",
        "the band of the health score",
        "nothing is known", "health",
    ),
    Signal(
        "stage", "score", _TEXT, "new, growing, mature or dormant",
        "the stage of the account: its first 14 days, its first 90, later; dormant after 90 days"
        " without a login, of which 28 season-adjusted",
        _NEVER, "suppliers, account_created, login",
    ),
    Signal(
        "coverage", "score", _FLOAT, "0–1",
        "data coverage: share of the score's weights that was known",
        _NEVER, "health",
    ),
    Signal(
        "churn_risk", "score", _FLOAT, "0–1",
        "the churn risk index",
        _NEVER, "churn",
    ),
    Signal(
        "churn_evidence", "score", _FLOAT, "nats",
        "the evidence behind churn_risk: declines of logins and feature use, billing, tickets and"
        " lost clients, weighted",
        _NEVER, "churn",
    ),
    Signal(
        "churn_level", "score", _TEXT, "low, medium or high",
        "the band of churn_risk",
        _NEVER, "churn",
    ),
    Signal(
        "churn_probability_45d", "score", _FLOAT, "0–1",
        "probability of cancelling within 45 days, learned from suppliers that churned",
        "no model is better than the base rate yet", "churn, cancellations",
    ),
    Signal(
        "churn_probability_90d", "score", _FLOAT, "0–1",
        "the same within 90 days",
        "as churn_probability_45d", "churn, cancellations",
    ),
)  # fmt: skip

SIGNAL_SCHEMA: dict[str, pl.DataType] = {signal.name: signal.dtype for signal in SIGNALS}

CLIENT_SIGNALS: tuple[Signal, ...] = (
    Signal(
        "client_name", "client", _TEXT, "name",
        "name of the client, at most 60 characters",
        "not sent; reads “a couple”", "client_added",
    ),
    Signal(
        "days_to_wedding", "client", _INT, "days",
        "until the client's wedding; 0 is today",
        "no date is known", "client_added",
    ),
    Signal(
        "forms_sent", "client", _INT, "forms",
        "forms ever sent to the client",
        _NEVER, "form_sent",
    ),
    Signal(
        "forms_unanswered", "client", _INT, "forms",
        "forms sent in the last 180 days and not completed",
        _NEVER, "form_*",
    ),
    Signal(
        "form_waiting_days", "client", _INT, "days",
        "how long the oldest of these has waited",
        "none is waiting", "form_*",
    ),
    Signal(
        "emails_unopened", "client", _INT, "emails",
        "journey emails sent in the last 180 days and not opened",
        _NEVER, "journey_email_*",
    ),
    Signal(
        "days_since_active", "client", _INT, "days",
        "since the client last used the portal or completed a form",
        "never active", "client_active, form_completed",
    ),
    Signal(
        "portal_inactive_days", "client", _INT, "days",
        "the same, or since the client was added when it was never active",
        "neither is known", "client_active, client_added",
    ),
)  # fmt: skip
"""What conditions and sentences of `[client_recommendations.*]` may name: they are about one client
at a time, not about the supplier."""

CLIENT_SCHEMA: dict[str, pl.DataType] = {signal.name: signal.dtype for signal in CLIENT_SIGNALS}

_PAGE = """\
# Signals

Every column that a condition in the playbook may name. Generated from `everafter/signals/model.py`
by `make docs`. Windows of days and weeks are whole UTC days and weeks (from Monday) and include the
current one.
"""

_CLIENT_PAGE = """\

## One client

For `[client_recommendations.*]`, whose conditions and sentences are about one client at a time.
Days are whole ones, rounded down. Archived and lost clients, and those whose wedding is over, are
not evaluated.

"""


def signals_page() -> str:
    """The registry as a Markdown page, for `everafter signals --markdown`; a test holds
    docs/signals.md equal to it."""
    page = _PAGE
    for group in dict.fromkeys(signal.group for signal in SIGNALS):
        table = _table(signal for signal in SIGNALS if signal.group == group)
        page += f"\n## {group.capitalize()}\n\n{table}"
    return page + _CLIENT_PAGE + _table(CLIENT_SIGNALS)


def _table(signals: Iterable[Signal]) -> str:
    lines = [
        "| signal | type | unit | meaning | null | source |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{s.name}` | {type(s.dtype).__name__} | {s.unit} | {s.meaning} | {s.null}"
            f" | {s.source} |"
            for s in signals
        ),
    ]
    return "\n".join(lines) + "\n"
