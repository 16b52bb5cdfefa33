"""`everafter doctor` on an installation that is well, and on each way in which it can be ill."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from everafter.accounts.keys import create_key
from everafter.activity.checks import (
    FeatureFacts,
    FoldFacts,
    describe_features,
    describe_folding,
)
from everafter.core.checks import Check
from everafter.core.db import connection
from everafter.core.settings import Settings
from everafter.daily.checks import RunFacts, describe_last_run
from everafter.doctor import check_schema, check_version, examine
from everafter.events.checks import FeedFacts, RejectFacts, describe_feed, describe_rejects
from everafter.mail.checks import MailFacts, describe_mail
from everafter.support.checks import CallFacts, describe_calendars, describe_calls

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def look(settings: Settings, now: datetime | None = None, **env: str) -> dict[str, Check]:
    """The checks by name."""
    source = {
        "EVERAFTER_DATABASE_URL": settings.database_url or "",
        "EVERAFTER_DATA": str(settings.data),
        **env,
    }
    return {check.name: check for check in asyncio.run(examine(now or datetime.now(UTC), source))}


def tell(database: str, *statements: str, **values: Any) -> None:
    with psycopg.connect(
        database, autocommit=True, options="-c search_path=everafter,public"
    ) as conn:
        for statement in statements:
            conn.execute(statement, values)  # type: ignore[arg-type]


@pytest.fixture
def well(settings: Settings, database: str) -> Settings:
    """An installation with a supplier, an event, today's run and somebody who can sign in."""
    tell(
        database,
        "INSERT INTO suppliers (id, name) VALUES (%(id)s, 'Rosewood')",
        "INSERT INTO supplier_activity SELECT (jsonb_populate_record(NULL::supplier_activity, jsonb_build_object('supplier_id', %(id)s::text,"
        " 'events_total', 1, 'first_event_at', now(), 'last_event_at', now(), 'login_days', '', 'feature_days', '',"
        " 'feature_uses_w', '', 'clients_added', 0, 'clients_total', 0, 'clients_active_d', '', 'clients_lost_w', '',"
        " 'weddings', '[]'::jsonb, 'forms_sent_w', '', 'forms_answered_w', '', 'emails_sent_w', '', 'emails_opened_w', '',"
        " 'tickets_open', 0, 'tickets_w', '', 'payments_failed_w', '', 'usage', '{}'::jsonb, 'other_features', '{}'::jsonb, 'features_beyond', false))).*",
        "INSERT INTO runs (run_on, as_of, playbook_version, finished_at) VALUES (current_date, now(), 1, now())",
        "UPDATE users SET password_hash = 'a hash', email = 'dana@example.com'",
        id=str(uuid4()),
    )
    return settings


def test_a_variable_that_is_no_setting_is_named(tmp_path: Path) -> None:
    env = {"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_SMPT_URL": "smtp://mail.example"}
    found = [check.found for check in asyncio.run(examine(NOW, env)) if check.status == "warn"]
    assert "EVERAFTER_SMPT_URL is not a setting; did you mean EVERAFTER_SMTP_URL?" in found


def test_a_healthy_installation_has_nothing_to_do(well: Settings) -> None:
    checks = look(well)
    assert {check.status for check in checks.values()} == {"ok"}
    assert set(checks) == {
        "settings",
        "playbook",
        "disk",
        "database",
        "schema",
        "events",
        "feeds",
        "folding",
        "daily run",
        "mail",
        "rejects",
        "calls",
        "people",
    }
    assert not any(check.do for check in checks.values())


def test_a_fresh_installation_gets_the_first_steps(settings: Settings) -> None:
    checks = look(settings)
    assert checks["events"] == Check("events", "warn", "no suppliers yet", checks["events"].do)
    assert "everafter import" in checks["events"].do
    assert "everafter user create" in checks["people"].do
    assert checks["daily run"].status == "ok"


def test_no_database_yet_is_said_and_none_is_made(tmp_path: Path) -> None:
    checks = {
        check.name: check for check in asyncio.run(examine(NOW, {"EVERAFTER_DATA": str(tmp_path)}))
    }
    assert checks["database"].status == "warn"
    assert "embedded" in checks["database"].found
    assert not (tmp_path / "postgres").exists()


