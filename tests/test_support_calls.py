"""Booking calls over HTTP: free times, conflicts and stored rows."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import icalendar

from everafter.core.settings import Settings
from helpers_server import Server, serving

BOOK, SLOTS = "/api/support/schedule-call", "/api/support/slots"


def add_supplier(
    server: Server,
    *,
    email: str | None = "rosa@example.org",
    timezone: str | None = "Europe/Berlin",
) -> str:
    supplier_id = str(uuid4())
    server.sql(
        "INSERT INTO suppliers (id, name, email, timezone) VALUES (%s, 'Rosa Flowers', %s, %s)",
        supplier_id,
        email,
        timezone,
    )
    return supplier_id


def add_csm(server: Server, email: str, **columns: Any) -> None:
    values = {
        "timezone": "UTC",
        "work_from": "09:00",
        "work_until": "17:00",
        "work_days": [1, 2, 3, 4, 5],
        **columns,
    }
    server.sql(
        "INSERT INTO users (email, name, role, takes_calls, timezone, work_from, work_until, work_days)"
        " VALUES (%s, %s, 'member', true, %s, %s, %s, %s)",
        email,
        email.partition("@")[0].title(),
        *values.values(),
    )


def slots(client: httpx.Client, supplier: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(SLOTS, params={"supplier_id": supplier, "type": "check_in", **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["slots"]


def working_day(days_ahead: int = 2) -> datetime:
    """Midnight UTC of the first weekday at least `days` days from now."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
        days=days_ahead
    )
    while day.isoweekday() > 5:
        day += timedelta(days=1)
    return day


