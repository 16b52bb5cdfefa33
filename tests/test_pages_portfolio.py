"""The portfolio over HTTP: sorting, filters, pages, CSV, and the empty state."""

import csv
import html
import io
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core.errors import InputError
from everafter.portfolio.model import BANDS, LEVELS, REASONS, SORTS, View
from everafter.portfolio.rules import (
    CSV_COLUMNS,
    choose_days,
    parse_view,
    shares,
    sort_query,
    spark_places,
    view_query,
)
from helpers_pages import (
    DIMENSIONS,
    TODAY,
    XSS,
    add_activity,
    add_day,
    add_portfolio,
    add_supplier,
    signed_in,
)
from helpers_server import Server

COLUMN = {
    "vendor": "vendor_type",
    "score": "health_score",
    "change": "change_14d",
    "reason": "main_reason",
    "season": "season_index",
    "clients": "clients_total",
    "weddings": "weddings_90d",
    "tickets": "tickets_open",
    "churn": "churn_risk",
    "mrr": "mrr_minor",
    "login": "last_login_at",
}
NUMBERS = {
    "score",
    "change",
    "coverage",
    "season",
    "clients",
    "weddings",
    "tickets",
    "churn",
    "mrr",
}


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as made:
        yield made


def file(client: httpx.Client, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"/portfolio.csv?{query}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


def names(client: httpx.Client, query: str = "") -> list[str]:
    answer = client.get(f"/?{query}")
    assert answer.status_code == 200, answer.text
    return [
        html.unescape(name) for name in re.findall(r'<a class="row"[^>]*>([^<]*)</a>', answer.text)
    ]


VIEWS = st.builds(
    View,
    q=st.text(max_size=20).map(lambda text: text.replace("\0", "").strip()),
    band=st.sampled_from(["", *BANDS]),
    vendor=st.sampled_from(["", "none", "photographer", "a&b=c"]),
    reason=st.sampled_from(["", *REASONS]),
    churn=st.sampled_from(["", *LEVELS]),
    churned=st.booleans(),
    sort=st.sampled_from(SORTS),
    descending=st.booleans(),
    page=st.integers(1, 500),
)


@given(VIEWS)
def test_the_url_holds_the_whole_view(view: View) -> None:
    assert parse_view(dict(parse_qsl(view_query(view, page=view.page)))) == view


@given(VIEWS, st.sampled_from(SORTS))
def test_a_second_click_reverses_the_order(view: View, sort: Any) -> None:
    once = parse_view(dict(parse_qsl(sort_query(view, sort))))
    twice = parse_view(dict(parse_qsl(sort_query(once, sort))))
    assert (
        once.sort == twice.sort == sort and once.descending != twice.descending and once.page == 1
    )
    assert (once.q, once.band, once.vendor) == (view.q, view.band, view.vendor)


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "x"},
        {"dir": "up"},
        {"band": "bad"},
        {"churn": "1"},
        {"page": "0"},
        {"page": "²"},
        {"page": "9" * 30},
    ],
)
def test_an_invalid_parameter_is_named(params: dict[str, str]) -> None:
    ((name, _),) = params.items()
    with pytest.raises(InputError, match=f"^{name}: "):
        parse_view(params)


def test_every_column_sorts_both_ways_with_the_unknown_last(
    server: Server, client: httpx.Client
) -> None:
    ids = {str(supplier) for supplier in add_portfolio(server)}
    for sort in SORTS:
        for direction in ("asc", "desc"):
            rows = file(client, f"sort={sort}&dir={direction}&churned=1")
            assert {row["id"] for row in rows} == ids
            if sort not in {
                "active",
                "billing",
            }:  # sorted by what the file does not say: see the next test
                check_order(sort, direction, rows)


def check_order(sort: str, direction: str, rows: list[dict[str, str]]) -> None:
    values = [row[COLUMN.get(sort, sort)] for row in rows]
    if sort == "reason":
        values = ["" if value == "none" else value for value in values]
    known = [value for value in values if value != ""]
    if sort == "login":  # never is the longest ago of all
        assert values == sorted(values, reverse=direction == "desc")
        return
    assert values[: len(known)] == known, "unknown values are last in both directions"
    keys: list[Any] = [float(value) if sort in NUMBERS else value.lower() for value in known]
    if sort == "name":  # where signs stand is the database's; that of the numbered names is seen
        keys = [key for key in keys if key.startswith("supplier")]
    assert len(keys) > 30 and keys == sorted(keys, reverse=direction == "desc")


