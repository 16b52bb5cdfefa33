"""Simulate how suppliers respond to triggered interventions.

Suppliers of the control group do not respond. The random numbers depend on the seed, the supplier,
the trigger and the day, so the same interventions always lead to the same events."""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from random import Random

import numpy as np
import polars as pl

from everafter.demo.calendar import day_of, midnight
from everafter.demo.life import first_client_id
from everafter.demo.model import DAY_SECONDS, EVENT_SCHEMA, Market, Supplier
from everafter.demo.names import client as client_name

RESPONSE_DAYS = 45
"""Days after which an intervention has no effect."""
_HOUR = 3600
_RECEPTIVE = 0.92
"""Share of suppliers that read their email at all."""
_COMES_BACK = {
    "early_inactivity": 0.2,
    "no_login_7_days": 0.95,
    "churn_medium_check_in": 0.15,
    "churn_high_offer": 0.08,
}
"""Probability that a receptive supplier returns to its usual activity, by trigger."""
_CALL = "churn_high_assign"
_CALL_SUCCEEDS = 0.65
"""Probability of success of a call, which also reaches suppliers that do not read email."""
_CLIENTS_INVITED = {"low_client_adoption": 0.8}
_STEPS_DONE = {
    "onboarding_day1_missed": 0.5,
    "onboarding_day3_missed": 0.5,
    "onboarding_day7_missed": 0.7,
    "stuck_onboarding": 0.4,
}
_LEAVING_DAYS = 120
"""A supplier that cancels within this many days responds with one login at most."""
_STEPS = (
    ("completed_wizard", 0.1),
    ("import_clients_started", 0.5),
    ("form_created", 22.0),
    ("invite_sent_to_client", 26.0),
    ("customer_journey_started", 48.0),
    ("automation_enabled", 52.0),
)
"""The onboarding steps, each with hours after the response."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An intervention that reached its supplier."""

    supplier_id: str
    trigger: str
    at: datetime


Event = tuple[int, str, str, str, str | None]
"""Unix seconds, supplier, message id, type, properties."""


