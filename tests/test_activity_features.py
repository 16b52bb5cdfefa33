"""Features: what a playbook names always counts, and one supplier's names cost nobody else anything."""

import asyncio
import itertools
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import polars as pl
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from conftest import with_database
from everafter.activity import model
from everafter.activity.feature_queries import name_features
from everafter.activity.feature_rules import assign_slots, keep_latest, needs_slots
from everafter.activity.queries import get_feature_ids
from everafter.activity.rules import fold
from everafter.core import db
from everafter.core.db import connection
from everafter.core.errors import InputError
from everafter.daily.run import run_day
from everafter.events.queries import delete_rare_types, store_events_in_bulk
from everafter.folding import fold_events
from everafter.playbook.loading import load_playbook, parse_playbook
from everafter.playbook.model import Playbook
from helpers_server import Server

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = ["client_import", "forms", "journeys", "gallery", "invoices"]
KEEPS = model.MAX_OTHER_FEATURES


def supplier(number: int) -> str:
    return str(uuid.UUID(int=number))


def day(at: datetime) -> int:
    return int(at.timestamp() // 86_400)


Use = tuple[str, str, datetime]
"""supplier, event type or feature, moment"""


def frame(uses: list[Use]) -> pl.DataFrame:
    rows: list[Any] = []
    for supplier_id, feature, at in uses:
        kind, properties = ("feature_used", {"feature": feature})
        if feature.startswith("="):
            kind, properties = feature[1:], {}
        rows.append((supplier_id, kind, at, json.dumps(properties) if properties else None))
    return pl.DataFrame(rows, schema=model.EVENTS_SCHEMA, orient="row")


async def store(url: str, uses: list[Use], *, fold_in: int = 10**9) -> None:
    """Suppliers and their events, stored and folded in batches of `fold_in`."""
    async with connection(url, autocommit=True) as conn:
        ids = sorted({supplier_id for supplier_id, _, _ in uses})
        await conn.execute(
            "INSERT INTO suppliers (id, name, vendor_type, created_at)"
            " SELECT id, 'S', 'photographer', %s FROM unnest(%s::uuid[]) AS t (id) ON CONFLICT DO NOTHING",
            [NOW - timedelta(days=400), ids],
        )
        events = frame(uses).with_columns(
            pl.Series("message_id", [uuid.uuid4().hex for _ in uses]),
            pl.lit(NOW).cast(model.TIME).alias("received_at"),
        )
        for start in range(0, len(uses), fold_in):
            async with conn.transaction():
                await store_events_in_bulk(conn, events.slice(start, fold_in))
            while await fold_events(conn):
                pass


async def name(url: str, named: list[str]) -> int:
    async with connection(url) as conn:
        return await name_features(conn, named)


def state_of(url: str) -> dict[str, tuple[dict[str, int], dict[str, int], bool]]:
    """Per supplier: the named features' days, the others' days, and whether there are more."""
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        slots = {
            slot: feature
            for feature, slot in conn.execute("SELECT feature, feature_id FROM features")
        }
        rows = conn.execute(
            "SELECT supplier_id::text, feature_days, other_features, features_beyond FROM supplier_activity"
        ).fetchall()
    return {
        supplier_id: (
            {
                slots[n]: int.from_bytes(days[2 * n : 2 * n + 2], "little")
                for n in range(len(days) // 2)
                if days[2 * n : 2 * n + 2] != b"\0\0"
            },
            others,
            beyond,
        )
        for supplier_id, days, others, beyond in rows
    }


# ── what one supplier sends costs the others nothing ──────────────────────────────────────────────────────────────────


def test_a_supplier_with_endless_names_takes_nobodys_place(server: Server) -> None:
    noisy, good = supplier(0xA1), supplier(0xB2)

    def said(who: str, *, features: list[str], type_: str) -> dict[str, Any]:
        items: list[dict[str, Any]] = [
            {"type": "identify", "userId": who, "messageId": f"{who}-i",
             "traits": {"name": "N", "vendor_type": type_, "created_at": "2025-01-01T00:00:00Z"}},
            {"type": "track", "userId": who, "messageId": f"{who}-l", "event": "login"},
        ]  # fmt: skip
        items += [
            {
                "type": "track",
                "userId": who,
                "messageId": f"{who}-{n}",
                "event": "feature_used",
                "properties": {"feature": feature},
            }
            for n, feature in enumerate(features)
        ]
        return {"batch": items}

    with server.client("ingest") as client:
        for part in range(3):
            many = [f"shoot-{part}/{n}" for n in range(300)]
            body = said(noisy, features=many, type_="dj")
            for item in body["batch"]:
                item["messageId"] += f"-{part}"
            assert client.post("/v1/batch", json=body).status_code == 200
        assert (
            client.post(
                "/v1/batch", json=said(good, features=KEYS, type_="photographer")
            ).status_code
            == 200
        )
    server.wait_folded()
    with server.client("read") as client:
        reported = client.get(f"/api/health/score/{good}").json()
    assert reported["components"]["feature_adoption"]["value"] == 1.0 and reported["score"] == 100
    state = state_of(server.database)
    assert set(state[good][0]) == set(KEYS) and state[good][1:] == ({}, False)
    assert state[noisy][0] == {} and len(state[noisy][1]) == KEEPS and state[noisy][2]
    shown = httpx.get(f"{server.base_url}/metrics").text
    assert "everafter_suppliers_beyond_features 1" in shown.splitlines()


@settings(max_examples=40)
@given(
    uses=st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40)), min_size=1, max_size=40
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 10**6),
)
def test_the_row_is_a_function_of_the_events_whatever_their_order(
    uses: list[tuple[str, int]], cuts: list[int], seed: int
) -> None:
    """With room for three others, so that the bound is met all the time."""
    events = [(supplier(1), feature, NOW - timedelta(days=days)) for feature, days in uses]
    slots = {"a": 0, "b": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "MAX_OTHER_FEATURES", 3)
        whole = fold(model.empty_state(), frame(events), slots).activity
        shuffled = random.Random(seed).sample(events, len(events))
        state = model.empty_state()
        edges = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
        for start, end in itertools.pairwise(edges):
            state = fold(state, frame(shuffled[start:end]), slots)
    assert whole.equals(state.activity)
    last: dict[str, int] = {}
    for _, feature, at in events:
        last[feature] = max(last.get(feature, 0), day(at))
    others = sorted(
        ((at, feature) for feature, at in last.items() if feature not in slots), reverse=True
    )
    row = whole.row(0, named=True)
    assert json.loads(row["other_features"]) == {feature: at for at, feature in others[:3]}
    assert row["features_beyond"] == (len(others) > 3)
    assert day(row["last_feature_at"]) == max(last.values())


