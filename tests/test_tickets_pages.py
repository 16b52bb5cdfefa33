"""The support page: the urgent first, every button an event, and nothing that cannot be is a 500."""

import random
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core.errors import InputError
from everafter.core.formatting import format_local
from everafter.playbook.model import Clocks, Support
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.model import Change, Evaluated, Ticket
from everafter.tickets.page_model import View, Week
from everafter.tickets.page_rules import (
    describe_weeks,
    draw_weeks,
    first_monday,
    make_queue,
    parse_view,
    sum_weeks,
    view_query,
)
from everafter.tickets.pages import MOST_OPEN
from helpers_pages import HTML, XSS, add_supplier, form_token, signed_in
from helpers_server import Server

NOW = datetime.now(UTC)
LONDON = ZoneInfo("Europe/London")


def add_ticket(
    server: Server,
    supplier: uuid.UUID,
    ticket: str,
    *transition: tuple[str, float],
    subject: str | None = "The import stops",
    priority: str | None = None,
) -> None:
    """A ticket with changes, each so many hours ago."""
    moments = [(what, NOW - timedelta(hours=hours)) for what, hours in transition]
    opened = [at for what, at in moments if what == "opened"]
    resolved = [at for what, at in moments if what == "resolved"]
    server.sql(
        "INSERT INTO tickets (supplier_id, ticket_id, subject, priority, opened_at, last_opened_at, resolved_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        supplier, ticket, subject, priority, min(opened, default=None), max(opened, default=None), max(resolved, default=None),
    )  # fmt: skip
    for what, at in moments:
        server.sql("INSERT INTO ticket_changes VALUES (%s, %s, %s, %s)", supplier, ticket, at, what)


def add_call(server: Server, supplier: uuid.UUID, hours: float, **more: Any) -> uuid.UUID:
    call = uuid.uuid4()
    (csm,) = server.sql("SELECT id FROM users WHERE takes_calls LIMIT 1")[0]
    row = {
        "supplier_id": supplier,
        "id": call,
        "type": "check_in",
        "starts_at": NOW + timedelta(hours=hours),
        "ends_at": NOW + timedelta(hours=hours + 0.25),
        "csm_id": csm,
        **more,
    }
    server.sql(
        f"INSERT INTO support_interactions ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
        *row.values(),
    )
    return call


@pytest.fixture
def supplier(server: Server) -> uuid.UUID:
    return add_supplier(server, "Golden Hour")


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as found:
        yield found


def rows(html: str) -> list[str]:
    return re.findall(r'<tr class="worst-.*?</tr>', html, re.DOTALL)


def press(client: httpx.Client, where: str, path: str, **fields: str) -> httpx.Response:
    return client.post(
        path,
        data={"csrf": form_token(client.get(where).text), **fields},
        headers={"sec-fetch-site": "same-origin"},
    )


def test_nothing_yet(client: httpx.Client) -> None:
    html = client.get("/support").text
    for said in (
        "No open tickets",
        "No calls waiting for an outcome",
        "No calls booked",
        "No tickets were resolved in the last twelve weeks",
    ):
        assert said in html
    assert '<a href="/support" aria-current="page">Support</a>' in html


