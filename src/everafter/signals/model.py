"""The registry of signals: every column a rule, a condition or a page may name.

A signal is a named column of the scored frame, one row per supplier. This list is the only place
where one is declared; the documentation page (docs/signals.md), the playbook's checker and the
frames' tests read it."""

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
    "score_details",
    "client",
]


@dataclass(frozen=True, slots=True)
class Signal:
    """One named column.

    dtype: a Polars type; unit: what one means; null: what an absent value says; source: where it
    comes from."""

    name: str
    group: Group
    dtype: pl.DataType
    unit: str
    meaning: str
    null: str
    source: str


_F = pl.Float64()
_I = pl.Int64()
_B = pl.Boolean()
_S = pl.String()
_NEVER = "never null"

SIGNALS: tuple[Signal, ...] = (
    Signal(
        "vendor_type",
        "profile",
        _S,
        "name",
        "the supplier's vendor type, which chooses its segment",
        "not told: the default segment",
        "suppliers",
    ),
    Signal(
        "plan",
        "profile",
        _S,
        "name",
        "the plan paid for",
        "not told",
        "suppliers, subscription_changed",
    ),
    Signal(
        "country",
        "profile",
        _S,
        "ISO 3166-1",
        "where the supplier works",
        "not told: no season is assumed",
        "suppliers",
    ),
    Signal(
        "mrr_minor",
        "profile",
        _I,
        "minor units a month",
        "what the supplier pays each month",
        "not told",
        "suppliers",
    ),
    Signal(
        "tenure_days",
        "profile",
        _F,
        "days",
        "age of the account",
        "not told and no account_created seen",
        "suppliers, account_created",
    ),
    Signal(
        "subscription",
        "profile",
        _S,
        "active, paused or cancelled",
        "state of the subscription",
        "never told: taken as active",
        "subscription_*",
    ),
    Signal(
        "days_since_login",
        "activity",
        _F,
        "days",
        "time since the last login, or since the account began when there was none",
        "no login and no known beginning",
        "login",
    ),
    Signal(
        "days_inactive",
        "activity",
        _F,
        "days",
        "days since login × season index: silence as the season lets it count",
        "as days_since_login",
        "login, season",
    ),
    Signal(
        "login_days_28d",
        "activity",
        _I,
        "days of 28",
        "days with a login in the last 28",
        _NEVER,
        "login",
    ),
    Signal(
        "login_days_84d",
        "activity",
        _I,
        "days of 84",
        "days with a login in the last 84",
        _NEVER,
        "login",
    ),
    Signal(
        "inactivity_probability",
        "activity",
        _F,
        "0–1",
        "chance of so long a silence given the own rhythm and the season: small means unlike them",
        "fewer than 4 login days in the 12 weeks before the last login",
        "login, season",
    ),
    Signal(
        "clients_total",
        "clients",
        _I,
        "clients",
        "clients on the books: not archived, not lost",
        _NEVER,
        "client_*",
    ),
    Signal(
        "clients_active_30d",
        "clients",
        _I,
        "clients",
        "of these, active in the last 30 days",
        _NEVER,
        "client_active, form_completed",
    ),
    Signal(
        "client_activity",
        "clients",
        _F,
        "0–1",
        "active clients ÷ clients",
        "no clients",
        "client_*",
    ),
    Signal(
        "clients_lost_13w",
        "clients",
        _I,
        "clients",
        "clients lost in the last 13 weeks",
        _NEVER,
        "client_lost",
    ),
    Signal(
        "client_loss_rate",
        "clients",
        _F,
        "0–1",
        "lost in 13 weeks ÷ (clients + lost)",
        "no clients and none lost",
        "client_*",
    ),
    Signal(
        "weddings_90d",
        "clients",
        _I,
        "weddings",
        "weddings of own clients in the next 90 days",
        _NEVER,
        "client_added",
    ),
    Signal(
        "weddings_365d",
        "clients",
        _I,
        "weddings",
        "the same in the next 365 days",
        _NEVER,
        "client_added",
    ),
    Signal(
        "days_to_next_wedding",
        "clients",
        _I,
        "days",
        "until the next wedding of an own client",
        "none is coming",
        "client_added",
    ),
    Signal(
        "forms_sent_13w",
        "forms",
        _I,
        "forms",
        "forms sent to clients in the last 13 weeks",
        _NEVER,
        "form_sent",
    ),
    Signal(
        "forms_answered_13w",
        "forms",
        _I,
        "forms",
        "of these, completed by now",
        _NEVER,
        "form_completed",
    ),
    Signal(
        "form_completion_rate",
        "forms",
        _F,
        "0–1",
        "completed ÷ sent",
        "none sent in 13 weeks",
        "form_*",
    ),
    Signal(
        "forms_waiting",
        "forms",
        _I,
        "forms",
        "sent in the last 13 weeks, more than a week ago, and not completed",
        _NEVER,
        "form_*",
    ),
    Signal(
        "journey_emails_13w",
        "journeys",
        _I,
        "e-mails",
        "journey emails sent in the last 13 weeks",
        _NEVER,
        "journey_email_sent",
    ),
    Signal(
        "journey_open_rate",
        "journeys",
        _F,
        "0–1",
        "of these, opened by now",
        "none sent in 13 weeks",
        "journey_email_*",
    ),
    Signal(
        "features_adopted",
        "features",
        _I,
        "features",
        "key features of the segment used within the playbook's window",
        _NEVER,
        "feature_used",
    ),
    Signal(
        "feature_adoption",
        "features",
        _F,
        "0–1",
        "features_adopted ÷ key features of the segment",
        "no event was ever seen",
        "feature_used",
    ),
    Signal(
        "feature_uses_4w",
        "features",
        _I,
        "uses",
        "feature uses in the last 4 weeks",
        _NEVER,
        "feature_used",
    ),
    Signal(
        "feature_use_ratio",
        "features",
        _F,
        "ratio",
        "uses of the last 4 weeks ÷ what the 8 weeks before and the season lead one to expect",
        "fewer than 8 uses in those 8 weeks; but 0 for someone who used features before and none in the last 12 weeks",
        "feature_used, season",
    ),
    Signal(
        "tickets_open",
        "support",
        _I,
        "tickets",
        "tickets opened and not resolved",
        _NEVER,
        "ticket_*",
    ),
    Signal(
        "tickets_4w",
        "support",
        _I,
        "tickets",
        "tickets opened in the last 4 weeks",
        _NEVER,
        "ticket_opened",
    ),
    Signal(
        "payment_past_due",
        "money",
        _B,
        "yes or no",
        "the last payment failed and has not recovered",
        _NEVER,
        "payment_*",
    ),
    Signal("days_past_due", "money", _F, "days", "since that failure", "not past due", "payment_*"),
    Signal(
        "payments_failed_13w",
        "money",
        _I,
        "payments",
        "failures in the last 13 weeks",
        _NEVER,
        "payment_failed",
    ),
    Signal(
        "limit_ratio",
        "money",
        _F,
        "ratio",
        "the fullest of the plan's limits: clients ÷ client limit, or usage reported",
        "no limit known",
        "suppliers, usage_reported",
    ),
    Signal(
        "onboarding_steps_done",
        "onboarding",
        _I,
        "steps",
        "steps of the onboarding path that are done",
        _NEVER,
        "onboarding events",
    ),
    Signal(
        "onboarding_steps_due",
        "onboarding",
        _I,
        "steps",
        "steps whose day has come",
        "the account's beginning was never seen",
        "playbook",
    ),
    Signal(
        "onboarding_days_behind",
        "onboarding",
        _F,
        "days",
        "how long the oldest due step has been waiting",
        "nothing is due, or the beginning was never seen",
        "playbook",
    ),
    Signal(
        "fully_activated",
        "onboarding",
        _B,
        "yes or no",
        "all steps are done",
        _NEVER,
        "onboarding events",
    ),
    Signal(
        "onboarding_state",
        "onboarding",
        _S,
        "on_track, behind, stuck or done",
        "how the oldest due step is, its waiting days × season index; done: fully activated",
        "the account's beginning was never seen, or the path's time is over",
        "playbook, season",
    ),
    Signal(
        "onboarding_missed",
        "onboarding",
        _S,
        "name",
        "the oldest due step of the path that is not done",
        "none is, or the beginning was never seen",
        "playbook",
    ),
    Signal(
        "season_index",
        "season",
        _F,
        "(0, 1]",
        "activity expected now ÷ the supplier's own peak; 1 when nothing is known of the season",
        _NEVER,
        "season",
    ),
    Signal(
        "off_season",
        "season",
        _B,
        "yes or no",
        "season index is under the playbook's off-season mark",
        _NEVER,
        "season",
    ),
    Signal(
        "health_score",
        "score_details",
        _F,
        "0–100",
        "the health score before flooring",
        "nothing at all is known",
        "health",
    ),
    Signal(
        "risk_level",
        "score_details",
        _S,
        "healthy, at_risk or critical",
        "the band of the score",
        "nothing at all is known",
        "health",
    ),
    Signal(
        "coverage",
        "score_details",
        _F,
        "0–1",
        "share of the score's weights that was known",
        _NEVER,
        "health",
    ),
    Signal("churn_risk", "score_details", _F, "0–1", "the risk index of leaving", _NEVER, "churn"),
    Signal(
        "churn_level",
        "score_details",
        _S,
        "low, medium or high",
        "the band of the index",
        _NEVER,
        "churn",
    ),
)