def test_billing_and_active_clients_sort(server: Server, client: httpx.Client) -> None:
    add_portfolio(server)
    rows = file(client, "sort=billing")
    flags = [row["payment_past_due"] for row in rows]
    assert flags == sorted(flags, reverse=True) and flags.count("yes") == 7
    past = server.sql(
        "SELECT p.supplier_id::text FROM supplier_activity p WHERE payment_failed_at IS NOT NULL"
        " AND subscription IS DISTINCT FROM 'cancelled' ORDER BY payment_failed_at"
    )
    assert [row["id"] for row in rows[:7]] == [row[0] for row in past], "the most overdue first"
    shown = [row["id"] for row in file(client, "sort=active&dir=desc&churned=1")]
    wanted = server.sql(
        "SELECT supplier_id::text FROM customer_health WHERE calculated_on = current_date AND client_engagement_score IS NOT NULL"
        " ORDER BY client_engagement_score DESC"
    )
    assert shown[: len(wanted)] == [row[0] for row in wanted]


def test_filters_and_counts_agree(server: Server, client: httpx.Client) -> None:
    add_portfolio(server)
    rows = file(client)
    assert len(rows) == 60 - 2, "cancelled suppliers are excluded"
    assert len(file(client, "churned=1")) == 60
    words = {
        "critical": "Critical",
        "at_risk": "At risk",
        "healthy": "Healthy",
        "unknown": "Not scored",
    }
    by_band = Counter(row["band"] for row in rows)
    page = client.get("/?churn=&q=").text
    for band, word in words.items():
        assert len(file(client, f"band={band}")) == by_band[word]
        assert re.search(
            rf'band={band}".*?</svg>{word}</span></span> <b>{by_band[word]}</b>', page, re.S
        )
    for reason in REASONS:
        assert len(file(client, f"reason={reason}")) == sum(
            row["main_reason"] == reason for row in rows
        )
    for level in LEVELS:
        assert len(file(client, f"churn={level}")) == sum(
            row["churn_level"] == level for row in rows
        )
    assert len(file(client, "vendor=dj")) == sum(row["vendor_type"] == "dj" for row in rows)
    assert len(file(client, "vendor=none")) == sum(row["vendor_type"] == "" for row in rows)
    assert len(file(client, "vendor=none&band=critical&churn=high")) == sum(
        (row["vendor_type"], row["band"], row["churn_level"]) == ("", "Critical", "high")
        for row in rows
    )
    # each vendor type is counted under the other filters
    for query in ("", "churned=1", "band=critical", "churn=high&vendor=dj"):
        options = re.findall(
            r'<option value="([^"]*)"[^>]*>[^<]* \(([\d,]+)\)</option>',
            client.get(f"/?{query}").text,
        )
        assert options
        for vendor, count in options:
            chosen = f"{query}&vendor={vendor}".replace("&vendor=dj&", "&")
            assert len(file(client, chosen)) == int(count), (query, vendor)
    # the distribution applies all filters except the band
    narrowed = client.get("/?vendor=dj&band=critical").text
    all_djs = sum(row["vendor_type"] == "dj" for row in rows)
    assert re.search(rf'<span class="band">All</span> <b>{all_djs}</b>', narrowed)


def test_revenue_of_a_band_is_that_of_current_suppliers(
    server: Server, client: httpx.Client
) -> None:
    def revenue(query: str) -> str:
        page = client.get(f"/?{query}").text
        found = re.search(r"</svg>Not scored</span>.*? · MRR ([^<]*)</span>", page, re.S)
        assert found
        return found[1]

    scored = add_supplier(server, "Scored")
    add_day(server, scored, TODAY, dict.fromkeys(DIMENSIONS, 10.0))
    add_supplier(server, "Free", mrr_minor=None)
    assert revenue("") == "–", "not 0 when it is unknown"
    add_supplier(server, "Paying", mrr_minor=4900)
    churned = add_supplier(server, "Churned", mrr_minor=99_00)
    add_activity(server, churned, subscription="cancelled")
    assert revenue("") == revenue("churned=1") == "49"


def test_search_treats_wildcards_as_text(server: Server, client: httpx.Client) -> None:
    add_portfolio(server)
    assert len(file(client, "q=supplier+01")) == 9  # 010 to 018; 019 cancelled
    assert len(file(client, "q=100%25_SURE")) == len(file(client, "q=supplier"))
    assert file(client, "q=100%25%25") == [] and file(client, "q=1___") == []
    assert file(client, "q=%5C") == [] and file(client, "q='%3B--") == []
    assert "No suppliers match these filters" in client.get("/?q=zzz").text


