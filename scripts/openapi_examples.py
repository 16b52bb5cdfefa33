"""Record the examples of the OpenAPI document by calling each operation once.

    .venv/bin/python scripts/openapi_examples.py > src/everafter/openapi_examples.json

tests/test_api_openapi.py fails when an operation has no example, or one that does not match its
schema.
"""

import asyncio
import json
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from everafter.accounts.keys import Scope, create_key
from everafter.app import create_app
from everafter.core.db import Connection, connection, migrate
from everafter.core.embedded import start_embedded
from everafter.core.settings import Settings
from everafter.openapi import describe_api
from everafter.server import make_server

SUPPLIER = "0b5e7a10-5a1e-4c0d-9a7e-1f2d3c4b5a69"
BASE = "https://success.example.com"
SECRETS = ("token",)
"""Fields whose values are masked, so that no scanner reports them."""


def serve(folder: Path) -> tuple[str, Any, dict[Scope, str]]:
    """Serve a new database: the address, the application, and a key of each scope."""
    database = start_embedded(folder / "postgresql")
    asyncio.run(migrate(database))
    settings = Settings(
        database, folder, None, None, BASE, "only-for-the-examples-of-the-description"
    )

    async def make(scope: Scope) -> str:
        async with connection(database) as conn:
            return await create_key(conn, scope, "examples", secret=settings.secret)

    keys: dict[Scope, str] = {
        scope: asyncio.run(make(scope)) for scope in ("ingest", "read", "write", "coach")
    }
    app = create_app(settings, database)
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app)
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{listener.getsockname()[1]}", app, keys


class Recorder:
    """Calls operations by name and records requests and answers."""

    def __init__(self, url: str, document: dict[str, Any], keys: dict[Scope, str]) -> None:
        self.url, self.keys = url, keys
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self.examples: dict[str, Any] = {}

    def call(
        self, name: str, scope: Scope | str | None, body: Any = None, **parameters: Any
    ) -> Any:
        """Send a request. scope: the key's scope, or a token."""
        method, path, operation = self.operations[name]
        query = {key: value for key, value in parameters.items() if f"{{{key}}}" not in path}
        for key, value in parameters.items():
            path = path.replace(f"{{{key}}}", str(value))
        auth = {"Authorization": f"Bearer {self.keys.get(scope, scope)}"} if scope else {}  # pyright: ignore
        answer = httpx.request(
            method, self.url + path, params=query, json=body, headers=auth, timeout=60
        )
        if not answer.is_success:
            raise SystemExit(f"{name} answers {answer.status_code}: {answer.text}")
        kept = self.examples.setdefault(name, {"responses": {}})
        if parameters:
            kept["parameters"] = {key: _hide(key, value) for key, value in parameters.items()}
        if body is not None and "request" not in kept:
            kept["request"] = body
        documented = operation["responses"][str(answer.status_code)]
        if "content" in documented:
            is_json = "application/json" in answer.headers["content-type"]
            value = answer.json() if is_json else answer.text
            kept["responses"][str(answer.status_code)] = _hide_within(value)
            return value
        return None


def _hide(key: str, value: Any) -> Any:
    return "…" if key in SECRETS else value


def _hide_within(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hide(key, _hide_within(item)) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide_within(item) for item in value[:3]]  # short examples
    if isinstance(value, str) and "token=" in value:
        return value.partition("token=")[0] + "token=…"
    return value


