"""What changed between two runs: rules, SQL, API, page and command."""

import base64
import html
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from everafter.cli import app
from everafter.core.errors import InputError
from everafter.playbook.model import CHURN_SIGNALS, DIMENSIONS, Dimension
from everafter.portfolio.change_model import (
    MOVED,
    ORDERS,
    SCORED_BANDS,
    ChangeView,
    GroupTotal,
    Measured,
    Moves,
    ScoredBand,
)
from everafter.portfolio.change_rules import (
    compare_risks,
    compare_scores,
    describe_change,
    describe_supplier,
    draw_contributions,
    shown_causes,
    shown_points,
    sum_up,
)
from everafter.portfolio.change_view_rules import (
    change_query,
    parse_change_view,
    read_place,
    write_place,
)
from everafter.portfolio.model import LEVELS
from everafter.scoring.model import ChurnCause
from helpers_pages import TODAY, XSS, add_activity, add_day, add_supplier, signed_in
from helpers_server import Server

AT = datetime(2026, 11, 29, 5, tzinfo=UTC)
PATH = "/api/suppliers/changes"


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def measured(points: dict[Dimension, float | None], **more: Any) -> Measured:
    score = min(100.0, sum(value or 0.0 for value in points.values()))
    band: ScoredBand = "critical" if score < 40 else "at_risk" if score < 70 else "healthy"
    causes: dict[ChurnCause, float] = more.pop("causes", {})
    values: dict[str, Any] = {
        "scored_at": AT,
        "score": score,
        "health_score": int(score),
        "band": band,
        "points": points,
        "last_login_at": AT - timedelta(days=1),
        "adoption": None,
        "engagement": None,
        "churn_risk": sum(causes.values()) if causes else None,
        "churn_level": "low" if causes else None,
        "causes": causes,
    }
    return Measured(**values | more)


def with_points(*points: float | None, **more: Any) -> Measured:
    return measured(dict(zip(DIMENSIONS, points, strict=True)), **more)


def moves(before: Measured, after: Measured) -> Moves:
    return Moves(uuid.uuid4(), None, "A", None, None, before, after, 0.0)


POINT = st.none() | st.floats(0, 20, allow_nan=False)
SHARE = st.floats(-0.15, 0.15, allow_nan=False)


def random_run(points: list[float | None], causes: list[float]) -> Measured:
    named: dict[ChurnCause, float] = {"base": 0.3}
    named |= dict(zip(CHURN_SIGNALS, causes, strict=True))
    return with_points(*points, causes=named)


MEASURED = st.builds(
    random_run, st.lists(POINT, min_size=5, max_size=5), st.lists(SHARE, min_size=5, max_size=5)
)


@given(MEASURED, MEASURED)
def test_contributions_sum_to_the_change(before: Measured, after: Measured) -> None:
    score, churn = compare_scores(before, after), compare_risks(before, after)
    assert churn is not None
    assert sum(score.contributions.values()) == pytest.approx(score.change, abs=1e-9)
    assert sum(churn.contributions.values()) == pytest.approx(churn.change, abs=1e-9)


