"""Ingest over real HTTP, in the Segment dialect."""

import base64
import gzip
import json
import random
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from helpers_server import Server

NOW = datetime.now(UTC)


@pytest.fixture
def supplier(server: Server) -> str:
    """The id of a supplier that is known."""
    supplier_id = str(uuid.uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Known')", supplier_id)
    return supplier_id


@pytest.fixture
def key(server: Server) -> str:
    return server.key("ingest")


def track(supplier_id: str, event: str = "login", **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": supplier_id, "event": event, "messageId": str(uuid.uuid4()), **more}


def post(server: Server, key: str | None, body: Any, path: str = "/v1/batch", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    auth = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(server.base_url + path, content=content, headers={**auth, **headers}, timeout=30)


def batch(*events: Any) -> dict[str, Any]:
    return {"batch": list(events), "sentAt": datetime.now(UTC).isoformat()}


def codes(answer: httpx.Response) -> list[tuple[int, str]]:
    return [(one["index"], one["code"]) for one in answer.json()["rejected"]]


def test_a_batch_is_stored_once_and_folded(server: Server, supplier: str, key: str) -> None:
    events = [track(supplier) for _ in range(5)] + [track(supplier, "feature_used", properties={"feature": "forms"})]
    first, again = post(server, key, batch(*events)), post(server, key, batch(*events))
    assert first.status_code == again.status_code == 200
    assert first.json() == {"success": True, "accepted": 6, "duplicates": 0, "rejected": []}
    assert again.json() == {"success": True, "accepted": 0, "duplicates": 6, "rejected": []}
    server.wait_folded()
    assert server.sql("SELECT count(*) FROM events") == [(6,)]
    assert server.sql("SELECT events_total FROM pulse WHERE supplier_id = %s", supplier) == [(6,)]