def test_the_bound_is_met_exactly() -> None:
    known = {f"f{n:03d}": 100 + n for n in range(KEEPS)}
    assert keep_latest(known, {})[1] is False
    text, more = keep_latest(known, {"new": 99})
    assert more and "new" not in json.loads(text) and len(json.loads(text)) == KEEPS
    text, more = keep_latest(known, {"new": 101})
    assert more and "new" in json.loads(text) and "f000" not in json.loads(text)


@settings(max_examples=30)
@given(
    reports=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 30)), min_size=1, max_size=25
    ),
    seed=st.integers(0, 10**6),
)
def test_resources_are_bounded_alike_in_any_order(
    reports: list[tuple[str, int]], seed: int
) -> None:
    rows = [
        (
            supplier(1),
            "usage_reported",
            NOW - timedelta(days=days),
            json.dumps({"resource": name, "used": days, "limit": 100}),
        )
        for name, days in reports
    ]
    shuffled = random.Random(seed).sample(rows, len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "MAX_RESOURCES", 3)
        state = model.empty_state()
        for row in shuffled:
            state = fold(state, pl.DataFrame([row], schema=model.EVENTS_SCHEMA, orient="row"), {})
    last = {name: min(days for other, days in reports if other == name) for name, _ in reports}
    kept = sorted(((-days, name) for name, days in last.items()), reverse=True)[:3]
    row = state.activity.row(0, named=True)
    assert {name: report[0] for name, report in json.loads(row["usage"]).items()} == {
        name: -days for days, name in kept
    }
    assert row["usage_ratio"] == max(-days for days, _ in kept) / 100