@given(MEASURED, MEASURED)
def test_contributions_as_shown_sum_to_the_change_as_shown(
    before: Measured, after: Measured
) -> None:
    change = describe_supplier(moves(before, after))
    assert change.churn is not None
    assert sum(shown_points(change).values()) == int(after.score) - int(before.score)
    shown = round(change.churn.after, 2) - round(change.churn.before, 2)
    assert sum(by for _, by in shown_causes(change.churn)) == pytest.approx(shown, abs=1e-9)
    assert change.description and "nan" not in change.description


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (
            with_points(24.0, 20, 20, 8, 8),
            with_points(4.0, 20, 20, 10, 8, last_login_at=AT - timedelta(days=9)),
            "−18: no login for 9 days (−20), forms completed +2",
        ),
        (
            with_points(4.0, 20, 20, 8, 8, last_login_at=AT - timedelta(days=9)),
            with_points(24.0, 20, 20, 8, 8, last_login_at=AT),
            "+20: logged in again (+20)",
        ),
        (
            with_points(4.0, 20, 20, 8, 8, last_login_at=AT - timedelta(days=9)),
            with_points(9.0, 20, 20, 8, 8, last_login_at=AT - timedelta(days=9)),
            "+5: inactivity counts less now (+5)",
        ),
        (
            with_points(30, 20, 20, 8, 8, last_login_at=None),
            with_points(20, 20, 20, 8, 8, last_login_at=None),
            "−10: no login yet (−10)",
        ),
        (
            with_points(30, 20, 20, 8, 8),
            with_points(28, 20, 20, 8, 8, last_login_at=AT - timedelta(hours=47)),
            "−2: fewer points for the last login (−2)",
        ),
        (
            with_points(20, 20, 20, 8, 8, adoption=80),
            with_points(20, 10, 20, 8, 8, adoption=40),
            "−10: key features in use 80 → 40 % (−10)",
        ),
        (
            with_points(20, 20, 20, 8, 8, adoption=40),
            with_points(20, 10, 20, 8, 8, adoption=60),
            "−10: more key features expected now (−10)",
        ),
        (
            with_points(20, 20, 20, 8, 8, engagement=60),
            with_points(20, 20, 25, 8, 8, engagement=60),
            "+5: fewer active clients expected now (+5)",
        ),
        (
            with_points(40, 30, None, 8, 8),
            with_points(30, 20, 20, 8, 6, last_login_at=AT),
            "−2: active clients known now (+20), logins −10, features in use −10",
        ),
        (
            with_points(20, 20, 20, 8, 8),
            with_points(20, 20, 20, None, 8),
            "−8: forms completed no longer known (−8)",
        ),
        (
            with_points(20, 20, 20, 8, 8),
            with_points(20, 20, 20, 8, 3),
            "−5: fewer journey emails opened (−5)",
        ),
        (
            with_points(20, 20, 20, 8, 8, causes={"base": 0.2, **dict.fromkeys(CHURN_SIGNALS, 0)}),
            with_points(
                20,
                20,
                20,
                8,
                8,
                causes={
                    "base": 0.2,
                    **dict.fromkeys(CHURN_SIGNALS, 0),
                    "login": 0.2,
                    "billing": -0.05,
                },
            ),
            "Churn risk +0.15: logins declined (+0.20), billing −0.05",
        ),
        (
            with_points(20, 20, 20, 8, 8),
            with_points(20.5, 20, 20, 8, 8),
            "No change of a point or more",
        ),
    ],
)
def test_the_sentence_names_the_main_reason(before: Measured, after: Measured, text: str) -> None:
    assert describe_change(before, after) == text


def test_totals_are_summed_by_band() -> None:
    def group(before: Any, after: Any, count: int, fell: int, by: float) -> GroupTotal:
        points: dict[Dimension, float] = dict.fromkeys(DIMENSIONS, 0.0)
        points["login"] = by
        return GroupTotal(
            before, after, count, fell, 0, 0, 0, 70.0 * count, 70.0 * count + by, points
        )

    totals = sum_up(
        [
            group("healthy", "healthy", 5, 1, -5.0),
            group("healthy", "at_risk", 2, 2, -15.0),
            group("at_risk", "critical", 1, 1, -20.0),
            group(None, "healthy", 3, 0, 0),
            group("healthy", None, 4, 0, 0),
        ]
    )
    assert (totals.compared, totals.fell, totals.unchanged, totals.new, totals.churned) == (
        8,
        4,
        4,
        3,
        4,
    )
    by_band = {
        move.band: (move.before, move.entered, move.exited, move.after) for move in totals.bands
    }
    assert by_band == {"critical": (0, 1, 0, 1), "at_risk": (1, 2, 1, 2), "healthy": (7, 0, 2, 5)}
    assert totals.contributions["login"] == -5.0
    assert totals.average_before == 70.0 and totals.average_after == 65.0
    bars = {bar.dimension: bar for bar in draw_contributions(totals)}
    assert (bars["login"].start, bars["login"].size, bars["login"].kind) == (0, 50, "hurts")
    assert sum(bar.by for bar in bars.values()) == -5.0
    assert sum_up([]).average_before is None and draw_contributions(sum_up([])) == []


VIEWS = st.builds(
    ChangeView,
    days=st.sampled_from([1, 7, 30]),
    since=st.none() | st.dates(),
    q=st.text(max_size=20).map(lambda text: text.replace("\0", "").strip()),
    vendor=st.sampled_from(["", "none", "photographer", "a&b=c"]),
    plan=st.sampled_from(["", "pro"]),
    band=st.sampled_from(["", *SCORED_BANDS]),
    churn=st.sampled_from(["", *LEVELS]),
    moved=st.sampled_from(["", *MOVED]),
    sort=st.sampled_from(ORDERS),
)


