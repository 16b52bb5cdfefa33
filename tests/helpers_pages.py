"""A small portfolio with every oddity a page must bear, and people who are signed in."""

import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from everafter.accounts.passwords import hash_password
from helpers_server import Server

PASSWORD = "a-long-enough-password"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
XSS = """<script>document.title='pwned'</script><img src=x onerror="document.title='pwned'">"""
TODAY = datetime.now(UTC).date()
_HASH = hash_password(PASSWORD)
DIMENSIONS = (
    "login",
    "feature_adoption",
    "client_activity",
    "form_completion",
    "journey_performance",
)


def add_user(
    server: Server, email: str = "mia@example.com", role: str = "member", name: str = "Mia Member"
) -> str:
    server.sql(
        "INSERT INTO users (email, name, role, password_hash) VALUES (%s, %s, %s, %s)",
        email,
        name,
        role,
        _HASH,
    )
    return email


def form_token(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found, html
    return found[1]


def try_sign_in(
    client: httpx.Client, email: str, password: str = PASSWORD, **more: str
) -> httpx.Response:
    """Open the form and send it, as a browser does."""
    token = form_token(client.get("/sign-in", headers=HTML).text)
    fields = {"csrf": token, "email": email, "password": password, "next": "/", **more}
    return client.post("/sign-in", data=fields, headers=HTML)


def browser(server: Server) -> httpx.Client:
    """A client that keeps cookies and asks for pages, signed in as nobody."""
    return httpx.Client(base_url=server.base_url, headers=HTML, timeout=30)


@contextmanager
def signed_in(server: Server, role: str = "member") -> Generator[httpx.Client]:
    """A client that keeps cookies and asks for pages, signed in."""
    email = add_user(server, f"{role}@example.com", role, f"Mr {role}")
    with browser(server) as client:
        assert try_sign_in(client, email).status_code == 303
        yield client


def add_supplier(server: Server, name: str, **more: Any) -> uuid.UUID:
    row = {
        "id": uuid.uuid4(),
        "name": name,
        "email": "hello@example.com",
        "vendor_type": "photographer",
        "plan": "pro",
        "country": "GB",
        "timezone": "Europe/London",
        "mrr_minor": 4900,
        "created_at": datetime.now(UTC) - timedelta(days=400),
        **more,
    }
    _insert(server, "suppliers", row)
    return row["id"]


def add_day(
    server: Server, supplier: uuid.UUID, day: date, points: dict[str, float | None], **more: Any
) -> None:
    """One stored score; the score is the sum of the points, as it is in the product."""
    score = sum(value or 0.0 for value in points.values())
    row = {
        "supplier_id": supplier,
        "health_score": int(score),
        "risk_level": "critical" if score < 40 else "at_risk" if score < 70 else "healthy",
        "calculated_at": datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
        "calculated_on": day,
        "score": score,
        **{f"{name}_points": points[name] for name in DIMENSIONS},
        "coverage": 1.0,
        "season_index": 1.0,
        "main_reason": "login",
        "playbook_version": 1,
        "client_engagement_score": 50,
        **more,
    }
    _insert(server, "customer_health", row)


def add_churn(server: Server, supplier: uuid.UUID, day: date, risk: float) -> None:
    level = "high" if risk > 0.7 else "medium" if risk > 0.4 else "low"
    row = {
        "supplier_id": supplier,
        "calculated_on": day,
        "calculated_at": datetime.now(UTC),
        "risk": risk,
        "level": level,
    }
    _insert(server, "churn_risk", {**row, "login": risk, "model_version": "rule-1"})


def add_activity(server: Server, supplier: uuid.UUID, **more: Any) -> None:
    now = datetime.now(UTC)
    rings = dict.fromkeys(
        (
            "feature_uses_w",
            "clients_lost_w",
            "forms_sent_w",
            "forms_answered_w",
            "emails_sent_w",
            "emails_opened_w",
            "tickets_w",
            "payments_failed_w",
        ),
        bytes(32),
    )
    row = {
        "supplier_id": supplier,
        "events_total": 1,
        "first_event_at": now,
        "last_event_at": now,
        "login_days": bytes(24),
        "feature_days": b"",
        "clients_active_d": bytes(128),
        **rings,
        "clients_added": 0,
        "clients_total": 0,
        "weddings": [],
        "tickets_open": 0,
        **more,
    }
    _insert(server, "supplier_activity", row)


def add_conclusion(
    server: Server, supplier: uuid.UUID, trigger: str, status: str, reason: str, **more: Any
) -> uuid.UUID:
    row = {
        "id": uuid.uuid4(),
        "supplier_id": supplier,
        "trigger": trigger,
        "action": "send_something",
        "channel": "email",
        "status": status,
        "reason": reason,
        "priority": 50,
        "evaluated_at": datetime.now(UTC),
        "evaluated_on": TODAY,
        "facts": "{}",
        "playbook_version": 1,
        **more,
    }
    _insert(server, "interventions", row)
    return row["id"]


def add_message(server: Server, supplier: uuid.UUID, **more: Any) -> uuid.UUID:
    now = datetime.now(UTC)
    row = {
        "supplier_id": supplier,
        "id": uuid.uuid4(),
        "template": "we_miss_you",
        "topic": "success",
        "to_email": "hello@example.com",
        "to_name": "Golden Hour",
        "facts": '{"name": "Golden Hour", "days_since_login": 12, "vendor_type": "photographer"}',
        "expires_at": now + timedelta(days=3),
        **more,
    }
    _insert(server, "outbox", row)
    return row["id"]


def add_portfolio(server: Server, count: int = 60) -> list[uuid.UUID]:
    """`count` suppliers, all different in every column, with 20 days of history; the last two were never scored or heard of."""
    vendor_types = ("photographer", "dj", "venue", "florist", None)
    ids: list[uuid.UUID] = []
    for place in range(count):
        name = (
            XSS if place == 3 else "=1+1|cmd" if place == 4 else f"Supplier {place:03d} 100%_sure"
        )
        supplier = add_supplier(
            server,
            name,
            vendor_type=vendor_types[place % len(vendor_types)],
            plan=("free", "pro", None)[place % 3],
            mrr_minor=None if place % 10 == 9 else place * 137,
        )
        ids.append(supplier)
        if place >= count - 2:
            continue
        for back in (0, 3, 14, 18):
            share = ((place * 37 + back * 5) % 100) / 100
            points = dict(
                zip(
                    DIMENSIONS,
                    (30 * share, 25 * share, 25 * share, 10 * share, 10 * share),
                    strict=True,
                )
            )
            add_day(
                server,
                supplier,
                TODAY - timedelta(days=back),
                points,
                coverage=0.75 if place % 4 == 0 else 1.0,
                season_index=0.3 + (place % 7) / 10,
                main_reason=("login", "billing", "none", "client_activity")[place % 4],
                client_engagement_score=None if place % 6 == 5 else (place * 13) % 101,
            )
        add_churn(server, supplier, TODAY, ((place * 29) % 100) / 100)
        add_activity(
            server,
            supplier,
            last_login_at=None if place % 8 == 7 else datetime.now(UTC) - timedelta(days=place),
            clients_total=place % 12,
            tickets_open=place % 3,
            weddings=[
                (TODAY - date(1970, 1, 1)).days + day for day in range(-20, (place * 5) % 200, 10)
            ],
            payment_failed_at=datetime.now(UTC) - timedelta(days=place) if place % 9 == 0 else None,
            subscription="cancelled"
            if place % 20 == 19
            else "paused"
            if place % 20 == 18
            else None,
        )
    return ids


def _insert(server: Server, table: str, row: dict[str, Any]) -> None:
    places = ", ".join(["%s"] * len(row))
    server.sql(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *row.values())
