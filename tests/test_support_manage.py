"""The page where a supplier moves or cancels a call: by its link, without JavaScript, safe to repeat."""

import base64
import html
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.core.formatting import format_period, format_zone
from everafter.core.zones import find_zone
from everafter.support.ics import read_call_token, read_manage_token, sign_call, sign_manage
from everafter.support.manage_rules import list_free_days
from everafter.support.model import Slot
from helpers_pages import XSS
from helpers_server import Server
from test_support_calls import add_supplier, working_day
from test_support_changes import ada, book, change, held, mails  # noqa: F401 ada is a fixture
from test_support_slots import csm


def open_page(server: Server, call: dict[str, Any], query: str = "") -> httpx.Response:
    with server.client() as client:
        return client.get(call["manage_url"].removeprefix(server.settings.base_url) + query)


def send(server: Server, call: dict[str, Any], what: str, **fields: str) -> httpx.Response:
    with server.client() as client:
        return client.post(
            call["manage_url"].removeprefix(server.settings.base_url) + f"/{what}", data=fields
        )


def offered(page: str) -> list[datetime]:
    links = [html.unescape(link) for link in re.findall(r'href="(/calls/[^"]*\?at=[^"]*)"', page)]
    return [datetime.fromisoformat(parse_qs(urlsplit(link).query)["at"][0]) for link in links]


def words(page: httpx.Response) -> str:
    text = re.sub(r"<(style|title)[^>]*>.*?</\1>", " ", page.text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture
def call(server: Server, ada: None) -> dict[str, Any]:  # noqa: F811
    supplier = add_supplier(server)
    with server.client("write") as client:
        return book(client, supplier, topic=f"Forms {XSS}")


def test_the_page_shows_the_call_in_the_suppliers_time_zone_and_changes_nothing(
    server: Server, call: dict[str, Any]
) -> None:
    before = (
        server.sql("SELECT * FROM support_interactions"),
        server.sql("SELECT count(*) FROM outbox"),
    )
    page = open_page(server, call)
    assert page.status_code == 200
    start = datetime.fromisoformat(call["starts_at"]).astimezone(find_zone("Europe/Berlin"))
    said = words(page)
    assert (
        "Check-in with Ada" in said
        and f"{start:%A}, {start.day} {start:%B %Y}, {start:%H:%M}" in said
        and "Europe/Berlin, UTC" in said
    )
    assert "<script>" not in page.text and "&lt;script&gt;" in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert page.headers["cache-control"] == "no-store"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert not re.search(r"<(script|style)\b|<[^>]*\s(style|on\w+)=", page.text), "nothing inline"
    assert "set-cookie" not in page.headers
    times = offered(page.text)
    assert times == sorted(times) and datetime.fromisoformat(call["starts_at"]) not in times
    assert (
        open_page(server, call, f"?at={times[3].isoformat().replace('+00:00', 'Z')}").status_code
        == 200
    )
    assert (
        server.sql("SELECT * FROM support_interactions"),
        server.sql("SELECT count(*) FROM outbox"),
    ) == before


def test_a_call_is_moved_after_confirmation_and_only_once(
    server: Server, call: dict[str, Any]
) -> None:
    wanted = offered(open_page(server, call).text)[5].isoformat().replace("+00:00", "Z")
    asked = open_page(server, call, f"?at={wanted}")
    assert (
        "Move the call here?" in asked.text and f'name="starts_at" value="{wanted}"' in asked.text
    )
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(lambda _: send(server, call, "move", starts_at=wanted), range(6))
        )
    assert {answer.status_code for answer in answers} == {303}
    assert server.sql("SELECT sequence, starts_at FROM support_interactions") == [
        (1, datetime.fromisoformat(wanted))
    ]
    assert len(mails(server, "call_moved")) == 1
    with server.client() as client:
        assert "Your call has been moved" in client.get(answers[0].headers["location"]).text


