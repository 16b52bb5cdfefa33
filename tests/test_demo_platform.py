"""The sample platform: it signs tokens and sends events, and its pages have no inline code."""

import asyncio
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from everafter.core.db import connection
from everafter.core.pages import template_config
from everafter.demo import jobs
from everafter.demo.coach import show_tips
from everafter.demo.model import World
from everafter.demo.platform_pages import Wiring, create_platform, sign_token
from everafter.demo.platform_queries import (
    Client,
    Figures,
    Tenant,
    ensure_coach_key,
    get_figures,
    list_clients,
    list_tenants,
)
from everafter.demo.simulator import simulate
from everafter.interventions.eligibility import is_in_holdout
from everafter.server import make_server
from helpers_coach import SHIPPED, Browser
from helpers_ids import treated_id
from helpers_pages import XSS, add_supplier
from helpers_server import Server

KEY_ID = uuid.UUID(int=7)


@pytest.fixture
def tenants(server: Server) -> list[uuid.UUID]:
    """Two suppliers, one at risk and one healthy."""
    at_risk, healthy = (
        add_supplier(server, name, id=uuid.UUID(treated_id(SHIPPED)))
        for name in ("Calm Films", f"Fine {XSS}")
    )
    now = datetime.now(UTC)
    ingest = httpx.Client(
        base_url=server.base_url, headers={"Authorization": f"Bearer {server.key('ingest')}"}
    )
    for supplier in (at_risk, healthy):
        event = {
            "userId": str(supplier),
            "event": "login",
            "timestamp": (now - timedelta(days=9)).isoformat(),
        }
        assert (
            ingest.post("/v1/track", json={**event, "messageId": uuid.uuid4().hex}).status_code
            == 200
        )
    ingest.close()
    server.wait_folded()
    server.sql(
        "INSERT INTO playbook_versions (sha256, source) VALUES ('x', '{}') ON CONFLICT DO NOTHING"
    )
    server.sql("DELETE FROM customer_health")
    for supplier, score, risk in ((at_risk, 50, "at_risk"), (healthy, 90, "healthy")):
        server.sql(
            "INSERT INTO customer_health (supplier_id, health_score, risk_level, calculated_on, score, coverage, season_index,"
            " playbook_version) VALUES (%s, %s, %s, current_date, %s, 1, 1, 1)",
            supplier, score, risk, score,
        )  # fmt: skip
    server.sql("DELETE FROM runs")
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (current_date, now(), 1, now())"
    )
    return [at_risk, healthy]


@pytest.fixture
def platform(server: Server, tenants: list[uuid.UUID]) -> Iterator[httpx.Client]:
    """A client on the platform's pages."""

    async def make() -> str | None:
        async with connection(server.database) as conn:
            return await ensure_coach_key(conn, server.settings.secret, KEY_ID)

    coach_key = asyncio.run(make())
    assert coach_key
    wiring = Wiring(server.base_url, server.key("ingest"), coach_key)
    listener = socket.create_server(("127.0.0.1", 0))
    running = make_server(create_platform(server.database, wiring, SHIPPED))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", follow_redirects=True, timeout=20
    ) as client:
        yield client
    running.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
def sampled(server: Server) -> datetime:
    """Sample data of which a week ago and now are scored. Returns now."""
    now = datetime.now(UTC)
    world = World(now.date(), 150, 6, 7)
    market = simulate(world.suppliers, world.anchor, world.months, world.seed)
    days = [now - timedelta(days=7), now]
    asyncio.run(jobs.generate(server.database, SHIPPED, market, world, days, None, lambda _: None))
    return now


BUTTONS = {"first_form_created", "customer_journey_started", "import_clients_started"}
"""The onboarding actions that the overview's buttons complete."""


def open_actions(coach: dict[str, Any]) -> set[str]:
    """The ids of the onboarding actions that are not done."""
    steps = coach["checklist"]["steps"]
    return {one["id"] for step in steps for one in step["actions"] if not one["done"]}


def test_the_coach_shows_what_the_label_of_a_supplier_promises(
    server: Server, sampled: datetime
) -> None:
    async def read() -> tuple[int, list[Tenant]]:
        shown = await show_tips(server.database, SHIPPED, sampled)
        async with connection(server.database) as conn:
            return shown, await list_tenants(conn, None, SHIPPED, datetime.now(UTC))

    shown, tenants = asyncio.run(read())
    seen = [
        (tenant.reason, Browser(server, str(tenant.id)).look("/dashboard")) for tenant in tenants
    ]
    holds: dict[str, Callable[[dict[str, Any]], Any]] = {
        "still setting up": lambda coach: coach["checklist"] and BUTTONS & open_actions(coach),
        "at risk": lambda coach: coach["help"] and not coach["celebration"],
        "new milestone": lambda coach: coach["celebration"],
        "has a tip": lambda coach: coach["tip"] and not coach["help"] and not coach["celebration"],
        "healthy": lambda coach: not coach["help"] and not coach["celebration"],
    }
    assert [reason for reason, coach in seen if not holds[reason](coach)] == []
    assert shown == 2 and {reason for reason, _ in seen} == set(holds)
    assert not [one for one in tenants if is_in_holdout(str(one.id), "", 0.0, SHIPPED.holdout)]