@given(VIEWS)
def test_the_url_holds_the_whole_view(view: ChangeView) -> None:
    assert parse_change_view(dict(parse_qsl(change_query(view)))) == view


@pytest.mark.parametrize(
    "params", [{"days": "8"}, {"band": "unknown"}, {"since": "yesterday"}, {"moved": "x"}]
)
def test_an_invalid_view_is_refused(params: dict[str, str]) -> None:
    with pytest.raises(InputError):
        parse_change_view(params)


@pytest.mark.parametrize("text", ["", "2026-11-29", "2026-11-29 2026-11-22 nan 0", "a b c d"])
def test_another_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_place(text)


def test_the_cursor_keeps_the_runs() -> None:
    one = moves(with_points(1, 1, 1, 1, 1), with_points(2, 1, 1, 1, 1))
    cursor = write_place((date(2026, 11, 29), date(2026, 11, 22)), one)
    place = read_place(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
    assert (place.latest, place.before, place.key) == (date(2026, 11, 29), date(2026, 11, 22), 0.0)
    assert place.supplier_id == one.supplier_id


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_run(server: Server, day: date, *, finished: bool = True) -> None:
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, %s, 1, %s)",
        day,
        datetime(day.year, day.month, day.day, 5, tzinfo=UTC),
        datetime.now(UTC) if finished else None,
    )


def points(total: float) -> dict[str, float | None]:
    """Points that sum to the total; those of logins move first."""
    rest = min(total, 60.0)
    return {
        "login": total - rest,
        "feature_adoption": rest,
        "client_activity": None,
        "form_completion": None,
        "journey_performance": None,
    }


def add_risk(server: Server, supplier: uuid.UUID, day: date, risk: float) -> None:
    level = "high" if risk > 0.7 else "medium" if risk > 0.4 else "low"
    server.sql(
        """
        INSERT INTO churn_risk (supplier_id, calculated_on, calculated_at, risk, level, login, billing, base, model_version)
        VALUES (%s, %s, now(), %s, %s, %s, %s, %s, 'rule-2')
        """,
        supplier,
        day,
        risk,
        level,
        risk - 0.25,
        0.05,
        0.2,
    )


def add_moved(
    server: Server, name: str, before: float | None, after: float | None, **more: Any
) -> uuid.UUID:
    """A supplier with a score 7 days ago and one today; null: none."""
    risks = more.pop("risks", (0.1, 0.1))
    subscription = more.pop("subscription", "active")
    supplier = add_supplier(server, name, **more)
    add_activity(server, supplier, subscription=subscription)
    for day, score, risk in (
        (TODAY - timedelta(days=7), before, risks[0]),
        (TODAY, after, risks[1]),
    ):
        if score is not None:
            add_day(server, supplier, day, points(score))
            add_risk(server, supplier, day, risk)
    return supplier


@pytest.fixture
def full(server: Server) -> Server:
    for back in (0, 7, 20):
        add_run(server, TODAY - timedelta(days=back))
    add_run(server, TODAY - timedelta(days=3), finished=False)
    add_moved(server, "Far", 90.0, 38.0, plan="free", vendor_type="dj")
    add_moved(server, "Exactly", 70.3, 69.3)
    add_moved(server, "Almost", 75.3, 74.32)
    add_moved(server, "Still", 80.0, 80.0)
    add_moved(server, "Risen", 60.0, 72.0, vendor_type=None)
    add_moved(server, "Risky", 80.0, 80.0, risks=(0.3, 0.75))
    add_moved(server, "Safer", 80.0, 80.0, risks=(0.15, 0.1))
    add_moved(server, "New", None, 66.0)
    add_moved(server, "Former", 50.0, None, subscription="cancelled")
    add_moved(server, "Leaving", 50.0, 20.0, subscription="cancelled")
    return server


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [change["name"] for change in answer.json()["changes"]]