SIGNAL_SCHEMA: dict[str, pl.DataType] = {signal.name: signal.dtype for signal in SIGNALS}

CLIENT_SIGNALS: tuple[Signal, ...] = (
    Signal(
        "client_name",
        "client",
        _S,
        "name",
        "name of the client, at most 60 characters",
        "no name was sent: reads “a couple”",
        "client_added",
    ),
    Signal(
        "days_to_wedding",
        "client",
        _I,
        "days",
        "until its wedding; 0 is today",
        "no date is known",
        "client_added",
    ),
    Signal("forms_sent", "client", _I, "forms", "ever sent to it", _NEVER, "form_sent"),
    Signal(
        "forms_unanswered",
        "client",
        _I,
        "forms",
        "sent to it in the last 180 days, not completed",
        _NEVER,
        "form_*",
    ),
    Signal(
        "form_waiting_days",
        "client",
        _I,
        "days",
        "how long the oldest of these has waited",
        "none waits",
        "form_*",
    ),
    Signal(
        "emails_unopened",
        "client",
        _I,
        "e-mails",
        "journey emails sent to it in the last 180 days, not opened",
        _NEVER,
        "journey_email_*",
    ),
    Signal(
        "days_since_active",
        "client",
        _I,
        "days",
        "since it was last in the portal or completed a form",
        "never seen there",
        "client_active, form_completed",
    ),
    Signal(
        "portal_inactive_days",
        "client",
        _I,
        "days",
        "the same, or since it was added when it was never seen there",
        "neither is known",
        "client_active, client_added",
    ),
)
"""What a condition or sentence of `[client_recommendations.*]` may name: about one client, not
about the supplier."""