def send_events(recorder: Recorder) -> None:
    """Call all ingest routes, as their SDKs do."""
    now = datetime.now(UTC).replace(microsecond=0)
    traits = {
        "name": "Rosewood Photography",
        "email": "hello@rosewood.example",
        "vendor_type": "photographer",
        "plan": "pro",
        "country": "GB",
        "timezone": "Europe/London",
        "createdAt": (now - timedelta(days=30)).isoformat(),
    }
    calls: dict[str, dict[str, Any]] = {
        "identify": {"traits": traits},
        "track": {"event": "feature_used", "properties": {"feature": "forms"}},
        "group": {"groupId": SUPPLIER, "traits": {"plan": "pro"}},
        "page": {"name": "Clients", "properties": {"path": "/clients"}},
        "screen": {"name": "Home"},
        "alias": {"previousId": "visitor-17"},
    }
    for number, (call, body) in enumerate(calls.items()):
        for name in (f"ingest{call.capitalize()}", f"ingest{call[0].upper()}"):
            recorder.call(
                name,
                "ingest",
                {"userId": SUPPLIER, "messageId": f"rosewood-{number}-{name[-1]}", **body},
            )
    for name in ("Batch", "B", "Import", "BeaconV1Batch"):
        track = {
            "type": "track",
            "userId": SUPPLIER,
            "messageId": f"rosewood-{name}",
            "timestamp": now.isoformat(),
        }
        added = {
            "event": "client_added",
            "properties": {"client_id": "amy-and-tom", "wedding_date": "2027-06-12"},
        }
        recorder.call(
            f"ingest{name}", "ingest", {"batch": [{**track, **added}], "sentAt": now.isoformat()}
        )
    for name in ("Batch", "Capture", "E", "IV0E"):
        event = {
            "event": "login",
            "distinct_id": SUPPLIER,
            "uuid": f"rosewood-posthog-{name}",
            "timestamp": now.isoformat(),
        }
        recorder.call(
            f"ingestPostHog{name}", "ingest", {"batch": [event], "sent_at": now.isoformat()}
        )
    bad = {
        "type": "track",
        "userId": SUPPLIER,
        "messageId": "rosewood-bad",
        "event": "form_completed",
    }
    httpx.post(
        f"{recorder.url}/v1/batch",
        json={"batch": [bad]},
        headers={"Authorization": f"Bearer {recorder.keys['ingest']}"},
    )
    time.sleep(3)  # until the events are folded


def call_api(recorder: Recorder) -> None:
    """Call all routes under /api."""
    call = recorder.call
    call("listEvents", "read", supplier_id=SUPPLIER, limit=2)
    call("listRejects", "read", limit=1)
    call("listEventTypes", "read")
    call("getHealthScore", "read", supplier_id=SUPPLIER)
    call("getMetrics", "read", metric=["feature_adoption"], by="plan")
    bounce = {
        "type": "bounce",
        "message_id": "<0b8e7c52-0000-4000-8000-000000000001@success.example.com>",
        "email": "hello@studio.example",
        "code": "5.1.1",
        "reason": "550 5.1.1 user unknown",
        "at": "2026-11-02T10:00:00Z",
    }
    call("recordMailEvents", "write", [bounce])
    milestone = {
        "supplier_id": SUPPLIER,
        "milestone_type": "first_booking",
        "achieved_at": "2026-11-02T10:00:00Z",
    }
    call("recordMilestone", "write", milestone)
    call("recordMilestone", "write", milestone)
    call("listMilestones", "read", supplier_id=SUPPLIER)
    call("getOnboarding", "read", supplier_id=SUPPLIER, language="en")
    action = {"action": "completed_wizard", "done_at": "2026-11-02T10:00:00Z"}
    call("reportOnboardingAction", "write", action, supplier_id=SUPPLIER)
    call("reportOnboardingAction", "write", action, supplier_id=SUPPLIER)
    shown = call("listRecommendations", "read", supplier_id=SUPPLIER, audience="supplier", limit=1)[
        "recommendations"
    ]
    call("recordImpressions", "write", {"ids": [one["id"] for one in shown]}, supplier_id=SUPPLIER)
    call("listRecommendationEffects", "read")
    call("listSlots", "read", supplier_id=SUPPLIER, type="success_call", days=7)
    booked = call(
        "scheduleCall", "write", {"supplier_id": SUPPLIER, "type": "success_call", "topic": "Forms"}
    )
    link = httpx.URL(booked["ics_url"])
    call(
        "getCallInvitation",
        None,
        file_name=link.path.rpartition("/")[2],
        token=link.params["token"],
    )
    free = call("listSlots", "read", supplier_id=SUPPLIER, type="success_call", days=7)["slots"][2][
        "starts_at"
    ]
    move = {"supplier_id": SUPPLIER, "starts_at": free}
    call("rescheduleCall", "write", move, interaction_id=booked["interaction_id"])
    cancel = {"supplier_id": SUPPLIER, "reason": "A wedding came up"}
    call("cancelCall", "write", cancel, interaction_id=booked["interaction_id"])
    outcome = {"supplier_id": SUPPLIER, "outcome": "cancelled", "notes": "Called off by email."}
    call("recordCallOutcome", "write", outcome, interaction_id=booked["interaction_id"])
    contact = {
        "supplier_id": SUPPLIER,
        "type": "check_in",
        "notes": "Met at the fair.",
        "outcome": "wants automations",
    }
    call("recordInteraction", "write", contact)
    call("listInteractions", "read", supplier_id=SUPPLIER, limit=1)
    ticket = {
        "supplier_id": SUPPLIER,
        "ticket_id": "T-1042",
        "subject": "The import stops at row 200",
        "priority": "high",
    }
    call("openTicket", "write", ticket)
    call("actOnTicket", "write", {"supplier_id": SUPPLIER}, ticket_id="T-1042", action="reply")
    call("getTicket", "read", ticket_id="T-1042", supplier_id=SUPPLIER)
    call("listTickets", "read", supplier_id=SUPPLIER, state="open", limit=1)