def test_the_urgent_come_first_and_every_tab_counts(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    venue = add_supplier(server, XSS, vendor_type="venue")
    add_ticket(server, supplier, "old", ("opened", 4000), subject="Very late", priority="high")
    add_ticket(
        server,
        supplier,
        "wait",
        ("opened", 300),
        ("replied", 299.9),
        ("waiting", 299.8),
        subject="We wait",
    )
    add_ticket(server, venue, "new", ("opened", 0.01), subject=XSS, priority="low")
    add_ticket(server, supplier, "done", ("opened", 300), ("resolved", 200), subject="Solved")
    html = client.get("/support").text
    assert [re.search(r'class="subject">([^<]*)', row)[1] for row in rows(html)] == [
        "Very late",
        XSS.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("'", "&#39;")
        .replace('"', "&#34;"),
        "We wait",
    ]  # type: ignore[index]
    assert "<script>document" not in html and "Solved" not in html
    counts = {
        show: int(count)
        for show, count in re.findall(r'class="tab-(\w+)[^>]*>[^<]*<b>(\d+)</b>', html)
    }
    assert counts == {"all": 3, "breached": 1, "due_soon": 0, "on_time": 1, "waiting": 1}
    assert len(rows(client.get("/support?show=breached").text)) == 1
    assert "We wait" in client.get("/support?show=waiting").text
    assert len(rows(client.get("/support?vendor=venue").text)) == 1
    assert len(rows(client.get("/support?priority=high").text)) == 1
    assert "No open tickets match these filters" in client.get("/support?priority=nonsense").text


def test_every_button_is_an_event(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    add_ticket(server, supplier, "T/1 ü", ("opened", 30))  # an id that no address could hold
    fields = {"supplier_id": str(supplier), "ticket_id": "T/1 ü", "back": "/support?show=breached"}
    for action, shown in (
        ("reply", "in time"),
        ("wait", "Paused"),
        ("resume", "left"),
        ("resolve", ""),
    ):
        answer = (
            press(client, "/support", "/support/tickets", action=action, **fields)
            if action != "resolve"
            else press(
                client,
                f"/suppliers/{supplier}",
                "/support/tickets",
                action=action,
                **{**fields, "back": f"/suppliers/{supplier}#tickets"},
            )
        )
        assert answer.status_code == 303, answer.text
        expected = (
            f"/suppliers/{supplier}#tickets" if action == "resolve" else "/support?show=breached"
        )
        assert answer.headers["location"] == expected
        assert shown in client.get("/support").text or action in ("reply", "resume")
    transition = server.sql(
        "SELECT type, properties->>'ticket_id' FROM events ORDER BY occurred_at"
    )
    assert transition == [
        (f"ticket_{word}", "T/1 ü") for word in ("replied", "waiting", "resumed", "resolved")
    ]
    assert (
        press(
            client, f"/suppliers/{supplier}", "/support/tickets", action="wait", **fields
        ).status_code
        == 409
    )


def test_forms_that_cannot_be(server: Server, client: httpx.Client, supplier: uuid.UUID) -> None:
    add_ticket(server, supplier, "T", ("opened", 30))
    call = add_call(server, supplier, -2)
    good = {"supplier_id": str(supplier), "ticket_id": "T", "action": "reply", "back": "/support"}
    for wrong, status in (
        ({"action": "explode"}, 400), ({"action": ""}, 400), ({"supplier_id": ""}, 400), ({"supplier_id": "x"}, 404), ({"supplier_id": str(uuid.uuid4())}, 404), ({"ticket_id": ""}, 404),
        ({"ticket_id": "U"}, 404), ({"ticket_id": "a\x00b"}, 404), ({"ticket_id": "x" * 5000}, 404), ({"csrf": "wrong"}, 403), ({"ticket_id": "x" * 40_000}, 413),
    ):  # fmt: skip
        answer = press(client, "/support", "/support/tickets", **{**good, **wrong})
        assert answer.status_code == status, (wrong, answer.status_code)
    said = {
        "supplier_id": str(supplier),
        "call_id": str(call),
        "outcome": "held",
        "notes": "",
        "back": "/support",
    }
    for wrong, status in (
        ({"outcome": "cancelled"}, 400), ({"outcome": ""}, 400), ({"call_id": "x"}, 400), ({"call_id": str(uuid.uuid4())}, 409), ({"notes": "x" * 5001}, 400),
        ({"supplier_id": str(uuid.uuid4())}, 404), ({"csrf": ""}, 403), ({"notes": "x" * 100_000}, 413),
    ):  # fmt: skip
        answer = press(client, "/support", "/support/calls", **{**said, **wrong})
        assert answer.status_code == status, (wrong, answer.status_code)
    assert server.sql("SELECT count(*) FROM events") == [(0,)]
    for query in ("show=x", "page=0", "page=-1", "page=x", "page=99999999", "page=²"):
        assert client.get(f"/support?{query}").status_code == 400, query
    for query in ("priority=%00", "vendor=%ff", "page=999", "priority=" + "x" * 3000, "show="):
        assert client.get(f"/support?{query}").status_code == 200, query
    assert server.sql("SELECT count(*) FROM support_interactions WHERE outcome IS NOT NULL") == [
        (0,)
    ]


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example",
        "//evil.example",
        "/support\r\nX: y",
        "/messages",
        "/support?a=b c",
        "/suppliers/../x",
        "",
    ],
)
def test_a_form_leads_back_to_our_pages_only(
    server: Server, client: httpx.Client, supplier: uuid.UUID, back: str
) -> None:
    add_ticket(server, supplier, "T", ("opened", 1))
    answer = press(
        client,
        "/support",
        "/support/tickets",
        supplier_id=str(supplier),
        ticket_id="T",
        action="reply",
        back=back,
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/support")


def test_who_may(server: Server, supplier: uuid.UUID) -> None:
    add_ticket(server, supplier, "T", ("opened", 30))
    call = add_call(server, supplier, -2)
    with signed_in(server, "observer") as client:
        html = client.get("/support").text
        assert (
            "The import stops" in html and 'name="action"' not in html and "<textarea" not in html
        )
        assert 'name="action"' not in client.get(f"/suppliers/{supplier}").text
        assert (
            press(
                client,
                "/support",
                "/support/tickets",
                supplier_id=str(supplier),
                ticket_id="T",
                action="reply",
            ).status_code
            == 403
        )
        assert (
            press(
                client,
                "/support",
                "/support/calls",
                supplier_id=str(supplier),
                call_id=str(call),
                outcome="held",
            ).status_code
            == 403
        )
    nobody = httpx.get(server.base_url + "/support", headers=HTML)
    assert nobody.status_code == 303 and nobody.headers["location"] == "/sign-in?next=/support"


def test_calls_to_hold_and_to_tell_of(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    over = add_call(server, supplier, -2, topic=XSS)
    add_call(server, supplier, -26, outcome="held")
    add_call(server, supplier, -3, outcome="cancelled")
    add_call(server, supplier, 20, topic="Next season")
    add_call(server, supplier, 24 * 9, topic="Too far off")
    html = client.get("/support").text
    assert (
        html.count('<article class="call">') == 1
        and "Next season" in html
        and "Too far off" not in html
        and "<script>document" not in html
    )
    fields = {"supplier_id": str(supplier), "call_id": str(over), "back": "/support#control"}
    answer = press(
        client, "/support", "/support/calls", outcome="no_show", notes="Rang twice.\x00", **fields
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/support#control")
    stored = server.sql(
        "SELECT i.outcome, i.notes, i.closed_at IS NOT NULL, u.email FROM support_interactions i JOIN users u ON u.id = closed_by WHERE i.id = %s",
        over,
    )
    assert stored == [("no_show", "Rang twice.", True, "member@example.com")]
    assert press(client, "/support", "/support/calls", outcome="held", **fields).status_code == 409
    (coming,) = server.sql("SELECT id FROM support_interactions WHERE topic = 'Next season'")[0]
    assert (
        press(
            client,
            "/support",
            "/support/calls",
            outcome="held",
            **{**fields, "call_id": str(coming)},
        ).status_code
        == 409
    )


def test_a_suppliers_page_has_the_clocks(
    server: Server, client: httpx.Client, supplier: uuid.UUID
) -> None:
    add_ticket(server, supplier, "a", ("opened", 2000), subject="Late one", priority="high")
    add_ticket(
        server,
        supplier,
        "b",
        ("opened", 400),
        ("replied", 399),
        ("resolved", 200),
        subject="Solved one",
    )
    html = client.get(f"/suppliers/{supplier}").text
    part = html[html.index('id="tickets"') :]
    assert part.index("Late one") < part.index("Solved one")
    assert (
        " over</span>" in part
        and "Breached: " in part
        and "resolved " in part
        and 'value="resolve"' in part
    )


def test_a_full_queue(server: Server, client: httpx.Client) -> None:
    """Two thousand open tickets: pages of forty, each once, the worst first; and quick."""
    suppliers = [add_supplier(server, f"Supplier {n}") for n in range(10)]
    source = random.Random(3)
    server.sql(
        "INSERT INTO tickets (supplier_id, ticket_id, subject, priority, opened_at, last_opened_at)"
        " SELECT supplier, 'T' || n, 'Subject ' || n, priority, at, at FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::timestamptz[]) AS x (supplier, n, priority, at)",
        [source.choice(suppliers) for _ in range(2000)], list(range(2000)), [source.choice(["high", "normal", "low"]) for _ in range(2000)],
        [NOW - timedelta(minutes=source.randrange(90_000)) for _ in range(2000)],
    )  # fmt: skip
    server.sql(
        "INSERT INTO ticket_changes SELECT supplier_id, ticket_id, opened_at, 'opened' FROM tickets"
    )
    client.get("/support")
    started = datetime.now(UTC)
    first = client.get("/support")
    assert first.status_code == 200 and (datetime.now(UTC) - started).total_seconds() < 3
    seen: list[str] = []
    for number in range(1, 51):
        seen += re.findall(r'class="subject">([^<]*)', client.get(f"/support?page={number}").text)
    assert len(seen) == len(set(seen)) == 2000
    assert client.get("/support?page=51").status_code == 200, "past the end is the last page"
    assert MOST_OPEN >= 2000


# ── the drawing and the words ─────────────────────────────────────────────────────────────────────────────────────────


def resolved_at(number: int, opened: datetime, resolved: datetime) -> Ticket:
    return Ticket(
        uuid.UUID(int=1),
        str(number),
        None,
        None,
        "",
        None,
        [Change(opened, "opened"), Change(resolved, "resolved")],
    )


def test_weeks_are_counted_by_the_teams_own_monday() -> None:
    """Against plain counting; a ticket resolved on Sunday evening in London belongs to that week, whatever UTC says."""
    support = Support(
        timezone="Pacific/Auckland",
        open_from="00:00",
        open_until="24:00",
        work_days=[1, 2, 3, 4, 5, 6, 7],
        clocks={"normal": Clocks(4, 24)},
    )
    zone, now = ZoneInfo("Pacific/Auckland"), datetime(2026, 11, 18, 12, tzinfo=UTC)
    source = random.Random(1)
    tickets = [
        resolved_at(number, at - timedelta(minutes=source.randrange(1, 4000)), at)
        for number, at in enumerate(
            now - timedelta(minutes=source.randrange(0, 60 * 24 * 100)) for _ in range(400)
        )
    ]
    weeks = sum_weeks(evaluate_tickets(tickets, support, now), zone, now)
    assert (
        len(weeks) == 12
        and weeks[-1].starts.isoformat() == "2026-11-16"
        and weeks[0].starts == first_monday(now, zone)
    )
    for week in weeks:
        of_week = [
            t
            for t in tickets
            if week.starts
            <= t.changes[1].at.astimezone(zone).date()
            < week.starts + timedelta(days=7)
        ]
        took = sorted((t.changes[1].at - t.changes[0].at).total_seconds() / 3600 for t in of_week)
        assert week.resolved == len(of_week) and week.in_time == sum(hours <= 24 for hours in took)
        middle = len(took) // 2
        assert week.hours == pytest.approx(
            took[middle] if len(took) % 2 else (took[middle - 1] + took[middle]) / 2
        )


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.floats(0.01, 9000), st.floats(0, 1)),
        min_size=12,
        max_size=12,
    ),
    st.sampled_from([360, 640]),
)
def test_every_bar_is_inside_the_plot(numbers: list[tuple[int, float, float]], width: int) -> None:
    first = first_monday(NOW, LONDON)
    weeks = [
        Week(first + timedelta(weeks=n), count, hours if count else None, int(count * share))
        for n, (count, hours, share) in enumerate(numbers)
    ]
    chart = draw_weeks(weeks, width)
    for bar, week in zip(chart.bars, weeks, strict=True):
        assert (
            chart.left <= bar.x
            and bar.x + bar.width <= chart.right
            and chart.top - 0.01 <= bar.y
            and bar.y + bar.height <= chart.bottom + 0.01
        )
        assert 0 <= bar.late <= bar.height and (bar.height == 0) == (week.resolved == 0)
    assert describe_weeks(weeks)


