"""Simulate a platform of wedding suppliers over a year or more.

stories.py draws the suppliers and the course of their activity, life.py and clients.py turn these
into the events a real platform would send. The result depends on the arguments only, and no rule of
the product reads the stories."""

from bisect import bisect_right
from datetime import UTC, date, datetime
from random import Random

import polars as pl

from everafter.demo.calendar import midnight, months_before
from everafter.demo.clients import emit_clients
from everafter.demo.life import Events, Life
from everafter.demo.model import (
    DAY_SECONDS,
    EPOCH,
    EVENT_SCHEMA,
    PLANS,
    SUPPLIER_SCHEMA,
    Market,
    Supplier,
)
from everafter.demo.stories import draw_suppliers
from everafter.demo.tickets import emit_tickets


def simulate(
    suppliers: int, until: date, months: int, seed: int, anchor: date | None = None
) -> Market:
    """Simulate a platform.

    Args:
        suppliers: their number on the anchor day, including churned ones.
        until: the last simulated day (UTC), to its end.
        months: length of the history before the anchor. The onboarding and present clients of
            older accounts are included with their earlier dates.
        seed: the same seed, suppliers, months and anchor give the same platform.
        anchor: the day for which the stories are arranged; null means `until`. With the same
            anchor a later `until` only adds events, and message ids are stable.

    Returns:
        Suppliers and events, the events ordered by time.

    Raises:
        ValueError: `until` is before the anchor, or the platform is too small or short.
    """
    anchored = anchor or until
    if until < anchored or suppliers < 1 or months < 4:
        raise ValueError(
            "suppliers must be at least 1, months at least 4, and until not before the anchor"
        )
    start = months_before(anchored, months).toordinal()
    people = draw_suppliers(suppliers, seed, anchored.toordinal(), start, until.toordinal() + 1)
    events = Events()
    for supplier in people:
        _simulate_supplier(supplier, seed, start, until.toordinal(), anchored.toordinal(), events)
    return Market(_suppliers_frame(people, until.toordinal()), _events_frame(events), people)


def _simulate_supplier(
    supplier: Supplier, seed: int, start: int, until: int, anchor: int, events: Events
) -> None:
    life = Life(supplier, seed, start, until, events)
    life.emit_onboarding()
    life.emit_logins()
    spans = emit_clients(life)
    emit_tickets(life, anchor)
    _payments(life)
    _usage(life, spans)
    _subscription(life)


def _payments(life: Life) -> None:
    """Emit failed payments: random ones that recover within days, and those of the story."""
    supplier = life.supplier
    price = PLANS[supplier.plan].mrr_minor
    if not price:
        return
    rng = Random(f"{life.seed}:{supplier.index}:payments")
    amount = f'{{"amount_minor":{price}}}'
    failures: list[tuple[int, int | None]] = []
    for day in range(supplier.created + 30, life.last_day + 1, 30):
        chance, days = rng.random(), rng.randint(1, 8)
        state = any(abs(day - failed) < 45 for failed, _ in supplier.story.unpaid)
        if chance < 0.011 and not state and not life.is_paused(day):
            failures.append((day, days))
    for day, days in failures + supplier.story.unpaid:
        at = midnight(supplier.timezone, day) + 6 * 3600 + supplier.index % 3000
        if at < life.start:
            continue
        retries = (
            [0, 3, 7, 14] if days is None else [retry for retry in (0, 3, 7, 14) if retry < days]
        )
        for retry in retries:
            life.emit("payment_failed", at + retry * DAY_SECONDS, f"p{day + retry}", amount)
        if days is not None:
            life.emit("payment_recovered", at + days * DAY_SECONDS + 5 * 3600, f"q{day}", amount)


def _usage(life: Life, spans: list[tuple[int, int]]) -> None:
    """Emit the number of clients and the plan's limit: monthly, and weekly from 80 % of it."""
    added, ended = sorted(span[0] for span in spans), sorted(span[1] for span in spans)
    for day in range(life.base, life.last_day + 1):
        first = date.fromordinal(day).day == 1
        if not first and day % 7 != 1:
            continue
        at = (day - EPOCH) * DAY_SECONDS + 3 * 3600 + life.supplier.index % 1200
        used, limit = bisect_right(added, at) - bisect_right(ended, at), life.client_limit(at)
        if first or used >= 0.8 * limit:
            life.emit(
                "usage_reported",
                at,
                f"n{day}",
                f'{{"resource":"clients","used":{used},"limit":{limit}}}',
            )


def _subscription(life: Life) -> None:
    """Emit plan changes, pauses and the cancellation."""
    supplier = life.supplier
    plan = f'{{"plan":"{supplier.plan}"}}'
    if supplier.upgraded is not None:
        life.emit(
            "subscription_changed",
            midnight(supplier.timezone, supplier.upgraded) + 10 * 3600,
            "upgrade",
            plan,
        )
    for begins, ends in supplier.story.paused:
        life.emit(
            "subscription_paused", midnight(supplier.timezone, begins) + 10 * 3600, f"pause{begins}"
        )
        life.emit(
            "subscription_changed",
            midnight(supplier.timezone, ends) + 9 * 3600,
            f"resume{ends}",
            plan,
        )
    if life.cancelled_at is not None:
        life.end += 1
        life.emit("subscription_cancelled", life.cancelled_at, "cancel")


def _suppliers_frame(people: list[Supplier], until: int) -> pl.DataFrame:
    rows: list[dict[str, object]] = []
    for supplier in people:
        upgraded = (
            supplier.upgraded
            if supplier.upgraded is not None and supplier.upgraded <= until
            else None
        )
        plan = (
            supplier.plan
            if supplier.plan_before is None or upgraded is not None
            else supplier.plan_before
        )
        rows.append(
            {
                **{
                    name: getattr(supplier, name)
                    for name in SUPPLIER_SCHEMA
                    if hasattr(supplier, name)
                },
                "plan": plan,
                "plan_before": supplier.plan_before if upgraded is not None else None,
                "mrr_minor": PLANS[plan].mrr_minor,
                "client_limit": PLANS[plan].client_limit,
                "created_at": _moment(supplier, supplier.created, 8),
                "upgraded_at": None if upgraded is None else _moment(supplier, upgraded, 10),
                "archetype": str(supplier.archetype),
            }
        )
    end = datetime.fromtimestamp((until + 1 - EPOCH) * DAY_SECONDS, UTC)
    return pl.DataFrame(rows, schema=SUPPLIER_SCHEMA).filter(pl.col("created_at") < end)


def _moment(supplier: Supplier, day: int, hour: int) -> datetime:
    return datetime.fromtimestamp(midnight(supplier.timezone, day) + hour * 3600, UTC)


def _events_frame(events: Events) -> pl.DataFrame:
    return (
        pl.DataFrame(
            {
                "supplier_id": events.supplier_id,
                "message_id": events.message_id,
                "type": events.type,
                "occurred_at": pl.Series(events.seconds, dtype=pl.Int64) * 1_000_000,
                "properties": pl.Series(events.properties, dtype=pl.String),
            }
        )
        .with_columns(pl.col("occurred_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
        .cast(EVENT_SCHEMA)  # pyright: ignore[reportArgumentType] invariance of the dict's values
        .sort("occurred_at", "supplier_id", "message_id")
    )
