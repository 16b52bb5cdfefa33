"""The playbook: all policy, typed. `everafter/playbook/weddings.toml` is the one that ships."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from everafter.branding.model import Platform

Share = Annotated[float, Meta(ge=0, le=1)]
# Every number has a maximum: ten years of days or a year of hours can be added to any date.
Days = Annotated[float, Meta(gt=0, le=3650)]
Hours = Annotated[float, Meta(gt=0, le=8760)]
Count = Annotated[float, Meta(gt=0, le=1_000_000)]
Points = Annotated[float, Meta(ge=0, le=1000)]
Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]
ClockTime = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EndTime = Annotated[str, Meta(pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]

MAX_MASK_BITS = 60
"""Onboarding actions, steps and milestones that a playbook can name, of each: a run carries them as
the bits of one number."""

TIP_PREFIX = "tip_"
"""A tip's trigger in the intervention log is this and its name in the playbook."""

CELEBRATION_PREFIX = "celebrate_"
"""The same for the email that celebrates a milestone."""

FULLY_ACTIVATED = "fully_activated"
"""The milestone at the end of the onboarding path, and the action that is done when all others
are."""

ONBOARDING_ACTIONS = (
    "account_created",
    "vendor_type_selected",
    "completed_wizard",
    "first_login",
    "import_clients_started",
    "first_form_created",
    "invite_sent_to_client",
    "customer_journey_started",
    "first_automation",
    "multiple_clients_active",
    FULLY_ACTIVATED,
)
"""Actions that a step of the onboarding path can name without declaring them."""

CALL_TYPES = ("onboarding_call", "check_in", "technical_support", "success_call")
"""Calls that the coach can offer; support.model says how long each takes."""

Dimension = Literal[
    "login", "feature_adoption", "client_activity", "form_completion", "journey_performance"
]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

ChurnSignal = Literal["login", "support_tickets", "feature_usage", "client_churn", "billing"]
CHURN_SIGNALS: tuple[ChurnSignal, ...] = get_args(ChurnSignal)


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    """Points of each health dimension; they are scaled to sum to 100. The defaults are the
    spec's."""

    login: Points = 30
    feature_adoption: Points = 25
    client_activity: Points = 25
    form_completion: Points = 10
    journey_performance: Points = 10


class Segment(Struct, frozen=True, forbid_unknown_fields=True):
    """How one vendor type is scored.

    login_days: season-adjusted days without a login below which the login dimension has all its
    points, two thirds, one third.
    """

    title: str
    key_features: list[Name]
    weights: Weights = Weights()
    login_days: tuple[Days, Days, Days] = (3, 7, 14)


class Health(Struct, frozen=True, forbid_unknown_fields=True):
    """Bands of the health score, and the days within which a key feature must have been used to
    count as adopted."""

    critical_below: Annotated[float, Meta(ge=0, le=100)] = 40
    at_risk_below: Annotated[float, Meta(ge=0, le=100)] = 70
    feature_window_days: Annotated[int, Meta(ge=1, le=1000)] = 90


class Season(Struct, frozen=True, forbid_unknown_fields=True):
    """How the season adjusts scores.

    Attributes:
        enabled: false: season_index is always 1.
        floor: the smallest season_index.
    """

    enabled: bool = True
    floor: Annotated[float, Meta(gt=0, le=1)] = 0.25
    off_season_below: Share = 0.6


class Churn(Struct, frozen=True, forbid_unknown_fields=True):
    """The churn risk index: the weights of the spec's five signals (scaled to sum to 1), the bands,
    and the value at which a signal has its full weight. Logins and feature use are weighed as
    decline evidence, by their share of the two weights."""

    medium_above: Share = 0.4
    high_above: Share = 0.7
    login: Share = 0.375
    support_tickets: Share = 0.05
    feature_usage: Share = 0.375
    client_churn: Share = 0.05
    billing: Share = 0.15
    tickets_full: Count = 4
    client_churn_full: Annotated[float, Meta(gt=0, le=1)] = 0.25
    past_due_full_days: Days = 14


class Messaging(Struct, frozen=True, forbid_unknown_fields=True):
    """The frequency cap over all channels, and the quiet hours in the supplier's time zone."""

    messages_per_week: Annotated[int, Meta(ge=0, le=1000)] = 2
    quiet_from: ClockTime = "20:00"
    quiet_until: ClockTime = "08:00"


