"""The types of the sample data, and the rates it is drawn from.

The rates match a real platform's export (160 suppliers, 16 months, 711 events per supplier). Per
supplier and week: about 3 days with a login, 4 feature uses, 3 active clients, 1.4 forms sent (half
of them are completed) and 0.5 new clients. One ticket per supplier in three months. A third of the
suppliers are on the free plan; one in eight churns within the 16 months."""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

import polars as pl

DAY_SECONDS = 86_400
EPOCH = date(1970, 1, 1).toordinal()

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "supplier_id": pl.String(),
    "message_id": pl.String(),
    "type": pl.String(),
    "occurred_at": pl.Datetime("us", "UTC"),
    "properties": pl.String(),
}
SUPPLIER_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "name": pl.String(),
    "email": pl.String(),
    "contact": pl.String(),
    "town": pl.String(),
    "vendor_type": pl.String(),
    "plan": pl.String(),
    "country": pl.String(),
    "timezone": pl.String(),
    "mrr_minor": pl.Int64(),
    "client_limit": pl.Int64(),
    "created_at": pl.Datetime("us", "UTC"),
    "plan_before": pl.String(),
    "upgraded_at": pl.Datetime("us", "UTC"),
    "archetype": pl.String(),
}


@dataclass(frozen=True, slots=True)
class World:
    """The parameters of a simulated platform. The same world can be simulated further on a later
    day.

    anchor: the day for which the stories are arranged. suppliers: their number on that day.
    months: length of the history before the anchor."""

    anchor: date
    suppliers: int = 400
    months: int = 12
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Market:
    """A simulated platform.

    suppliers: SUPPLIER_SCHEMA, a row for each account opened by the last day, with its values on
        that day. plan_before and upgraded_at are null unless the plan has changed. `archetype`
        must not be read by any rule.
    events: EVENT_SCHEMA, ordered by time. properties are JSON objects or null.
    people: the suppliers with their stories."""

    suppliers: pl.DataFrame
    events: pl.DataFrame
    people: "list[Supplier]"


class Archetype(StrEnum):
    """A supplier's situation on the anchor day."""

    THRIVING = "thriving"
    STEADY = "steady"
    SLEEPER = "seasonal sleeper"
    PAUSED = "season paused"
    RECOVERED = "back from a slump"
    NEW = "new and quick"
    STUCK = "new and stuck"
    FADER = "slow fader"
    SUDDEN = "suddenly inactive"
    BILLING = "billing trouble"
    OUTGROWING = "outgrowing the plan"
    OVERWHELMED = "overwhelmed"
    DABBLER = "dabbler"
    DORMANT = "dormant"
    CHURNED_FADED = "faded and churned"
    CHURNED_SUDDENLY = "churned suddenly"
    CHURNED_UNPAID = "churned over a payment"
    CHURNED_STUCK = "never activated"


SHARES: dict[Archetype, float] = {
    Archetype.THRIVING: 0.15,
    Archetype.STEADY: 0.235,
    Archetype.SLEEPER: 0.09,
    Archetype.PAUSED: 0.02,
    Archetype.RECOVERED: 0.045,
    Archetype.NEW: 0.05,
    Archetype.STUCK: 0.04,
    Archetype.FADER: 0.065,
    Archetype.SUDDEN: 0.035,
    Archetype.BILLING: 0.025,
    Archetype.OUTGROWING: 0.04,
    Archetype.OVERWHELMED: 0.025,
    Archetype.DABBLER: 0.025,
    Archetype.DORMANT: 0.025,
    Archetype.CHURNED_FADED: 0.085,
    Archetype.CHURNED_SUDDENLY: 0.02,
    Archetype.CHURNED_UNPAID: 0.015,
    Archetype.CHURNED_STUCK: 0.02,
}
QUEUE_OUTAGE_DAYS = range(58, 75)
"""Days before the anchor on which the ticket feed was down. Tickets opened on them never reached
the product."""
CHURNED = (
    Archetype.CHURNED_FADED,
    Archetype.CHURNED_SUDDENLY,
    Archetype.CHURNED_UNPAID,
    Archetype.CHURNED_STUCK,
)


