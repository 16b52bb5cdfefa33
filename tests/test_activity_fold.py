"""The activity equals a plain reading of the raw events: for random histories, in any order, in any batches, at any later moment."""

import asyncio
import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everafter.activity import model
from everafter.activity.model import State
from everafter.activity.rules import fold
from everafter.core import db
from everafter.folding import fold_events
from everafter.playbook.loading import parse_playbook
from everafter.signals.rules import compute_signals
from everafter.signals.text import format_value
from helpers_oracle import Event, read_signals

AS_OF = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
SUPPLIERS = ("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b")
FEATURES = {"forms": 0, "journeys": 1, "automations": 2, "client_import": 3, "gallery": 4}
PLAYBOOK = parse_playbook(
    'name="t"\n[segments.default]\ntitle="x"\nkey_features=["forms","journeys","automations","client_import","gallery"]\n[triggers]\n',
    "t",
)

_ids = st.sampled_from(["a", "b", "c"])
_bare = st.sampled_from(
    ["login", "login", "form_created", "completed_wizard", "customer_journey_started", "automation_enabled", "import_clients_started",
     "payment_failed", "payment_recovered", "subscription_changed", "subscription_paused", "subscription_cancelled", "something_new"]
)  # fmt: skip


@st.composite
def _events(draw: st.DrawFn) -> Event:
    # minutes, so that equal moments happen; up to 20 months back, so that rings turn over
    at = AS_OF - timedelta(
        minutes=draw(st.one_of(st.integers(0, 60 * 24 * 600), st.integers(0, 60 * 24 * 40)))
    )
    kind = draw(
        st.one_of(
            _bare,
            st.sampled_from(
                [
                    "client_added",
                    "client_active",
                    "client_archived",
                    "client_lost",
                    "form_sent",
                    "form_completed",
                ]
            ),
            st.sampled_from(
                [
                    "journey_email_sent",
                    "journey_email_opened",
                    "feature_used",
                    "ticket_opened",
                    "ticket_resolved",
                ]
            ),
            st.sampled_from(
                [
                    "ticket_opened",
                    "ticket_replied",
                    "ticket_waiting",
                    "ticket_resumed",
                    "ticket_resolved",
                ]
            ),
            st.just("usage_reported"),
        )
    )
    props: dict[str, Any] = {}
    if kind.startswith(("client_", "form_sent", "form_completed", "journey_email")):
        props["client_id"] = draw(_ids)
    if kind == "client_added" and draw(st.booleans()):
        props["wedding_date"] = (
            AS_OF.date() + timedelta(days=draw(st.integers(-100, 900)))
        ).isoformat()
    if kind in ("form_sent", "form_completed"):
        props["form_id"] = draw(_ids)
    if kind.startswith("journey_email"):
        props["message_id"] = draw(_ids)
    if kind == "feature_used":
        props["feature"] = draw(st.sampled_from(["forms", "gallery", "journeys", "unknown_to_us"]))
    if kind.startswith("ticket"):
        props["ticket_id"] = draw(_ids)
    if kind == "usage_reported":
        props |= {"resource": draw(_ids), "used": draw(st.integers(0, 50))}
        if draw(st.integers(0, 4)):
            props["limit"] = draw(st.integers(0, 40))
    return {"supplier": draw(st.sampled_from(SUPPLIERS)), "type": kind, "at": at, "props": props}


def as_frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "supplier_id": [e["supplier"] for e in events],
            "type": [e["type"] for e in events],
            "occurred_at": [e["at"] for e in events],
            "properties": [json.dumps(e["props"]) if e["props"] else None for e in events],
        },
        schema=model.EVENTS_SCHEMA,
    )


def in_batches(events: list[Event], cuts: list[int]) -> State:
    """Fold batch after batch, as the folder does: each against the rows that stand."""
    state = model.empty_state()
    edges = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            state = stand(state, fold(state, as_frame(events[start:end]), FEATURES))
    return state


KEYS = {
    "activity": ["supplier_id"],
    "clients": ["supplier_id", "client_id"],
    "items": ["supplier_id", "kind", "client_id", "item_id"],
    "tickets": ["supplier_id", "ticket_id"],
}


