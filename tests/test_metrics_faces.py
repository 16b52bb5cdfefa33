"""The metrics as API, command and page: parameters, errors and formats."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from everafter.cli import app
from everafter.metrics.model import METRICS
from helpers_pages import (
    TODAY,
    XSS,
    add_activity,
    add_conclusion,
    add_portfolio,
    add_supplier,
    add_user,
    browser,
    signed_in,
)
from helpers_server import Server


@pytest.fixture
def full(server: Server) -> Server:
    """60 suppliers with data for every metric."""
    ids = add_portfolio(server)
    server.sql("INSERT INTO playbook_versions (sha256, source) VALUES ('x', '')")
    for back in (60, 35, 18, 14, 3, 0):
        day = TODAY - timedelta(days=back)
        server.sql(
            "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, %s, 1, now())",
            day,
            datetime.now(UTC),
        )
    server.sql("UPDATE customer_health SET feature_adoption_score = health_score")
    server.sql("UPDATE runs SET as_of = run_on + interval '5 hours'")
    server.sql(
        "INSERT INTO churn_risk (supplier_id, calculated_on, calculated_at, risk, level, model_version) SELECT supplier_id,"
        " calculated_on - 35, calculated_at - interval '35 days', risk, level, model_version FROM churn_risk"
    )
    for supplier in ids[10:20]:
        server.sql(
            "INSERT INTO cancellations VALUES (%s, %s)",
            supplier,
            datetime.now(UTC) - timedelta(days=15),
        )
    for place, supplier in enumerate(ids):
        status = "holdout" if place % 4 == 0 else "triggered"
        triggered = TODAY - timedelta(days=20)
        succeeded = triggered + timedelta(days=3) if place % 3 else None
        add_conclusion(
            server, supplier, "no_login_7_days" if place % 2 else "early_inactivity", status, "x",
            evaluated_on=triggered, success_by=TODAY - timedelta(days=6), succeeded_on=succeeded,
        )  # fmt: skip
        opened = datetime.now(UTC) - timedelta(days=12, hours=place)
        server.sql(
            "INSERT INTO tickets (supplier_id, ticket_id, opened_at, last_opened_at, resolved_at) VALUES (%s, 't', %s, %s, %s)",
            supplier, opened, opened, opened + timedelta(hours=place + 1) if place % 5 else None,
        )  # fmt: skip
    add_supplier(
        server,
        "Young",
        plan=XSS,
        vendor_type="dj",
        created_at=datetime.now(UTC) - timedelta(days=20),
    )
    young = add_supplier(
        server,
        "Quick",
        plan="pro",
        vendor_type=XSS,
        created_at=datetime.now(UTC) - timedelta(days=20),
    )
    add_activity(server, young, first_form_at=datetime.now(UTC) - timedelta(days=18))
    return server


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_metrics_over_the_last_90_days(full: Server) -> None:
    with full.client("read") as client:
        answer = client.get("/api/metrics")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        last = date.fromisoformat(body["until"])
        assert set(body["metrics"]) == set(METRICS) and last in {TODAY, datetime.now(UTC).date()}, (
            "the test may run across midnight"
        )
        assert (
            body["from"] == (last - timedelta(days=89)).isoformat()
            and body["scored_until"] == TODAY.isoformat()
        )
        assert body["by"]["health_score"] == "cohort" and body["by"]["feature_adoption"] == "plan"
        for measured in body["metrics"].values():
            assert {"group", "value", "n"} <= measured["all"].keys() and all(
                {"group", "value", "n"} <= row.keys() for row in measured["rows"]
            )
        assert body["metrics"]["time_to_first_value"]["all"]["n"] == 2
        assert body["metrics"]["ticket_resolution"]["all"]["n"] == 48


def test_selected_metrics_by_group_over_a_period(full: Server) -> None:
    with full.client("read") as client:
        asked = "/api/metrics?metric=health_score&metric=ticket_resolution&by=plan"
        body = client.get(f"{asked}&from={TODAY - timedelta(days=5)}&until={TODAY}").json()
        assert set(body["metrics"]) == {"health_score", "ticket_resolution"} and set(
            body["by"].values()
        ) == {"plan"}
        assert {row["group"] for row in body["metrics"]["health_score"]["rows"]} == {
            "free",
            "pro",
            None,
        }
        assert body["metrics"]["health_score"]["days_scored"] == 2
        assert (
            client.get("/api/metrics?metric=churn_prediction&horizon=60").json()["metrics"][
                "churn_prediction"
            ]["horizon"]
            == 60
        )


@pytest.mark.parametrize(
    ("query", "words", "near"),
    [
        ("metric=helth", "did you mean health_score?", ["health_score"]),
        ("by=plans", "did you mean plan?", ["plan"]),
        ("by=xyz", "there are cohort, vendor_type, plan", []),
        ("from=yesterday", "from: 'yesterday' is not a date such as 2026-08-01", None),
        ("until=2999-01-01", "is in the future", None),
        ("from=2026-02-01&until=2026-01-01", "is after until", None),
        ("from=2001-01-01", "the maximum is 1,100", None),
        ("horizon=31", "not one of 30, 60, 90", None),
        ("from=%00", "is not a date", None),
    ],
)
def test_an_invalid_parameter_is_named(
    server: Server, query: str, words: str, near: list[str] | None
) -> None:
    with server.client("read") as client:
        answer = client.get(f"/api/metrics?{query}")
        assert (
            answer.status_code == 400
            and answer.headers["content-type"] == "application/problem+json"
        )
        assert words in answer.json()["detail"]
        assert answer.json().get("did_you_mean") == near


def test_a_key_without_read_scope_is_refused(server: Server) -> None:
    for scope, status in (("ingest", 403), ("coach", 403), ("read", 200), ("write", 200)):
        with server.client(scope) as client:  # type: ignore[arg-type]
            assert client.get("/api/metrics").status_code == status
    assert httpx.get(f"{server.base_url}/api/metrics").status_code == 401


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(full: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", full.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(full.settings.data))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, ["metrics", *words])


def test_tables_json_and_csv_agree(run: Any, full: Server) -> None:
    shown = run()
    assert shown.exit_code == 0, shown.output
    for title in (
        "Health score",
        "Intervention success rate",
        "Time to first value",
        "Feature adoption",
        "Ticket resolution time",
    ):
        assert title in shown.output
    reported = json.loads(run("--json", "--metric", "ticket_resolution", "--by", "plan").output)
    with full.client("read") as client:
        served = client.get("/api/metrics?metric=ticket_resolution&by=plan").json()
    assert reported["metrics"] == served["metrics"]
    rows = list(
        csv.DictReader(
            io.StringIO(run("--csv", "--metric", "ticket_resolution", "--by", "plan").output)
        )
    )
    assert rows[0]["plan"] == "all" and float(rows[0]["value"]) == pytest.approx(
        reported["metrics"]["ticket_resolution"]["all"]["value"]
    )
    assert len(rows) == 1 + len(reported["metrics"]["ticket_resolution"]["rows"])


def test_the_command_line_names_an_invalid_option(run: Any) -> None:
    for words, message in (
        (("--csv",), "choose one with --metric"),
        (("--metric", "adoption"), "did you mean feature_adoption"),
        (("--from", "x"), "from: 'x' is not a date"),
        (("--horizon", "7"), "not one of 30, 60, 90"),
    ):
        refused = run(*words)
        assert refused.exit_code != 0 and message in str(refused.exception)


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client(full: Server) -> Iterator[httpx.Client]:
    with signed_in(full, "observer") as made:
        yield made


def test_the_page_has_six_sections_with_tables_and_files(client: httpx.Client) -> None:
    page = client.get("/insights")
    assert page.status_code == 200 and XSS not in page.text and "<script>" not in page.text
    for metric in METRICS:
        assert f'id="{metric}"' in page.text
    assert page.text.count("<b>What is counted.</b>") == page.text.count("<b>Limits.</b>") == 6
    assert 'href="/insights" aria-current="page"' in page.text
    links = re.findall(r'href="(/insights\.csv\?[^"]*)"', page.text)
    assert len(links) == 7, "one per metric, and one for the triggers"
    for link in links:
        file = client.get(link.replace("&amp;", "&"))
        assert file.status_code == 200 and file.headers["content-type"].startswith("text/csv")
        assert len(list(csv.reader(io.StringIO(file.text)))) >= 2


def test_the_url_holds_the_view(client: httpx.Client) -> None:
    page = client.get("/insights?days=30&by=plan&horizon=90").text
    assert ">By plan " in page and ">By cohort" not in page
    assert re.search(r'href="\?days=30[^"]*" aria-current="true"', page)
    assert 'value="plan" selected' in page and 'value="90" selected' in page
    free = client.get(
        f"/insights?from={TODAY - timedelta(days=3)}&until={TODAY - timedelta(days=1)}"
    ).text
    assert ", 3 days" in free and 'aria-current="true"' not in free.split("<main")[1]
    for nonsense in ("days=7", "days=x", "from=x", "by=x", "horizon=1", "until=2999-01-01"):
        refused = client.get(f"/insights?{nonsense}")
        assert refused.status_code == 400 and "Bad request" in refused.text
    assert client.get("/insights.csv").status_code == 400
    assert client.get("/insights.csv?metric=helth").status_code == 400
    nothing = client.get("/insights?from=2010-01-01&until=2010-01-31&horizon=90").text
    assert (
        nothing.count('class="empty"') == 6
        and "No prediction’s 90 days ended in this period." in nothing
    )


def test_without_suppliers_the_page_explains_how_to_start(server: Server) -> None:
    with signed_in(server) as client:
        page = client.get("/insights").text
        assert (
            "Nothing to measure yet" in page
            and "everafter run" in page
            and '<form class="filters' not in page
        )


def test_the_page_requires_a_sign_in(server: Server) -> None:
    add_user(server)
    with browser(server) as client:
        assert (
            client.get("/insights?by=plan").headers["location"]
            == "/sign-in?next=/insights%3Fby%3Dplan"
        )
        assert client.get("/insights.csv").status_code == 303
