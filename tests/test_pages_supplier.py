"""A supplier's page over HTTP: its numbers agree, and missing data is marked."""

import html
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from everafter.core.i18n import format_short_date
from everafter.portfolio.supplier_model import Cause, Part, ScoreDetails
from everafter.portfolio.supplier_rules import shown_causes, shown_most
from helpers_pages import (
    DIMENSIONS,
    TODAY,
    XSS,
    add_activity,
    add_churn,
    add_conclusion,
    add_day,
    add_message,
    add_supplier,
    signed_in,
)
from helpers_server import Server

NOW = datetime.now(UTC)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as made:
        yield made


def send(server: Server, supplier: uuid.UUID, *events: tuple[str, float, dict[str, Any]]) -> None:
    """Send (type, days ago, properties) to the ingest API and wait until they are folded."""
    body = [
        {
            "type": "track",
            "userId": str(supplier),
            "event": kind,
            "messageId": str(uuid.uuid4()),
            "timestamp": (NOW - timedelta(days=days)).isoformat(),
            "properties": properties,
        }
        for kind, days, properties in events
    ]
    with server.client("ingest") as client:
        answer = client.post("/v1/batch", json={"batch": body})
        assert answer.status_code == 200 and answer.json()["rejected"] == [], answer.text
    server.wait_folded()


def text(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup)))


def number(words: str) -> float:
    return float(words.replace("−", "-").replace("+", ""))


@pytest.fixture
def lively(server: Server) -> uuid.UUID:
    """A photographer with clients, forms and features, without journeys."""
    supplier = add_supplier(server, "Golden Hour", country=None)
    send(
        server,
        supplier,
        ("login", 5, {}),
        ("login", 9.5, {}),
        (
            "client_added",
            30,
            {
                "client_id": "c1",
                "name": "Anna & Ben",
                "wedding_date": str(TODAY + timedelta(days=20)),
            },
        ),
        (
            "client_added",
            30,
            {"client_id": "c2", "name": XSS, "wedding_date": str(TODAY + timedelta(days=90))},
        ),
        ("client_added", 30, {"client_id": "c3", "wedding_date": str(TODAY - timedelta(days=2))}),
        ("client_active", 3, {"client_id": "c1"}),
        ("form_sent", 10, {"client_id": "c1", "form_id": "final-timeline"}),
        ("form_sent", 10, {"client_id": "c2", "form_id": "final-timeline"}),
        ("form_completed", 3, {"client_id": "c1", "form_id": "final-timeline"}),
        ("feature_used", 10, {"feature": "gallery"}),
        ("ticket_opened", 4, {"ticket_id": "t1", "subject": XSS, "priority": "high"}),
        ("moon_phase", 4, {"x": 1}),
        ("login", 90, {}),
    )
    return supplier


def test_the_page_describes_the_live_score(client: httpx.Client, lively: uuid.UUID) -> None:
    page = text(client.get(f"/suppliers/{lively}").text)
    assert "last login 5 days ago" in page
    assert "2 of 5 key features used" in page  # gallery, and forms by sending one
    assert "1 of 3 clients active in the last 30 days" in page
    assert "1 of 2 forms sent in 13 weeks completed" in page
    assert "no journey email was sent in the last 13 weeks: left out" in page
    assert "% data coverage : missing dimensions are left out" in page
    assert "No score 14 days ago to compare with" in page


