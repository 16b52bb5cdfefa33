"""Recommendations over HTTP: from events to recommendations, impressions and effects."""

from datetime import UTC, datetime, timedelta
from threading import get_ident
from typing import Any
from uuid import uuid4

import pytest

from everafter.recommendations import live
from helpers_ids import control_id, treated_id
from helpers_pages import browser, signed_in
from helpers_server import Server
from test_recommendations_rules import SHIPPED

PATH = "/api/success/recommendations"
TEAM = {"audience": "team"}


def test_events_become_recommendation_in_the_suppliers_own_numbers(server: Server) -> None:
    supplier = str(uuid4())
    server.sql(
        "INSERT INTO suppliers (id, name, vendor_type) VALUES (%s, 'Rosa Flowers', 'florist')",
        supplier,
    )
    at = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    events = [{"event": "account_created", "properties": {}}, {"event": "login", "properties": {}}]
    events += [{"event": "client_added", "properties": {"client_id": f"c{n}"}} for n in range(4)]
    events += [
        {"event": "form_sent", "properties": {"client_id": f"c{n}", "form_id": "f"}}
        for n in range(3)
    ]
    with server.client("ingest") as sender, server.client("read") as reader:
        body = {
            "batch": [
                {"type": "track", "userId": supplier, "messageId": f"m{n}", "timestamp": at, **e}
                for n, e in enumerate(events)
            ]
        }
        assert sender.post("/v1/batch", json=body).status_code == 200
        server.wait_folded()
        answer = reader.get(f"{PATH}/{supplier}", params=TEAM)
    assert answer.status_code == 200
    found = answer.json()["recommendations"]
    assert found, "forty inactive days and three waiting forms call for something"
    assert [one["priority"] for one in found] == list(range(1, len(found) + 1))
    assert all(
        {"id", "title", "body", "reason", "action", "priority"} <= one.keys() for one in found
    )
    by_id = {one["id"]: one for one in found}
    assert "40 days ago" in by_id["log_in_again"]["reason"]
    assert by_id["log_in_again"]["action"]["url"].startswith("/")
    points = [one["expected_points"] for one in found if one["dimension"]]
    assert points == sorted(points, reverse=True) and points[0] > 0


def test_unknown_suppliers_and_keys_of_another_scope(server: Server) -> None:
    with (
        server.client("read") as reader,
        server.client("ingest") as sender,
        server.client() as nobody,
    ):
        assert reader.get(f"{PATH}/{uuid4()}").status_code == 404
        assert reader.get(f"{PATH}/rosa").status_code == 404
        assert sender.get(f"{PATH}/{uuid4()}").status_code == 403
        assert nobody.get(f"{PATH}/{uuid4()}").status_code == 401