def test_a_time_taken_meanwhile_is_explained_with_free_times(
    server: Server, call: dict[str, Any]
) -> None:
    wanted = datetime.fromisoformat(call["starts_at"]) + timedelta(hours=2)
    with server.client("write") as client:
        book(client, add_supplier(server), 12)
    asked = open_page(server, call, f"?at={wanted.isoformat().replace('+00:00', 'Z')}")
    answer = send(server, call, "move", starts_at=wanted.isoformat())
    for page in (asked, answer):
        assert "That time has just been taken. These are free:" in words(page)
        assert len(offered(page.text)) > 20 and wanted not in offered(page.text)
    assert (asked.status_code, answer.status_code) == (200, 409)
    assert server.sql(
        "SELECT sequence FROM support_interactions WHERE id = %s", call["interaction_id"]
    ) == [(0,)]


@pytest.mark.parametrize(
    ("at", "says", "status"),
    [
        ("2020-01-01T10:00:00Z", "That time is over", 422),
        ("2031-01-01T10:00:00Z", "Calls can be booked at most", 422),
        ("9999-12-31T23:45:00Z", "Calls can be booked at most", 422),
        ("0001-01-01T00:00:00Z", "That time is over", 422),
        ("9999-12-31T23:59:59-23:59", "That is not a valid time", 422),
        ("2026-12-01T10:00:00", "That is not a valid time", 422),
        ("soon", "That is not a valid time", 422),
        ("", "That is not a valid time", 422),
        (XSS, "That is not a valid time", 422),
    ],
)
def test_impossible_times_are_explained_and_change_nothing(
    server: Server, call: dict[str, Any], at: str, says: str, status: int
) -> None:
    answer = send(server, call, "move", starts_at=at)
    assert (
        answer.status_code == status
        and says in words(answer)
        and "Check-in with Ada" in words(answer)
    )
    assert server.sql("SELECT sequence FROM support_interactions") == [(0,)]
    assert len(held(server)) == 2


def test_a_form_that_is_not_text_is_rejected(server: Server, call: dict[str, Any]) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="starts_at"\r\n\r\n\xff\r\n--x--\r\n'
    address = call["manage_url"].removeprefix(server.settings.base_url)
    with server.client() as client:
        for what in ("move", "cancel"):
            headers = {"content-type": "multipart/form-data; boundary=x", "accept": "text/html"}
            answer = client.post(f"{address}/{what}", content=body, headers=headers)
            assert (
                answer.status_code == 400
                and "This form cannot be read: it is not UTF-8 text" in words(answer)
            )


def test_a_cancelled_call_stays_cancelled(server: Server, call: dict[str, Any]) -> None:
    with ThreadPoolExecutor(6) as threads:
        answers = list(
            threads.map(
                lambda _: send(server, call, "cancel", reason="A wedding\x00 " + XSS), range(6)
            )
        )
    assert {answer.status_code for answer in answers} == {303}
    page = open_page(server, call)
    assert "This call is cancelled" in words(page) and offered(page.text) == []
    assert "<form" not in page.text
    late = send(server, call, "move", starts_at=(working_day(5) + timedelta(hours=10)).isoformat())
    assert late.status_code == 409 and "This call is cancelled" in words(late)
    assert len(mails(server, "call_cancelled")) == 1
    assert held(server) == []
    assert server.sql("SELECT notes FROM support_interactions")[0][0].startswith(
        "Cancelled: A wedding"
    )


def test_a_call_that_is_over_can_no_longer_be_changed(server: Server, call: dict[str, Any]) -> None:
    server.sql(
        "UPDATE support_interactions SET starts_at = now() - interval '1 hour', ends_at = now() - interval '45 minutes'"
    )
    page = open_page(server, call)
    assert "This call is over" in words(page) and "<form" not in page.text
    for what in ("move", "cancel"):
        answer = send(
            server, call, what, starts_at=(working_day(5) + timedelta(hours=10)).isoformat()
        )
        assert answer.status_code == 409 and "It can no longer be moved or cancelled here" in words(
            answer
        )
    with server.client("write") as client:
        change(client, call, "outcome", outcome="held")
    assert "This call took place" in words(open_page(server, call))