class Holdout(Struct, frozen=True, forbid_unknown_fields=True):
    """The suppliers that are not treated, so that effects can be measured.

    Attributes:
        global_share: of suppliers, who get nothing that has a holdout.
        recommendation_share: of suppliers, who do not get a recommendation that serves a dimension
            of the score; others for each recommendation.
        salt: change it to draw again.
    """

    global_share: Share = 0.05
    recommendation_share: Share = 0.1
    salt: str = "everafter"


class Trigger(Struct, frozen=True, forbid_unknown_fields=True):
    """An action that is proposed to the eligibility check when a condition is true.

    Attributes:
        when, success: conditions over signals (SQL expressions). success: what the action should
            achieve within success_days.
        reason: a sentence for the team (core/messages.py); it may name signals.
        template: of the email, for channel email.
        priority: higher ones go first under the frequency cap.
        essential: for billing and urgent tasks; without holdout and not capped.
        expires_hours: the email is not sent later than this.
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
    expires_hours: Annotated[int, Meta(ge=1, le=8760)] = 72
    enabled: bool = True


class OnboardingStep(Struct, frozen=True, forbid_unknown_fields=True):
    """Actions that are expected by a day of the account's life.

    Attributes:
        if_missed: the action of the trigger that helps when they are missing.
        vendor_types: whose path has the step; empty: everyone's. "default" means vendor types
            without their own segment.
        when: a condition over signals; where it is false, the path does not have the step.
        success_metric: the one of `actions` that shows whether the step works.
        milestone, celebration: what completing it reaches, and the action that celebrates it.
        translations: of the title, by language.
    """

    day: Annotated[int, Meta(ge=0, le=3650)]
    actions: list[Name]
    title: str
    if_missed: Name | None = None
    vendor_types: list[Name] = field(default_factory=list)
    when: str | None = None
    success_metric: Name | None = None
    milestone: Name | None = None
    celebration: Name | None = None
    translations: dict[str, dict[str, str]] = field(default_factory=dict)


class OnboardingAction(Struct, frozen=True, forbid_unknown_fields=True):
    """An action as the supplier's checklist shows it.

    Without done_when and feature, it is one of ONBOARDING_ACTIONS, or the platform reports it by
    the API.

    Attributes:
        url: where on the platform it is done (a path).
        done_when: a condition over signals; the action is done when it is true.
        feature: the action is done when this feature was used.
        translations: by language, of title and hint.
    """

    title: str
    hint: str = ""
    url: str | None = None
    done_when: str | None = None
    feature: Name | None = None
    translations: dict[str, dict[str, str]] = field(default_factory=dict)


class OnboardingTiming(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a step may take, in days after its day.

    Attributes:
        min_season_index: days are multiplied by season_index, but by no less than this.
        lasts_days: the age of the account at which onboarding is over.
    """

    behind_after_days: Annotated[float, Meta(ge=0, le=3650)] = 1
    stuck_after_days: Days = 7
    min_season_index: Annotated[float, Meta(gt=0, le=1)] = 0.5
    lasts_days: Annotated[int, Meta(ge=1, le=3650)] = 90


class Milestone(Struct, frozen=True, forbid_unknown_fields=True):
    """An achievement to celebrate.

    Attributes:
        when: a condition over signals; null: recorded by the API or by its own event.
        celebrate: where.
        template: of the email, when it is celebrated by email.
        certificate: whether the supplier gets a certificate.
        fresh_days: a milestone reached longer ago is recorded and not celebrated.
    """

    title: str
    celebration: str
    when: str | None = None
    celebrate: list[Literal["coach", "email"]] = field(default_factory=lambda: ["coach"])
    template: str | None = None
    certificate: bool = False
    fresh_days: Annotated[int, Meta(ge=1, le=3650)] = 14
    translations: dict[str, dict[str, str]] = field(default_factory=dict)