def test_moments_in_the_teams_labels() -> None:
    now = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    auckland = ZoneInfo("Pacific/Auckland")
    assert format_local(datetime(2026, 11, 22, 22, tzinfo=UTC), LONDON, now) == "today, 22:00"
    assert format_local(datetime(2026, 11, 22, 22, tzinfo=UTC), auckland, now) == "today, 11:00"
    assert format_local(datetime(2026, 11, 23, 0, 5, tzinfo=UTC), LONDON, now) == "tomorrow, 00:05"
    assert format_local(datetime(2026, 7, 3, 11, tzinfo=UTC), LONDON, now) == "Fri 3 Jul, 12:00"
    assert (
        format_local(datetime(2025, 7, 3, 11, tzinfo=UTC), LONDON, now) == "Thu 3 Jul 2025, 12:00"
    )


@given(
    show=st.sampled_from(["", "breached", "waiting"]),
    priority=st.text(max_size=30),
    vendor=st.text(max_size=30),
    number=st.integers(1, 999_999),
)
def test_an_address_says_the_view_it_was_made_of(
    show: Any, priority: str, vendor: str, number: int
) -> None:
    view = View(show, priority, vendor, number)
    assert parse_view(dict(httpx.QueryParams(view_query(view, page=number)))) == view


def test_an_address_that_asks_for_nothing_we_have() -> None:
    for params in ({"show": "closed"}, {"page": "0"}, {"page": "1e9"}, {"page": "１"}):
        with pytest.raises(InputError):
            parse_view(params)


def test_a_ticket_breached_before_it_waits_is_in_two_tabs() -> None:
    support, now = (
        Support(open_from="00:00", open_until="24:00", work_days=[1, 2, 3, 4, 5, 6, 7]),
        datetime(2026, 11, 22, tzinfo=UTC),
    )
    ticket = Ticket(
        uuid.UUID(int=1),
        "T",
        None,
        None,
        "",
        None,
        [Change(now - timedelta(days=9), "opened"), Change(now - timedelta(days=1), "waiting")],
    )
    evaluated: list[Evaluated] = evaluate_tickets([ticket], support, now)
    queue = make_queue(evaluated, View(), LONDON, now)
    assert (
        queue.counts["breached"],
        queue.counts["waiting"],
        queue.counts["on_time"],
        queue.counts[""],
    ) == (1, 1, 0, 1)
