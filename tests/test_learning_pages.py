"""The page on the churn model, the commands and the API: empty, with little and with much."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from conftest import copy_database
from everafter.cli import app
from everafter.core.checks import Check
from everafter.core.db import connection
from everafter.core.settings import Settings, load_settings
from everafter.daily.churn_commands import odds_table
from everafter.daily.run import run_day
from everafter.learning import queries
from everafter.learning.charts import draw_calibration
from everafter.learning.checks import check_training
from everafter.learning.fault_rules import find_fault
from everafter.learning.jobs import train_as_of
from everafter.learning.model import Bin, Parameters
from everafter.playbook.loading import load_playbook
from everafter.scoring.rules import CHURN_MODEL
from helpers_learning import make_snapshots, month_moments
from helpers_pages import XSS, add_activity, add_supplier, signed_in
from helpers_server import Server, serving
from test_learning_training import store

PAGE = "/insights/churn-model"
PLAYBOOK = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
# the current month and the ten before it
MONTHS = 11
NOW = datetime.now(UTC)
FIRST = datetime((NOW.year * 12 + NOW.month - MONTHS) // 12, (NOW.year * 12 + NOW.month - MONTHS) % 12 + 1, 1, tzinfo=UTC)  # fmt: skip
MOMENTS = month_moments(MONTHS, FIRST)


@pytest.fixture(scope="module")
def learned(module_database: str) -> str:
    snapshots = make_snapshots(250, MONTHS, base=0.06, touched=0.2, first=FIRST)
    asyncio.run(store(module_database, snapshots))
    asyncio.run(train_as_of(module_database, MOMENTS[-2:]))
    return module_database


@pytest.fixture
def full(server_url: str, learned: str, settings: Settings) -> Iterator[Server]:
    from dataclasses import replace

    name = str(psycopg.conninfo.conninfo_to_dict(learned)["dbname"])
    with (
        copy_database(server_url, name) as url,
        serving(replace(settings, database_url=url)) as server,
    ):
        yield server


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def call(server: Server, *words: str) -> Any:
        monkeypatch.setenv("EVERAFTER_DATABASE_URL", server.database)
        monkeypatch.setenv("EVERAFTER_SECRET", server.settings.secret)
        return CliRunner().invoke(app, ["churn", *words])

    return call


# ── the page ──────────────────────────────────────────────────────────────────────


def test_without_snapshots_the_page_says_what_to_do(server: Server) -> None:
    with signed_in(server) as client:
        page = client.get(PAGE).text
        assert "No probability yet" in page and "everafter churn backfill" in page


def test_with_one_month_the_page_says_when(server: Server) -> None:
    asyncio.run(store(server.database, make_snapshots(5, 1, base=0.0001, first=MOMENTS[-1])))
    with signed_in(server) as client:
        page = client.get(PAGE).text
    assert "The first predictions can be compared" in page and "1 month of snapshots" in page


def test_with_few_churned_suppliers_the_page_says_how_many(server: Server) -> None:
    asyncio.run(store(server.database, make_snapshots(6, MONTHS, base=0.0001, first=FIRST)))
    asyncio.run(train_as_of(server.database, [MOMENTS[-1]]))
    with signed_in(server) as client:
        page = client.get(PAGE).text
    assert "45 days: no probability" in page and "90 days: no probability" in page
    assert "Needs 5 churned suppliers whose 45 days are over; so far 0." in page
    assert "line-end" not in page, "no chart"


def test_the_page_says_which_model_speaks_and_why_not_the_others(full: Server) -> None:
    with signed_in(full) as client:
        page = client.get(PAGE).text
    assert "45 days: calibrated index" in page and "it predicts better than the base rate" in page
    for name in ("Index alone", "Logistic model", "Boosted trees"):
        assert f"<dt>{name}</dt>" in page
    assert page.count('class="line-end"') >= 15, "two calibration charts"
    assert page.count('class="badge"') == 2 and "comparison only" in page
    assert "<style" not in page and "style=" not in page


def test_a_failed_training_is_shown_and_the_models_before_it_speak(full: Server) -> None:
    full.sql(
        "INSERT INTO model_trainings (trained_as_of, finished_at, error) VALUES (now(), now(), %s)",
        f"MemoryError {XSS}",
    )
    with signed_in(full) as client:
        page = client.get(PAGE).text
    assert "The last training failed" in page and "MemoryError &lt;script&gt;" in page
    assert "45 days: calibrated index" in page


LOGISTIC = {
    "base_rate": 0.03,
    "alpha": -3.0,
    "beta": 0.8,
    "features": ["tenure", "forms"],
    "means": [1.0, 2.0],
    "scales": [1.0, 1.0],
    "weights": [0.1, 0.1],
    "index_from": [-5.0, 0.0],
    "index_to": [0.0, 1.0],
}


def test_these_numbers_can_be_used() -> None:
    assert find_fault(msgspec.convert(LOGISTIC, Parameters)) == ""


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ("x", "not readable: Expected `object`, got `str`"),
        ({"alpha": 1.0}, "not readable: Object missing required field `base_rate`"),
        (LOGISTIC | {"alpha": "NaN"}, "not readable: Expected `float`, got `str` - at `$.alpha`"),
        (LOGISTIC | {"features": ["age", "forms"]}, "unknown feature: &#39;age&#39;"),
        (LOGISTIC | {"means": [1.0]}, "means: 1 for 2 features"),
        (LOGISTIC | {"weights": [1.0] * 3}, "weights: 3 for 2 features"),
        (LOGISTIC | {"beta": 1e300}, "beta: not a number, or beyond 1,000,000"),
        (LOGISTIC | {"scales": [1.0, 0.0]}, "scales: expected above 0"),
        (LOGISTIC | {"index_to": [0.5]}, "index_from and index_to differ in length"),
        (LOGISTIC | {"index_to": [0.0, 2.0]}, "base_rate and index_to: expected from 0 to 1"),
        (LOGISTIC | {"index_from": [1.0, 0.0]}, "index_from: expected rising"),
        (LOGISTIC | {"index_to": [1.0, 0.0]}, "index_to: expected rising"),
    ],
)
def test_a_model_that_cannot_be_used_is_named_and_stops_nothing(
    full: Server, churn: Callable[..., Any], broken: Any, fault: str
) -> None:
    add_active(full, "Studio")
    full.sql(
        "UPDATE model_versions SET parameters = %s WHERE promoted_at IS NOT NULL AND horizon = 45",
        Jsonb(broken),
    )
    with signed_in(full) as client:
        page = client.get(PAGE)
        assert page.status_code == 200
        assert f"Cannot be used, {fault}. To train again: everafter churn train" in page.text
        assert "45 days: no probability" in page.text
    summary = asyncio.run(run_day(full.database, PLAYBOOK, train=False))
    assert summary.suppliers == 1
    ((short, long),) = full.sql("SELECT probability_45d, probability_90d FROM churn_risk")
    assert short is None and long is not None
    status = churn(full, "status")
    assert status.exit_code == 0 and "45 days: no probability" in status.stdout
    lines = asyncio.run(_check(full))
    assert "calibrated-45-" in lines[1].found and fault.split(":")[0] in lines[1].found
    assert lines[1].do == "everafter churn train" and len(lines) == 2


async def _check(server: Server) -> list[Check]:
    async with connection(server.database) as conn:
        return await check_training(conn, server.settings, datetime.now(UTC))


def test_metrics_and_horizons_of_another_version_stop_nothing(
    full: Server, churn: Callable[..., Any]
) -> None:
    full.sql("UPDATE model_versions SET metrics = '[]' WHERE horizon = 45")
    full.sql("UPDATE model_versions SET horizon = 30 WHERE horizon = 90")
    with signed_in(full) as client:
        assert "Cannot be used, not readable" in client.get(PAGE).text
    assert churn(full, "status").exit_code == 0
    assert asyncio.run(run_day(full.database, PLAYBOOK, train=False)).suppliers == 0
    asyncio.run(train_as_of(full.database, [datetime.now(UTC)]))
    with signed_in(full, "admin") as client:
        assert "Cannot be used" not in client.get(PAGE).text


def test_the_page_needs_a_session(server: Server) -> None:
    with server.client() as client:
        assert client.get(PAGE, headers={"accept": "text/html"}).status_code in {302, 303, 401}


def test_the_chart_has_one_scale_for_both_axes() -> None:
    chart = draw_calibration([Bin(0.02, 0.04, 0.01, 0.9, 50), Bin(0.10, 0.08, 0.05, 0.12, 50)])
    assert [tick.word for tick in chart.across] == [tick.word for tick in chart.up]
    assert [tick.word for tick in chart.up] == ["0 %", "5 %", "10 %", "15 %"]
    first, second = chart.dots
    assert chart.left < first.x < second.x < chart.right
    assert chart.top == first.high < first.y < first.low <= chart.bottom, "cut off at the top"
    nothing = draw_calibration([])
    assert nothing.dots == [] and nothing.across


# ── the commands ──────────────────────────────────────────────────────────────────


def test_status_of_a_new_installation(server: Server, churn: Callable[..., Any]) -> None:
    assert "everafter churn backfill" in " ".join(churn(server, "status").output.split())
    found = json.loads(churn(server, "status", "--json").output)
    assert found == {"trained_as_of": None, "error": "", "months": [], "models": []}


def test_status(full: Server, churn: Callable[..., Any]) -> None:
    printed = churn(full, "status").output
    assert "45 days: calibrated index" in printed and "of base rate" in printed
    found = json.loads(churn(full, "status", "--json").output)
    assert len(found["months"]) == MONTHS and len(found["models"]) == 8
    (speaking,) = [one for one in found["models"] if one["speaks"] and one["horizon"] == 45]
    assert speaking["kind"] == "calibrated" and speaking["status"] == "promoted"
    untouched, everyone = speaking["metrics"]["untouched"], speaking["metrics"]["all"]
    assert 0 < untouched["predictions"] < everyone["predictions"]
    assert untouched["log_loss"] < untouched["base_log_loss"]


def test_train(full: Server, churn: Callable[..., Any]) -> None:
    (found,) = json.loads(churn(full, "train", "--json").output)
    assert found["snapshots"] == 250 * MONTHS and found["speaking"]["45"] == "calibrated"
    assert churn(full, "train").output.startswith("Trained as of")


def test_backfill_of_an_installation_without_events(
    server: Server, churn: Callable[..., Any]
) -> None:
    found = json.loads(churn(server, "backfill", "--json").output)
    assert found == {"written": [], "known": [], "snapshots": 0, "trainings": []}
    assert "Nothing to do" in churn(server, "backfill").output
    assert "expected a date" in str(churn(server, "backfill", "--from", "May").exception)


def add_active(server: Server, name: str) -> str:
    supplier = add_supplier(server, name)
    add_activity(server, supplier, last_login_at=NOW)
    return str(supplier)


def test_explain(full: Server, churn: Callable[..., Any]) -> None:
    supplier = add_active(full, "Golden Hour [bold]")
    printed = " ".join(churn(full, "explain", supplier).output.split())
    assert (
        "Golden Hour [bold]" in printed and "suppliers like this cancel within 45 days" in printed
    )
    assert "a usual supplier" in printed and "evidence of decline" in printed
    found = json.loads(churn(full, "explain", supplier, "--json").output)
    assert found["churn_risk"] == pytest.approx(sum(x or 0.0 for x in found["signals"].values()))
    assert [one["horizon"] for one in found["probabilities"]] == [45, 90]
    for one in found["probabilities"]:
        assert 0 < one["base_rate"] < 1 and 0 < one["probability"] < 1
        assert set(one["log_odds"]) == {"usual", "evidence"}


def test_the_log_odds_sum_to_the_sum_shown() -> None:
    adds = list(odds_table({"usual": -4.3037, "evidence": 1.4861}).columns[1].cells)
    assert adds == ["−4.30", "+1.48", "[bold]−2.82[/bold]"]


def test_explain_without_a_model(server: Server, churn: Callable[..., Any]) -> None:
    supplier = add_active(server, "Golden Hour")
    assert "No probability" in churn(server, "explain", supplier).output
    assert json.loads(churn(server, "explain", supplier, "--json").output)["probabilities"] == []
    cancelled = add_supplier(server, "Silver Hour")
    add_activity(server, cancelled, subscription="cancelled")
    assert "has cancelled" in str(churn(server, "explain", str(cancelled)).exception)


# ── where a probability is shown ──────────────────────────────────────────────────


def test_the_api_and_the_supplier_page_show_it(full: Server) -> None:
    supplier = add_active(full, "Golden Hour")
    with full.client("read") as client:
        churn = client.get(f"/api/health/score/{supplier}").json()["churn"]
    assert 0 < churn["probability_45d"] <= churn["probability_90d"] < 1
    with signed_in(full) as client:
        assert f'href="{PAGE}"' in client.get("/insights").text
        page = client.get(f"/suppliers/{supplier}").text
    percent = f"{churn['probability_45d'] * 100:.0f}"
    assert f"About {percent} in 100 suppliers like this cancel within 45 days; base rate" in page


def test_without_a_model_they_show_none(server: Server) -> None:
    supplier = add_active(server, "Golden Hour")
    with server.client("read") as client:
        churn = client.get(f"/api/health/score/{supplier}").json()["churn"]
    assert churn["probability_45d"] is None and churn["probability_90d"] is None
    with signed_in(server) as client:
        assert "in 100 suppliers" not in client.get(f"/suppliers/{supplier}").text


def test_a_run_stores_the_probability_and_the_model(full: Server) -> None:
    supplier = add_active(full, "Golden Hour")
    asyncio.run(run_day(full.database, PLAYBOOK))
    query = "SELECT probability_45d, probability_90d, model_version FROM churn_risk WHERE supplier_id = %s"
    ((within_45, within_90, model),) = full.sql(query, supplier)
    assert 0 < within_45 <= within_90 < 1 and model == CHURN_MODEL

    async def replace_parameters() -> Any:
        async with connection(full.database) as conn:
            return await queries.get_models(conn, NOW)

    assert asyncio.run(replace_parameters()).index_model is None