class Recommendation(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that would help a supplier.

    Title, body, reason and action_label may name signals (core/messages.py): the supplier's, or in
    [client_recommendations.*] the client's.

    Attributes:
        closes: the dimension of the score that it improves.
        excluded_templates: emails that recommend the same already.
        translations: by language, of the four texts.
    """

    when: str
    title: str
    body: str
    reason: str
    action_label: str
    action_url: str
    closes: Dimension | None = None
    excluded_templates: list[Name] = field(default_factory=list)
    translations: dict[str, dict[str, str]] = field(default_factory=dict)


class Tip(Struct, frozen=True, forbid_unknown_fields=True):
    """A tip of the coach; it passes the same eligibility check as triggers. Its texts may name
    signals (core/messages.py).

    Attributes:
        when, success: conditions over signals.
        pages: paths of the platform where it is shown, with `*` for anything; empty: everywhere.
        vendor_types: empty: all.
        season: show it only in season, or off season.
        translations: by language, of title, body, reason and action_label.
    """

    when: str
    title: str
    body: str
    reason: str
    action_label: str
    action_url: str
    success: str
    pages: list[str] = field(default_factory=list)
    vendor_types: list[Name] = field(default_factory=list)
    season: Literal["any", "in", "off"] = "any"
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    cooldown_days: Annotated[int, Meta(ge=1, le=400)] = 60
    success_days: Annotated[int, Meta(ge=1, le=365)] = 14
    holdout: Share = 0.1
    enabled: bool = True
    translations: dict[str, dict[str, str]] = field(default_factory=dict)


class Coach(Struct, frozen=True, forbid_unknown_fields=True):
    """The coach inside the platform.

    Attributes:
        hours_between_tips: the minimum, besides the frequency cap.
        call_when: a condition over signals; where it is true, a call of call_type is offered.
        recommendations: how many the panel lists.
        language: the one that the playbook's texts are written in.
    """

    enabled: bool = True
    hours_between_tips: Annotated[float, Meta(ge=0, le=8760)] = 20
    call_when: str = "risk_level IN ('at_risk', 'critical') OR churn_level = 'high'"
    call_type: Name = "success_call"
    recommendations: Annotated[int, Meta(ge=0, le=10)] = 3
    language: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "en"


class Clocks(Struct, frozen=True, forbid_unknown_fields=True):
    """Open hours within which tickets of one priority get a first reply, and are resolved."""

    reply_hours: Hours
    resolve_hours: Hours


class Support(Struct, frozen=True, forbid_unknown_fields=True):
    """When support is open, and what it promises. Ticket clocks run only in open hours.

    Attributes:
        work_days: ISO weekdays.
        holidays: ISO 3166 ("GB", "GB-ENG"); null: none.
        closed_on: other days (2026-12-24).
        clocks: by priority; "normal" applies to priorities without their own.
        due_soon_share: a clock is due soon when this share of its hours is left.
        remind_hours: before a call.
    """

    timezone: str = "UTC"
    open_from: ClockTime = "09:00"
    open_until: EndTime = "17:00"
    work_days: list[Annotated[int, Meta(ge=1, le=7)]] = field(
        default_factory=lambda: [1, 2, 3, 4, 5]
    )
    holidays: str | None = None
    closed_on: list[Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]] = field(
        default_factory=list
    )
    clocks: dict[Name, Clocks] = field(default_factory=lambda: {"normal": Clocks(8, 24)})
    due_soon_share: Share = 0.25
    remind_hours: list[Annotated[float, Meta(gt=0, le=720)]] = field(
        default_factory=lambda: [24, 1]
    )


class Mistake(Struct, frozen=True):
    """An error in a playbook's text, or a warning: something that is valid and surely not meant.

    Attributes:
        line, column: from 1, in characters.
        path: such as `triggers.no_login_7_days.when`.
        width: the number of characters concerned.
        file: the email template or phrases file that it is in; empty: the playbook.
    """

    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    width: int = 1
    level: Literal["error", "warning"] = "error"
    file: str = ""


class Playbook(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole playbook. The segment "default" applies to vendor types without their own."""

    name: str
    segments: dict[Name, Segment]
    triggers: dict[Name, Trigger]
    health: Health = Health()
    season: Season = Season()
    churn: Churn = Churn()
    messaging: Messaging = Messaging()
    holdout: Holdout = Holdout()
    onboarding: dict[Name, OnboardingStep] = field(default_factory=dict)
    onboarding_actions: dict[Name, OnboardingAction] = field(default_factory=dict)
    onboarding_timing: OnboardingTiming = OnboardingTiming()
    milestones: dict[Name, Milestone] = field(default_factory=dict)
    recommendations: dict[Name, Recommendation] = field(default_factory=dict)
    client_recommendations: dict[Name, Recommendation] = field(default_factory=dict)
    coach: Coach = Coach()
    tips: dict[Name, Tip] = field(default_factory=dict)
    support: Support = Support()
    event_names: dict[str, Name] = field(default_factory=dict)
    platform: Platform = Platform()

    @property
    def features(self) -> frozenset[str]:
        """Every feature that the playbook names."""
        keys = {feature for segment in self.segments.values() for feature in segment.key_features}
        asked = {action.feature for action in self.onboarding_actions.values() if action.feature}
        return frozenset(keys | asked)
