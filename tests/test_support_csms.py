"""The commands that set a CSM, a calendar, holidays and days off."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from everafter.cli import app as cli
from everafter.core.settings import Settings
from everafter.doctor import examine
from helpers_feeds import CSM, EVENT, Site, at, busy
from helpers_feeds import site as site
from helpers_mail import sql
from helpers_server import Server
from test_support_calendars import calendar
from test_support_calls import add_supplier, slots


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(cli, ["csm", *words])

    return invoke


def test_a_csm_is_set_and_listed(run: Callable[..., Any], database: str) -> None:
    changed = run("set", CSM, "--hours", "08:30-16:15", "--days", "mon-thu", "--timezone", "Europe/London",
                  "--buffer", "30", "--holidays", "gb-eng")  # fmt: skip
    assert changed.exit_code == 0, changed.output
    assert (
        "takes calls mon-thu 08:30-16:15 Europe/London, 30 min free after each, holidays of GB-ENG."
        in changed.output
    )
    days = [
        (datetime.now(UTC).date() + timedelta(days=ahead)).isoformat() for ahead in (70, 71, 72)
    ]
    off = run("off", CSM, days[0], days[2], "--reason", "Skiing")
    assert "3 days off set" in off.output
    assert run("off", CSM, days[2], "--remove").exit_code == 0
    [listed] = json.loads(run("list", "--json").output)
    assert listed["days_off"] == days[:2]
    assert {name: listed[name] for name in ("email", "takes_calls", "work_days", "buffer_minutes", "holidays")} == {
        "email": CSM, "takes_calls": True, "work_days": "mon-thu", "buffer_minutes": 30, "holidays": "GB-ENG",
    }  # fmt: skip
    assert listed["next_holidays"]
    assert "GB-ENG" in run("list").output
    assert run("set", CSM, "--no-calls", "--holidays", "none").exit_code == 0
    assert sql(database, "SELECT takes_calls, holidays, buffer_minutes, work_from FROM users") == [
        (False, None, 30, time(8, 30))
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["set", CSM, "--timezone", "Europe/Berln"],
            "unknown time zone 'Europe/Berln'; did you mean Europe/Berlin",
        ),
        (["set", CSM, "--timezone", "berlin"], "did you mean Europe/Berlin"),
        (["set", CSM, "--holidays", "GB-ENGL"], "did you mean GB-ENG"),
        (["set", CSM, "--holidays", "DE-XX"], "DE has DE-B"),
        (["set", CSM, "--holidays", "England"], "expected ISO 3166"),
        (["set", CSM, "--hours", "9-5"], "expected 09:00-17:00"),
        (["set", CSM, "--days", "weekdays"], "expected mon-fri"),
        (["set", CSM, "--buffer", "20"], "multiple of 15"),
        (["set", CSM, "--buffer", "135"], "multiple of 15"),
        (["set", "nobody@example.org", "--buffer", "30"], "no user nobody@example.org"),
        (["off", CSM, "24.12.2026"], "expected a date such as 2026-12-24"),
        (["off", CSM, "2026-12-24", "2026-12-20"], "is not within one year after"),
        (["calendar", CSM], "expected a URL"),
        (["calendar", CSM, "ftp://example.org/x"], "not an http or https URL"),
        (["calendar", CSM, "https://example.org:99999/x"], "not an http or https URL"),
        (["calendar", CSM, "https://xn--a/x"], "is not a URL"),
        (["calendar", CSM, "--read"], "has no calendar"),
    ],
)
def test_invalid_options_are_explained(
    run: Callable[..., Any], words: list[str], says: str
) -> None:
    done = run(*words)
    assert done.exit_code != 0
    assert says in str(getattr(done.exception, "message", "")), done


def test_a_calendar_is_set_read_shown_and_removed(
    run: Callable[..., Any], settings: Settings, site: Site
) -> None:
    database = str(settings.database_url)
    site.body = calendar(EVENT.format(at(10)), "DTSTART:never")
    refused = run("calendar", CSM, site.url)
    assert refused.exit_code == 1 and "use --allow-private to allow it" in refused.output
    done = run("calendar", CSM, site.url, "--allow-private")
    assert done.exit_code == 0, done.output
    assert (
        "has 2 events: 1 busy time in the next 100 days; 1 event could not be read in full: its start 'never' cannot be read."
        in done.output
    )
    shown = run("list")
    assert f"{CSM}: not read in full: its start 'never' cannot be read" in shown.output
    [line] = [one for one in json.loads(run("list", "--json").output) if one["email"] == CSM]
    assert (line["unread"], line["unread_reasons"]) == (1, ["its start 'never' cannot be read"])
    assert "private-abc" not in run("list").output + run("list", "--json").output, (
        "who has the address reads the calendar"
    )
    look = asyncio.run(
        examine(
            datetime.now(UTC),
            {"EVERAFTER_DATABASE_URL": database, "EVERAFTER_DATA": str(settings.data)},
        )
    )
    [doubt] = [check for check in look if check.name == "calendars"]
    assert (doubt.status, doubt.found) == (
        "warn",
        f"not read in full: {CSM}: 1 of its events, its start 'never' cannot be read",
    )
    site.status = 410
    again = run("calendar", CSM, "--read", "--json")
    assert again.exit_code == 1 and "410" in json.loads(again.output)["failure"]
    checks = asyncio.run(
        examine(
            datetime.now(UTC),
            {"EVERAFTER_DATABASE_URL": database, "EVERAFTER_DATA": str(settings.data)},
        )
    )
    [calls] = [check for check in checks if check.name == "calls"]
    assert calls.status == "warn" and "410" in calls.found and "private-abc" not in calls.found
    assert (
        f"{CSM}: the calendar cannot be read: " in (listed := run("list").output)
        and "410" in listed
    )
    assert len(busy(database)) == 1
    assert run("calendar", CSM, "--remove").exit_code == 0
    assert busy(database) == [] and sql(database, "SELECT count(*) FROM calendar_feeds") == [(0,)]


def test_holidays_and_days_off_are_not_offered(server: Server, run: Callable[..., Any]) -> None:
    supplier = add_supplier(server)
    assert run("set", CSM, "--holidays", "DE", "--days", "mon-sun").exit_code == 0
    off = datetime.now(UTC).date() + timedelta(days=40)
    assert run("off", CSM, off.isoformat()).exit_code == 0
    days: set[date] = set()
    with server.client("read") as client:
        for step in range(0, 62, 31):
            start = (datetime.now(UTC) + timedelta(days=step)).date().isoformat()
            days |= {
                datetime.fromisoformat(slot["starts_at"]).date()
                for slot in slots(client, supplier, **{"from": start, "days": 31})
            }
    christmas = {date(year, 12, day) for year in range(2025, 2100) for day in (25, 26)}
    new_year = {date(year, 1, 1) for year in range(2025, 2100)}
    assert len(days) > 50 and off not in days and not days & (christmas | new_year)


def test_calls_booked_on_days_off_are_listed(server: Server, run: Callable[..., Any]) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10).isoformat()}
        assert client.post("/api/support/schedule-call", json=body).status_code == 201
    done = run("off", CSM, at(0).date().isoformat())
    assert f"A call is booked at {at(10):%Y-%m-%d %H:%M} UTC" in done.output