def test_the_page_and_the_api_agree(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    with server.client("read") as api:
        answer = api.get(f"/api/health/score/{lively}").json()
    page = client.get(f"/suppliers/{lively}").text
    shown = re.search(r'class="big-score"><b>(\d+)</b>', page)
    assert shown and int(shown[1]) == answer["score"]
    points = re.findall(r'<td class="num">(\d+\.\d)<span class="muted"> / (\d+)</span></td>', page)
    whole = re.search(r"<b>(\d+\.\d)</b><span class=\"muted\"> / 100", page)
    assert whole and round(sum(float(part) for part, _ in points), 1) == float(whole[1])
    assert len(points) == 4 and abs(sum(float(most) for _, most in points) - 100) <= 2


def test_changes_of_dimensions_add_up_to_the_change_of_the_score(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    then = dict(zip(DIMENSIONS, (30.0, 23.456, None, 7.777, 3.333), strict=True))
    add_day(server, lively, TODAY - timedelta(days=16), then)
    add_day(server, lively, TODAY - timedelta(days=3), dict.fromkeys(DIMENSIONS, 1.0))
    page = client.get(f"/suppliers/{lively}").text
    table = re.search(r'<table class="parts">.*?</table>', page, re.S)
    assert table
    moved = [number(value) for value in re.findall(r'class="change[^"]*">([^<]+)<', table[0])]
    *shifts, by = moved
    assert len(shifts) == 5 and round(sum(shifts), 1) == by
    now = re.search(r"<b>(\d+\.\d)</b><span class=\"muted\"> / 100", table[0])
    was = re.search(r"from (\d+\.\d)", table[0])
    assert now and was and round(float(now[1]) - float(was[1]), 1) == by
    day = TODAY - timedelta(days=16)
    assert f"Since {format_short_date(day, year=False)}" in table[0]
    assert "new</span>" in table[0] and "now unknown" in table[0]


def test_the_timeline_describes_events_by_day(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    add_conclusion(
        server,
        lively,
        "no_login_7_days",
        "triggered",
        "no login for 9 days",
        evaluated_at=NOW - timedelta(days=1),
    )
    page = client.get(f"/suppliers/{lively}").text
    story = text(page[page.index('id="timeline"') :])
    sent = re.search(r"Sent 2 forms – final timeline · (.*?) \d", story)
    assert sent and "Anna & Ben" in sent[1]
    assert "A form was completed – final timeline · Anna & Ben" in story
    assert "“Moon phase”" in story, "an unknown type is shown by its own name"
    assert "Triggered: No login 7 days – no login for 9 days" in story
    assert (
        story.index("Triggered: ")
        < story.index("A form was completed")
        < story.index("Sent 2 forms")
    )
    assert "onerror" not in re.sub(r"&lt;[^<]*", "", page), "names are escaped, even when cut"
    older = re.search(r'href="\?until=([0-9-]+)#timeline"', page)
    assert older
    before = client.get(f"/suppliers/{lively}?until={older[1]}").text
    assert "Signed in" in before and "No earlier events" in before and "← Latest" in before


def test_clients_tickets_tasks_calls(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    server.sql(
        "INSERT INTO tasks (supplier_id, kind, priority, title, reason, due_at)"
        " VALUES (%s, 'churn_high_assign', 'high', 'Call them', 'it is late', now() - interval '1 day')",
        lively,
    )
    server.sql(
        "INSERT INTO tasks (supplier_id, kind, priority, title, reason, status) VALUES (%s, 'x', 'low', 'Done long ago', '', 'done')",
        lively,
    )
    server.sql(
        "INSERT INTO support_interactions (supplier_id, type, topic, starts_at, ends_at, csm_id)"
        " SELECT %s, 'check_in', 'the season', now() + interval '1 day', now() + interval '1 day 15 minutes', id FROM users LIMIT 1",
        lively,
    )
    page = text(client.get(f"/suppliers/{lively}").text)
    weddings = page[page.index("Next weddings") :]
    assert weddings.index("Anna & Ben") < weddings.index("<script>")
    assert "c3" not in weddings[: weddings.index("Tickets")], "past weddings are not upcoming"
    assert "High Call them" in page and "overdue" in page and "Done long ago" not in page
    assert "Check in" in page and "the season" in page
    assert "Open <script>document" in page


def test_only_this_suppliers_interventions_and_messages(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    other = add_supplier(server, "Other")
    add_conclusion(server, other, "early_inactivity", "triggered", "of another")
    acted = add_conclusion(
        server, lively, "low_client_adoption", "triggered", "1 of 3 clients were active"
    )
    add_conclusion(server, lively, "no_login_7_days", "skipped", "frequency_cap")
    add_conclusion(
        server,
        lively,
        "churn_medium_check_in",
        "holdout",
        "holdout",
        evaluated_on=TODAY - timedelta(days=1),
    )
    add_message(server, lively, id=acted, intervention_id=acted, subject="Your clients wait")
    page = text(client.get(f"/suppliers/{lively}").text)
    assert (
        "this week's messages went to more urgent triggers" in page.lower()
        and "Control group" in page
    )
    assert "Your clients wait" in page and "of another" not in page
    assert f'href="/messages/{lively}/{acted}"' in client.get(f"/suppliers/{lively}").text


def test_a_churned_supplier_shows_its_last_stored_score(
    server: Server, client: httpx.Client
) -> None:
    supplier = add_supplier(server, "Former")
    add_activity(
        server, supplier, subscription="cancelled", subscription_at=NOW - timedelta(days=20)
    )
    for back, share in ((34, 0.9), (20, 0.4)):
        points = dict(
            zip(DIMENSIONS, (30 * share, 25 * share, None, 10 * share, 10 * share), strict=True)
        )
        add_day(server, supplier, TODAY - timedelta(days=back), points)
        add_churn(server, supplier, TODAY - timedelta(days=back), 0.8)
    page = text(client.get(f"/suppliers/{supplier}").text)
    assert "Cancelled since" in page and "Churned; last scored" in page and "Critical" in page
    assert "unknown: left out" in page and "0.80" in page and "−37.5" in page


def test_a_supplier_without_data(server: Server, client: httpx.Client) -> None:
    supplier = add_supplier(
        server,
        "",
        email=None,
        vendor_type=None,
        plan=None,
        country=None,
        timezone=None,
        mrr_minor=None,
        created_at=None,
    )
    page = text(client.get(f"/suppliers/{supplier}").text)
    assert "Unnamed" in page and "Unknown vendor type" in page and "no plan" in page
    assert (
        "Not scored" in page
        and "No events in this period" in page
        and "No upcoming weddings" in page
    )


def test_the_chart_has_a_text_alternative(
    server: Server, client: httpx.Client, lively: uuid.UUID
) -> None:
    for back in range(0, 200, 2):
        add_day(
            server,
            lively,
            TODAY - timedelta(days=back),
            dict.fromkeys(DIMENSIONS, 5.0 + back / 25),
            season_index=0.3 if 100 < back < 150 else 1.0,
        )
    page = client.get(f"/suppliers/{lively}").text
    assert (
        '<svg class="trend-chart wide"' in page
        and 'role="img"' in page
        and "Health score over time" in page
    )
    assert (
        "lowest 25 on" in page
        and "off season" in page
        and "<summary>Show as a table</summary>" in page
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [("/suppliers/0b7f3c1e-0000-4000-8000-000000000000", 404), ("/suppliers/1", 404)],
)
def test_an_unknown_supplier(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status and "Page not found" in answer.text


def test_an_invalid_date_is_refused(client: httpx.Client, lively: uuid.UUID) -> None:
    for until in ("yesterday", "2026-02-30", "9" * 40):
        assert client.get(f"/suppliers/{lively}?until={until}").status_code == 400
    assert client.get(f"/suppliers/{lively}?until=0001-01-01").status_code == 200
    assert client.get(f"/suppliers/{lively}?until=9999-12-31").status_code == 200


def test_the_causes_sum_to_the_index_shown() -> None:
    causes = [
        Cause("login", 0.1647, ""),
        Cause("feature_usage", 0.2248, ""),
        Cause("billing", None, ""),
    ]
    details = ScoreDetails(
        NOW, True, 50.0, "at_risk", 1.0, 1.0, False, "", [], 0.6122, "medium", 0.2227, causes
    )
    assert shown_causes(details) == [0.22, 0.16, 0.23, 0.0]


def test_the_most_points_are_not_below_the_points() -> None:
    parts = [Part("feature_adoption", 24.44, 24.44, ""), Part("login", 20.0, 31.4, "")]
    assert shown_most(parts) == ["24.4", "31"]


def test_no_login_for_16_weeks_is_not_called_steady(server: Server, client: httpx.Client) -> None:
    added = {"client_id": "c1"}
    dormant, recent = add_supplier(server, "Dormant"), add_supplier(server, "Recent")
    send(server, dormant, ("login", 131, {}), ("login", 113, {}), ("client_added", 2, added))
    send(server, recent, ("login", 131, {}), ("login", 111, {}), ("client_added", 2, added))
    said = "no login in the last 16 weeks: nothing left that could decline"
    assert said in text(client.get(f"/suppliers/{dormant}").text)
    assert said not in text(client.get(f"/suppliers/{recent}").text)
