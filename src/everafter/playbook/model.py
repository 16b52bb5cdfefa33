"""What a playbook may say: all policy, typed. `everafter/playbook/weddings.toml` is the one that ships."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
ClockTime = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Dimension = Literal["login", "feature_adoption", "client_activity", "form_completion", "journey_performance"]
DIMENSIONS: tuple[Dimension, ...] = (
    "login",
    "feature_adoption",
    "client_activity",
    "form_completion",
    "journey_performance",
)


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """Points of each health dimension; they are scaled to sum to 100. The defaults are the spec's."""

    login: Annotated[float, Meta(ge=0)] = 30
    feature_adoption: Annotated[float, Meta(ge=0)] = 25
    client_activity: Annotated[float, Meta(ge=0)] = 25
    form_completion: Annotated[float, Meta(ge=0)] = 10
    journey_performance: Annotated[float, Meta(ge=0)] = 10


class Segment(Struct, frozen=True, forbid_unknown_fields=True):
    """How one vendor type is judged.

    login_days: silence (season-adjusted days) under which the login dimension earns all, two thirds, a third.
    """

    title: str
    key_features: list[Name]
    weights: Weights = Weights()
    login_days: tuple[Positive, Positive, Positive] = (3, 7, 14)


class Health(Struct, frozen=True, forbid_unknown_fields=True):
    """Bands of the score, and how recently a key feature must have been used to count as adopted."""

    critical_below: Annotated[float, Meta(ge=0, le=100)] = 40
    at_risk_below: Annotated[float, Meta(ge=0, le=100)] = 70
    feature_window_days: Annotated[int, Meta(ge=1, le=1000)] = 90


class Season(Struct, frozen=True, forbid_unknown_fields=True):
    """floor: the least pace a quiet month can have; own_weddings_weight: how many coming weddings weigh as much as the prior."""

    enabled: bool = True
    floor: Annotated[float, Meta(gt=0, le=1)] = 0.25
    off_season_below: Share = 0.6
    own_weddings_weight: Positive = 24


class Churn(Struct, frozen=True, forbid_unknown_fields=True):
    """The spec's five signals: the weight of each (they are scaled to sum to 1), the bands, and where each signal is full."""

    medium_above: Share = 0.4
    high_above: Share = 0.7
    login: Share = 0.4
    support_tickets: Share = 0.05
    feature_usage: Share = 0.35
    client_churn: Share = 0.05
    billing: Share = 0.15
    login_full_days: Positive = 21
    tickets_full: Positive = 4
    feature_drop_full: Annotated[float, Meta(gt=0, le=1)] = 0.7
    client_churn_full: Annotated[float, Meta(gt=0, le=1)] = 0.25
    past_due_full_days: Positive = 14


class Attention(Struct, frozen=True, forbid_unknown_fields=True):
    """What one supplier may get from us, over all channels, and when."""

    messages_per_week: Annotated[int, Meta(ge=0)] = 2
    quiet_from: ClockTime = "20:00"
    quiet_until: ClockTime = "08:00"


class Holdout(Struct, frozen=True, forbid_unknown_fields=True):
    """global_share: suppliers who get nothing that may be held out; salt: change it to draw anew."""

    global_share: Share = 0.05
    salt: str = "everafter"


class Trigger(Struct, frozen=True, forbid_unknown_fields=True):
    """When a condition over signals is true, one action is proposed to the gate.

    when, success: SQL expressions over signals. reason: said to people; `{signal}` is replaced by the supplier's number.
    priority: the higher goes first under the attention budget. essential: billing, critical or transactional, never held out
    and never over the budget. template: of the message, for channel email. expires_hours: not sent later than this.
    """

    when: str
    action: Name
    channel: Literal["email", "task", "tip", "call"]
    reason: str
    success: str
    template: str | None = None
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    cooldown_days: Annotated[int, Meta(ge=1, le=400)] = 30
    success_days: Annotated[int, Meta(ge=1, le=365)] = 14
    holdout: Share = 0.1
    essential: bool = False
    expires_hours: Annotated[int, Meta(ge=1)] = 72
    enabled: bool = True


class OnboardingStep(Struct, frozen=True, forbid_unknown_fields=True):
    """Actions expected by a day of the account's life; `if_missed` names the action taken when they are not there."""

    day: Annotated[int, Meta(ge=0)]
    actions: list[Name]
    title: str
    if_missed: Name | None = None


class Milestone(Struct, frozen=True, forbid_unknown_fields=True):
    """An achievement worth celebrating. when: an SQL expression over signals; null: recorded by the API or by its own event."""

    title: str
    celebration: str
    when: str | None = None


class Recommendation(Struct, frozen=True, forbid_unknown_fields=True):
    """One next step. `{signal}` in title, body and reason is replaced by the supplier's number; closes: the dimension it helps."""

    when: str
    title: str
    body: str
    reason: str
    action_label: str
    action_url: str
    closes: Dimension | None = None


class Mistake(Struct, frozen=True):
    """Something in a playbook's text that cannot be followed (error), or that is surely not meant (warning).

    line, column: from 1, in characters; width: how many characters are concerned. path: `triggers.no_login_7_days.when`.
    """

    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    width: int = 1
    level: Literal["error", "warning"] = "error"


class Playbook(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole policy. `segments` must hold "default", used for every vendor type that has none of its own."""

    name: str
    segments: dict[Name, Segment]
    triggers: dict[Name, Trigger]
    health: Health = Health()
    season: Season = Season()
    churn: Churn = Churn()
    attention: Attention = Attention()
    holdout: Holdout = Holdout()
    onboarding: dict[Name, OnboardingStep] = field(default_factory=dict)
    milestones: dict[Name, Milestone] = field(default_factory=dict)
    recommendations: dict[Name, Recommendation] = field(default_factory=dict)
    event_names: dict[str, Name] = field(default_factory=dict)