def stand(old: State, new: State) -> State:
    parts: dict[str, pl.DataFrame] = {}
    for name, keys in KEYS.items():
        fresh = getattr(new, name)
        kept = getattr(old, name).join(fresh, on=keys, how="anti")
        parts[name] = pl.concat([kept, fresh.select(kept.columns)], how="vertical_relaxed")
    return State(**parts)


def same(one: State, other: State) -> None:
    for name, keys in KEYS.items():
        a, b = getattr(one, name).sort(keys), getattr(other, name).sort(keys)
        assert a.equals(b.select(a.columns)), f"{name} differs:\n{a}\n{b}"


def signals_of(activity: pl.DataFrame, as_of: datetime) -> dict[str, dict[str, Any]]:
    profile = activity.with_columns(
        pl.lit(None, pl.String).alias("country"),
        pl.lit(None, model.TIME).alias("created_at"),
        pl.lit(None, pl.Int64).alias("client_limit"),
        pl.lit(1.0).alias("season_trend"),
    )
    return {
        row["supplier_id"]: row
        for row in compute_signals(profile, PLAYBOOK, as_of, FEATURES).iter_rows(named=True)
    }


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=st.lists(_events(), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    seed=st.integers(),
    later=st.integers(0, 60 * 24 * 200),
)
def test_random_histories_equal_the_oracle(
    events: list[Event], cuts: list[int], seed: int, later: int
) -> None:
    shuffled = random.Random(seed).sample(events, len(events))
    state = in_batches(shuffled, cuts)
    same(in_batches(shuffled, []), state)
    as_of = AS_OF + timedelta(minutes=later)
    found = signals_of(state.activity, as_of)
    for supplier in {e["supplier"] for e in events}:
        expected = read_signals([e for e in shuffled if e["supplier"] == supplier], as_of)
        row = found[supplier]
        names = expected.keys() - {"emails_opened", "features_90d"}
        assert {n: row[n] for n in names if n != "usage_ratio"} == {
            n: expected[n] for n in names if n != "usage_ratio"
        }
        assert row["usage_ratio"] == expected["usage_ratio"]
        # the playbook's key features are exactly the known slots, so adoption counts the oracle's set
        assert row["features_adopted"] == len(expected["features_90d"] & FEATURES.keys())
        opened = (
            None
            if expected["journey_emails_13w"] == 0
            else expected["emails_opened"] / expected["journey_emails_13w"]
        )
        assert row["journey_open_rate"] == opened


def test_one_supplier_does_not_touch_another() -> None:
    at = AS_OF - timedelta(days=1)
    one = [{"supplier": SUPPLIERS[0], "type": "login", "at": at, "props": {}}]
    both = [*one, {"supplier": SUPPLIERS[1], "type": "login", "at": at, "props": {}}]
    alone = fold(model.empty_state(), as_frame(one), FEATURES).activity
    together = fold(model.empty_state(), as_frame(both), FEATURES).activity
    assert alone.equals(together.filter(pl.col("supplier_id") == SUPPLIERS[0]))


def test_the_stored_activity_is_the_folded_one(database: str) -> None:
    """Through the database, in batches of shuffled events, every column comes back as it would in memory."""
    source = random.Random(3)
    events: list[Event] = []
    for number in range(900):
        supplier = source.choice(SUPPLIERS)
        at = AS_OF - timedelta(
            minutes=source.randrange(60 * 24 * 300), microseconds=source.randrange(10**6)
        )
        kind = source.choice(["login", "client_added", "client_active", "client_lost", "form_sent", "form_completed", "ticket_opened",
                              "ticket_resolved", "feature_used", "usage_reported", "payment_failed", "journey_email_sent"])  # fmt: skip
        props: dict[str, Any] = {
            "client_id": f"c{number % 17}", "form_id": f"f{number % 29}", "message_id": f"m{number % 13}", "ticket_id": f"t{number % 5}",
            "feature": source.choice(list(FEATURES)), "resource": "clients", "used": number % 40, "limit": 40, "subject": 'a "b", ü\n',
            "wedding_date": (AS_OF.date() + timedelta(days=number % 400)).isoformat(), "name": "Zoë & \\Ann",
        }  # fmt: skip
        events.append({"supplier": supplier, "type": kind, "at": at, "props": props})

    async def through_database() -> pl.DataFrame:
        async with db.connection(database) as conn:
            await conn.execute(
                "INSERT INTO features (feature, feature_id) SELECT * FROM unnest(%s::text[], %s::smallint[])",
                [list(FEATURES), list(FEATURES.values())],
            )
            await db.copy_frame(conn, "events_pending", as_frame(events))
        async with db.connection(database, autocommit=True) as conn:
            sizes = [n async for n in _drain(conn)]
            assert sum(sizes) == len(events) and len(sizes) > 5
            return await db.read_copy(
                conn, "SELECT " + ", ".join(f'"{name}"' for name in model.ACTIVITY_SCHEMA) + " FROM supplier_activity ORDER BY supplier_id", model.ACTIVITY_SCHEMA
            )  # fmt: skip

    async def _drain(conn: db.Connection) -> Any:
        while n := await fold_events(conn, limit=120):
            yield n

    stored = asyncio.run(through_database())
    folded = fold(model.empty_state(), as_frame(events), FEATURES).activity.sort("supplier_id")
    for name in model.ACTIVITY_SCHEMA:
        if name == "usage":
            assert [json.loads(v) for v in stored[name]] == [json.loads(v) for v in folded[name]]
        else:
            assert stored[name].equals(folded[name]), (
                f"{name}: {stored[name].to_list()} != {folded[name].to_list()}"
            )