def test_names_of_events_are_bounded_and_those_in_use_stay(database: str) -> None:
    who = supplier(30)
    noise = [(who, f"=visited /album/{n}", NOW) for n in range(40)]
    asyncio.run(
        store(
            database,
            [
                *noise,
                *[(who, "=contract_signed", NOW)] * 3,
                (who, "=login", NOW),
                (who, "=client_lost_track", NOW),
            ],
        )
    )

    async def forget() -> int:
        async with connection(database, autocommit=True) as conn:
            return await delete_rare_types(conn, 10)

    assert asyncio.run(forget()) == 32
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        types = {kind for (kind,) in conn.execute("SELECT type FROM event_types")}
    assert {"contract_signed", "login"} <= types and len(types) == 11


# ── named late ────────────────────────────────────────────────────────────────────────────────────────────────────────


def endless(who: str, count: int, *, last: datetime = NOW) -> list[Use]:
    return [(who, f"page-{n}", last - timedelta(hours=n)) for n in range(count)]


def test_a_feature_named_after_it_was_used_counts_from_its_use(database: str) -> None:
    """In a row of few names, of exactly as many as a row keeps, and of far more, where the stored events know it."""
    few, full, beyond, none = (supplier(n) for n in (1, 2, 3, 4))
    old = NOW - timedelta(days=200)
    uses: list[Use] = [
        (few, "forms", NOW - timedelta(days=3)), (few, "forms", NOW - timedelta(days=1)), (few, "=form_created", old),
        (full, "forms", old), *endless(full, KEEPS - 1),
        (beyond, "forms", old), *endless(beyond, 3 * KEEPS), (beyond, "=customer_journey_started", old + timedelta(days=1)),
        (none, "=login", NOW),
    ]  # fmt: skip
    asyncio.run(store(database, uses, fold_in=50))
    before = state_of(database)
    assert [before[who][2] for who in (few, full, beyond, none)] == [False, False, True, False]
    assert "forms" not in before[beyond][1], "it was dropped, as one of the longest unused"
    assert asyncio.run(name(database, ["forms", "journeys", "never_used"])) == 3
    after = state_of(database)
    assert after[few][0] == {"forms": day(NOW - timedelta(days=1))}
    assert (
        after[full][0] == {"forms": day(old)}
        and len(after[full][1]) == KEEPS - 1
        and not after[full][2]
    )
    assert (
        after[beyond][0] == {"forms": day(old), "journeys": day(old + timedelta(days=1))}
        and after[beyond][2]
    )
    assert after[none] == ({}, {}, False)
    assert asyncio.run(name(database, ["forms", "journeys", "never_used"])) == 0, (
        "the second time there is nothing to do"
    )
    asyncio.run(store(database, [(beyond, "forms", NOW), (none, "never_used", NOW)]))
    assert (
        state_of(database)[beyond][0]["forms"]
        == day(NOW)
        == state_of(database)[none][0]["never_used"]
    )


def test_what_is_still_pending_is_counted_once(database: str) -> None:
    who = supplier(9)
    asyncio.run(store(database, endless(who, 2 * KEEPS)))

    async def send_name_fold() -> None:
        async with connection(database, autocommit=True) as conn:
            events = frame([(who, "forms", NOW)]).with_columns(
                pl.lit("m").alias("message_id"), pl.lit(NOW).cast(model.TIME).alias("received_at")
            )
            async with conn.transaction():
                await store_events_in_bulk(conn, events)
            await name_features(conn, ["forms"])
            while await fold_events(conn):
                pass

    asyncio.run(send_name_fold())
    assert state_of(database)[who][0] == {"forms": day(NOW)}
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        assert conn.execute("SELECT events_total FROM supplier_activity").fetchone() == (
            2 * KEEPS + 1,
        )


def test_events_that_come_while_a_feature_is_named_lose_nothing(database: str) -> None:
    """Folders and namers at once: whoever comes first, the row ends the same."""
    people = [supplier(n) for n in range(1, 13)]

    async def all_at_once() -> None:
        async def send(who: str) -> None:
            for n in range(6):
                await store(
                    database, [(who, f"feature_{n}", NOW - timedelta(days=n)), (who, "=login", NOW)]
                )

        await asyncio.gather(
            *map(send, people),
            *(name(database, [f"feature_{n}" for n in range(m)]) for m in (2, 4, 6)),
        )

    asyncio.run(all_at_once())
    asyncio.run(name(database, [f"feature_{n}" for n in range(6)]))
    expected = {f"feature_{n}": day(NOW - timedelta(days=n)) for n in range(6)}
    assert all(state_of(database)[who] == (expected, {}, False) for who in people)