def test_a_new_installation_has_slots_that_can_be_booked(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        answer = client.get(
            SLOTS, params={"supplier_id": supplier, "type": "onboarding_call"}
        ).json()
        first = answer["slots"][0]
        booked = client.post(
            BOOK,
            json={
                "supplier_id": supplier,
                "type": "onboarding_call",
                "starts_at": first["starts_at"],
                "topic": "Forms",
            },
        )
        left = client.get(
            SLOTS, params={"supplier_id": supplier, "type": "onboarding_call"}
        ).json()["slots"]
    assert (answer["timezone"], answer["minutes"]) == ("Europe/Berlin", 30)
    starts_at = datetime.fromisoformat(first["starts_at"])
    assert starts_at >= datetime.now(UTC) + timedelta(hours=2) - timedelta(seconds=30)
    assert first["starts_at"].endswith("Z") and starts_at.minute % 15 == 0
    assert booked.status_code == 201
    body = booked.json()
    assert (body["starts_at"], body["ends_at"], body["csm"]) == (
        first["starts_at"],
        first["ends_at"],
        first["csm"],
    )
    assert datetime.fromisoformat(body["ends_at"]) - starts_at == timedelta(minutes=30)
    # its own two quarters, the pause after it, and what would run into it
    assert not {starts_at + timedelta(minutes=15 * n) for n in (0, 1, 2)} & {
        datetime.fromisoformat(s["starts_at"]) for s in left
    }
    assert server.sql(
        "SELECT id::text, type, topic, starts_at, ends_at - starts_at, outcome FROM support_interactions"
    ) == [
        (body["interaction_id"], "onboarding_call", "Forms", starts_at, timedelta(minutes=30), None)
    ]
    held = server.sql("SELECT starts_at FROM booked_quarters ORDER BY 1")
    assert held == [(starts_at + timedelta(minutes=15 * n),) for n in range(3)]


def test_the_confirmation_is_queued_with_the_invitation(server: Server) -> None:
    supplier = add_supplier(server)
    day = working_day()
    with server.client("write") as client:
        body = client.post(
            BOOK,
            json={
                "supplier_id": supplier,
                "type": "success_call",
                "starts_at": (day + timedelta(hours=10)).isoformat(),
            },
        ).json()
    [(identity, template, topic, to, expires_at, facts)] = server.sql(
        "SELECT id::text, template, topic, to_email, expires_at, facts FROM outbox WHERE send_after <= now()"
    )
    assert (identity, template, topic, to) == (
        body["interaction_id"],
        "call_booked",
        "transactional",
        "rosa@example.org",
    )
    assert expires_at == day + timedelta(hours=10)
    local = (day + timedelta(hours=10)).astimezone(ZoneInfo("Europe/Berlin"))
    assert facts["starts_local"] == f"{local:%A}, {local.day} {local:%B %Y} at {local:%H:%M}"
    assert (facts["name"], facts["minutes"], facts["ics_url"]) == (
        "Rosa Flowers",
        15,
        body["ics_url"],
    )
    assert icalendar.Calendar.from_ical(facts["ics"])["METHOD"] == "REQUEST"


def test_the_invitation_requires_its_own_link(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        body = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
        other = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
    link = urlsplit(body["ics_url"])
    assert body["ics_url"].startswith(server.settings.base_url)
    with server.client() as client:
        found = client.get(f"{link.path}?{link.query}")
        refused = [
            client.get(f"{link.path}?token="),
            client.get(f"{link.path}?token={link.query[6:-3]}AAA"),
            client.get(f"{link.path}?{urlsplit(other['ics_url']).query}"),
            client.get(f"{link.path.removesuffix('.ics')}?{link.query}"),
            client.get(f"/api/support/calls/not-a-call.ics?{link.query}"),
        ]
        without = client.get(link.path)
    assert found.status_code == 200
    assert found.headers["content-type"] == "text/calendar; method=REQUEST; charset=utf-8"
    [event] = icalendar.Calendar.from_ical(found.text).walk("VEVENT")
    assert event["DTSTART"].dt == datetime.fromisoformat(body["starts_at"])
    assert [answer.status_code for answer in refused] == [404] * len(refused)
    assert without.status_code == 400


def test_the_email_and_the_link_have_the_same_uid(settings: Settings) -> None:
    with serving(replace(settings, base_url="https://Success.Example.com:8443")) as server:
        supplier = add_supplier(server)
        with server.client("write") as client:
            body = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
            link = urlsplit(body["ics_url"])
            by_link = client.get(f"{link.path}?{link.query}").text
        [(by_email,)] = server.sql(
            "SELECT facts ->> 'ics' FROM outbox WHERE template = 'call_booked'"
        )
    ids = [
        icalendar.Calendar.from_ical(text).walk("VEVENT")[0]["UID"] for text in (by_link, by_email)
    ]
    assert ids == [f"{body['interaction_id']}@success.example.com"] * 2


def test_a_supplier_without_an_address_can_book_and_gets_no_email(server: Server) -> None:
    supplier = add_supplier(server, email=None, timezone=None)
    with server.client("write") as client:
        body = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
    assert body["timezone"] == "UTC"
    assert server.sql("SELECT count(*) FROM outbox") == [(0,)]


def test_a_taken_time_is_a_conflict_with_the_next_free_times(server: Server) -> None:
    one, other = add_supplier(server), add_supplier(server)
    at = (working_day() + timedelta(hours=12)).isoformat().replace("+00:00", "Z")
    with server.client("write") as client:
        assert (
            client.post(
                BOOK, json={"supplier_id": one, "type": "technical_support", "starts_at": at}
            ).status_code
            == 201
        )
        taken = client.post(
            BOOK, json={"supplier_id": other, "type": "technical_support", "starts_at": at}
        )
        problem = taken.json()
        again = client.post(
            BOOK,
            json={
                "supplier_id": other,
                "type": "technical_support",
                "starts_at": problem["next_free"][0]["starts_at"],
            },
        )
    assert taken.status_code == 409
    assert taken.headers["content-type"] == "application/problem+json"
    assert at in problem["detail"]
    free = [datetime.fromisoformat(slot["starts_at"]) for slot in problem["next_free"]]
    assert (
        len(free) == 5
        and free == sorted(free)
        and free[0] == datetime.fromisoformat(at) + timedelta(minutes=45)
    )
    assert set(problem["next_free"][0]["csm"]) == {"name", "email"}
    assert again.status_code == 201
    assert server.sql("SELECT count(*) FROM support_interactions") == [(2,)]


def test_an_impossible_time_has_a_reason_and_free_times(server: Server) -> None:
    now, day = datetime.now(UTC), working_day()
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    cases = {
        "2020-01-06T10:00:00Z": "past",
        "0001-01-01T00:00:00+14:00": "past",
        "0001-01-01T00:00:00": "past",
        "9999-12-31T23:45:00-10:00": "too_far",
        "9999-12-31T23:45:00": "too_far",
        "9999-12-31T23:45:00Z": "too_far",
        "9999-12-31T23:45:00+14:00": "too_far",
        "0001-01-01T00:00:00Z": "past",
        "0001-01-01T00:00:00-14:00": "past",
        "2100-01-04T10:00:00Z": "too_far",
        (now + timedelta(minutes=40)).isoformat(): "too_soon",
        (day + timedelta(hours=10, minutes=5)).isoformat(): "off_grid",
        (day + timedelta(hours=3)).isoformat(): "outside_hours",
        (noon + timedelta(days=14 - now.isoweekday())).isoformat(): "outside_hours",  # a Sunday
    }
    supplier = add_supplier(server)
    with server.client("write") as client:
        for starts_at, reason in cases.items():
            answer = client.post(
                BOOK, json={"supplier_id": supplier, "type": "check_in", "starts_at": starts_at}
            )
            assert (answer.status_code, answer.json().get("reason")) == (422, reason), (
                starts_at,
                answer.text,
            )
            assert len(answer.json()["next_free"]) == 5
    assert server.sql("SELECT count(*) FROM booked_quarters") == [(0,)]


def test_times_without_an_offset_are_in_the_suppliers_time_zone(server: Server) -> None:
    supplier = add_supplier(server, timezone="Asia/Kolkata")
    at = working_day() + timedelta(hours=10)
    wall = at.astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None).isoformat()
    with server.client("write") as client:
        body = client.post(
            BOOK, json={"supplier_id": supplier, "type": "check_in", "starts_at": wall}
        ).json()
    assert datetime.fromisoformat(body["starts_at"]) == at


def test_a_skipped_local_time_is_refused(server: Server) -> None:
    supplier = add_supplier(server, timezone="Europe/Berlin")
    with server.client("write") as client:
        answer = client.post(
            BOOK,
            json={"supplier_id": supplier, "type": "check_in", "starts_at": "2027-03-28T02:30:00"},
        )
    assert answer.status_code == 422
    assert answer.json()["reason"] == "dst_gap"
    assert "Europe/Berlin" in answer.json()["detail"]
    assert answer.json()["next_free"]


def test_unknown_types_and_suppliers_and_invalid_dates(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        types = [
            client.post(BOOK, json={"supplier_id": supplier, "type": "chat"}),
            client.get(SLOTS, params={"supplier_id": supplier, "type": "chat"}),
        ]
        unknown = [
            client.post(BOOK, json={"supplier_id": str(uuid4()), "type": "check_in"}),
            client.get(SLOTS, params={"supplier_id": str(uuid4()), "type": "check_in"}),
            client.get("/api/support/interactions", params={"supplier_id": str(uuid4())}),
        ]
        dates = [
            client.get(SLOTS, params={"supplier_id": supplier, "type": "check_in", "from": text})
            for text in ("tomorrow", "2026-02-30", "", "9999-12-31", "0001-01-01T00:00:00+14:00x")
        ]
        bad = [
            client.get(SLOTS, params={"supplier_id": supplier, "type": "check_in", "days": days})
            for days in (0, 32, "x")
        ] + [
            client.post(BOOK, json={"supplier_id": "rosa" * 51, "type": "check_in"}),
            client.post(BOOK, json={"supplier_id": supplier}),
            client.post(
                BOOK, json={"supplier_id": supplier, "type": "check_in", "starts_at": "yesterday"}
            ),
            client.post(
                BOOK, json={"supplier_id": supplier, "type": "check_in", "topic": "x" * 501}
            ),
            client.post(
                BOOK,
                content=b'{"supplier_id": "\xff"}',
                headers={"Content-Type": "application/json"},
            ),
            client.post(BOOK, content=b"[" * 100_000, headers={"Content-Type": "application/json"}),
            client.post(
                BOOK, content=b'{"supplier_id": ', headers={"Content-Type": "application/json"}
            ),
            client.post(BOOK, content=b"", headers={"Content-Type": "application/json"}),
            client.post(BOOK, json=[]),
            client.post(BOOK, json=None),
            client.get(
                "/api/support/interactions", params={"supplier_id": supplier, "cursor": "zzz"}
            ),
            client.get(
                "/api/support/interactions", params={"supplier_id": supplier, "cursor": "é"}
            ),
        ]
    assert [answer.status_code for answer in types] == [422] * 2
    assert all(
        "onboarding_call, check_in, technical_support, success_call" in a.json()["detail"]
        for a in types
    )
    assert [answer.status_code for answer in unknown] == [404] * 3
    assert [answer.status_code for answer in dates] == [422] * 5
    assert {n: answer.text for n, answer in enumerate(bad) if answer.status_code != 400} == {}
    assert all(
        a.headers["content-type"] == "application/problem+json"
        for a in (*types, *unknown, *dates, *bad)
    )


def test_a_topic_can_be_any_text(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        answers = [
            client.post(BOOK, json={"supplier_id": supplier, "type": "check_in", "topic": topic})
            for topic in ("a\0b\x1bc", "  ", "'; DROP TABLE events; --", "🌸" * 400)
        ]
        surrogate = client.post(
            BOOK,
            content=f'{{"supplier_id": "{supplier}", "type": "check_in", "topic": "\\ud800"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert surrogate.status_code in {201, 400}
    topics = {row[0] for row in server.sql("SELECT topic FROM support_interactions")}
    assert {"a b c", None, "'; DROP TABLE events; --"} <= topics


def test_from_and_days_bound_the_slots_in_the_suppliers_days(server: Server) -> None:
    add_csm(
        server,
        "night@example.org",
        work_from="00:00",
        work_until="00:00",
        work_days=[1, 2, 3, 4, 5, 6, 7],
    )
    supplier = add_supplier(server, timezone="Pacific/Auckland")
    day = working_day(3).date()
    with server.client("read") as client:
        found = slots(client, supplier, **{"from": day.isoformat(), "days": 1})
        offset = slots(client, supplier, **{"from": f"{day}T22:00:00 01:00", "days": 1})
        past = slots(client, supplier, **{"from": "2020-01-01", "days": 1})
    local = [
        datetime.fromisoformat(slot["starts_at"]).astimezone(ZoneInfo("Pacific/Auckland"))
        for slot in found
    ]
    assert {at.date() for at in local} == {day}
    assert [local[n].strftime("%H:%M") for n in (0, -1)] == ["07:00", "20:45"] and len(
        local
    ) == 56, "nobody is woken"
    assert datetime.fromisoformat(offset[0]["starts_at"]) == datetime(
        day.year, day.month, day.day, 21, tzinfo=UTC
    )
    assert past == []


def test_a_second_free_csm_takes_the_call_before_the_time_is_taken(server: Server) -> None:
    server.sql("UPDATE users SET takes_calls = false")
    add_csm(server, "ada@example.org")
    add_csm(server, "bob@example.org", work_from="11:00")
    at = (working_day() + timedelta(hours=12)).isoformat()
    suppliers = [add_supplier(server) for _ in range(3)]
    with server.client("write") as client:
        answers = [
            client.post(BOOK, json={"supplier_id": s, "type": "check_in", "starts_at": at})
            for s in suppliers
        ]
        # who has talked to Bob gets Bob again, though Ada is as free
        names = {
            a.json()["csm"]["name"]: s for a, s in zip(answers[:2], suppliers[:2], strict=True)
        }
        later = (working_day() + timedelta(hours=14)).isoformat()
        again = client.post(
            BOOK, json={"supplier_id": names["Bob"], "type": "check_in", "starts_at": later}
        )
        early = (working_day() + timedelta(hours=9)).isoformat()
        only_ada = client.post(
            BOOK, json={"supplier_id": names["Bob"], "type": "check_in", "starts_at": early}
        )
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert again.json()["csm"]["name"] == "Bob"
    assert only_ada.json()["csm"]["name"] == "Ada"


def test_without_csms_no_time_is_free(server: Server) -> None:
    server.sql("UPDATE users SET takes_calls = false")
    supplier = add_supplier(server)
    at = (working_day() + timedelta(hours=12)).isoformat()
    with server.client("write") as client:
        assert slots(client, supplier) == []
        answers = [
            client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}),
            client.post(BOOK, json={"supplier_id": supplier, "type": "check_in", "starts_at": at}),
        ]
    assert [answer.status_code for answer in answers] == [409, 422]
    assert all(answer.json()["next_free"] == [] for answer in answers)


def test_a_double_click_books_one_call_even_with_two_csms(server: Server) -> None:
    add_csm(server, "ada@example.org")
    supplier = add_supplier(server)
    at = (working_day() + timedelta(hours=12)).isoformat()
    with server.client("write", patient=True) as client, ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(
                lambda _: (
                    client.post(
                        BOOK, json={"supplier_id": supplier, "type": "check_in", "starts_at": at}
                    ).status_code
                ),
                range(8),
            )
        )
    assert sorted(statuses) == [201] + [409] * 7


def test_concurrent_bookings_of_the_same_times_have_one_winner_each(server: Server) -> None:
    """Forty clients book each of twelve times, in different orders."""
    suppliers = [add_supplier(server) for _ in range(40)]
    day = working_day()
    times = [(day + timedelta(hours=9, minutes=30 * n)).isoformat() for n in range(12)]
    wanted = [(suppliers[n], times[(n + turn) % 12]) for turn in range(12) for n in range(40)]
    with server.client("write", patient=True) as client, ThreadPoolExecutor(40) as threads:
        answers = list(
            threads.map(
                lambda want: client.post(
                    BOOK, json={"supplier_id": want[0], "type": "check_in", "starts_at": want[1]}
                ),
                wanted,
            )
        )
    assert {answer.status_code for answer in answers} == {201, 409}
    won = [answer.json()["starts_at"] for answer in answers if answer.status_code == 201]
    assert sorted(map(datetime.fromisoformat, won)) == sorted(map(datetime.fromisoformat, times))
    assert server.sql("SELECT count(*), count(DISTINCT starts_at) FROM support_interactions") == [
        (12, 12)
    ]
    assert server.sql(
        "SELECT count(*) FROM booked_quarters q JOIN support_interactions i ON i.id = q.interaction_id"
    ) == [(24,)]
    assert server.sql("SELECT count(*) FROM outbox WHERE template = 'call_booked'") == [(12,)]


def test_concurrent_bookings_of_the_first_free_time_get_different_times(server: Server) -> None:
    suppliers = [add_supplier(server) for _ in range(30)]
    with server.client("write", patient=True) as client, ThreadPoolExecutor(30) as threads:
        answers = list(
            threads.map(
                lambda s: client.post(BOOK, json={"supplier_id": s, "type": "check_in"}), suppliers
            )
        )
    assert [answer.status_code for answer in answers] == [201] * 30
    assert len({answer.json()["starts_at"] for answer in answers}) == 30


def test_interactions_are_listed_newest_first_in_pages(server: Server) -> None:
    supplier, other = add_supplier(server), add_supplier(server)
    with server.client("write") as client:
        made = [
            client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
            for _ in range(5)
        ]
        client.post(BOOK, json={"supplier_id": other, "type": "check_in"})
        server.sql(
            "INSERT INTO support_interactions (supplier_id, type, notes, outcome, created_at)"
            " VALUES (%s, 'e-mail', 'n', 'o', '2020-01-01')",
            supplier,
        )
        seen: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"supplier_id": supplier, "limit": 2, **({"cursor": cursor} if cursor else {})}
            page = client.get("/api/support/interactions", params=query).json()
            seen += page["interactions"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    assert [row["interaction_id"] for row in seen[:5]] == [
        body["interaction_id"] for body in reversed(made)
    ]
    assert seen[0]["csm"] == made[-1]["csm"]
    assert (seen[5]["type"], seen[5]["csm"], seen[5]["starts_at"], len(seen)) == (
        "e-mail",
        None,
        None,
        6,
    )


def test_api_keys_are_limited_to_their_scope(server: Server) -> None:
    supplier = add_supplier(server)
    book = {"supplier_id": supplier, "type": "check_in"}
    with (
        server.client() as nobody,
        server.client("read") as reader,
        server.client("ingest") as sender,
    ):
        assert nobody.post(BOOK, json=book).status_code == 401
        assert nobody.get(SLOTS, params=book).status_code == 401
        assert reader.post(BOOK, json=book).status_code == 403
        assert reader.get(SLOTS, params=book).status_code == 200
        assert sender.get(SLOTS, params=book).status_code == 403
        assert sender.post(BOOK, json=book).status_code == 403
