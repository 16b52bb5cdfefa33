"""A supplier's browser for tests: tokens of every kind, and a client that speaks to the coach."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt

from everafter.core.settings import load_settings
from everafter.playbook.loading import load_playbook
from helpers_ids import treated_id
from helpers_server import Server

SHIPPED = load_playbook(
    load_settings({"EVERAFTER_DATA": "/nonexistent", "EVERAFTER_SECRET": "s" * 32})
)


def claims(supplier_id: str, **changes: Any) -> dict[str, Any]:
    """The claims of a valid token with some changed; None removes a claim."""
    now = int(time.time())
    made = {"sub": supplier_id, "aud": "everafter-coach", "iat": now, "exp": now + 600, **changes}
    return {name: value for name, value in made.items() if value is not None}


def sign(key: str, said: dict[str, Any], algorithm: str = "HS256", **headers: Any) -> str:
    """Signed by a library that is not ours to trust: PyJWT as a platform would use it."""
    return jwt.encode(said, key, algorithm=algorithm, headers={"typ": "coach+jwt", **headers})


_KEYS: dict[str, str] = {}  # one a database, as a platform has one


class Once:
    """A connection for each request, so that none is left open."""

    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self.base_url, self.headers = base_url, headers

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        return httpx.request(
            method,
            self.base_url + path,
            headers={**self.headers, **(headers or {})},
            timeout=30,
            **more,
        )

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


class Browser:
    """One supplier's tab."""

    def __init__(
        self, server: Server, supplier_id: str, key: str | None = None, **changes: Any
    ) -> None:
        self.server, self.supplier_id = server, supplier_id
        self.key = key or _KEYS.setdefault(server.database, "") or server.key("coach")
        _KEYS[server.database] = self.key
        self.token = sign(self.key, claims(supplier_id, **changes))
        headers = {"Authorization": f"Bearer {self.token}", "Origin": "https://platform.example"}
        self.client = Once(server.base_url, headers)

    def look(self, page: str = "/forms", **query: Any) -> dict[str, Any]:
        """What the coach shows on a page."""
        answer = self.client.get("/api/coach", params={"page": page, **query})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tip(self, page: str = "/forms") -> str | None:
        """The id of the tip there."""
        shown = self.look(page)["tip"]
        return shown["id"] if shown else None

    def respond(
        self, tip: str, response: str, until: str | None = None, **headers: str
    ) -> httpx.Response:
        """Respond to a tip."""
        return self.client.post(
            f"/api/coach/tips/{tip}", json={"response": response, "until": until}, headers=headers
        )


def add_supplier(server: Server, **columns: Any) -> str:
    """A supplier that signed up two months ago and is in no holdout of the shipped playbook. `id` names another."""
    supplier_id = columns.pop("id", None) or treated_id(SHIPPED)
    values = {
        "name": "Rosa Flowers",
        "email": "rosa@example.org",
        "vendor_type": "florist",
        "timezone": "Europe/Berlin",
        **columns,
    }
    values.setdefault("created_at", datetime.now(UTC) - timedelta(days=60))
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    server.sql(
        f"INSERT INTO suppliers (id, {names}) VALUES (%s, {marks})", supplier_id, *values.values()
    )
    return supplier_id


def send(server: Server, supplier_id: str, *events: tuple[str, float, dict[str, Any]]) -> None:
    """Events so many days ago, folded when this returns."""
    now = datetime.now(UTC)
    batch = [
        {
            "type": "track",
            "userId": supplier_id,
            "messageId": str(uuid4()),
            "event": name,
            "properties": properties,
            "timestamp": (now - timedelta(days=days)).isoformat(),
        }
        for name, days, properties in events
    ]
    with server.client("ingest") as client:
        answer = client.post("/v1/batch", json={"batch": batch})
        assert answer.status_code == 200 and not answer.json().get("rejected"), answer.text
    server.wait_folded()
