"""Moving, cancelling and closing calls over HTTP, and the notifications of both sides."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import icalendar
import pytest

from helpers_server import Server
from test_support_calls import BOOK, add_csm, add_supplier, slots, working_day


@pytest.fixture
def ada(server: Server) -> None:
    """One CSM with a real address, instead of the CSM of a new installation."""
    server.sql("UPDATE users SET takes_calls = false")
    add_csm(server, "ada@example.org")


def book(
    client: httpx.Client, supplier: str, hour: float = 10, days_ahead: int = 3, **more: Any
) -> dict[str, Any]:
    at = working_day(days_ahead) + timedelta(hours=hour)
    answer = client.post(
        BOOK,
        json={"supplier_id": supplier, "type": "check_in", "starts_at": at.isoformat(), **more},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(client: httpx.Client, call: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    address = f"/api/support/calls/{call['interaction_id']}/{what}"
    return client.post(address, json={"supplier_id": call["supplier_id"], **body})


def mails(server: Server, template: str, status: str = "queued") -> list[dict[str, Any]]:
    rows = server.sql(
        "SELECT to_email, facts, send_after, expires_at, status_reason FROM outbox WHERE template = %s AND status = %s"
        " ORDER BY send_after, to_email",
        template,
        status,
    )
    return [
        dict(zip(("to", "facts", "send_after", "expires_at", "why"), row, strict=True))
        for row in rows
    ]


def event(text: str) -> tuple[str, Any]:
    calendar = icalendar.Calendar.from_ical(text)
    [found] = calendar.walk("VEVENT")
    return str(calendar["METHOD"]), found


def held(server: Server) -> list[datetime]:
    return [row[0] for row in server.sql("SELECT starts_at FROM booked_quarters ORDER BY 1")]


@pytest.mark.usefixtures("ada")
def test_a_moved_call_keeps_its_uid_and_frees_its_old_time(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier, topic="Forms")
        later = working_day(3) + timedelta(hours=13)
        answer = change(client, call, "reschedule", starts_at=later.isoformat())
        link = call["ics_url"].removeprefix(server.settings.base_url)
        by_link = client.get(link)
    assert answer.status_code == 200, answer.text
    moved = answer.json()
    assert datetime.fromisoformat(moved["starts_at"]) == later
    same = ("interaction_id", "ics_url", "manage_url", "csm", "type", "timezone")
    assert {name: moved[name] for name in same} == {name: call[name] for name in same}
    assert held(server) == [later, later + timedelta(minutes=15)]
    [reported] = mails(server, "call_moved")
    assert reported["facts"]["was_starts_at"] == call["starts_at"]
    old = server.sql("SELECT facts ->> 'ics' FROM outbox WHERE template = 'call_booked'")[0][0]
    (_, before), (method, after) = event(old), event(reported["facts"]["ics"])
    assert (method, before["UID"], before["SEQUENCE"], after["SEQUENCE"]) == (
        "REQUEST",
        after["UID"],
        0,
        1,
    )
    assert after["DTSTART"].dt == later and after["DTSTAMP"].dt >= before["DTSTAMP"].dt
    assert event(by_link.text)[1]["SEQUENCE"] == 1
    # what had not been sent yet of the earlier time never goes out
    assert [one["why"] for one in mails(server, "call_booked", "expired")] == [
        "withdrawn: the call was moved"
    ]
    due = [(one["send_after"], one["expires_at"]) for one in mails(server, "call_reminder")]
    assert due == [
        (later - timedelta(hours=24), later - timedelta(hours=1)),
        (later - timedelta(hours=1), later),
    ]


@pytest.mark.usefixtures("ada")
def test_a_call_can_overlap_its_old_time_and_moving_it_nowhere_is_no_change(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier)
        start = datetime.fromisoformat(call["starts_at"])
        free = {slot["starts_at"] for slot in slots(client, supplier)}
        for minutes in (15, 15, 0, -15, 0):
            answer = change(
                client,
                call,
                "reschedule",
                starts_at=(start + timedelta(minutes=minutes)).isoformat(),
            )
            assert answer.status_code == 200, answer.text
    assert call["starts_at"] not in free
    assert held(server) == [start, start + timedelta(minutes=15)]
    assert server.sql("SELECT sequence FROM support_interactions") == [(4,)], (
        "the second time to the same moment was no change"
    )


@pytest.mark.usefixtures("ada")
def test_a_move_to_a_taken_or_impossible_time_changes_nothing(server: Server) -> None:
    supplier, other = add_supplier(server), add_supplier(server)
    with server.client("write") as client:
        call, rival = book(client, supplier, 10), book(client, other, 11)
        own = book(client, supplier, 14)
        day = working_day(3)
        wanted = {
            "taken": rival["starts_at"],
            "past": "2020-01-01T10:00:00Z",
            "too_soon": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
            "too_far": "9999-12-31T23:45:00Z",
            "off_grid": (day + timedelta(hours=10, minutes=7)).isoformat(),
            "outside_hours": (day + timedelta(hours=3)).isoformat(),
        }
        answers = {
            reason: change(client, call, "reschedule", starts_at=at)
            for reason, at in wanted.items()
        }
        twice = change(client, call, "reschedule", starts_at=own["starts_at"])
        gap = change(client, call, "reschedule", starts_at="2027-03-28T02:30:00")
        zone = change(
            client, call, "reschedule", starts_at="2026-12-28T10:30:00", timezone="Europa/Berlin"
        )
    for reason, answer in answers.items():
        assert answer.status_code == (409 if reason == "taken" else 422), answer.text
        assert answer.json()["reason"] == reason and len(answer.json()["next_free"]) == 5
    assert twice.status_code == 409 and "already has a call" in twice.json()["detail"]
    assert gap.json()["reason"] in {"dst_gap", "too_far"} and gap.json()["next_free"]
    assert (
        zone.json()["reason"] == "unknown_zone"
        and "Europe/Berlin" in zone.json()["detail"]
        and zone.json()["next_free"]
    )
    assert len(held(server)) == 6
    assert server.sql("SELECT DISTINCT sequence FROM support_interactions") == [(0,)]
    assert mails(server, "call_moved") == []


@pytest.mark.usefixtures("ada")
def test_a_cancelled_call_frees_its_slot_and_is_notified_once(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier)
        with ThreadPoolExecutor(8) as threads:
            answers = list(
                threads.map(
                    lambda _: change(client, call, "cancel", reason="A wedding came\x00 up"),
                    range(8),
                )
            )
        again = book(client, add_supplier(server))
        late = change(client, call, "reschedule", starts_at=again["starts_at"])
        by_link = client.get(call["ics_url"].removeprefix(server.settings.base_url))
    assert [answer.status_code for answer in answers] == [200] * 8
    body = answers[0].json()
    assert (body["outcome"], body["notes"]) == ("cancelled", "Cancelled: A wedding came  up")
    assert body["cancelled_at"] and not body["closed_at"]
    assert again["starts_at"] == call["starts_at"]
    assert (late.status_code, late.json()["reason"]) == (409, "cancelled")
    [reported] = mails(server, "call_cancelled")
    [method, found] = event(reported["facts"]["ics"])
    assert (method, found["SEQUENCE"], found["STATUS"]) == ("CANCEL", 1, "CANCELLED")
    assert (
        found["ORGANIZER"] == "mailto:ada@example.org"
        and found["ATTENDEE"] == "mailto:rosa@example.org"
    )
    assert by_link.headers["content-type"].startswith("text/calendar; method=CANCEL")
    reminders = server.sql(
        "SELECT status FROM outbox WHERE template = 'call_reminder' AND supplier_id = %s", supplier
    )
    assert {row[0] for row in reminders} == {"expired"} and len(reminders) == 2


@pytest.mark.usefixtures("ada")
def test_the_csm_is_notified_and_both_csms_after_a_takeover(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier, 16, topic="Forms")
        [first] = mails(server, "call_for_csm")
        add_csm(
            server,
            "bob@example.org",
            work_from="17:00",
            work_until="20:00",
            timezone="Europe/Berlin",
        )
        evening = working_day(3) + timedelta(hours=17)  # 18 or 19 o'clock in Berlin
        moved = change(client, call, "reschedule", starts_at=evening.isoformat()).json()
        reported = {one["to"]: one for one in mails(server, "call_for_csm")}
        change(client, call, "cancel", reason="No longer needed")
        last = {one["to"]: one for one in mails(server, "call_for_csm")}
    assert (first["to"], first["facts"]["change"], first["facts"]["name"]) == (
        "ada@example.org",
        "booked",
        "Ada",
    )
    assert "manage_url" not in first["facts"] and "/calls/" not in first["facts"]["ics"], (
        "that link is the supplier's own"
    )
    method, found = event(first["facts"]["ics"])
    assert (method, found["SUMMARY"]) == ("REQUEST", "Check-in with Rosa Flowers")
    assert found["ORGANIZER"] != "mailto:ada@example.org", "nobody is invited by themselves"
    assert [str(one) for one in found["ATTENDEE"]] == [
        "mailto:ada@example.org",
        "mailto:rosa@example.org",
    ]
    assert moved["csm"]["email"] == "bob@example.org"
    assert {to: one["facts"]["change"] for to, one in reported.items()} == {
        "ada@example.org": "passed_on",
        "bob@example.org": "moved",
    }
    assert event(reported["ada@example.org"]["facts"]["ics"])[0] == "CANCEL"
    assert reported["ada@example.org"]["facts"]["starts_at"] == call["starts_at"]
    assert reported["bob@example.org"]["facts"]["timezone"] == "Europe/Berlin"
    assert event(reported["bob@example.org"]["facts"]["ics"])[1]["DTSTART"].dt == evening
    assert last["bob@example.org"]["facts"]["reason"] == "No longer needed"
    assert held(server) == []


def test_an_outcome_is_recorded_and_can_be_replaced(server: Server) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier)
        early = change(client, call, "outcome", outcome="held")
        server.sql(
            "UPDATE support_interactions SET starts_at = now() - interval '1 hour', ends_at = now() - interval '45 minutes'"
        )
        answers = [
            change(client, call, "outcome", outcome="no_show"),
            change(client, call, "outcome", outcome="held", notes="Forms are set up now."),
            change(client, call, "outcome", outcome="held"),
        ]
        over = [
            change(client, call, "cancel"),
            change(client, call, "reschedule", starts_at="2027-01-04T10:00:00Z"),
        ]
        wrong = change(client, call, "outcome", outcome="great")
        called_off = book(client, supplier, 11)
        off = change(client, called_off, "outcome", outcome="cancelled", notes="By phone")
        too_late = change(client, called_off, "outcome", outcome="held")
    assert (early.status_code, early.json()["reason"]) == (409, "not_started")
    assert [answer.json()["outcome"] for answer in answers] == ["no_show", "held", "held"]
    assert answers[2].json()["notes"] == "Forms are set up now." and answers[2].json()["closed_at"]
    assert [(answer.status_code, answer.json()["reason"]) for answer in over] == [(409, "over")] * 2
    assert wrong.status_code == 400
    assert (
        off.json()["outcome"] == "cancelled"
        and off.json()["cancelled_at"]
        and off.json()["notes"] == "By phone"
    )
    assert (too_late.status_code, too_late.json()["reason"]) == (409, "cancelled")
    assert server.sql("SELECT closed_by FROM support_interactions WHERE closed_at IS NOT NULL") == [
        (None,),
        (None,),
    ]


def test_a_call_belongs_to_its_supplier_and_a_repeated_request_has_one_effect(
    server: Server,
) -> None:
    supplier, stranger = add_supplier(server), add_supplier(server)
    with server.client("write") as client, server.client("read") as reader:
        call = book(client, supplier)
        foreign = [
            change(
                client,
                {**call, "supplier_id": stranger},
                what,
                starts_at="2026-12-30T10:00:00Z",
                outcome="held",
            )
            for what in ("reschedule", "cancel", "outcome")
        ]
        nowhere = change(client, {**call, "interaction_id": str(uuid4())}, "cancel")
        unscoped = change(reader, call, "cancel")
        body = {
            "supplier_id": supplier,
            "starts_at": (working_day(3) + timedelta(hours=12)).isoformat(),
        }
        address = f"/api/support/calls/{call['interaction_id']}/reschedule"
        twice = [
            client.post(address, json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)
        ]
    assert [answer.status_code for answer in foreign] == [404] * 3 and nowhere.status_code == 404
    assert unscoped.status_code == 403
    assert (
        twice[0].content == twice[1].content and twice[1].headers["Idempotency-Replayed"] == "true"
    )
    assert server.sql("SELECT sequence FROM support_interactions") == [(1,)]


def test_cancelled_calls_do_not_count_for_free_times_and_the_known_csm(server: Server) -> None:
    add_csm(server, "bob@example.org")
    supplier = add_supplier(server)
    with server.client("write") as client:
        first = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
        change(client, first, "cancel")
        second = client.post(BOOK, json={"supplier_id": supplier, "type": "check_in"}).json()
    assert second["starts_at"] == first["starts_at"]


def test_the_suppliers_page_shows_outcomes_of_calls(server: Server) -> None:
    from helpers_pages import signed_in

    supplier = add_supplier(server)
    with server.client("write") as client:
        calls = [book(client, supplier, hour) for hour in (9, 10, 11)]
        server.sql(
            "UPDATE support_interactions SET starts_at = now() - interval '2 days' WHERE id = %s",
            calls[0]["interaction_id"],
        )
        change(client, calls[0], "outcome", outcome="no_show", notes="Called twice.")
        change(client, calls[1], "cancel")
    with signed_in(server) as browser:
        page = re.sub(r"\s+", " ", browser.get(f"/suppliers/{supplier}").text)
    assert "no-show" in page and "Called twice." in page
    assert page.count("cancelled") >= 1