def test_pages_list_every_supplier_once(server: Server, client: httpx.Client) -> None:
    for place in range(130):
        add_supplier(server, f"Supplier {place:03d}")
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (current_date, now(), 1, now())"
    )
    pages = [names(client, f"sort=mrr&page={page}") for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [50, 50, 30, 0]
    assert len({name for page in pages for name in page}) == 130, (
        "equal values keep their order across pages"
    )
    first = client.get("/?sort=mrr").text
    assert "Page 1 of 3" in first and 'rel="next" href="?sort=mrr&amp;page=2"' in first


def test_names_are_escaped(server: Server, client: httpx.Client) -> None:
    add_portfolio(server)
    page = client.get("/?q=script").text
    assert names(client, "q=script") == [XSS] and "<img src=x" not in page
    (row,) = file(client, "q=cmd")
    assert row["name"] == "'=1+1|cmd", "a spreadsheet must not run a name"
    quoted = client.get("/", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in quoted


def test_the_file_escapes_formulas_in_every_text(server: Server, client: httpx.Client) -> None:
    evil = ["=1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", '"=1', "%00", "|calc"]
    for text in evil:
        add_supplier(server, text, vendor_type=text, plan=text)
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (current_date, now(), 1, now())"
    )
    for row in file(client):
        for column in ("name", "vendor_type", "plan"):
            assert row[column][:1] in {"'", '"'}, row
    assert set(file(client)[0]) == set(CSV_COLUMNS)


def test_an_empty_portfolio_explains_how_to_start(server: Server, client: httpx.Client) -> None:
    page = client.get("/").text
    assert "No suppliers yet" in page and "everafter import" in page
    assert file(client) == []
    add_supplier(server, "Alone")
    page = client.get("/").text
    assert "1 supplier, none scored yet" in page and "everafter run" in page


def test_an_unfinished_run_is_not_shown(server: Server, client: httpx.Client) -> None:
    add_portfolio(server)
    before = TODAY - timedelta(days=14)
    server.sql(
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, now(), 1, now())",
        before,
    )
    server.sql("INSERT INTO runs (run_on, as_of, playbook_version) VALUES (%s, now(), 1)", TODAY)
    page = client.get("/").text
    assert "the daily run is late" in page
    day_before = server.sql(
        "SELECT health_score FROM customer_health WHERE calculated_on = %s ORDER BY score LIMIT 1",
        before,
    )
    assert int(file(client)[0]["health_score"]) == day_before[0][0]


@given(st.lists(st.integers(0, 100_000), min_size=4, max_size=4))
def test_the_distribution_fills_its_bar(counts: list[int]) -> None:
    from everafter.portfolio.model import BandCount

    drawn = shares([BandCount(band, count, 0) for band, count in zip(BANDS, counts, strict=True)])
    if any(counts):
        assert sum(share.size for share in drawn) == pytest.approx(1000)
        assert all(
            (share.size >= 5) == (count > 0) for share, count in zip(drawn, counts, strict=True)
        )
    for before, after in pairwise(drawn):
        assert after.start == pytest.approx(before.start + before.size)


@given(st.sets(st.integers(0, 140)), st.integers(0, 3))
def test_compared_days_were_scored(back: set[int], later: int) -> None:
    latest = date(2026, 6, 1)
    scored = {latest - timedelta(days=days) for days in back}
    chosen = choose_days(
        latest, [*scored, *(latest + timedelta(days=day) for day in range(1, later))]
    )
    if scored:
        assert set(chosen.spark) <= scored | {latest}
    assert (
        chosen.spark == sorted(set(chosen.spark))
        and chosen.spark[-1] == latest
        and len(chosen.spark) <= 31
    )
    assert all(0 <= place <= 1 for place in spark_places(chosen))
    near = [day for day in scored if 14 <= (latest - day).days <= 21]
    if scored or later > 1:
        assert chosen.before == max(near, default=None)
    else:
        assert chosen.before == latest - timedelta(days=14)


def test_a_missed_day_uses_the_day_before(server: Server, client: httpx.Client) -> None:
    supplier = add_supplier(server, "Weekly")
    for back, share in ((0, 0.8), (7, 0.7), (16, 0.5)):
        day = TODAY - timedelta(days=back)
        add_day(server, supplier, day, dict.fromkeys(DIMENSIONS, 20 * share))
        server.sql(
            "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (%s, now(), 1, now())",
            day,
        )
    assert file(client)[0]["change_14d"] == "30.0"
    drawn = re.search(r'<svg class="spark".*?</svg>', client.get("/").text, re.S)
    assert drawn and drawn[0].count("<polyline") == 1, "one line through the scored days"


def test_rows_link_to_suppliers(server: Server, client: httpx.Client) -> None:
    ids = add_portfolio(server, 5)
    linked = set(re.findall(r'class="row" href="/suppliers/([0-9a-f-]+)"', client.get("/").text))
    assert linked == {str(supplier) for supplier in ids} and all(uuid.UUID(one) for one in linked)