def test_largest_falls_come_first(full: Server) -> None:
    with full.client("read") as client:
        answer = client.get(PATH)
        body = answer.json()
        assert names(answer) == [
            "Far",
            "Exactly",
            *sorted(["Risky", "Safer"], key=lambda n: ids(full)[n]),
            "Risen",
        ]
        assert (
            body["latest"] == f"{TODAY}" and body["compared_with"] == f"{TODAY - timedelta(days=7)}"
        )
        assert body["next_cursor"] is None
        far = body["changes"][0]
        assert (far["score"]["before"], far["score"]["after"], far["score"]["change"]) == (
            90,
            38,
            -52,
        )
        assert (far["score"]["risk_before"], far["score"]["risk_after"]) == ("healthy", "critical")
        assert far["score"]["contributions"]["login"] == -30
        assert far["score"]["contributions"]["feature_adoption"] == -22
        for change in body["changes"]:
            assert sum(change["score"]["contributions"].values()) == pytest.approx(
                change["score"]["change"]
            )
            assert sum(change["churn"]["contributions"].values()) == pytest.approx(
                change["churn"]["change"], abs=1e-9
            )
        risky = next(change for change in body["changes"] if change["name"] == "Risky")
        assert risky["churn"]["contributions"]["login"] == pytest.approx(0.45, abs=1e-6)
        assert risky["churn"]["level_after"] == "high"
        assert risky["description"] == "Churn risk +0.45: logins declined (+0.45)"


def ids(server: Server) -> dict[str, str]:
    return {name: str(found) for name, found in server.sql("SELECT name, id FROM suppliers")}


def test_totals_count_those_apart_who_are_new_or_churned(full: Server) -> None:
    with full.client("read") as client:
        totals = client.get(PATH).json()["totals"]
    assert (totals["compared"], totals["fell"], totals["rose"], totals["unchanged"]) == (7, 2, 1, 4)
    assert (totals["churn_rose"], totals["churn_fell"]) == (1, 1)
    assert (totals["new"], totals["churned"]) == (1, 2)
    moved = {move["band"]: (move["entered"], move["exited"]) for move in totals["bands"]}
    assert moved == {"critical": (1, 0), "at_risk": (1, 1), "healthy": (1, 2)}
    change = totals["average_after"] - totals["average_before"]
    assert sum(totals["contributions"].values()) == pytest.approx(change, abs=1e-9)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=far", {"Far"}),
        ("q=100%25", set[str]()),
        ("vendor_type=dj", {"Far"}),
        ("vendor_type=none", {"Risen"}),
        ("plan=free", {"Far"}),
        ("band=critical", {"Far"}),
        ("churn=high", {"Risky"}),
        ("moved=fell", {"Far", "Exactly"}),
        ("moved=rose", {"Risen"}),
        ("moved=band", {"Far", "Exactly", "Risen"}),
        ("moved=churn_rose", {"Risky"}),
        ("moved=churn_fell", {"Safer"}),
        ("moved=band&band=at_risk", {"Exactly"}),
    ],
)
def test_filters(full: Server, query: str, expected: set[str]) -> None:
    with full.client("read") as client:
        assert set(names(client.get(f"{PATH}?{query}"))) == expected
    with signed_in(full) as client:
        page = client.get("/changes?" + query.replace("vendor_type", "vendor")).text
        assert set(re.findall(r'<a class="row"[^>]*>([^<]*)</a>', page)) == expected


@pytest.mark.parametrize(
    ("sort", "first"),
    [("rise", "Risen"), ("churn_rise", "Risky"), ("churn_fall", "Safer"), ("fall", "Far")],
)
def test_orders(full: Server, sort: str, first: str) -> None:
    with full.client("read") as client:
        assert names(client.get(f"{PATH}?sort={sort}"))[0] == first


def test_pages_hold_every_supplier_once_even_with_ties(full: Server) -> None:
    for number in range(9):
        add_moved(full, f"Tie {number}", 80.0, 70.0)
    with full.client("read") as client:
        whole = names(client.get(PATH))
        assert len(whole) == 14
        for sort in ORDERS:
            walked: list[str] = []
            cursor = ""
            while True:
                body = client.get(f"{PATH}?limit=4&sort={sort}{cursor}").json()
                assert (body["totals"] is None) == bool(cursor)
                walked += [change["name"] for change in body["changes"]]
                if body["next_cursor"] is None:
                    break
                cursor = f"&cursor={body['next_cursor']}"
            assert sorted(walked) == sorted(whole) and len(set(walked)) == len(walked)


def test_a_page_keeps_to_the_runs_of_the_first(full: Server) -> None:
    with full.client("read") as client:
        first = client.get(f"{PATH}?limit=2").json()
        full.sql("UPDATE runs SET finished_at = NULL WHERE run_on = %s", TODAY)
        second = client.get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json()
        assert second["latest"] == f"{TODAY}" and second["changes"]