@pytest.mark.parametrize(
    ("env", "name", "said"),
    [
        ({"EVERAFTER_SMTP_URL": "http://mail"}, "settings", "EVERAFTER_SMTP_URL"),
        ({"EVERAFTER_SMTP_URL": "smtps://mail.example.com?colour=red"}, "settings", "colour"),
        ({"EVERAFTER_SECRET_FILE": "/no/such/file"}, "settings", "EVERAFTER_SECRET_FILE"),
        ({"EVERAFTER_SECRET": "short"}, "settings", "5 characters"),
        ({"EVERAFTER_PLAYBOOK": "/no/such/playbook.toml"}, "playbook", "/no/such/playbook.toml"),
        ({"EVERAFTER_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "database", "127.0.0.1"),
        ({"EVERAFTER_DATABASE_URL": "mysql://x"}, "settings", "EVERAFTER_DATABASE_URL"),
    ],
)
def test_what_is_set_wrongly_is_named(
    well: Settings, env: dict[str, str], name: str, said: str
) -> None:
    check = look(well, **env)[name]
    assert check.status == "bad"
    assert said in check.found
    assert check.do


def _nothing_there(well: Settings, tmp_path: Path) -> dict[str, str]:
    return {"EVERAFTER_DATA": str(tmp_path / "not" / "there"), "EVERAFTER_SECRET": "s" * 32}


def _a_file(well: Settings, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "file").touch()
    return {"EVERAFTER_DATA": str(tmp_path / "file"), "EVERAFTER_DATABASE_URL": ""}


def _a_playbook_of_bytes(well: Settings, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bytes.toml").write_bytes(bytes(range(256)))
    return {"EVERAFTER_PLAYBOOK": str(tmp_path / "bytes.toml")}


def _a_table_is_missing(well: Settings, tmp_path: Path) -> dict[str, str]:
    tell(str(well.database_url), "DROP TABLE runs")
    return {}


def _keys_are_missing(well: Settings, tmp_path: Path) -> dict[str, str]:
    tell(str(well.database_url), "ALTER TABLE api_keys RENAME scope TO s")
    return {"EVERAFTER_SECRET": "s" * 32}


def _strange_migrations(well: Settings, tmp_path: Path) -> dict[str, str]:
    tell(str(well.database_url), "ALTER TABLE migrations RENAME version TO v")
    return {}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (_nothing_there, ""),
        (_a_file, "disk"),
        (_a_playbook_of_bytes, "playbook"),
        (lambda well, tmp_path: {"EVERAFTER_PLAYBOOK": str(tmp_path)}, "playbook"),
        (
            lambda well, tmp_path: {"EVERAFTER_DATABASE_URL": "postgresql://127.0.0.1:notaport/x"},
            "settings",
        ),
        (
            lambda well, tmp_path: {
                "EVERAFTER_DATABASE_URL": "postgresql://nobody:wrong@127.0.0.1:1/x"
            },
            "database",
        ),
        (
            lambda well, tmp_path: {"EVERAFTER_DATABASE_URL_FILE": str(tmp_path / "none")},
            "settings",
        ),
        (lambda well, tmp_path: {"EVERAFTER_SMTP_URL": "smtp://host:99999"}, "settings"),
        (
            lambda well, tmp_path: {"EVERAFTER_SMTP_URL": "nonsense", "EVERAFTER_SECRET": "x"},
            "settings",
        ),
        (_a_table_is_missing, "tables"),
        (_keys_are_missing, "coach keys"),
        (_strange_migrations, "database"),
    ],
)
def test_whatever_is_broken_is_a_line_and_hides_no_other(
    well: Settings, tmp_path: Path, make: Any, name: str
) -> None:
    done = everafter(well, "doctor", "--json", **make(well, tmp_path))
    assert not done.stderr and done.returncode == (1 if name else 0), done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {"playbook", "disk"} <= set(checks) and {"database", "settings"} & set(checks)
    if name:
        assert (
            checks[name]["status"] == "bad"
            and checks[name]["do"]
            and "\n" not in checks[name]["found"]
        )
    else:
        assert not (tmp_path / "not").exists(), "it looks and makes nothing"


def test_links_that_only_this_machine_can_open_are_a_warning_once_mail_leaves(
    well: Settings,
) -> None:
    mail = {"EVERAFTER_SMTP_URL": "smtps://mail.example.com"}
    assert look(well, **mail)["settings"].status == "warn"
    assert (
        look(well, **mail, EVERAFTER_BASE_URL="https://everafter.example.com")["settings"].status
        == "ok"
    )


def test_a_bad_playbook_is_named_with_its_place(well: Settings, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[segments.default]\ntitle = "S"\nkey_features = 3\n')
    check = look(well, EVERAFTER_PLAYBOOK=str(path))["playbook"]
    assert check.status == "bad"
    assert "mine.toml:" in check.found
    assert "playbook check" in check.do


@pytest.mark.parametrize(
    ("statement", "name", "status", "do"),
    [
        (
            "DELETE FROM migrations WHERE version = (SELECT max(version) FROM migrations)",
            "schema",
            "bad",
            "everafter migrate",
        ),
        ("UPDATE migrations SET sha256 = 'x' WHERE version = 1", "schema", "bad", "reinstall"),
        (
            "INSERT INTO migrations VALUES (9999, 'later', '')",
            "schema",
            "bad",
            "install that version",
        ),
        ("DROP SCHEMA everafter CASCADE", "schema", "bad", "everafter migrate"),
        (
            "UPDATE supplier_activity SET last_event_at = now() - interval '3 days'",
            "events",
            "warn",
            "feed",
        ),
        ("DELETE FROM supplier_activity", "events", "warn", "everafter key create"),
        (
            "INSERT INTO events_pending (supplier_id, type, occurred_at, received_at)"
            " SELECT id, 'login', now(), now() - interval '1 hour' FROM suppliers",
            "folding",
            "bad",
            "everafter serve",
        ),
        (
            "UPDATE runs SET as_of = now() - interval '30 hours'",
            "daily run",
            "warn",
            "everafter work",
        ),
        ("UPDATE runs SET as_of = now() - interval '3 days'", "daily run", "bad", "everafter work"),
        ("UPDATE runs SET replay = true", "daily run", "warn", "everafter run"),
        (
            "UPDATE runs SET finished_at = NULL, started_at = now() - interval '2 hours'",
            "daily run",
            "bad",
            "everafter run",
        ),
        (
            "UPDATE runs SET finished_at = NULL, started_at = now() - interval '30 hours', as_of = '2026-11-20 05:00:00.123456+00'",
            "daily run",
            "bad",
            "everafter run --as-of 2026-11-20T05:00:00.123456+00:00",
        ),
        ("INSERT INTO mail_pause VALUES (1, 'we move the mail server')", "mail", "warn", "resume"),
        (
            "INSERT INTO rejects (source, code, reason, supplier_id) VALUES ('http', 'unknown_supplier', 'why', 'x')",
            "rejects",
            "warn",
            "/api/rejects",
        ),
        (
            "INSERT INTO rejects (source, code, reason) VALUES ('http', 'bad_time', 'why')",
            "rejects",
            "warn",
            "/api/rejects",
        ),
        ("UPDATE supplier_activity SET features_beyond = true", "features", "warn", "`feature`"),
        ("UPDATE users SET password_hash = NULL", "people", "warn", "user create"),
    ],
)
def test_every_trouble_is_seen_and_has_its_recommendation(
    well: Settings, statement: str, name: str, status: str, do: str
) -> None:
    assert well.database_url
    tell(well.database_url, statement)
    check = look(well)[name]
    assert check.status == status, check
    assert do in check.do


def _message(status: str, send_after: str = "now()", created_at: str = "now()") -> str:
    return (
        "INSERT INTO outbox (supplier_id, id, template, topic, to_email, facts, status, send_after, expires_at, created_at)"
        f" SELECT id, gen_random_uuid(), 'check_in', 'success', 'a@example.com', '{{}}', '{status}', {send_after},"
        f" now() + interval '1 day', {created_at} FROM suppliers"
    )


@pytest.mark.parametrize(
    ("statement", "name", "status"),
    [
        (_message("queued", "now() - interval '3 hours'"), "mail", "bad"),
        (_message("queued", "now() - interval '20 minutes'"), "mail", "warn"),
        (_message("queued", "now() + interval '3 hours'"), "mail", "ok"),
        (_message("in_doubt"), "mail in doubt", "warn"),
        (_message("dead"), "dead mail", "warn"),
    ],
)
def test_mail_that_does_not_flow_is_seen(
    well: Settings, statement: str, name: str, status: str
) -> None:
    assert well.database_url
    tell(well.database_url, statement)
    mail = {
        "EVERAFTER_SMTP_URL": "smtps://mail.example.com",
        "EVERAFTER_BASE_URL": "https://everafter.example.com",
    }
    assert look(well, **mail)[name].status == status


def test_without_a_mail_server_a_full_outbox_is_as_it_should_be(well: Settings) -> None:
    assert well.database_url
    tell(well.database_url, _message("queued", "now() - interval '3 hours'"))
    check = look(well)["mail"]
    assert (check.status, check.found) == (
        "ok",
        "1 message in the outbox; no mail server is set",
    )


def test_an_old_server_is_refused() -> None:
    assert check_version(150_012, embedded=False).status == "bad"
    assert check_version(160_000, embedded=False).status == "ok"


def test_schema_states_are_distinguished() -> None:
    assert "behind" in check_schema({}).found


def test_facts_that_are_just_inside_their_limits_are_well() -> None:
    mail = MailFacts(
        paused=None,
        due_since=NOW - timedelta(minutes=14),
        queued=5,
        in_doubt=0,
        trouble=None,
        trouble_since=None,
        bounced=0,
        complaints=0,
        dead=0,
    )
    calls = CallFacts(
        csms=2,
        holidays=["GB-ENG"],
        calendars=1,
        calendars_failed=None,
        calendars_unread=None,
        calendars_read_since=NOW - timedelta(minutes=55),
    )
    checks = [
        describe_feed(FeedFacts(3, NOW - timedelta(hours=23), 1), NOW),
        describe_folding(FoldFacts(5, NOW - timedelta(seconds=30)), NOW),
        describe_last_run(
            RunFacts(
                has_suppliers=True,
                last_run=NOW - timedelta(hours=25),
                unfinished_since=NOW - timedelta(minutes=50),
                unfinished_as_of=NOW - timedelta(minutes=50),
            ),
            NOW,
        ),
        *describe_mail(mail, NOW, sends=True),
        describe_rejects(RejectFacts(0, 0)),
        *describe_features(FeatureFacts(0, None)),
        describe_calls(calls, NOW),
        *describe_calendars(calls),
    ]
    assert [(check.name, check.status) for check in checks] == [
        ("events", "ok"),
        ("folding", "ok"),
        ("daily run", "ok"),
        ("mail", "ok"),
        ("rejects", "ok"),
        ("calls", "ok"),
    ]


@pytest.mark.parametrize(
    ("number", "events", "suppliers", "calendars"),
    [
        (1, "1 event waiting", "1 supplier used", "1 other calendar)"),
        (2, "2 events waiting", "2 suppliers used", "2 other calendars)"),
        (5, "5 events waiting", "5 suppliers used", "5 other calendars)"),
    ],
)
def test_a_line_counts_what_it_found(
    number: int, events: str, suppliers: str, calendars: str
) -> None:
    unread = ["a@example.com: 1 of its events, no date"] * (number + 1)
    calls = CallFacts(1, None, number + 1, None, unread, NOW)
    assert describe_rejects(RejectFacts(0, number)).found.startswith(events)
    [features] = describe_features(FeatureFacts(number, ["x"]))
    assert features.found.startswith(suppliers)
    [calendar] = describe_calendars(calls)
    assert calendar.found.endswith(calendars)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("UPDATE users SET takes_calls = false", "nobody takes calls"),
        (
            "UPDATE users SET email = 'success@everafter.invalid'",
            "success@everafter.invalid takes calls, but is a placeholder that gets no email",
        ),
        (
            "UPDATE users SET holidays = 'GB-ENGLAND' WHERE takes_calls",
            "no holidays are known for GB-ENGLAND",
        ),
        (
            "INSERT INTO calendar_feeds (user_id, url, failure) SELECT id, 'https://x.example/secret', 'x.example answered 404' FROM users"
            " WHERE takes_calls",
            "a calendar cannot be read: dana@example.com: x.example answered 404",
        ),
        (
            "INSERT INTO calendar_feeds (user_id, url) SELECT id, 'https://x.example/secret' FROM users WHERE takes_calls",
            "1 CSM, 1 calendar read, but one not for an hour",
        ),
    ],
)
def test_what_keeps_calls_from_being_booked_is_named(well: Settings, said: str, found: str) -> None:
    with psycopg.connect(str(well.database_url), options="-c search_path=everafter") as conn:
        conn.execute(said)  # pyright: ignore
    check = look(well)["calls"]
    assert (check.status, check.found) == ("warn", found) and check.do


