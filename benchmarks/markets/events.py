"""The events that the platform of a market sends."""

from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.markets.activity import Activity
from benchmarks.markets.clients import Clients
from benchmarks.markets.dialects import VENDOR_TYPES, Dialect
from benchmarks.markets.people import NEVER, PLANS, People

Ints = NDArray[np.int64]
FEATURES = (
    "automations",
    "reviews",
    "client_import",
    "calendar",
    "gallery",
    "journeys",
    "invoices",
    "forms",
)
_DAY = 86_400
# First steps of a new supplier: type, the share that takes it, days after sign-up at most.
_FIRST_STEPS = (
    ("completed_wizard", 0.85, 2),
    ("import_clients_started", 0.75, 8),
    ("form_created", 0.7, 12),
    ("invite_sent_to_client", 0.65, 14),
    ("customer_journey_started", 0.6, 20),
)


class Events:
    """Collects events; `supplier` is the number of one, `at` in seconds since the first day."""

    def __init__(self, people: People, first: date, days: int, random: np.random.Generator) -> None:
        self.people, self.first, self.days, self.random = people, first, days, random
        self._parts: list[pl.DataFrame] = []

    def add(
        self, type_: str, supplier: Ints, at: Ints, properties: pl.Series | None = None
    ) -> None:
        """Add events of one type; only those between sign-up and cancellation and in the market's
        days."""
        frame = pl.DataFrame(
            {
                "supplier": supplier,
                "type": pl.Series([type_], dtype=pl.String).new_from_index(0, len(supplier)),
                "at": at.astype(np.int64),
                "properties": properties
                if properties is not None
                else pl.Series([""]).new_from_index(0, len(supplier)),
            }
        )
        end = np.minimum(self.people.cancelled[supplier], self.days) * _DAY
        begin = np.maximum(self.people.created[supplier], 0) * _DAY
        self._parts.append(frame.filter(pl.Series((at >= begin) & (at < end))))

    def cancel(self) -> None:
        """Add the cancellations."""
        who = np.flatnonzero(self.people.cancelled < self.days)
        at = self.people.cancelled[who] * _DAY + self.random.integers(0, _DAY // 2, len(who))
        blank = pl.Series([""] * len(who), dtype=pl.String)
        self._parts.append(
            pl.DataFrame(
                {
                    "supplier": who,
                    "type": ["subscription_cancelled"] * len(who),
                    "at": at,
                    "properties": blank,
                }
            )
        )

    def sorted(self) -> pl.DataFrame:
        """All events by time: supplier, type, at, properties."""
        return pl.concat(self._parts).sort("at", maintain_order=True)

    def moments(self, supplier: Ints, day: Ints) -> Ints:
        """Times in the working hours of the suppliers' places."""
        local = np.clip(self.random.normal(13.0, 3.5, len(supplier)), 5.0, 23.5)
        return (day * _DAY + (local - self.people.offset[supplier]) * 3600).astype(np.int64)

    def spread(self, matrix: Ints) -> tuple[Ints, Ints]:
        """The supplier and time of each event of a (suppliers, days) matrix of counts."""
        rows, days = np.nonzero(matrix)
        counts = matrix[rows, days]
        supplier, day = np.repeat(rows, counts), np.repeat(days, counts)
        return supplier, self.moments(supplier, day)


def make_events(
    dialect: Dialect,
    people: People,
    activity: Activity,
    clients: Clients,
    first: date,
    random: np.random.Generator,
) -> pl.DataFrame:
    """All events of a market by time: supplier, type, at (seconds), properties (JSON or '')."""
    events = Events(people, first, activity.mood.shape[1], random)
    _sign_up(events)
    _add_clients(events, clients)
    _use(events, activity, clients)
    _be_active(events, activity, clients, dialect.liveliness)
    _ask_for_help(events)
    _pay(events)
    events.cancel()
    return events.sorted()


def _sign_up(events: Events) -> None:
    people, random = events.people, events.random
    new = np.flatnonzero(people.created >= 0)
    at = events.moments(new, people.created[new]).clip(min=0)
    at = np.maximum(at, people.created[new] * _DAY)
    events.add("account_created", new, at)
    types = np.array(VENDOR_TYPES)[people.vendor[new]]
    events.add("vendor_type_selected", new, at + 60, _json('{"vendor_type":"{}"}', types))
    events.add("login", new, at + 90)
    for name, share, days in _FIRST_STEPS:
        does = random.random(len(new)) < share
        wait = (random.random(len(new)) ** 2 * days * _DAY).astype(np.int64) + 300
        events.add(name, new[does], (at + wait)[does])


def _add_clients(events: Events, clients: Clients) -> None:
    random, size = events.random, len(clients.supplier)
    start = np.maximum(clients.added, events.people.created[clients.supplier])
    at = events.moments(clients.supplier, start).clip(min=60)
    at = np.maximum(at, (events.people.created[clients.supplier] + 1) * _DAY * (start > 0))
    dates = (np.datetime64(events.first, "D") + clients.wedding).astype(str)
    events.add(
        "client_added",
        clients.supplier,
        at,
        _json('{"client_id":"{}","wedding_date":"{}"}', clients.names, dates),
    )
    ended = clients.ends * _DAY + random.integers(6 * 3600, 20 * 3600, size)
    for name, which in (("client_lost", clients.lost), ("client_archived", ~clients.lost)):
        ids = _json('{"client_id":"{}"}', clients.names[which])
        events.add(name, clients.supplier[which], np.maximum(ended, at + 60)[which], ids)


def _use(events: Events, activity: Activity, clients: Clients) -> None:
    """Logins and uses; in some sessions a form or a journey's email goes to a client."""
    random = events.random
    events.add("login", *events.spread(activity.logins))
    supplier, at = events.spread(activity.uses)
    tastes = random.dirichlet(np.full(len(FEATURES), 0.35), len(events.people.ids)).cumsum(axis=1)
    chosen = (random.random(len(supplier))[:, None] > tastes[supplier]).sum(axis=1)
    features = np.array(FEATURES)[np.minimum(chosen, len(FEATURES) - 1)]
    events.add("feature_used", supplier, at, _json('{"feature":"{}"}', features))
    journeys = random.random(len(events.people.ids)) < 0.7
    for sent, answered, share, chance, key, who in (
        ("form_sent", "form_completed", 0.2, 0.5, "form_id", np.ones_like(journeys)),
        ("journey_email_sent", "journey_email_opened", 0.16, 0.5, "message_id", journeys),
    ):
        picked = (random.random(len(supplier)) < share) & who[supplier]
        _send(events, clients, supplier[picked], at[picked], sent, answered, chance, key)


def _send(
    events: Events,
    clients: Clients,
    supplier: Ints,
    at: Ints,
    sent: str,
    answered: str,
    chance: float,
    key: str,
) -> None:
    random = events.random
    supplier, at, client = _choose_clients(supplier, at, clients, random)
    item = np.array([random.bytes(4).hex() for _ in range(len(supplier))])
    pattern = '{"client_id":"{}","' + key + '":"{}"}'
    properties = _json(pattern, clients.names[client], item)
    events.add(sent, supplier, at, properties)
    own = 0.6 + 0.8 * random.random(len(events.people.ids))  # some have answering clients
    answers = random.random(len(supplier)) < chance * own[supplier]
    later = at + (random.exponential(2.5, len(supplier)) * _DAY).astype(np.int64) + 600
    events.add(answered, supplier[answers], later[answers], properties.filter(pl.Series(answers)))


def _choose_clients(
    supplier: Ints, at: Ints, clients: Clients, random: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """One current client for each moment; moments for which three draws find none are dropped."""
    day, chosen = at // _DAY, np.full(len(supplier), -1)
    number = clients.number[supplier]
    for _ in range(3):
        client = clients.first[supplier] + (random.random(len(supplier)) * number).astype(np.int64)
        client = np.minimum(client, len(clients.supplier) - 1)
        current = (number > 0) & (clients.added[client] < day) & (clients.ends[client] > day)
        chosen = np.where((chosen < 0) & current, client, chosen)
    found = chosen >= 0
    return supplier[found], at[found], chosen[found]


def _be_active(events: Events, activity: Activity, clients: Clients, liveliness: float) -> None:
    """Clients' own activity, more of it in season and near the wedding."""
    random, days = events.random, events.days
    own = liveliness * np.exp(0.7 * random.standard_normal(len(clients.supplier)))
    begin, end = np.clip(clients.added, 0, days), np.clip(clients.ends, 0, days)
    drawn = random.poisson(2.0 * own * np.maximum(end - begin, 0))
    client = np.repeat(np.arange(len(drawn)), drawn)
    day = (begin[client] + random.random(len(client)) * (end - begin)[client]).astype(np.int64)
    supplier = clients.supplier[client]
    near = np.exp(-np.maximum(clients.wedding[client] - day, 0) / 120)
    mood = np.clip(activity.mood[supplier, np.minimum(day, days - 1)], 0, 2) ** 0.7
    kept = random.random(len(client)) < mood * (0.35 + 0.65 * near) / 2
    client, supplier, day = client[kept], supplier[kept], day[kept]
    ids = _json('{"client_id":"{}"}', clients.names[client])
    at = np.maximum(events.moments(supplier, day), (day + 0) * _DAY + 3600)
    events.add("client_active", supplier, at, ids)


def _ask_for_help(events: Events) -> None:
    """Tickets; a few more of them in the two months before a cancellation."""
    people, random = events.people, events.random
    count, days = len(people.ids), events.days
    day = np.arange(days)
    there = (day >= people.created[:, None]) & (day < people.cancelled[:, None])
    often = 0.012 * np.exp(0.7 * random.standard_normal(count))[:, None]
    new = 1 + 1.5 * ((day - people.created[:, None]) < 30)
    leaving = 1 + 0.6 * ((people.cancelled[:, None] - day) < 60)
    supplier, at = events.spread(random.poisson(often * there * new * leaving))
    at = np.maximum(at, np.maximum(people.created[supplier] + 1, 0) * _DAY)
    ids = np.array([random.bytes(4).hex() for _ in range(len(supplier))])
    priority = random.choice(["low", "normal", "high"], len(supplier), p=(0.2, 0.6, 0.2))
    opened = _json('{"ticket_id":"{}","priority":"{}"}', ids, priority)
    events.add("ticket_opened", supplier, at, opened)
    wait = (random.exponential(1.2, len(supplier)) * _DAY).astype(np.int64) + 900
    events.add("ticket_resolved", supplier, at + wait, _json('{"ticket_id":"{}"}', ids))


def _pay(events: Events) -> None:
    """Failed payments: most are made up for, those of `unpaid_from` are not."""
    people, random = events.people, events.random
    paying = (people.plan > 0)[:, None]
    day = np.arange(events.days)
    there = (day >= people.created[:, None] + 30) & (day < people.unpaid_from[:, None] - 30)
    supplier, at = events.spread(random.poisson(0.2 / 365 * there * paying))
    last = np.flatnonzero(people.unpaid_from < NEVER)
    end = events.moments(last, people.unpaid_from[last])
    prices = np.array([plan[1] for plan in PLANS])[people.plan]
    for who, when in ((supplier, at), (last, end)):
        events.add("payment_failed", who, when, _json('{"amount_minor":{}}', prices[who]))
    wait = (random.exponential(6, len(supplier)) * _DAY).astype(np.int64) + 7200
    events.add("payment_recovered", supplier, at + wait)


def _json(pattern: str, *values: NDArray[np.generic]) -> pl.Series:
    """JSON texts from a pattern in which {} is replaced by a value."""
    parts = pattern.split("{}")
    columns: list[pl.Expr] = [pl.lit(parts[0])]
    for number, part in enumerate(parts[1:]):
        columns += [pl.col(f"v{number}").cast(pl.String), pl.lit(part)]
    frame = pl.DataFrame({f"v{number}": value for number, value in enumerate(values)})
    return frame.select(pl.concat_str(columns).alias("properties"))["properties"]