def test_a_report_of_absurd_numbers_stays_a_number() -> None:
    events = [
        {
            "supplier": SUPPLIERS[0],
            "type": "usage_reported",
            "at": AS_OF,
            "props": {"resource": "clients", "used": 1e308, "limit": 1e-300},
        }
    ]
    ratio = fold(model.empty_state(), as_frame(events), {}).activity["usage_ratio"][0]
    assert ratio == 1_000_000 and format_value("limit_ratio", ratio) == "100,000,000%"


def test_a_supplier_has_the_resources_reported_last_in_whatever_order_they_came() -> None:
    def report(resource: str, minute: int, used: float) -> Event:
        at = AS_OF - timedelta(minutes=minute)
        return {
            "supplier": SUPPLIERS[0],
            "type": "usage_reported",
            "at": at,
            "props": {"resource": resource, "used": used, "limit": 4},
        }

    kept = model.MAX_RESOURCES
    events = [report(f"r{minute:04}", minute, 1) for minute in range(3 * kept)]
    events += [report("r0100", 0, 3), report("r0001", 5_000, 4)]
    names = {f"r{minute:04}" for minute in range(kept - 1)} | {"r0100"}
    for seed in range(4):
        random.Random(seed).shuffle(events)
        state = model.empty_state()
        for start in range(0, len(events), 50):
            state = fold(state, as_frame(events[start : start + 50]), {})
        assert json.loads(state.activity["usage"][0]).keys() == names
        assert state.activity["usage_ratio"][0] == 0.75


def test_an_event_that_cannot_be_folded_stops_no_other(database: str) -> None:
    at = AS_OF - timedelta(days=1)
    good = [{"supplier": SUPPLIERS[0], "type": "login", "at": at, "props": {}}]
    broken = [
        {"supplier": SUPPLIERS[0], "type": kind, "at": at, "props": props}
        for kind, props in (
            ("usage_reported", {"resource": "x"}), ("usage_reported", {"resource": "x", "used": "many", "limit": 3}),
            ("form_sent", {"client_id": "c"}), ("form_sent", {"form_id": "f"}), ("client_added", {}), ("ticket_opened", {}),
            ("feature_used", {}), ("journey_email_opened", {"client_id": "c"}),
        )
    ]  # fmt: skip

    async def through_database() -> tuple[int, list[Any], list[Any]]:
        async with db.connection(database) as conn:
            await db.copy_frame(conn, "events_pending", as_frame([*broken, *good]))
        async with db.connection(database, autocommit=True) as conn:
            folded = await fold_events(conn)
            activity = await (
                await conn.execute("SELECT events_total FROM supplier_activity")
            ).fetchall()
            rejects = await (
                await conn.execute("SELECT code, reason FROM rejects ORDER BY id")
            ).fetchall()
            return folded, activity, rejects

    folded, activity, rejects = asyncio.run(through_database())
    assert folded == len(broken) + 1 and activity == [(1,)]
    assert [code for code, _ in rejects] == ["cannot_fold"] * len(broken)
    assert (
        rejects[0][1] == "it lacks resource, or numbers for used and limit"
        and rejects[2][1] == "it lacks form_id or message_id"
    )
