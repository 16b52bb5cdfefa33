"""The pages and the API while feeds are stopped."""

import re
from datetime import UTC, datetime, timedelta

from everafter.playbook.model import DIMENSIONS
from helpers_mail import sql
from helpers_pages import add_day, add_supplier, signed_in
from helpers_server import Server

NOW = datetime.now(UTC)
SINCE = (NOW - timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)
LAST_GOOD = (SINCE - timedelta(days=1)).date()
SENT = ("login", "feature_used", "client_active", "form_completed", "journey_email_opened")


def add_outage(server: Server, type: str = "login", kind: str = "stopped") -> None:  # noqa: A002
    sql(
        server.database,
        "INSERT INTO feed_outages VALUES (%s, %s, %s, %s, NULL, 300, 140)",
        type,
        kind,
        SINCE,
        SINCE + timedelta(hours=3),
    )


def prepare(server: Server) -> str:
    for name in SENT:
        sql(
            server.database,
            "INSERT INTO event_types VALUES (%s, 100, %s, %s)",
            name,
            NOW - timedelta(days=200),
            NOW,
        )
    supplier = add_supplier(server, "Golden Hour")
    add_day(server, supplier, NOW.date(), dict.fromkeys(DIMENSIONS, 15.0))
    return str(supplier)


def banners(page: str) -> list[str]:
    found = re.search(r'<div class="banner">.*?</div></div>', page, re.S)
    return re.findall(r"<p>(.*?)</p>", found[0]) if found else []


def test_the_portfolio_and_the_supplier_say_what_is_missing(server: Server) -> None:
    supplier = prepare(server)
    with signed_in(server) as client:
        assert banners(client.get("/").text) == []
        add_outage(server)
        add_outage(server, "feature_used", "halved")
        add_outage(server, "client_archived", "halved")  # no score rests on it
        for path in ("/", f"/suppliers/{supplier}"):
            stopped, halved = banners(client.get(path).text)
            assert stopped.startswith(f"Logins have not arrived since {SINCE.day} ")
            assert ", 09:00 UTC; scores use " in stopped and stopped.endswith(" for them.")
            assert halved.startswith("Feature uses have been about halved since ")
            assert halved.endswith(
                "140 a day instead of 300."
                " Until they recover, nobody counts as less active for uses that are missing."
            )


def test_one_sentence_while_everything_is_stopped(server: Server) -> None:
    prepare(server)
    for type in ("*", "login", "feature_used"):  # noqa: A001
        add_outage(server, type)
    with signed_in(server) as client:
        (only,) = banners(client.get("/").text)
    assert only.startswith("Events have not arrived since ") and "all scores use" in only


def test_the_score_api_says_as_of_when(server: Server) -> None:
    supplier = prepare(server)
    add_outage(server)
    with server.client("read") as client:
        components = client.get(f"/api/health/score/{supplier}").json()["components"]
    assert components["login"]["as_of"] == LAST_GOOD.isoformat()
    assert {one["as_of"] for name, one in components.items() if name != "login"} == {None}