def call_coach(recorder: Recorder) -> None:
    """Call the coach's routes and the probes."""
    call = recorder.call
    token = call("createCoachToken", "coach", {"supplier_id": SUPPLIER, "locale": "en-GB"})["token"]
    shown = call("getCoach", token, page="/forms", locale="en-GB")
    if shown["tip"]:
        respond = {"response": "snoozed", "until": "week"}
        call("respondToTip", token, respond, tip_id=shown["tip"]["id"])
    call("claimCelebration", token, milestone_type="first_booking")
    call(
        "recordRecommendationClick",
        token,
        recommendation_id=(
            shown["recommendations"][0]["id"] if shown["recommendations"] else "add_a_client"
        ),
    )
    free = call("listCoachSlots", token, days=7)["slots"]
    call("bookCoachCall", token, {"starts_at": free[0]["starts_at"], "topic": "Forms"})
    call("isAlive", None)
    call("isReady", None)


async def add_runs(url: str) -> None:
    """Store the results of two daily runs of 24 suppliers."""
    today = datetime.now(UTC).date()
    async with connection(url) as conn:
        for number in range(24):
            supplier = f"0b5e7a10-5a1e-4c0d-9a7e-{number:012d}"
            await conn.execute(
                """
                INSERT INTO suppliers (id, name, vendor_type, plan, country)
                VALUES (%s, %s, 'photographer', 'pro', 'GB')
                """,
                [supplier, f"Studio {number + 1}"],
            )
            for back in (7, 0):
                await _add_scores(conn, supplier, today - timedelta(days=back), number, back)
        for back in (7, 0):
            day = today - timedelta(days=back)
            await conn.execute(
                """
                INSERT INTO runs (run_on, as_of, playbook_version, finished_at)
                VALUES (%(day)s, %(day)s, 1, now())
                """,
                {"day": day},
            )


async def _add_scores(conn: Connection, supplier: str, day: date, number: int, back: int) -> None:
    login = 30 - (8 if number < 2 and not back else 0)
    risk = 0.35 if number < 2 and not back else 0.22
    await conn.execute(
        """
        INSERT INTO customer_health (
          supplier_id, calculated_on, calculated_at, health_score, score, risk_level, login_points,
          feature_adoption_points, client_activity_points, coverage, season_index, playbook_version,
          last_login, feature_adoption_score
        )
        VALUES (
          %(id)s, %(day)s, %(day)s, %(score)s, %(score)s, %(band)s, %(login)s,
          20, %(clients)s, 1, 1, 1,
          %(last_login)s, 80
        )
        """,
        {
            "id": supplier,
            "day": day,
            "score": login + 20 + number,
            "band": "healthy" if login + number >= 50 else "at_risk",
            "login": login,
            "clients": number,
            "last_login": day - timedelta(days=1 if login == 30 else 8),
        },
    )
    await conn.execute(
        """
        INSERT INTO churn_risk (
          supplier_id, calculated_on, calculated_at, risk, level, login, base, model_version
        )
        VALUES (%s, %s, %s, %s, 'low', %s, 0.22, 'examples')
        """,
        [supplier, day, day, risk, risk - 0.22],
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url, app, keys = serve(Path(folder))
        recorder = Recorder(url, describe_api(app), keys)
        send_events(recorder)
        call_api(recorder)
        call_coach(recorder)
        asyncio.run(add_runs(app.state.url))
        recorder.call("listChanges", "read", limit=1)
        recorder.call("listBenchmarks", "read", month=f"{datetime.now(UTC):%Y-%m}")
        missing = recorder.operations.keys() - recorder.examples.keys()
        if missing:
            print(f"no example of {', '.join(sorted(missing))}", file=sys.stderr)
        json.dump(recorder.examples, sys.stdout, indent=1, ensure_ascii=False)
        print()


if __name__ == "__main__":
    main()