@dataclass(frozen=True, slots=True)
class VendorType:
    """The rates of a vendor type.

    share: share of the platform's suppliers. lead_days: days from booking to the wedding
    (published Australian figures; planner and caterer are assumed). seasonal: how much of its
    activity follows the season (0–1). features: most used first."""

    share: float
    lead_days: int
    seasonal: float
    features: tuple[str, ...]


VENDOR_TYPES: dict[str, VendorType] = {
    "photographer": VendorType(
        0.27,
        280,
        0.50,
        ("client_import", "journeys", "forms", "gallery", "invoices", "reviews", "calendar"),
    ),
    "florist": VendorType(
        0.15, 231, 0.60, ("forms", "gallery", "invoices", "calendar", "client_import", "reviews")
    ),
    "planner": VendorType(
        0.13,
        330,
        0.35,
        ("client_import", "journeys", "calendar", "automations", "forms", "invoices", "gallery"),
    ),
    "dj": VendorType(
        0.12, 242, 0.55, ("forms", "calendar", "client_import", "reviews", "invoices")
    ),
    "venue": VendorType(
        0.11,
        387,
        0.30,
        ("calendar", "client_import", "journeys", "automations", "invoices", "reviews", "gallery"),
    ),
    "caterer": VendorType(
        0.09, 240, 0.55, ("forms", "invoices", "calendar", "client_import", "reviews")
    ),
    "videographer": VendorType(
        0.07, 262, 0.50, ("gallery", "client_import", "forms", "journeys", "invoices", "calendar")
    ),
    "celebrant": VendorType(0.06, 255, 0.55, ("forms", "calendar", "client_import", "reviews")),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan's monthly price, its limit of clients, and the usual number of clients (from, to)."""

    mrr_minor: int
    client_limit: int
    clients: tuple[float, float]


PLANS: dict[str, Plan] = {
    "free": Plan(0, 8, (3.2, 5.6)),
    "pro": Plan(2900, 40, (9.0, 24.0)),
    "studio": Plan(7900, 200, (28.0, 60.0)),
}


@dataclass(frozen=True, slots=True)
class Country:
    """The rates of a country.

    share: share of the platform's suppliers. towns: name and time zone. weddings: each month's
    share of a year's weddings in percent, January first.

    The monthly shares are published figures where these exist (England and Wales 2023: August
    14.3 %, January 2.6 %; United States: September to November 43 %, June to August 28 %, December
    to February 11 %; Australia: November 12.9 %, October 12.6 %, June 4.8 %; New Zealand: January
    to March 43 %, June to August 13 %). The months between these, Ireland, Canada and South Africa
    are assumed."""

    share: float
    towns: tuple[tuple[str, str], ...]
    weddings: tuple[float, ...]


COUNTRIES: dict[str, Country] = {
    "GB": Country(
        0.30,
        tuple(
            (town, "Europe/London")
            for town in (
                "Bath",
                "York",
                "Ludlow",
                "Hebden Bridge",
                "Falmouth",
                "Norwich",
                "Stirling",
                "Abergavenny",
            )
        ),
        (2.6, 3.3, 4.4, 7.2, 9.3, 11.4, 13.0, 14.3, 12.8, 10.2, 6.0, 5.5),
    ),
    "US": Country(
        0.27,
        (
            ("Asheville", "America/New_York"),
            ("Burlington", "America/New_York"),
            ("Charleston", "America/New_York"),
            ("Madison", "America/Chicago"),
            ("Austin", "America/Chicago"),
            ("Santa Fe", "America/Denver"),
            ("Portland", "America/Los_Angeles"),
            ("Sonoma", "America/Los_Angeles"),
        ),
        (3.0, 3.4, 4.4, 6.0, 7.6, 10.0, 8.6, 9.4, 16.0, 18.0, 9.0, 4.6),
    ),
    "IE": Country(
        0.10,
        tuple(
            (town, "Europe/Dublin")
            for town in ("Kinsale", "Westport", "Kilkenny", "Dingle", "Carlingford")
        ),
        (3.0, 3.8, 5.2, 6.8, 9.2, 11.3, 12.8, 13.8, 11.7, 9.0, 5.6, 7.8),
    ),
    "CA": Country(
        0.08,
        (
            ("Guelph", "America/Toronto"),
            ("Kingston", "America/Toronto"),
            ("Lunenburg", "America/Halifax"),
            ("Nelson", "America/Vancouver"),
            ("Canmore", "America/Edmonton"),
        ),
        (2.0, 2.5, 3.0, 4.0, 7.5, 13.0, 15.5, 17.5, 17.5, 10.5, 3.5, 3.5),
    ),
    "AU": Country(
        0.11,
        (
            ("Mudgee", "Australia/Sydney"),
            ("Byron Bay", "Australia/Sydney"),
            ("Daylesford", "Australia/Melbourne"),
            ("McLaren Vale", "Australia/Adelaide"),
            ("Margaret River", "Australia/Perth"),
        ),
        (7.2, 8.2, 11.2, 10.6, 6.6, 4.8, 4.8, 5.4, 9.0, 12.6, 12.9, 6.7),
    ),
    "NZ": Country(
        0.07,
        tuple(
            (town, "Pacific/Auckland")
            for town in ("Wānaka", "Martinborough", "Matakana", "Nelson Bays", "Akaroa")
        ),
        (14.6, 15.0, 13.4, 9.0, 5.4, 4.2, 3.8, 5.0, 6.0, 7.2, 7.6, 8.8),
    ),
    "ZA": Country(
        0.07,
        tuple(
            (town, "Africa/Johannesburg")
            for town in ("Franschhoek", "Stellenbosch", "Clarens", "Magaliesburg", "Howick")
        ),
        (6.5, 8.0, 11.0, 11.5, 7.0, 4.5, 4.5, 6.5, 11.0, 11.5, 9.5, 8.5),
    ),
}
NORTH = ("GB", "US", "IE", "CA")

Knots = list[tuple[int, float]]


@dataclass(slots=True)
class Story:
    """The course of one supplier's activity. Days are proleptic ordinals. Knots are interpolated
    linearly and constant outside their range.

    activity: the supplier's own activity; 1 is its usual level.
    clients: how its clients respond; 1 is their usual level.
    tickets: tickets opened per week.
    onboarded: how many of the six onboarding steps are ever done.
    slow_days: delay of the steps after the second, in days.
    angry: whether its tickets are complaints.
    cancels: the day of cancellation, null for none.
    paused: pauses of the subscription, each (from, until).
    losing: periods in which clients leave too, each (from, until, probability per client).
    unpaid: failed payments of the story, each (day, days until recovered or null for never)."""

    activity: Knots = field(default_factory=lambda: [(0, 1.0)])
    clients: Knots = field(default_factory=lambda: [(0, 1.0)])
    tickets: Knots = field(default_factory=lambda: [(0, 0.065)])
    onboarded: int = 6
    slow_days: int = 0
    angry: bool = False
    cancels: int | None = None
    paused: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    losing: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])
    unpaid: list[tuple[int, int | None]] = field(default_factory=list[tuple[int, int | None]])


@dataclass(slots=True)
class Supplier:
    """One simulated supplier. created, upgraded: days as ordinals.

    rhythm: days with a login per week in its peak season. target: usual number of clients.
    completes: share of forms that are completed. opens: share of journey emails that are opened.
    hour: usual hour of its logins, local time."""

    index: int
    id: str
    name: str
    contact: str
    email: str
    vendor_type: str
    country: str
    town: str
    timezone: str
    archetype: Archetype
    created: int
    plan: str
    plan_before: str | None
    upgraded: int | None
    rhythm: float
    target: float
    features: tuple[str, ...]
    journeys: bool
    completes: float
    opens: float
    hour: float
    story: Story