class Responses:
    """The events in response to interventions, ordered by time."""

    def __init__(self, market: Market, seed: int, until: int) -> None:
        """until: Unix seconds; later events are dropped."""
        self._people = {supplier.id: supplier for supplier in market.people}
        self._market, self._seed, self._until = market, seed, until
        self._clients: dict[str, list[tuple[str, int, int]]] | None = None
        self._events: list[Event] = []
        self._keys: set[str] = set()

    def add(self, sent: Iterable[Sent]) -> None:
        """Add each supplier's response, if it responds."""
        for one in sent:
            supplier = self._people.get(one.supplier_id)
            if supplier is not None:
                self._respond(supplier, one.trigger, int(one.at.timestamp()))

    def between(self, after: datetime | None, until: datetime) -> pl.DataFrame:
        """Return the events from `after` (null: the first) to before `until`, as EVENT_SCHEMA."""
        begin = 0 if after is None else bisect_left(self._events, (int(after.timestamp()),))
        rows = self._events[begin : bisect_left(self._events, (int(until.timestamp()),))]
        at, supplier_id, message_id, kind, properties = (
            zip(*rows, strict=True) if rows else ((), (), (), (), ())
        )
        return pl.DataFrame(
            {
                "supplier_id": supplier_id,
                "message_id": message_id,
                "type": kind,
                "occurred_at": pl.Series(at, dtype=pl.Int64) * 1_000_000,
                "properties": pl.Series(properties, dtype=pl.String),
            }
        ).cast(EVENT_SCHEMA)  # pyright: ignore[reportArgumentType] invariance of the dict's values

    def _respond(self, supplier: Supplier, trigger: str, sent_at: int) -> None:
        rng = Random(f"{self._seed}:{supplier.index}:{trigger}:{day_of(sent_at)}")
        reads, acts, hours = rng.random(), rng.random(), min(60.0, rng.lognormvariate(2.4, 0.8))
        receptive = Random(f"{self._seed}:{supplier.index}:receptive").random() < _RECEPTIVE
        if (
            supplier.story.cancels is not None
            and supplier.story.cancels - day_of(sent_at) < _LEAVING_DAYS
        ):
            if reads < 0.06:
                self._visit(
                    supplier, rng, self._daytime(supplier, sent_at + round(hours * _HOUR)), trigger
                )
            return
        back = self._daytime(supplier, sent_at + round(hours * _HOUR))
        if trigger == _CALL and acts < _CALL_SUCCEEDS:
            self._come_back(supplier, rng, back, trigger)
        if not receptive:
            return
        if acts < _COMES_BACK.get(trigger, 0.0):
            self._come_back(supplier, rng, back, trigger)
        if acts < _CLIENTS_INVITED.get(trigger, 0.0):
            self._invite_clients(supplier, rng, back, trigger)
        if acts < _STEPS_DONE.get(trigger, 0.0):
            self._do_steps(supplier, rng, back, trigger)

    def _come_back(self, supplier: Supplier, rng: Random, back: int, trigger: str) -> None:
        """Emit a login, then logins at the usual rhythm while the story has less activity."""
        self._visit(supplier, rng, back, trigger)
        knots = sorted(supplier.story.activity)
        first = day_of(back) + 1
        days = np.arange(first, first + RESPONSE_DAYS - 3)
        levels = np.interp(days, [day for day, _ in knots], [level for _, level in knots])
        for day, level in zip(days.tolist(), levels.tolist(), strict=True):
            chance, minute = rng.random(), rng.uniform(-1.5, 1.5)
            if chance < min(0.9, max(3.0, supplier.rhythm) / 7) * max(0.0, 0.95 - level):
                at = midnight(supplier.timezone, day) + round((supplier.hour + minute) * _HOUR)
                self._visit(supplier, rng, at, trigger)

    def _invite_clients(self, supplier: Supplier, rng: Random, back: int, trigger: str) -> None:
        """Emit a login, then visits by most clients over the next ten days."""
        self._visit(supplier, rng, back, trigger)
        for client_id, added, ended in self._clients_of(supplier):
            stays, days, again = rng.random(), rng.uniform(0.5, 10), rng.uniform(1, 12)
            if not added < back < ended or stays > 0.75:
                continue
            for at in (
                back + round(days * DAY_SECONDS),
                back + round((days + again) * DAY_SECONDS),
            ):
                if at < ended:
                    self._emit(
                        supplier,
                        at,
                        f"{trigger}-{client_id}-{at}",
                        "client_active",
                        f'{{"client_id":"{client_id}"}}',
                    )

    def _do_steps(self, supplier: Supplier, rng: Random, back: int, trigger: str) -> None:
        """Emit the onboarding steps in order, with visits by clients."""
        self._visit(supplier, rng, back, trigger)
        first = first_client_id(self._seed, supplier.index)
        clients = [first, *(f"{first}-{n}" for n in (1, 2, 3))]
        for n, client_id in enumerate(clients):
            wedding = f'"wedding_date":"{_iso(day_of(back) + 90 + rng.randrange(240))}"'
            name = client_name(rng, supplier.country)
            added = f'{{"client_id":"{client_id}",{wedding},"name":"{name}"}}'
            self._emit(
                supplier, back + 1800 + 60 * n, f"{trigger}-add-{client_id}", "client_added", added
            )
            seen = back + round((27 + 20 * rng.random()) * _HOUR)
            self._emit(
                supplier,
                seen,
                f"{trigger}-seen-{client_id}",
                "client_active",
                f'{{"client_id":"{client_id}"}}',
            )
        for kind, hours in _STEPS:
            client = f'{{"client_id":"{first}"}}' if kind == "invite_sent_to_client" else None
            self._emit(
                supplier, back + 900 + round(hours * _HOUR), f"{trigger}-{kind}", kind, client
            )
        form = f'{{"client_id":"{first}","form_id":"{first}-f"}}'
        self._emit(supplier, back + 30 * _HOUR, f"{trigger}-form", "form_sent", form)
        for feature in ("gallery", "calendar"):
            self._emit(
                supplier,
                back + 2 * _HOUR,
                f"{trigger}-{feature}",
                "feature_used",
                f'{{"feature":"{feature}"}}',
            )
        for days in (1, 2, 4, 7, 10, 13):
            self._visit(supplier, rng, back + days * DAY_SECONDS, trigger)

    def _visit(self, supplier: Supplier, rng: Random, at: int, trigger: str) -> None:
        """Emit a login and one to three feature uses."""
        day = day_of(at)
        self._emit(supplier, at, f"{trigger}-l{day}", "login", None)
        for n in range(rng.randint(1, 3)):
            feature = rng.choice(supplier.features[:4])
            self._emit(
                supplier,
                at + 90 + 240 * n,
                f"{trigger}-u{day}-{n}",
                "feature_used",
                f'{{"feature":"{feature}"}}',
            )

    def _emit(
        self, supplier: Supplier, at: int, key: str, kind: str, properties: str | None
    ) -> None:
        message_id = f"demo-{supplier.index:04d}-r-{key}"
        cancels = supplier.story.cancels
        over = cancels is not None and at >= midnight(supplier.timezone, cancels)
        if at < self._until and not over and message_id not in self._keys:
            self._keys.add(message_id)
            insort(self._events, (at, supplier.id, message_id, kind, properties))

    @staticmethod
    def _daytime(supplier: Supplier, at: int) -> int:
        """Return this time if it is daytime for the supplier, else the next morning."""
        hour = (at - midnight(supplier.timezone, day_of(at))) % DAY_SECONDS / _HOUR
        if hour < 8:
            return at + round((8.5 - hour) * _HOUR)
        return at if hour < 21 else at + round((32.5 - hour) * _HOUR)

    def _clients_of(self, supplier: Supplier) -> list[tuple[str, int, int]]:
        """Return the supplier's clients as (id, added, ended), in Unix seconds."""
        if self._clients is None:
            self._clients = _list_clients(self._market.events)
        return self._clients.get(supplier.id, [])


def _list_clients(events: pl.DataFrame) -> dict[str, list[tuple[str, int, int]]]:
    ends = ("client_lost", "client_archived")
    state = events.filter(pl.col("type").is_in(["client_added", *ends])).select(
        "supplier_id",
        pl.col("properties").str.json_path_match("$.client_id").alias("client_id"),
        (pl.col("occurred_at").dt.epoch("s")).alias("at"),
        (pl.col("type") == "client_added").alias("added"),
    )
    spans = state.group_by("supplier_id", "client_id", maintain_order=True).agg(
        pl.col("at").filter(pl.col("added")).min().alias("added"),
        pl.col("at").filter(~pl.col("added")).min().fill_null(2**40).alias("ended"),
    )
    found: dict[str, list[tuple[str, int, int]]] = {}
    for supplier_id, client_id, added, ended in spans.drop_nulls("added").iter_rows():
        found.setdefault(supplier_id, []).append((client_id, added, ended))
    return found


def _iso(day: int) -> str:
    return datetime.fromordinal(day).date().isoformat()
