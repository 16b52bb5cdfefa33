"""Simulate one supplier: its activity by day, its logins, and its events."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from everafter.demo.calendar import Floats, day_of, midnight, season
from everafter.demo.model import DAY_SECONDS, EPOCH, PLANS, Archetype, Knots, Supplier

_WEEKDAYS = np.array([1.08, 1.18, 1.15, 1.12, 0.95, 0.62, 0.9])
_STEPS = (
    # type, earliest and latest hours after the account was created
    ("completed_wizard", 0.15, 0.8),
    ("import_clients_started", 0.9, 22.0),
    ("form_created", 25.0, 66.0),
    ("invite_sent_to_client", 44.0, 70.0),
    ("customer_journey_started", 80.0, 162.0),
    ("automation_enabled", 170.0, 500.0),
)


@dataclass(slots=True)
class Events:
    """The events of all suppliers, as columns."""

    supplier_id: list[str] = field(default_factory=list[str])
    message_id: list[str] = field(default_factory=list[str])
    type: list[str] = field(default_factory=list[str])
    seconds: list[int] = field(default_factory=list[int])
    properties: list[str | None] = field(default_factory=list[str | None])


class Life:
    """One supplier from the first day of its history (`base`) to the last (`last_day`).

    Random numbers come from the supplier's own streams, day by day from `base`, so a later end only
    adds events. Times are Unix seconds."""

    def __init__(
        self, supplier: Supplier, seed: int, start: int, until: int, events: Events
    ) -> None:
        self.supplier, self.seed, self.events = supplier, seed, events
        self.prefix = f"demo-{supplier.index:04d}"
        self.start = (start - EPOCH) * DAY_SECONDS
        self.base = max(start, supplier.created)
        self.first_day = max(supplier.created, start - 700)
        # one day more: east of Greenwich it begins before the last UTC day ends
        story = supplier.story
        self.last_day = until + 1 if story.cancels is None else min(until + 1, story.cancels)
        self.end = (until + 1 - EPOCH) * DAY_SECONDS
        self.cancelled_at: int | None = None
        if story.cancels is not None:
            cancelled = midnight(supplier.timezone, story.cancels) + 15 * 3600 + supplier.index * 7
            self.cancelled_at = cancelled if cancelled < self.end else None
            self.end = min(self.end, cancelled)
        self.imported_at: int | None = None
        self.journeys_from: int | None = None
        self.days: npt.NDArray[np.int64] = np.arange(self.base, max(self.base, self.last_day + 1))
        self._activity = self._levels()
        self._clients = _curve(supplier.story.clients, self.days)
        self.logins: list[int] = []

    def emit(
        self, kind: str, at: int, key: str, properties: str | None = None, *, early: bool = False
    ) -> None:
        """Add an event if it is within the simulated time. `early` events may be before it."""
        if at >= self.end or (at < self.start and not early):
            return
        events = self.events
        events.supplier_id.append(self.supplier.id)
        events.message_id.append(f"{self.prefix}-{key}")
        events.type.append(kind)
        events.seconds.append(at)
        events.properties.append(properties)

    def client_id(self, number: int, rng: Random | None = None) -> str:
        """Return the id of a client by number. It is the first draw of the client's own stream."""
        rng = rng or Random(f"{self.seed}:{self.supplier.index}:{number}")
        return f"{self.prefix}c{number:03d}-{rng.getrandbits(32):08x}"

    def level(self, day: int) -> float:
        """Return the supplier's own activity on a day; 1 is usual. Excludes season and holidays."""
        return self._at(self._activity, day)

    def clients_level(self, day: int) -> float:
        """Return how the clients respond on a day; 1 is usual."""
        return self._at(self._clients, day)

    def is_paused(self, day: int) -> bool:
        return any(begins <= day < ends for begins, ends in self.supplier.story.paused)

    def client_limit(self, at: int) -> int:
        supplier = self.supplier
        before = supplier.upgraded is not None and day_of(at) < supplier.upgraded
        plan = supplier.plan_before if before and supplier.plan_before else supplier.plan
        return PLANS[plan].client_limit

    def _at(self, levels: Floats, day: int) -> float:
        if not len(levels):
            return 1.0
        return float(levels[min(max(day - self.base, 0), len(levels) - 1)])

    def _levels(self) -> Floats:
        """Return the activity by day: the story's, with noise over weeks and with pauses."""
        noise = self._stream(0).normal(0, 0.16, len(self.days) // 21 + 3)
        weeks = np.interp(np.arange(len(self.days)) / 21, np.arange(len(noise)), noise)
        levels = _curve(self.supplier.story.activity, self.days) * np.exp(weeks)
        for begins, ends in self.supplier.story.paused:
            levels[(self.days >= begins) & (self.days < ends)] *= 0.06
        return levels

    def _stream(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.supplier.index, number])

    # ── the supplier's own events ─────────────────────────────────────────────────────────────────

    def emit_onboarding(self) -> None:
        """Emit the onboarding steps of the story, also those before the history begins."""
        supplier = self.supplier
        rng = Random(f"{self.seed}:{supplier.index}:onboarding")
        began = midnight(supplier.timezone, supplier.created) + round((8 + 4 * rng.random()) * 3600)
        self.emit("account_created", began, "account", early=True)
        picked = f'{{"vendor_type":"{supplier.vendor_type}"}}'
        self.emit("vendor_type_selected", began + 240, "vendor-type", picked, early=True)
        self.emit("login", began + 300, "l0", early=True)
        self.logins.append(began + 300)
        for place, (kind, earliest, latest) in enumerate(_STEPS):
            hours = earliest + (latest - earliest) * rng.random()
            day, seconds = divmod(hours * 3600, DAY_SECONDS)
            day += supplier.story.slow_days if place > 1 else 0
            at = round(
                began + day * DAY_SECONDS + (seconds if place < 2 and hours < 8 else seconds / 6)
            )
            if place >= supplier.story.onboarded or (
                not supplier.journeys and kind in ("customer_journey_started", "automation_enabled")
            ):
                continue
            if kind == "import_clients_started":
                self.imported_at = at
            if kind == "customer_journey_started":
                self.journeys_from = at
            client = (
                f'{{"client_id":"{self.client_id(0)}"}}'
                if kind == "invite_sent_to_client"
                else None
            )
            self.emit("login", at - 420, f"l-{kind}", early=True)
            self.emit(kind, at, kind.replace("_", "-"), client, early=True)
            self.logins.append(at - 420)

    def emit_logins(self) -> None:
        """Emit logins by the supplier's rhythm, and feature uses after each login."""
        supplier, days = self.supplier, self.days
        busy = self._activity * season(supplier, days) * self._holidays()
        chance = np.minimum(0.97, supplier.rhythm / 7 * _WEEKDAYS[(days - 1) % 7] * busy)
        came = _at_least_weekly(self._stream(1).random(len(days)) < chance, busy)
        hours = supplier.hour + self._stream(2).normal(0, 1.6, len(days))
        hours = np.clip(hours, 6.2, 22.8)
        uses = self._stream(3).poisson(1.5, len(days))
        rng = Random(f"{self.seed}:{supplier.index}:features")
        features, weights = (
            supplier.features,
            [1.0 / (1 + place * 0.35) for place in range(len(supplier.features))],
        )
        for place in np.flatnonzero(came).tolist():
            day = self.base + place
            at = midnight(supplier.timezone, day) + int(hours[place] * 3600)
            if day == supplier.created and at < (self.logins[0] if self.logins else 0) + 1200:
                continue
            self.logins.append(at)
            self.emit("login", at, f"l{day}")
            for n in range(int(uses[place])):
                feature = rng.choices(features, weights)[0]
                self.emit(
                    "feature_used", at + 90 + 240 * n, f"u{day}-{n}", f'{{"feature":"{feature}"}}'
                )
        self.logins.sort()

    def _holidays(self) -> Floats:
        """Return a factor for each day: 0.08 on two to five days of holidays a year, else 1."""
        rng = Random(f"{self.seed}:{self.supplier.index}:holidays")
        free: Any = np.ones(len(self.days))
        for year in range(5):
            begins = self.base + year * 365 + rng.randrange(20, 345)
            length = rng.randint(2, 5)
            away = (self.days >= begins) & (self.days < begins + length)
            if self.supplier.archetype != Archetype.NEW:
                free[away] = 0.08
        return free


def _at_least_weekly(came: npt.NDArray[np.bool_], busy: Floats) -> npt.NDArray[np.bool_]:
    """Add a login after five days without one in active periods."""
    came = came.copy()
    away = 0
    for day, active in enumerate((busy > 0.4).tolist()):
        away = 0 if came[day] else away + 1
        if away >= 6 and active:
            came[day], away = True, 0
    return came


def first_client_id(seed: int, index: int) -> str:
    """Return the id of a supplier's first client, the same as `Life.client_id(0)`."""
    return f"demo-{index:04d}c000-{Random(f'{seed}:{index}:0').getrandbits(32):08x}"


def _curve(knots: Knots, days: npt.NDArray[np.int64]) -> Floats:
    ordered = sorted(knots)
    return np.interp(days, [day for day, _ in ordered], [value for _, value in ordered])