def test_a_supplier_of_whom_nothing_is_known_is_no_error(server: Server) -> None:
    supplier = str(uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Rosa Flowers')", supplier)
    with server.client("read") as reader:
        answer = reader.get(f"{PATH}/{supplier}")
    assert answer.status_code == 200
    assert answer.json()["supplier_id"] == supplier


# ── clients, impressions and effects ──────────────────────────────────────────────────────────────────────────────────────


def send_history(
    server: Server,
    name: str = "Emma & Jonas",
    vendor_type: str = "dj",
    supplier: str | None = None,
) -> str:
    """A DJ with five clients; the first has waited for 9 days with a form, and marries in 24. It is in no holdout."""
    supplier = supplier or treated_id(SHIPPED)
    server.sql(
        "INSERT INTO suppliers (id, name, vendor_type) VALUES (%s, 'Night Shift', %s)",
        supplier,
        vendor_type,
    )
    now = datetime.now(UTC)

    def event(kind: str, days: float, **properties: Any) -> dict[str, Any]:
        at = (now - timedelta(days=days)).isoformat()
        return {
            "type": "track",
            "userId": supplier,
            "messageId": str(uuid4()),
            "timestamp": at,
            "event": kind,
            "properties": properties,
        }

    batch = [event("login", 1)]
    for n in range(5):
        wedding = (now.date() + timedelta(days=24 + 100 * n)).isoformat()
        batch.append(
            event(
                "client_added",
                80,
                client_id=f"c{n}",
                wedding_date=wedding,
                name=name if n == 0 else f"Pair {n}",
            )
        )
        batch.append(event("client_active", 12, client_id=f"c{n}"))
        batch.append(event("form_sent", 9.5, client_id=f"c{n}", form_id="f"))
    batch += [event("form_completed", 8, client_id=f"c{n}", form_id="f") for n in range(2, 5)]
    with server.client("ingest") as sender:
        answer = sender.post("/v1/batch", json={"batch": batch})
        assert answer.status_code == 200 and answer.json()["rejected"] == []
    server.wait_folded()
    return supplier


@pytest.mark.parametrize(
    "name",
    [
        "Emma & Jonas",
        "{forms_waiting} {client_name}",
        "<img src=x onerror=alert(1)>",
        "👰🏽 & 🤵",
        "Ann\nBo",
    ],
)
def test_the_next_step_names_the_client_and_the_day(server: Server, name: str) -> None:
    supplier = send_history(server, name)
    with server.client("read") as reader:
        found = {
            one["id"]: one
            for one in reader.get(f"{PATH}/{supplier}", params=TEAM).json()["recommendations"]
        }
        german = reader.get(f"{PATH}/{supplier}", params={"locale": "de-CH", **TEAM}).json()[
            "recommendations"
        ]
    shown = " ".join(name.split())
    step = found["form_late_before_the_day"]
    assert step["reason"] == f"{shown} received the form 9 days ago, and the wedding is in 24 days."
    assert step["action"] == {"label": "Send a reminder", "url": "/clients/c0/forms"}
    assert step["client"] == {"client_id": "c0", "name": shown, "others": 0}
    assert (
        step["dimension"] == "form_completion"
        and 0 < step["expected_points"] < step["missing_points"]
    )
    assert step["effect"] is None
    assert found["form_stalled"]["client"]["client_id"] == "c1", (
        "the second who waits is named by the next recommendations"
    )
    [in_german] = [one for one in german if one["id"] == "form_late_before_the_day"]
    assert (
        in_german["reason"]
        == f"{shown}: Das Formular wartet seit 9 Tagen, die Hochzeit ist in 24 Tagen."
    )


def test_its_effect_is_beside_it(server: Server) -> None:
    supplier = send_history(server)
    counts = [
        ("form_late_before_the_day", "", 900, 400, 100, 20),
        ("form_late_before_the_day", "dj", 60, 45, 20, 5),
    ]
    for row in counts:
        server.sql("INSERT INTO recommendation_effects (recommendation_id, vendor_type, treated, treated_improved, control, control_improved)"
                   " VALUES (%s, %s, %s, %s, %s, %s)", *row)  # fmt: skip
    with server.client("read") as reader:
        found = {
            one["id"]: one
            for one in reader.get(f"{PATH}/{supplier}", params=TEAM).json()["recommendations"]
        }
        effects = reader.get("/api/success/recommendation-effects").json()
    effect = found["form_late_before_the_day"]["effect"]
    assert effect == {
        "treated": 60,
        "treated_improved": 45,
        "control": 20,
        "control_improved": 5,
        "vendor_type": "dj",
    }
    assert effects["measured_at"]
    whole, dj = effects["effects"]
    assert (whole["vendor_type"], whole["title"], whole["dimension"]) == (
        None,
        "Remind a couple of the form",
        "form_completion",
    )
    assert round(whole["lift"], 3) == 0.244 and whole["low"] < whole["lift"] < whole["high"]
    assert dj["vendor_type"] == "dj" and dj["expected_share"] > whole["expected_share"] > 0.1


def test_a_platform_says_what_it_showed_once(server: Server) -> None:
    supplier = send_history(server)
    with server.client("read") as reader, server.client("write") as writer:
        shown = reader.get(
            f"{PATH}/{supplier}", params={"audience": "supplier", "limit": 2}
        ).json()["recommendations"]
        assert [one["priority"] for one in shown] == [1, 2]
        ids = [one["id"] for one in shown]
        for _ in range(2):
            assert (
                writer.post(f"{PATH}/{supplier}/impressions", json={"ids": ids}).status_code == 204
            )
        assert (
            writer.post(f"{PATH}/{supplier}/impressions", json={"ids": ["nonsense"]}).status_code
            == 422
        )
        assert writer.post(f"{PATH}/{supplier}/impressions", json={"ids": []}).status_code == 400
        assert (
            writer.post(
                f"{PATH}/{supplier}/impressions", json={"ids": ["x"], "more": 1}
            ).status_code
            == 400
        )
        assert writer.post(f"{PATH}/{uuid4()}/impressions", json={"ids": ids}).status_code == 404
        assert reader.post(f"{PATH}/{supplier}/impressions", json={"ids": ids}).status_code == 403
    given = server.sql(
        "SELECT recommendation_id, channel, vendor_type, points_max > 0, treated FROM recommendation_impressions WHERE treated ORDER BY recommendation_id"
    )
    assert given == sorted((name, "api", "dj", True, True) for name in ids)


def test_impressions_after_a_gap_are_not_recorded(server: Server) -> None:
    supplier = send_history(server)
    with server.client("read") as reader:
        ids = [one["id"] for one in reader.get(f"{PATH}/{supplier}").json()["recommendations"]]
    assert len(ids) >= 3
    with server.client("write") as writer:
        assert (
            writer.post(f"{PATH}/{supplier}/impressions", json={"ids": ids[1:]}).status_code == 204
        )
        assert server.sql("SELECT count(*) FROM recommendation_impressions") == [(0,)]
        assert (
            writer.post(
                f"{PATH}/{supplier}/impressions", json={"ids": [ids[2], ids[0]]}
            ).status_code
            == 204
        )
    assert server.sql("SELECT recommendation_id FROM recommendation_impressions WHERE treated") == [
        (ids[0],)
    ]


def test_nothing_is_computed_on_the_loop_nor_with_a_connection_in_hand(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = send_history(server)
    seen: list[tuple[int, int]] = []
    real = live.recommend

    def watched(*terms: Any) -> Any:
        stats = server.app.state.pool.get_stats()
        seen.append((get_ident(), stats["pool_size"] - stats["pool_available"]))
        return real(*terms)

    monkeypatch.setattr(live, "recommend", watched)
    loops: list[int] = []
    read = live.read_clients

    async def read_watched(*terms: Any) -> Any:
        loops.append(get_ident())
        return await read(*terms)

    monkeypatch.setattr(live, "read_clients", read_watched)
    with server.client("read") as reader, server.client("write") as writer:
        [first, *_] = reader.get(f"{PATH}/{supplier}").json()["recommendations"]
        assert (
            writer.post(f"{PATH}/{supplier}/impressions", json={"ids": [first["id"]]}).status_code
            == 204
        )
    assert len(seen) == len(loops) == 2
    assert not {thread for thread, _ in seen} & set(loops), "others are answered meanwhile"
    assert [lent for _, lent in seen] == [0, 0]


def test_the_control_group_is_kept_from_the_supplier_and_recorded(server: Server) -> None:
    supplier = send_history(server, supplier=control_id(SHIPPED, "form_late_before_the_day"))
    with server.client("read") as reader:
        team, shown, supplier_answer = (
            [
                one["id"]
                for one in reader.get(f"{PATH}/{supplier}", params=params).json()["recommendations"]
            ]
            for params in (TEAM, {}, {"audience": "supplier"})
        )
    assert supplier_answer == shown, "without an audience the answer is what the supplier may see"
    assert "form_late_before_the_day" in team
    assert shown == [one for one in team if one != "form_late_before_the_day"]
    with server.client("write") as writer:
        refused = writer.post(
            f"{PATH}/{supplier}/impressions", json={"ids": ["form_late_before_the_day"]}
        )
        assert refused.status_code == 422
        assert "form_late_before_the_day" in refused.json()["detail"]
        answer = writer.post(f"{PATH}/{supplier}/impressions", json={"ids": shown})
        assert answer.status_code == 204
    recorded = dict(server.sql("SELECT recommendation_id, treated FROM recommendation_impressions"))
    assert recorded == dict.fromkeys(shown, True) | {"form_late_before_the_day": False}


@pytest.mark.parametrize(
    "query", ["audience=everybody", "limit=0", "limit=x", "locale=" + "x" * 40]
)
def test_questions_that_cannot_be_read(server: Server, query: str) -> None:
    with server.client("read") as reader:
        assert reader.get(f"{PATH}/{uuid4()}?{query}").status_code == 400


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_team_reads_the_same_list_with_why(server: Server) -> None:
    supplier = send_history(server, "<img src=x onerror=alert(1)> & Jonas")
    server.sql("INSERT INTO recommendation_effects (recommendation_id, vendor_type, treated, treated_improved, control, control_improved)"
               " VALUES ('form_late_before_the_day', 'dj', 60, 45, 20, 5), ('form_late_before_the_day', '', 60, 45, 20, 5),"
               " ('forgotten', '', 3, 1, 0, 0)")  # fmt: skip
    with signed_in(server) as client:
        page = client.get(f"/suppliers/{supplier}").text
        assert "Recommendations</h2>" in page and "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt; &amp; Jonas received the form 9 days ago" in page
        assert (
            "DJ: 75 % of 60 suppliers that saw it improved within two weeks, 25 % of the control group (20)."
            in page
        )
        effects = client.get("/recommendations").text
        assert "Remind a couple of the form" in effects and "+50 (" in effects
        assert "forgotten" in effects and "Too few: each group needs 10" in effects
        assert ">Treatment</th>" in effects and ">Control</th>" in effects
        server.sql("DELETE FROM recommendation_effects")
        assert "Nothing to compare yet" in client.get("/recommendations").text
        server.sql("UPDATE supplier_activity SET subscription = 'cancelled'")
        churned = client.get(f"/suppliers/{supplier}")
        assert churned.status_code == 200 and "Recommendations</h2>" not in churned.text
    with browser(server) as stranger:
        assert "/sign-in" in stranger.get("/recommendations").headers["location"]