# ── slots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_slots_are_kept_until_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_FEATURES", 4)
    known = {"a": 0, "b": 1}
    assert assign_slots(known, ["b", "c"]) == {"a": 0, "b": 1, "c": 2}
    assert assign_slots({**known, "c": 2}, ["c", "d"]) == {"c": 2, "d": 0}
    assert assign_slots({**known, "c": 2, "d": 3}, "abcd") == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert needs_slots(known, ["c"]) and not needs_slots(known, ["a"])
    assert needs_slots({**known, "c": 2, "d": 3}, "ab") and not needs_slots(
        {**known, "c": 2, "d": 3}, "abcd"
    )
    with pytest.raises(InputError, match="names 5 features; at most 4"):
        assign_slots(known, "abcde")


def test_when_slots_change_hands_nothing_is_lost(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MAX_FEATURES", 4)
    who = supplier(5)
    asyncio.run(
        store(
            database,
            [(who, feature, NOW - timedelta(days=n)) for n, feature in enumerate("abcdef")],
        )
    )
    asyncio.run(name(database, ["a", "b", "c"]))
    asyncio.run(name(database, ["c", "d", "e"]))
    named, others, beyond = state_of(database)[who]
    assert named == {
        feature: day(NOW - timedelta(days=n)) for feature, n in (("c", 2), ("d", 3), ("e", 4))
    }
    assert (
        others
        == {feature: day(NOW - timedelta(days=n)) for feature, n in (("a", 0), ("b", 1), ("f", 5))}
        and not beyond
    )


# ── an installation from before ───────────────────────────────────────────────────────────────────────────────────────


def test_an_installation_whose_slots_were_taken_becomes_right(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As migrations 1 to 4 and the program of then left it: 512 names hold the slots, the playbook's were dropped."""
    all_of_them = db.list_migrations()
    database = f"taken_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{database}"')  # type: ignore[arg-type]
    url = with_database(server_url, database)
    try:
        monkeypatch.setattr(db, "list_migrations", lambda: all_of_them[:4])
        asyncio.run(db.migrate(url))
        noisy, good, half = (supplier(n) for n in (7, 8, 6))
        uses = [
            *((noisy, f"album/{n:03d}", NOW - timedelta(hours=1)) for n in range(600)),
            *((good, feature, NOW - timedelta(days=n)) for n, feature in enumerate(KEYS)),
            (half, "album/007", NOW - timedelta(days=2)), (half, "forms", NOW - timedelta(days=5)),
        ]  # fmt: skip
        with psycopg.connect(url, options="-c search_path=everafter") as conn:
            _as_then(conn, uses)
        monkeypatch.setattr(db, "list_migrations", lambda: all_of_them)
        assert "0005_features.sql" in asyncio.run(db.migrate(url))
        summary = asyncio.run(
            run_day(url, load_playbook_of_the_house(), NOW + timedelta(seconds=1))
        )
        assert summary.suppliers == 3
        named = {feature: day(NOW - timedelta(days=n)) for n, feature in enumerate(KEYS)}
        state = state_of(url)
        assert state[good] == (named, {}, False)
        assert state[half] == (
            {"forms": day(NOW - timedelta(days=5))},
            {"album/007": day(NOW - timedelta(days=2))},
            False,
        )
        assert state[noisy][0] == {} and len(state[noisy][1]) == KEEPS and state[noisy][2]
        with psycopg.connect(url, options="-c search_path=everafter") as conn:
            assert conn.execute(
                "SELECT feature_adoption_score FROM customer_health WHERE supplier_id = %s", [good]
            ).fetchone() == (100,)
            assert conn.execute("SELECT max(feature_id) < 64 FROM features").fetchone() == (
                True,
            ), "the noise has no slots any more"
    finally:
        with psycopg.connect(server_url, autocommit=True) as conn:
            conn.execute(f'DROP DATABASE "{database}" WITH (FORCE)')  # type: ignore[arg-type]


def load_playbook_of_the_house() -> Playbook:
    from everafter.core.settings import load_settings

    return load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))