def test_incomplete_and_foreign_links_are_not_found(server: Server, call: dict[str, Any]) -> None:
    token = call["manage_url"].rpartition("/")[2]
    ics_token = urlsplit(call["ics_url"]).query.removeprefix("token=")
    foreign = sign_manage("another secret", uuid4(), UUID(call["interaction_id"]))
    deleted = sign_manage(server.settings.secret, uuid4(), UUID(call["interaction_id"]))
    with server.client() as client:
        for wrong in (
            token[:-1],
            token[:-2] + "AA",
            token.swapcase(),
            ics_token,
            foreign,
            deleted,
            "x",
            "%00",
            "a" * 5000,
            "é",
        ):
            for answer in (
                client.get(f"/calls/{wrong}"),
                client.post(f"/calls/{wrong}/cancel"),
                client.post(f"/calls/{wrong}/move"),
            ):
                assert answer.status_code == 404, (wrong, answer.status_code)
            assert "This link does not work" in client.get(f"/calls/{wrong}").text
    assert server.sql("SELECT sequence, outcome FROM support_interactions") == [(0, None)]


def test_later_times_are_on_further_pages(server: Server, call: dict[str, Any]) -> None:
    seen: list[datetime] = []
    page = open_page(server, call)
    for _ in range(30):
        times = offered(page.text)
        assert not seen or times[0] > seen[-1]
        seen += times
        later = re.search(r'class="later" href="([^"]+)"', page.text)
        if not later:
            break
        with server.client() as client:
            page = client.get(html.unescape(later[1]))
    assert (
        datetime.now(UTC) + timedelta(days=86) < seen[-1] < datetime.now(UTC) + timedelta(days=90)
    )
    for odd in (
        "?from=x",
        "?from=0001-01-01",
        "?from=9999-12-31",
        "?from=2020-01-01",
        "?at=x&from=&done=moved",
    ):
        assert open_page(server, call, odd).status_code == 200
    for odd, says in (
        ("9999-12-31T23:45:00Z", "Calls can be booked at most"),
        ("0001-01-01T00:00:00Z", "That time is over"),
    ):
        page = open_page(server, call, f"?at={odd}")
        assert page.status_code == 200 and says in words(page)


def test_an_unknown_time_zone_is_explained(server: Server, ada: None) -> None:  # noqa: F811
    for zone, says in (
        ("Mars/Olympus", "we do not know the time zone “Mars/Olympus”"),
        (None, "we do not know your time zone"),
    ):
        supplier = add_supplier(server, timezone=zone)
        with server.client("write") as client:
            call = client.post(
                "/api/support/schedule-call", json={"supplier_id": supplier, "type": "check_in"}
            ).json()
            answer = client.get(
                "/api/support/slots", params={"supplier_id": supplier, "type": "check_in"}
            ).json()
        assert says in words(open_page(server, call))
        assert (answer["timezone"], answer["unknown_timezone"]) == ("UTC", zone)


# ── pure ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_repeated_local_times_have_the_zone_abbreviation() -> None:
    who, zone = csm(), find_zone("Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the clocks go back at 01:00 UTC
    slots = [
        Slot(first + timedelta(minutes=30 * n), first + timedelta(minutes=30 * n + 15), who)
        for n in range(4)
    ]
    [day], more = list_free_days(slots, zone, who.email)
    assert [time.label for time in day.times] == ["02:30 CEST", "02:00", "02:30 CET", "03:00"]
    assert more is None


def test_labels_of_zones_and_periods() -> None:
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert format_zone(find_zone("Asia/Kathmandu"), at) == "Asia/Kathmandu, UTC+5:45"
    assert format_zone(find_zone("America/New_York"), at) == "America/New York, UTC−5"
    assert format_zone(find_zone(None), at) == "UTC"
    assert (
        format_period(at, at + timedelta(minutes=15), find_zone("UTC"))
        == "Tuesday, 24 November 2026, 09:00–09:15"
    )


@settings(deadline=None)
@given(bit=st.integers(0, 48 * 8 - 1))
def test_a_link_with_a_changed_bit_is_invalid(bit: int) -> None:
    supplier, call = UUID(int=7), UUID(int=9)
    token = sign_manage("secret", supplier, call)
    assert read_manage_token("secret", token) == (supplier, call)
    assert (
        read_call_token("secret", call, token) is None
        and read_manage_token("secret", sign_call("secret", supplier, call)) is None
    )
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[bit // 8] ^= 1 << bit % 8
    assert (
        read_manage_token("secret", base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))
        is None
    )
