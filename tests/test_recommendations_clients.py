"""The clients' side: who is read, what is known of each, which of them is named."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from everafter.core.db import connection
from everafter.playbook.model import Playbook, Recommendation, Segment
from everafter.recommendations.client_model import RAW_SCHEMA
from everafter.recommendations.client_rules import choose_clients, describe_clients
from everafter.recommendations.queries import read_clients
from everafter.recommendations.rules import recommend
from everafter.signals.model import CLIENT_SCHEMA, CLIENT_SIGNALS
from test_recommendations_rules import GAPS, SHIPPED, frame, recommendation

AS_OF = datetime(2026, 6, 1, 12, tzinfo=UTC)


def ago(days: float) -> datetime:
    return AS_OF - timedelta(days=days)


def raw(*rows: dict[str, Any]) -> pl.DataFrame:
    blank: dict[str, Any] = {**dict.fromkeys(RAW_SCHEMA), "supplier_id": "s0"}
    return pl.DataFrame(
        [blank | {"client_id": f"c{n}"} | row for n, row in enumerate(rows)], schema=RAW_SCHEMA
    )


def policy(**clients: Recommendation) -> Playbook:
    return Playbook(
        "test", {"default": Segment("All", ["forms"])}, {}, client_recommendations=clients
    )


def about(when: str, closes: Any = None, title: str = "Ring {client_name}") -> Recommendation:
    return Recommendation(
        when,
        title,
        "Soon.",
        "{client_name} wait {form_waiting_days} days",
        "Open",
        "/clients/{client_id}",
        closes,
    )


# ── what is known of a client ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_in_whole_days() -> None:
    row = {
        "name": "Emma & Jonas",
        "wedding_date": date(2026, 6, 25),
        "added_at": ago(200),
        "last_active_at": ago(9.9),
        "forms_sent": 3,
        "forms_unanswered": 2,
        "form_sent_at": ago(9.2),
        "emails_unopened": 1,
    }
    [client] = describe_clients(raw(row), AS_OF).to_dicts()
    assert client == {
        "supplier_id": "s0",
        "client_id": "c0",
        "client_name": "Emma & Jonas",
        "days_to_wedding": 24,
        "forms_sent": 3,
        "forms_unanswered": 2,
        "form_waiting_days": 9,
        "emails_unopened": 1,
        "days_since_active": 9,
        "portal_inactive_days": 9,
    }


def test_what_is_not_known_of_a_client_is_null() -> None:
    [nothing, added] = describe_clients(
        raw({}, {"added_at": ago(40), "wedding_date": AS_OF.date()}), AS_OF
    ).to_dicts()
    assert {name: nothing[name] for name in CLIENT_SCHEMA if nothing[name] is not None} == {
        "forms_sent": 0,
        "forms_unanswered": 0,
        "emails_unopened": 0,
    }
    assert (
        added["days_since_active"],
        added["portal_inactive_days"],
        added["days_to_wedding"],
    ) == (None, 40, 0)
    never_null = {signal.name for signal in CLIENT_SIGNALS if signal.null == "never null"}
    assert never_null == {"forms_sent", "forms_unanswered", "emails_unopened"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Emma & Jonas", "Emma & Jonas"),
        ("{forms_unanswered} {client_name} {0}", "{forms_unanswered} {client_name} {0}"),
        ("<b onclick=x>Ann</b> & Bo", "<b onclick=x>Ann</b> & Bo"),
        ("👰🏽‍♀️ & 🤵", "👰🏽‍♀️ & 🤵"),
        ("Ann\r\nBcc: all@example.com\u202e", "Ann Bcc: all@example.com"),
        ("A" * 500, "A" * 59 + "…"),
        ("  \t ", "a couple"),
        ("", "a couple"),
        (None, "a couple"),
    ],
)
def test_any_name_is_said_as_it_is_and_begins_nothing(name: str | None, said: str) -> None:
    clients = describe_clients(
        raw({"name": name, "forms_unanswered": 1, "form_sent_at": ago(9)}), AS_OF
    )
    [row] = recommend(frame({}), policy(a=about("forms_unanswered >= 1")), clients).to_dicts()
    assert row["title"] == f"Ring {said}"
    assert row["reason"] == f"{said[:1].upper()}{said[1:]} wait 9 days"
    assert row["client_id"] == "c0" and row["action_url"] == "/clients/c0"


def test_an_id_is_put_into_the_address_so_that_it_stays_one_part() -> None:
    clients = describe_clients(raw({"client_id": "a/../b?c=1 #ü{client_id}"}), AS_OF)
    [row] = recommend(frame({}), policy(a=about("forms_unanswered = 0")), clients).to_dicts()
    assert row["action_url"] == "/clients/a%2F..%2Fb%3Fc%3D1%20%23%C3%BC%7Bclient_id%7D"


def test_a_client_without_a_name_in_german() -> None:
    german = Recommendation(
        "forms_unanswered = 0",
        "Ring {client_name}",
        "Now",
        "{client_name} wait",
        "Go",
        "/",
        translations={"de": {"title": "{client_name} wartet"}},
    )
    [row] = recommend(
        frame({}), policy(a=german), describe_clients(raw({}), AS_OF), language="de-AT"
    ).to_dicts()
    assert (row["title"], row["reason"]) == ("Ein Paar wartet", "A couple wait")


# ── which of them ─────────────────────────────────────────────────────────────────────────────────────────────────────

client_rows = st.fixed_dictionaries(
    {
        "supplier_id": st.sampled_from(["s0", "s1", "s2"]),
        "wedding_date": st.none()
        | st.integers(0, 400).map(lambda d: AS_OF.date() + timedelta(days=d)),
        "added_at": st.none() | st.integers(0, 500).map(ago),
        "last_active_at": st.none() | st.integers(0, 300).map(ago),
        "forms_sent": st.integers(0, 4),
        "forms_unanswered": st.integers(0, 3),
        "form_sent_at": st.none() | st.integers(0, 150).map(ago),
        "emails_unopened": st.integers(0, 5),
        "name": st.none() | st.text(max_size=80),
    }
)


def plain(client: dict[str, Any]) -> str | None:
    """The shipped conditions in plain Python, the first that is true."""
    days, wait, inactive = (
        client[name] for name in ("days_to_wedding", "form_waiting_days", "portal_inactive_days")
    )
    if days is not None and days <= 3 and client["forms_unanswered"] >= 1:
        return "answers_missing_on_the_eve"
    if wait is not None and days is not None and wait >= 5 and 4 <= days <= 42:
        return "form_late_before_the_day"
    if days is not None and 4 <= days <= 42 and client["forms_sent"] == 0:
        return "wedding_near_without_form"
    if days is not None and inactive is not None and 2 <= days <= 35 and inactive >= 14:
        return "wedding_near_inactive"
    if wait is not None and 8 <= wait <= 120:
        return "form_stalled"
    if (
        inactive is not None
        and client["emails_unopened"] >= 3
        and inactive >= 21
        and (days is None or days > 1)
    ):
        return "emails_unread"
    if inactive is not None and days is not None and inactive >= 30 and 36 <= days <= 300:
        return "portal_inactive"
    return None


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(client_rows, max_size=30), order=st.randoms(use_true_random=False))
def test_the_neediest_client_of_each_kind_as_plain_python_finds_it(
    rows: list[dict[str, Any]], order: Any
) -> None:
    clients = describe_clients(raw(*rows), AS_OF)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for client in clients.to_dicts():
        if name := plain(client):
            groups.setdefault((client["supplier_id"], name), []).append(client)
    expected = {
        key: (
            min(
                group,
                key=lambda c: (
                    c["days_to_wedding"] if c["days_to_wedding"] is not None else 10**6,
                    -(c["form_waiting_days"] if c["form_waiting_days"] is not None else -1),
                    c["client_id"],
                ),
            )["client_id"],
            len(group) - 1,
        )
        for key, group in groups.items()
    }
    found = {
        (supplier, name): (client, others)
        for supplier, name, client, others in choose_clients(clients, SHIPPED)
        .select("supplier_id", "id", "client_id", "others")
        .iter_rows()
    }
    assert found == expected
    shuffled = (
        clients.sample(fraction=1, shuffle=True, seed=order.randrange(10**6))
        if clients.height
        else clients
    )
    keys = ["supplier_id", "id"]
    assert_frame_equal(
        choose_clients(shuffled, SHIPPED).sort(keys), choose_clients(clients, SHIPPED).sort(keys)
    )
    named = [row["client_id"] for row in choose_clients(clients, SHIPPED).to_dicts()]
    assert len(named) == len(set(named)), "nobody is named twice"
    three = frame({"supplier_id": "s0"}, {"supplier_id": "s1"}, {"supplier_id": "s2"})
    together = recommend(three, SHIPPED, clients)
    alone = pl.concat(
        [recommend(three[n], SHIPPED, clients.filter(supplier_id=f"s{n}")) for n in range(3)]
    )
    assert_frame_equal(together, alone)
    assert together.select(pl.col("title", "body", "reason").str.len_chars().min() > 0).height


def test_the_eve_of_a_wedding_comes_before_everything() -> None:
    clients = describe_clients(
        raw(
            {
                "name": "Emma & Jonas",
                "wedding_date": AS_OF.date() + timedelta(days=24),
                "forms_unanswered": 1,
                "form_sent_at": ago(9),
            },
            {
                "name": "Ada & Max",
                "wedding_date": AS_OF.date() + timedelta(days=1),
                "forms_unanswered": 2,
                "form_sent_at": ago(2),
            },
        ),
        AS_OF,
    )
    row = {
        **GAPS,
        "payment_past_due": True,
        "days_past_due": 3.0,
        "forms_waiting": 2,
        "days_to_next_wedding": 1,
    }
    found = recommend(frame(row), SHIPPED, clients)
    first = [
        "answers_missing_on_the_eve",
        "settle_the_payment",
        "form_late_before_the_day",
        "forms_before_the_day",
    ]
    assert found["id"].to_list()[:4] == first
    assert (
        found["reason"][0] == "The wedding of Ada & Max is tomorrow. 2 forms are still unanswered."
    )
    assert (
        found["reason"][2]
        == "Emma & Jonas received the form 9 days ago, and the wedding is in 24 days."
    )
    assert found["client_name"].to_list()[:4] == ["Ada & Max", None, "Emma & Jonas", None]


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────


def read(url: str, ids: list[str], **terms: Any) -> pl.DataFrame:
    async def go() -> pl.DataFrame:
        async with connection(url) as conn:
            return await read_clients(conn, ids, AS_OF, **terms)

    return asyncio.run(go()).sort("supplier_id", "client_id")


def store(url: str, clients: list[tuple[Any, ...]], items: list[tuple[Any, ...]] = []) -> None:  # noqa: B006 never changed
    async def go() -> None:
        async with connection(url) as conn, conn.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO clients (supplier_id, client_id, name, wedding_date, added_at, readded_at, last_active_at, archived_at,"
                " lost_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                clients,
            )
            await cursor.executemany(
                "INSERT INTO sent_items (supplier_id, kind, item_id, client_id, sent_at, answered_at) VALUES (%s, %s, %s, %s, %s, %s)",
                items,
            )

    asyncio.run(go())


def test_archived_lost_and_past_clients_are_left_out(database: str) -> None:
    one, other, day = str(uuid4()), str(uuid4()), AS_OF.date()
    store(
        database,
        [
            (
                one,
                "open",
                "Emma & Jonas",
                day + timedelta(days=24),
                ago(90),
                ago(90),
                ago(9),
                None,
                None,
            ),
            (one, "today", None, day, ago(90), ago(90), None, None, None),
            (one, "dateless", "Ann", None, ago(90), ago(90), None, None, None),
            (one, "past", "Absent", day - timedelta(days=1), ago(90), ago(90), None, None, None),
            (
                one,
                "archived",
                "Absent",
                day + timedelta(days=5),
                ago(90),
                ago(90),
                None,
                ago(2),
                None,
            ),
            (one, "lost", "Absent", day + timedelta(days=5), ago(90), ago(90), None, None, ago(2)),
            (one, "back", "Back", day + timedelta(days=5), ago(90), ago(1), None, ago(2), ago(3)),
            (
                other,
                "theirs",
                "Not ours",
                day + timedelta(days=5),
                ago(90),
                ago(90),
                None,
                None,
                None,
            ),
        ],
        [
            (one, "form", "f1", "open", ago(9), None),
            (one, "form", "f2", "open", ago(20), ago(18)),
            (
                one,
                "form",
                "f3",
                "open",
                ago(300),
                None,
            ),  # half a year on nobody waits for it any more
            (one, "form", "f4", "open", AS_OF + timedelta(days=1), None),
            (one, "journey_email", "m1", "open", ago(30), None),
            (one, "journey_email", "m2", "open", ago(20), ago(19)),
            (
                other,
                "form",
                "f1",
                "open",
                ago(99),
                None,
            ),  # another supplier's client of the same id
        ],
    )
    found = {row["client_id"]: row for row in read(database, [one]).to_dicts()}
    assert found.keys() == {"open", "today", "dateless", "back"}
    assert (
        found["open"]["forms_sent"] == 3
        and found["open"]["forms_unanswered"] == 1
        and found["open"]["emails_unopened"] == 1
    )
    assert found["open"]["form_sent_at"] == ago(9) and found["open"]["last_active_at"] == ago(9)
    assert found["today"]["name"] is None and found["back"]["added_at"] == ago(1)
    assert read(database, [one, other])["supplier_id"].n_unique() == 2
    assert read(database, [str(uuid4())]).is_empty() and read(database, []).is_empty()


def test_only_the_nearest_weddings_are_read(database: str) -> None:
    one, day = str(uuid4()), AS_OF.date()
    store(
        database,
        [
            (one, f"c{n:03}", "x" * 1000, day + timedelta(days=n), ago(9), ago(9), None, None, None)
            for n in range(230)
        ],
    )
    found = read(database, [one])
    assert found.height == 200 and found["wedding_date"].max() == day + timedelta(days=199)
    assert found["name"].str.len_chars().max() == 200
    assert read(database, [one], most=3)["client_id"].to_list() == ["c000", "c001", "c002"]


def test_names_survive_the_way_out_of_the_database(database: str) -> None:
    one, day = str(uuid4()), AS_OF.date()
    names = [
        'Ann "A", Bo',
        "two\nlines",
        "back\\slash, \\N",
        "{x}",
        "👰🏽‍♀️",
        "'; DROP TABLE clients; --",
        "ab\u202ecd",
    ]
    store(
        database,
        [
            (one, f"c{n}", name, day, ago(9), ago(9), None, None, None)
            for n, name in enumerate(names)
        ],
    )
    assert read(database, [one])["name"].to_list() == names


def test_a_general_recommendation_needs_no_clients() -> None:
    found = recommend(
        frame({**GAPS, "clients_total": 1}),
        Playbook(
            "t",
            {"default": Segment("All", ["forms"])},
            {},
            client_recommendations={"a": about("forms_unanswered >= 1")},
            recommendations={"b": recommendation("clients_total = 1", "login")},
        ),
    )
    assert found["id"].to_list() == ["b"] and found["about"].to_list() == [None]