def _as_then(conn: psycopg.Connection[Any], uses: list[Use]) -> None:
    """What the program before 0005 wrote for these uses: first come, first slot, 512 in all."""
    slots: dict[str, int] = {}
    rows: dict[str, dict[int, int]] = {}
    for who, feature, at in uses:
        if feature not in slots and len(slots) < 512:
            slots[feature] = len(slots)
        held = rows.setdefault(who, {})
        if feature in slots:
            held[slots[feature]] = max(held.get(slots[feature], 0), day(at))
    for feature, slot in slots.items():
        conn.execute("INSERT INTO features VALUES (%s, %s)", [feature, slot])
    for who, held in rows.items():
        days = b"".join(
            held.get(n, 0).to_bytes(2, "little") for n in range(max(held, default=-1) + 1)
        )
        of_mine = [at for other, _, at in uses if other == who]
        conn.execute(
            "INSERT INTO suppliers (id, name, vendor_type, created_at) VALUES (%s, 'S', 'photographer', %s)",
            [who, NOW - timedelta(days=90)],
        )
        empty = "login_days, clients_active_d, feature_uses_w, clients_lost_w, forms_sent_w, forms_answered_w, emails_sent_w, emails_opened_w, tickets_w, payments_failed_w"  # fmt: skip
        conn.execute(
            f"INSERT INTO pulse (supplier_id, events_total, first_event_at, last_event_at, feature_days, clients_added, clients_total,"  # type: ignore[arg-type]
            f" weddings, tickets_open, {empty}) VALUES (%s, %s, %s, %s, %s, 0, 0, '{{}}', 0, decode(repeat('00', 24), 'hex'),"
            f" decode(repeat('00', 128), 'hex'), {', '.join(['decode(repeat(%s, 32), %s)'] * 8)})",
            [who, len(of_mine), min(of_mine), max(of_mine), days, *(["00", "hex"] * 8)],
        )
    for n, (who, feature, at) in enumerate(uses):
        conn.execute(
            "INSERT INTO events (supplier_id, message_id, type, occurred_at, properties) VALUES (%s, %s, 'feature_used', %s, %s)",
            [who, str(n), at, json.dumps({"feature": feature})],
        )
    conn.commit()


# ── scored by a policy that is new ────────────────────────────────────────────────────────────────────────────────────

POLICY = parse_playbook(
    'name="p"\n[segments.default]\ntitle="x"\nkey_features=["maps","forms"]\n[triggers.t]\nwhen="features_adopted >= 2"\n'
    'action="a"\nchannel="task"\nreason="r"\nsuccess="days_since_login < 3"\n',
    "p",
)


def test_a_dry_run_of_a_new_policy_says_what_the_run_will(database: str) -> None:
    both, beyond = supplier(21), supplier(22)
    old = NOW - timedelta(days=30)
    asyncio.run(
        store(
            database,
            [
                (both, "maps", NOW),
                (both, "forms", old),
                (beyond, "maps", old),
                (beyond, "forms", old),
                *endless(beyond, 2 * KEEPS),
            ],
        )
    )
    trial = structs.replace(POLICY, name="trial")
    dry = asyncio.run(run_day(database, trial, dry_run=True))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        assert conn.execute("SELECT count(*) FROM features").fetchone() == (0,), (
            "a trial names nothing"
        )
    wet = asyncio.run(run_day(database, trial))
    assert (
        dry.interventions == wet.interventions
        and wet.interventions.triggered + wet.interventions.holdout == 2
    )
    past = asyncio.run(
        run_day(database, trial, old + timedelta(hours=1), replay=True, dry_run=True)
    ).interventions
    assert past.triggered + past.holdout + sum(past.skipped.values()) == 1, (
        "as of then one had used both"
    )
    assert asyncio.run(_ids(database)).keys() == {"maps", "forms"}


async def _ids(url: str) -> dict[str, int]:
    async with connection(url) as conn:
        return await get_feature_ids(conn)
