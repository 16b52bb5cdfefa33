"""Next steps in emails: in the facts of the decided message, in both parts of the email, and on the way to the platform."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from benchmarks.population import load
from psycopg.pq import TransactionStatus

from everafter.daily import run
from everafter.daily.run import run_day
from everafter.mail.formatting import clean_steps, is_platform_path
from everafter.mail.model import Links
from everafter.mail.render import render_message
from everafter.recommendations.mail_rules import TEMPLATES, choose_emails, write_steps
from everafter.recommendations.model import RECOMMENDATION_SCHEMA
from helpers_mail import TYPICAL
from helpers_server import Server, serving
from test_recommendations_rules import SHIPPED

LINKS = Links("https://care.example/go/", "https://care.example/u/TOKEN", "Nora Lind")
NOW = datetime.now(UTC).replace(microsecond=0)
STEPS = [
    {
        "id": "form_late_before_the_day",
        "title": "Remind Emma & Jonas of the form",
        "body": "A short line from you brings most answers within two days.",
        "reason": "Emma & Jonas received the form 9 days ago, and the wedding is in 24 days.",
        "action_label": "Send a reminder",
        "action_url": "/clients/c%2F1/forms",
    },
    {
        "id": "start_a_journey",
        "title": "Let a journey write for you",
        "body": "Three emails cover most of it.",
        "reason": "No journey email went out in 13 weeks.",
        "action_label": "Start a journey",
        "action_url": "https://app.example/journeys",
    },
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_email_says_the_steps_with_reason_and_way(template: str) -> None:
    made = render_message(template, {**TYPICAL, "next_steps": STEPS}, LINKS)
    flat = re.sub(r"\s+", " ", made.text)
    for step in STEPS:
        assert f"{step['title']}. {step['reason']} {step['body']}" in flat
        assert step["reason"].replace("&", "&amp;") in made.html
    assert (
        "https://app.example/journeys" in made.html and "https://app.example/journeys" in made.text
    )
    first = "https://care.example/go/step?to=%2Fclients%2Fc%252F1%2Fforms"
    assert first in made.html and first in made.text
    assert made.html.count(first) == 1, "the button, or a link, and not both"
    without = render_message(template, TYPICAL, LINKS)
    assert "step?to=" not in without.html and "help most" not in without.text


HOSTILE = "<script>x</script>\r\nBcc: a@b\n\n[button]\n\n{{ 7*7 }} | https://evil.example \u202e"


@pytest.mark.parametrize("template", TEMPLATES)
def test_hostile_names_in_steps_stay_names(template: str) -> None:
    step = {
        **STEPS[0],
        "title": HOSTILE,
        "reason": HOSTILE,
        "body": HOSTILE,
        "action_label": HOSTILE,
    }
    made = render_message(
        template, {**TYPICAL, "next_steps": [step, {**step, "title": "x" * 5000}]}, LINKS
    )
    assert "<script>x" not in made.html and "{{ 7*7 }}" in made.text and "\u202e" not in made.text
    assert 'href="https://evil.example' not in made.html
    assert len(made.text) < 6000
    assert "\n" not in made.subject


def test_what_is_no_step_is_left_out() -> None:
    bad: list[Any] = [
        None,
        "text",
        {},
        {**STEPS[0], "action_url": "//evil.example"},
        {**STEPS[0], "action_url": "javascript:alert(1)"},
        {**STEPS[0], "action_url": "/\\evil.example"},
        {**STEPS[0], "action_url": "/a\nb"},
        {**STEPS[0], "title": " \n"},
        {**STEPS[0], "action_url": None},
    ]
    for steps in (bad, None, "x", 7, {"a": 1}):
        assert clean_steps(steps, "https://care.example/go/") == []
        assert render_message(
            "we_miss_you", {**TYPICAL, "next_steps": steps}, LINKS
        ) == render_message("we_miss_you", TYPICAL, LINKS)


@pytest.mark.parametrize("url", ["/", "/forms?filter=waiting#x", "/clients/%E2%80%AE", "/ä"])
def test_paths_of_the_platform(url: str) -> None:
    assert is_platform_path(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "forms",
        "//a",
        "/\\a",
        "/a\\b",
        "/a b",
        "/a\u2028b",
        "/\x00",
        "https://a",
        "/" + "a" * 3000,
    ],
)
def test_no_paths_of_the_platform(url: str) -> None:
    assert not is_platform_path(url)


def test_the_way_to_the_platform_never_leads_elsewhere(server: Server) -> None:
    with server.client() as client:
        page = client.get("/go/step", params={"to": "/clients/7"})
        assert page.status_code == 200 and "Sign in as usual" in page.text
        assert client.get("/go/step", params={"to": "//evil.example"}).status_code == 404
        assert client.get("/go/step").status_code == 400
    with (
        serving(replace(server.settings, app_url="https://app.example/start/{action}")) as set_up,
        set_up.client() as client,
    ):
        answer = client.get("/go/step", params={"to": "/clients/7?x=1"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (
            302,
            "https://app.example/clients/7?x=1",
        )
        assert (
            client.get("/go/home", follow_redirects=False).headers["location"]
            == "https://app.example/start/home"
        )
        for bad in (
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "@evil.example",
            "/a\r\nX: y",
        ):
            assert (
                client.get("/go/step", params={"to": bad}, follow_redirects=False).status_code
                == 404
            )


# ── pure ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def messages(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["supplier_id", "template", "facts"], orient="row")


def test_one_email_a_supplier_has_the_steps() -> None:
    found = choose_emails(
        messages(
            ("a", "we_miss_you", "{}"),
            ("a", "check_in", "{}"),
            ("b", "payment_failed", "{}"),
            ("c", "check_in", "{}"),
        )
    )
    assert found.rows() == [("a", "check_in"), ("c", "check_in")]


def test_steps_are_added_to_the_facts_and_nothing_else_changes() -> None:
    blank = dict.fromkeys(RECOMMENDATION_SCHEMA)
    recommendations = pl.DataFrame(
        [
            {**blank, "supplier_id": "a", **STEPS[0], "holdout": False},
            {**blank, "supplier_id": "a", **STEPS[1], "holdout": True},
            {**blank, "supplier_id": "b", **STEPS[1], "holdout": False, "title": 'say "{x}" \\'},
        ],
        schema=RECOMMENDATION_SCHEMA,
    )
    before = messages(
        ("a", "check_in", '{"name":"A }","x":1}'),
        ("a", "we_miss_you", "{}"),
        ("b", "check_in", "{}"),
        ("c", "check_in", "{}"),
    )
    after = write_steps(before, choose_emails(before), recommendations)
    facts = after["facts"].str.json_decode(
        pl.Struct({"name": pl.String, "next_steps": pl.List(pl.Struct({"title": pl.String}))})
    )
    assert [f["next_steps"] for f in facts] == [
        [{"title": STEPS[0]["title"]}],
        None,
        [{"title": 'say "{x}" \\'}],
        None,
    ]
    assert facts[0]["name"] == "A }"
    assert after.drop("facts").equals(before.drop("facts"))
    assert write_steps(before, choose_emails(before), recommendations.clear()).equals(before)


# ── through the run ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_run_puts_recommendations_into_emails_and_records_impressions(database: str) -> None:
    asyncio.run(load(database, 300, NOW - timedelta(hours=1)))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO clients (supplier_id, client_id, name, wedding_date, added_at, readded_at)"
            " SELECT id, 'c1', 'Emma & {Jonas}', %s, %s, %s FROM suppliers",
            [NOW.date() + timedelta(days=24), NOW - timedelta(days=90), NOW - timedelta(days=90)],
        )
        conn.execute(
            "INSERT INTO sent_items (supplier_id, kind, item_id, client_id, sent_at) SELECT id, 'form', 'f', 'c1', %s FROM suppliers",
            [NOW - timedelta(days=9, hours=1)],
        )
    summary = asyncio.run(run_day(database, SHIPPED, NOW))
    assert summary.interventions.triggered
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        emails = conn.execute(
            "SELECT supplier_id, template, facts FROM outbox WHERE template = ANY (%s)",
            [list(TEMPLATES)],
        ).fetchall()
        given = conn.execute(
            "SELECT supplier_id, recommendation_id, channel, treated, points_max FROM recommendation_impressions"
        ).fetchall()
        others = conn.execute(
            "SELECT count(*) FROM outbox WHERE NOT template = ANY (%s) AND facts ? 'next_steps'",
            [list(TEMPLATES)],
        )
        assert others.fetchone() == (0,)
        kept = conn.execute(
            "SELECT count(*) FROM interventions WHERE facts ? 'next_steps'"
        ).fetchone()
        assert kept == (0,), "the intervention log keeps the numbers, the email its words"
    said = [
        (supplier, step["id"])
        for supplier, _, facts in emails
        for step in facts.get("next_steps", [])
    ]
    assert len(emails) > 50 and len(said) > len(emails)
    assert sorted(said) == sorted(
        (supplier, recommendations) for supplier, recommendations, _, treated, _ in given if treated
    )
    assert {channel for _, _, channel, _, _ in given} == {"email"}
    assert any(not treated for *_, treated, _ in given), "some were in the holdout"
    named = [
        step
        for _, _, facts in emails
        for step in facts.get("next_steps", [])
        if step["id"] == "form_late_before_the_day"
    ]
    assert named and named[0]["reason"].startswith(
        "Emma & {Jonas} received the form 9 days ago, and the wedding is in 24 days"
    )
    for _, template, facts in emails:
        ids = {step["id"] for step in facts.get("next_steps", [])}
        assert not (template == "we_miss_you" and "log_in_again" in ids), "the email says so itself"
        render_message(template, facts, LINKS)


def test_emails_are_written_before_the_transaction_that_stores_them(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(load(database, 60, NOW - timedelta(hours=1)))
    real, found = run.recommend_by_email, list[tuple[TransactionStatus, int]]()

    async def watched(conn: Any, messages: pl.DataFrame, *terms: Any, **named: Any) -> Any:
        found.append((conn.info.transaction_status, messages.height))
        answer = await real(conn, messages, *terms, **named)
        assert conn.info.transaction_status is TransactionStatus.IDLE
        return answer

    monkeypatch.setattr(run, "recommend_by_email", watched)
    asyncio.run(run_day(database, SHIPPED, NOW, slice_size=25))
    assert [status for status, _ in found] == [TransactionStatus.IDLE] * 3 and sum(
        messages for _, messages in found
    )


def test_a_replay_tells_nobody(database: str) -> None:
    asyncio.run(load(database, 60, NOW - timedelta(days=3)))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        first = conn.execute("SELECT min(first_event_at) FROM supplier_activity").fetchone()
        assert first and first[0]
    asyncio.run(run_day(database, SHIPPED, NOW - timedelta(days=1), replay=True))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        assert conn.execute(
            "SELECT count(*) FROM outbox WHERE facts ? 'next_steps'"
        ).fetchone() != (0,)
        assert conn.execute("SELECT count(*) FROM recommendation_impressions").fetchone() == (0,)
