"""Recommendations over HTTP: from events to the next step."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from helpers_server import Server

PATH = "/api/success/recommendations"


def test_events_become_advice_in_the_suppliers_own_numbers(server: Server) -> None:
    supplier = str(uuid4())
    server.sql("INSERT INTO suppliers (id, name, vendor_type) VALUES (%s, 'Rosa Flowers', 'florist')", supplier)
    at = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    events = [{"event": "account_created", "properties": {}}, {"event": "login", "properties": {}}]
    events += [{"event": "client_added", "properties": {"client_id": f"c{n}"}} for n in range(4)]
    events += [{"event": "form_sent", "properties": {"client_id": f"c{n}", "form_id": "f"}} for n in range(3)]
    with server.client("ingest") as sender, server.client("read") as reader:
        body = {
            "batch": [
                {"type": "track", "userId": supplier, "messageId": f"m{n}", "timestamp": at, **e} for n, e in enumerate(events)
            ]
        }
        assert sender.post("/v1/batch", json=body).status_code == 200
        server.wait_folded()
        answer = reader.get(f"{PATH}/{supplier}")
    assert answer.status_code == 200
    found = answer.json()["recommendations"]
    assert found, "forty silent days and three waiting forms call for something"
    assert [advice["priority"] for advice in found] == list(range(1, len(found) + 1))
    assert all({"id", "title", "body", "reason", "action", "priority"} <= advice.keys() for advice in found)
    by_id = {advice["id"]: advice for advice in found}
    assert "40 days ago" in by_id["log_in_again"]["reason"]
    assert by_id["log_in_again"]["action"]["url"].startswith("/")
    points = [advice["expected_points"] for advice in found if advice["closes"]]
    assert points == sorted(points, reverse=True) and points[0] > 0


def test_unknown_suppliers_and_keys_of_another_scope(server: Server) -> None:
    with server.client("read") as reader, server.client("ingest") as sender, server.client() as nobody:
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