def test_the_platform_counts_clients_as_the_coach_does(server: Server, sampled: datetime) -> None:
    known = server.sql("SELECT supplier_id, clients_total FROM supplier_activity")

    async def read() -> list[tuple[uuid.UUID, int, int]]:
        async with connection(server.database) as conn:
            return [
                (
                    supplier,
                    (await get_figures(conn, supplier)).clients,
                    len(await list_clients(conn, supplier, 1000, coming=False)),
                )
                for supplier, _ in known
            ]

    assert asyncio.run(read()) == [(supplier, total, total) for supplier, total in known]
    past = "SELECT count(*) FROM clients WHERE wedding_date < current_date"
    assert server.sql(past)[0][0] > 0, "some couples are married and still on the books"


def test_the_token_opens_the_coach_of_the_signed_in_supplier(
    platform: httpx.Client, server: Server, tenants: list[uuid.UUID]
) -> None:
    for tenant in reversed(tenants):
        assert platform.post("/as", data={"supplier": str(tenant)}).status_code == 200
        token = platform.get("/coach-token").json()["token"]
        answer = httpx.get(
            f"{server.base_url}/api/coach?page=/dashboard",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200 and answer.json()["supplier"]["id"] == str(tenant)


def test_actions_send_events_to_everafter(
    platform: httpx.Client, server: Server, tenants: list[uuid.UUID]
) -> None:
    platform.post("/as", data={"supplier": str(tenants[0])})
    page = platform.post("/do/form", headers={"referer": f"{platform.base_url}/forms"})
    assert page.url.path == "/forms" and "Your form is ready to send." in page.text
    folded = server.sql("SELECT count(*) FROM events_pending")
    assert folded == [(0,)], "the page that follows shows what the button did"
    platform.post("/do/client", headers={"referer": f"{platform.base_url}/clients"})
    events = server.sql("SELECT supplier_id, type FROM events WHERE type <> 'login' ORDER BY type")
    assert events == [(tenants[0], "client_added"), (tenants[0], "form_created")]
    assert "Noor &amp; Alex" in platform.get("/clients").text
    assert platform.post("/do/harm").status_code == 200
    assert server.sql("SELECT count(*) FROM events WHERE type <> 'login'") == [(2,)]


def test_pages_have_no_inline_code_and_escape_names(
    platform: httpx.Client, server: Server, tenants: list[uuid.UUID]
) -> None:
    platform.post("/as", data={"supplier": str(tenants[1])})
    for path in (
        "/dashboard",
        "/clients",
        "/forms",
        "/journeys",
        "/account/billing",
        "/guides/off-season",
        f"/{XSS.replace('/', '')}",
    ):
        page = platform.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy
        assert f'src="{server.base_url}/coach.js"' in page.text
        assert (
            "<script>" not in page.text
            and 'onerror="' not in page.text
            and "style=" not in page.text
        )


@pytest.mark.parametrize(
    ("number", "counted", "seen"),
    [
        (0, "0 couples; 0 weddings; 0 forms", "here today"),
        (1, "1 couple; 1 wedding; 1 form", "here 1 day ago, 1 form open"),
        (2, "2 couples; 2 weddings; 2 forms", "here 2 days ago, 2 forms open"),
        (5, "5 couples; 5 weddings; 5 forms", "here 5 days ago, 5 forms open"),
    ],
)
def test_a_page_counts_what_it_shows(number: int, counted: str, seen: str) -> None:
    page = render_overview(Client("Ann & Bo", date(2026, 9, 5), number, number), number)
    figures = re.findall(r"<li><b>(\d+)</b> (\w+)", page)
    assert "; ".join(f"{count} {word}" for count, word in figures) == counted
    assert f"<small>{seen}</small>" in page and "<span>5 September 2026</span>" in page


def test_a_client_of_whom_little_is_known() -> None:
    page = render_overview(Client("Ann & Bo", None, None, 0), 1)
    assert "<small>not here yet</small>" in page and "<span>no date yet</span>" in page


def render_overview(client: Client, number: int) -> str:
    engine: Any = template_config().instance
    return engine.get_template("demo/templates/platform.html").render(
        path="/dashboard",
        title="Overview",
        menu={"/dashboard": "Overview"},
        tenant=Tenant(KEY_ID, "Calm Films", None, "at risk"),
        tenants=[],
        figures=Figures(number, number, number, "pro"),
        clients=[client],
        languages={},
        language="en",
        everafter="",
        done="",
    )


def test_an_unlisted_supplier_stays_signed_in(
    platform: httpx.Client, server: Server, tenants: list[uuid.UUID]
) -> None:
    assert "Calm Films: at risk" in platform.post("/as", data={"supplier": str(tenants[0])}).text
    server.sql(
        "UPDATE customer_health SET risk_level = 'critical' WHERE supplier_id = %s", tenants[0]
    )
    assert "Calm Films: selected" in platform.get("/dashboard").text
    token = platform.get("/coach-token").json()["token"]
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == str(tenants[0])
    assert platform.post("/as", data={"supplier": "no id"}).status_code == 200


def test_redirects_stay_on_the_site(platform: httpx.Client) -> None:
    answer = platform.post(
        "/language",
        data={"language": "de"},
        headers={"referer": "https://evil.example//x"},
        follow_redirects=False,
    )
    assert answer.status_code == 303 and not answer.headers["location"].startswith("//")
    assert 'locale="de"' in platform.get("/dashboard").text


def test_a_token_is_valid_for_minutes() -> None:
    claims = jwt.decode(
        sign_token("k" * 40, KEY_ID, 1000),
        "k" * 40,
        algorithms=["HS256"],
        options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
    )
    assert claims["exp"] - claims["iat"] <= 900 and claims["sub"] == str(KEY_ID)