@pytest.mark.parametrize(
    ("back", "compared"), [(1, 7), (6, 7), (7, 7), (8, 20), (20, 20), (21, None)]
)
def test_the_last_run_on_or_before_the_day_is_compared(
    full: Server, back: int, compared: int | None
) -> None:
    with full.client("read") as client:
        body = client.get(f"{PATH}?since={TODAY - timedelta(days=back)}").json()
    assert body["compared_with"] == (compared and f"{TODAY - timedelta(days=compared)}")
    assert (body["totals"] is None) == (compared is None)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (f"since={TODAY}", "expected a day before the last run"),
        ("since=yesterday", "is not a date"),
        ("band=unknown", "band: 'unknown' is not one of critical, at_risk, healthy"),
        ("sort=up", "is not one of fall"),
        ("cursor=abc", "not the next_cursor"),
        ("limit=0", "limit"),
        ("days=7", "there is no parameter 'days' here"),
    ],
)
def test_an_invalid_parameter_is_named(full: Server, query: str, words: str) -> None:
    with full.client("read") as client:
        answer = client.get(f"{PATH}?{query}")
    assert answer.status_code == 400 and words in answer.json()["detail"]


def test_nothing_to_compare(server: Server) -> None:
    with server.client("read") as client, signed_in(server) as user:
        assert client.get(PATH).json() == {
            "latest": None,
            "compared_with": None,
            "totals": None,
            "changes": [],
            "next_cursor": None,
        }
        assert "The daily run has not run yet." in user.get("/changes").text
        add_run(server, TODAY)
        add_moved(server, "New", None, 66.0)
        assert client.get(PATH).json()["latest"] == f"{TODAY}"
        assert "There is one run so far" in user.get("/changes").text
        add_run(server, TODAY - timedelta(days=2))
        assert "There was no run 7 days before the last one or earlier" in user.get("/changes").text
        assert "Nothing to compare" not in user.get("/changes?days=1").text
        assert "No score moved by a point or more" in user.get("/changes?days=1").text


@pytest.fixture
def client(full: Server) -> Iterator[httpx.Client]:
    with signed_in(full) as made:
        yield made


def test_the_page(full: Server, client: httpx.Client) -> None:
    add_moved(full, XSS, 80.0, 60.0)
    page = client.get("/changes")
    assert page.status_code == 200 and XSS not in page.text
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))
    assert "3 fell, 1 rose and 4 moved by less than a point." in text
    assert "1 is new and 2 churned." in text
    assert 'href="/changes" aria-current="page"' in page.text
    assert 'aria-current="true">7 days' in page.text
    assert "No suppliers match these filters" in client.get("/changes?q=zzz").text
    assert client.get("/changes?band=blue").status_code == 400
    assert client.get("/changes?after=abc").status_code == 400


def test_the_next_page_of_the_page(full: Server, client: httpx.Client) -> None:
    for number in range(50):
        add_moved(full, f"Tie {number}", 80.0, 70.0)
    first = client.get("/changes").text
    address = html.unescape(re.findall(r'<a rel="next" href="([^"]+)"', first)[0])
    second = client.get(f"/changes{address}").text
    rows = [re.findall(r'<a class="row"[^>]*>([^<]*)</a>', page) for page in (first, second)]
    assert len(rows[0]) == 50 and len(rows[1]) == 5 and not set(rows[0]) & set(rows[1])
    assert "← First page" in second and 'class="overview"' not in second


def test_a_page_needs_a_user_and_the_api_a_key(full: Server) -> None:
    assert httpx.get(f"{full.base_url}{PATH}").status_code == 401
    for scope, status in (("ingest", 403), ("read", 200), ("write", 200)):
        with full.client(scope) as keyed:  # type: ignore[arg-type]
            assert keyed.get(PATH).status_code == status
    stranger = httpx.get(f"{full.base_url}/changes", headers={"accept": "text/html"})
    assert stranger.status_code == 303


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(full: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", full.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(full.settings.data))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(app, ["changes", *words])

    return invoke


def test_the_command_agrees_with_the_api(run: Any, full: Server) -> None:
    shown = run()
    assert shown.exit_code == 0, shown.output
    assert "2 fell, 1 rose and 4 moved by less than a point." in shown.output
    assert re.search(r"Far +90 → 38 .*no login for|Far +90 → 38", shown.output)
    with full.client("read") as client:
        assert json.loads(run("--json", "--limit", "50").output) == client.get(PATH).json()
    assert "The first 2; --limit shows more." in run("--limit", "2").output
    assert run("--since", f"{TODAY}").exit_code == 1
    early = run("--since", "2020-01-01")
    assert early.exit_code == 1 and "There was no run on 1 Jan 2020" in str(early.exception)
