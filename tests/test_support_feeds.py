"""Calendars of CSMs over HTTP: fetching, rejecting, and keeping busy times after failures."""

import asyncio
import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everafter.core.db import connection
from everafter.support import feeds
from everafter.support.calendar_queries import get_feed
from everafter.support.jobs import read_calendar, read_due_calendars
from everafter.support.model import FeedReport
from helpers_feeds import CSM, EVENT, Site, at, busy, read, set_feed
from helpers_feeds import site as site
from helpers_mail import sql, with_pool
from helpers_server import Server
from test_support_calendars import calendar
from test_support_calls import add_supplier, slots


def test_busy_times_are_not_offered_nor_booked(server: Server, site: Site) -> None:
    supplier = add_supplier(server)
    site.body = calendar(EVENT.format(at(10)), f"DTSTART;VALUE=DATE:{at(0, 4):%Y%m%d}")
    set_feed(server.database, site.url)
    report = read(server.database)
    assert (report.busy, report.events, report.unread, report.failure) == (2, 2, 0, None)
    with server.client("write") as client:
        starts = {datetime.fromisoformat(slot["starts_at"]) for slot in slots(client, supplier)}
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10.5).isoformat()}
        taken = client.post("/api/support/schedule-call", json=body)
    assert {at(9.5), at(11)} <= starts and not starts & {at(9.75), at(10), at(10.75)}
    assert not any(at(0, 4) <= start < at(24, 4) for start in starts)
    assert (taken.status_code, taken.json()["reason"]) == (409, "taken") and taken.json()[
        "next_free"
    ]


def test_the_time_of_a_doubtful_event_is_not_offered_and_is_counted(
    server: Server, site: Site
) -> None:
    """Its zone is unknown and its end missing: its possible time is busy, and metrics count it."""
    supplier = add_supplier(server)
    site.body = calendar(
        f"DTSTART;TZID=Nowhere/Land:{at(10):%Y%m%dT%H%M%S}\nDTEND:", EVENT.format(at(14))
    )
    set_feed(server.database, site.url)
    report = read(server.database)
    assert (report.busy, report.events, report.unread, len(report.reasons)) == (2, 2, 1, 1)
    assert "'Nowhere/Land' is unknown" in report.reasons[0]
    with server.client("read") as client:
        starts = {datetime.fromisoformat(slot["starts_at"]) for slot in slots(client, supplier)}
        assert "everafter_calendar_unread_events 1\n" in client.get("/metrics").text
    assert busy(server.database)[0][0] not in starts and not starts & {at(14), at(14.5)}
    site.body = calendar(EVENT.format(at(14)))
    read(server.database)
    assert sql(server.database, "SELECT unread, unread_reasons FROM calendar_feeds") == [(0, [])]


def test_times_beyond_the_known_busy_times_are_not_offered(server: Server, site: Site) -> None:
    """Busy times reach 100 days: 40 days after the last read, they are unknown from the 61st day."""
    supplier = add_supplier(server)
    site.body = calendar(EVENT.format(at(10)))
    set_feed(server.database, site.url)
    read(server.database)

    def last_offered() -> datetime:
        starts: list[datetime] = []
        with server.client("read") as client:
            for day in range(0, 90, 30):
                query = {
                    "supplier_id": supplier,
                    "type": "check_in",
                    "days": 30,
                    "from": (now + timedelta(days=day)).isoformat(),
                }
                found = client.get("/api/support/slots", params=query).json()["slots"]
                starts += [datetime.fromisoformat(slot["starts_at"]) for slot in found]
        return max(starts)

    now = datetime.now(UTC)
    assert last_offered() > now + timedelta(days=80)
    sql(
        server.database,
        "UPDATE calendar_feeds SET worked_out_at = now() - interval '40 days', failure = '404 Not Found'",
    )
    assert now + timedelta(days=50) < last_offered() < now + timedelta(days=60)


@pytest.mark.parametrize("damage", ["\r", "cut", "html", "no end of an event"])
def test_an_incomplete_calendar_keeps_earlier_busy_times(
    database: str, site: Site, damage: str
) -> None:
    whole = calendar(EVENT.format(at(10)), EVENT.format(at(12)))
    site.body = whole
    set_feed(database, site.url)
    assert read(database).busy == 2
    site.body = {
        "\r": whole.replace(b"\r\n", b"\r"),
        "cut": whole[: len(whole) // 2],
        "html": b"<!doctype html><p>BEGIN:VCALENDAR</p>",
        "no end of an event": whole.replace(b"END:VEVENT\r\n", b"", 1),
    }[damage]
    assert bool(read(database).failure) == (damage != "\r")
    assert busy(database) == [(at(10), at(11)), (at(12), at(13))]


def test_our_own_call_in_the_calendar_does_not_block_its_own_time(
    server: Server, site: Site
) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10).isoformat()}
        call = client.post("/api/support/schedule-call", json=body).json()
        invitation = client.get(call["ics_url"].removeprefix(server.settings.base_url)).text
        event = invitation[invitation.index("UID:") : invitation.index("END:VEVENT")].strip()
        site.body = calendar(event.replace("\r\n", "\n"), EVENT.format(at(14)))
        set_feed(server.database, site.url)
        assert (read(server.database).busy, busy(server.database)) == (1, [(at(14), at(15))])
        address = f"/api/support/calls/{call['interaction_id']}"
        moved = client.post(
            f"{address}/reschedule",
            json={"supplier_id": supplier, "starts_at": at(10.25).isoformat()},
        )
        client.post(f"{address}/cancel", json={"supplier_id": supplier})
        read(server.database)  # the CSM's calendar shows the cancelled call still
        again = client.post("/api/support/schedule-call", json=body)
    assert moved.status_code == 200, moved.text
    assert again.status_code == 201