def everafter(settings: Settings, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "EVERAFTER_DATABASE_URL": settings.database_url or "",
        "EVERAFTER_DATA": str(settings.data),
        **env,
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("everafter")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_ends_with_one_when_something_is_bad(well: Settings) -> None:
    done = everafter(well, "doctor", "--json")
    reported = json.loads(done.stdout)
    assert (done.returncode, reported["status"]) == (0, "ok")
    assert {"name": "rejects", "status": "ok", "found": "none", "do": ""} in reported["checks"]
    broken = everafter(well, "doctor", EVERAFTER_PLAYBOOK="/no/such/file")
    assert broken.returncode == 1
    assert "/no/such/file" in broken.stdout.replace("\n", "")


def test_coach_keys_of_another_secret_are_reported(well: Settings) -> None:
    assert well.database_url

    async def make(secret: str) -> None:
        async with connection(str(well.database_url)) as conn:
            await create_key(conn, "coach", secret=secret)

    asyncio.run(make("s" * 32))
    assert "coach keys" not in look(well, EVERAFTER_SECRET="s" * 32)
    reported = look(well, EVERAFTER_SECRET="t" * 32)["coach keys"]
    assert reported.status == "warn" and reported.found.startswith(
        "1 live coach key of another EVERAFTER_SECRET"
    )
    tell(well.database_url, "UPDATE api_keys SET revoked_at = now()")
    assert "coach keys" not in look(well, EVERAFTER_SECRET="t" * 32)