CLIENT_SCHEMA: dict[str, pl.DataType] = {signal.name: signal.dtype for signal in CLIENT_SIGNALS}


def signals_page() -> str:
    """The registry as a Markdown page; `everafter signals --markdown` prints it and a test keeps
    docs/signals.md equal."""
    lines = [
        "# Signals",
        "",
        "Every column that a playbook's condition may name. Generated from `everafter/signals/model.py` by `make docs`.",
        "Windows of days and weeks are whole UTC days and weeks (Monday first), the present one included.",
    ]
    for group in dict.fromkeys(signal.group for signal in SIGNALS):
        lines += [
            "",
            f"## {group.capitalize()}",
            "",
            *_table([s for s in SIGNALS if s.group == group]),
        ]
    lines += [
        "",
        "## One client",
        "",
        "These are for `[client_recommendations.*]`, whose conditions and sentences are about one client at a time.",
    ]
    lines += [
        "A day begun does not count; archived and lost clients and those whose wedding is over are not asked.",
        "",
    ]
    return "\n".join([*lines, *_table(CLIENT_SIGNALS)]) + "\n"


def _table(signals: Iterable[Signal]) -> list[str]:
    return [
        "| signal | type | unit | meaning | null means | source |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{s.name}` | {type(s.dtype).__name__} | {s.unit} | {s.meaning} | {s.null} | {s.source} |"
            for s in signals
        ),
    ]