def test_only_changed_calendars_are_read_again_and_all_once_a_day(
    database: str, site: Site
) -> None:
    site.body, site.headers = (
        calendar(EVENT.format(at(10))),
        {"ETag": '"one"', "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"},
    )
    set_feed(database, site.url)
    assert read(database).changed
    assert not read(database).changed
    assert site.asked[1]["if-none-match"] == '"one"' and site.asked[1][
        "if-modified-since"
    ].startswith("Sun")
    assert len(busy(database)) == 1
    assert read(database, datetime.now(UTC) + timedelta(hours=21)).changed, (
        "its repeated events reach further every day"
    )
    assert "if-none-match" not in site.asked[2]


def test_an_etag_that_cannot_be_sent_back_is_ignored(database: str, site: Site) -> None:
    site.body, site.headers = (
        calendar(EVENT.format(at(10))),
        {"ETag": '"caf\u00e9"', "Last-Modified": "l\u00fcgt"},
    )
    set_feed(database, site.url)
    assert [read(database).failure, read(database).failure] == [None, None]
    assert "if-none-match" not in site.asked[1] and "if-modified-since" not in site.asked[1]


def broken(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[Site], None]:
    def breaks(site: Site) -> None:
        site.status, site.body = status, body
        site.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return breaks


def cut(site: Site) -> None:
    site.cut = True


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (broken(b"<html>sign in</html>"), "it is not a calendar: it starts with '<html>"),
        (broken(b"\x00\xff" * 500), "it is not a calendar"),
        (broken(), "it is empty"),
        (broken(calendar(EVENT.format(at(10)))[:-30]), "it is incomplete"),
        (
            broken(gzip.compress(calendar())[:-12], Content_Encoding="gzip"),
            "the response is incomplete",
        ),
        (broken(b"not gzip", Content_Encoding="gzip"), "cannot be decompressed"),
        (broken(b"x", Content_Encoding="br"), "it has the content encoding br"),
        (
            broken(gzip.compress(b" " * 11_000_000), Content_Encoding="gzip"),
            "it is larger than 10 MB",
        ),
        (broken(b"no", 404), "127.0.0.1 answered 404 Not Found"),
        (broken(b"no", 500), "127.0.0.1 answered 500"),
        (broken(b"", 304), "127.0.0.1 answered 304 Not Modified to an unconditional request"),
        (
            broken(b"", 302, Location="/private-abc/basic.ics"),
            "redirects more than 3 times",
        ),
        (broken(b"", 302, Location="file:///etc/passwd"), "other than an http or https URL"),
        (broken(b"", 302, Location="gopher://127.0.0.1/"), "other than an http or https URL"),
        (broken(b"", 302, Location="http://[bad"), "invalid URL"),
        (broken(b"", 302, Location="http://127.0.0.1:99999/"), "other than an http or https URL"),
        (broken(b"", 302, Location="http://xn--a/"), "127.0.0.1: "),
        (cut, "127.0.0.1: "),
    ],
)
def test_a_failed_read_keeps_earlier_busy_times(
    database: str, site: Site, breaks: Callable[[Site], None], says: str
) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)
    read(database)
    sql(database, "UPDATE calendar_feeds SET worked_out_at = NULL")
    breaks(site)
    report = read(database)
    assert says in (report.failure or ""), report
    assert "private-abc" not in (report.failure or ""), "the address is a secret"
    assert busy(database) == [(at(10), at(11))]
    assert sql(database, "SELECT failure, read_at IS NOT NULL FROM calendar_feeds") == [
        (report.failure, True)
    ]
    site.status, site.headers, site.body, site.cut = 200, {}, calendar(EVENT.format(at(12))), False
    assert read(database).failure is None
    assert busy(database) == [(at(12), at(13))]
    assert sql(database, "SELECT failure FROM calendar_feeds") == [(None,)]


def test_a_calendar_that_never_responds_times_out(
    database: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "FETCH_SECONDS", 0.5)
    site.slow = True
    set_feed(database, site.url)
    assert read(database).failure == "127.0.0.1 did not respond within 0 s"


def test_an_unreachable_host(database: str) -> None:
    set_feed(database, "http://127.0.0.1:9/x.ics")
    assert (read(database).failure or "").startswith("127.0.0.1: ")


def test_the_worker_reads_each_calendar_every_ten_minutes_and_logs_a_failure_once(
    database: str, site: Site
) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)

    async def four(pool: Any) -> list[str | None]:
        return list(await asyncio.gather(*(read_due_calendars(pool) for _ in range(4))))

    assert with_pool(database, four) == [None] * 4
    assert len(site.asked) == 1 and len(busy(database)) == 1
    assert with_pool(database, read_due_calendars) is None and len(site.asked) == 1
    site.status = 500
    reported: list[str | None] = []
    for _ in range(2):
        sql(database, "UPDATE calendar_feeds SET tried_at = now() - interval '11 minutes'")
        reported.append(with_pool(database, read_due_calendars))
    assert (
        reported[0]
        and "the calendar of success@everafter.invalid cannot be read: 127.0.0.1 answered 500"
        in reported[0]
    )
    assert reported[1] is None
    assert len(busy(database)) == 1


def test_a_calendar_that_was_replaced_during_the_read_is_ignored(database: str, site: Site) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)

    async def late() -> FeedReport:
        async with connection(database) as conn:
            feed = await get_feed(conn, CSM)
            await conn.execute("UPDATE calendar_feeds SET url = 'https://elsewhere.example/x.ics'")
        return await read_calendar(lambda: connection(database), feed)

    asyncio.run(late())
    assert busy(database) == []
