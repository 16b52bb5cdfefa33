"""Migration 0012 renames tables, columns and stored words of a database of release 0.2.0."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from conftest import with_database
from everafter.core import db

RELEASED = 4
"""Release 0.2.0 has the migrations up to this one."""
SUPPLIER = "0b5e7a10-5a1e-4c0d-9a7e-1f2d3c4b5a69"
OTHER = "1b5e7a10-5a1e-4c0d-9a7e-1f2d3c4b5a69"
"""A supplier whose platform used a new name already."""

BEFORE = f"""
INSERT INTO suppliers (id, name) VALUES ('{SUPPLIER}', 'Rosa Flowers'), ('{OTHER}', 'Olive');
INSERT INTO pulse VALUES ('{SUPPLIER}', 7, '2026-01-01', '2026-02-01', NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, '\\x00', '\\x00', '\\x00', 3, 2, '\\x00', '\\x00', '{{}}', '\\x00',
  '\\x00', '\\x00', '\\x00', 1, '\\x00', NULL, NULL, '\\x00');
INSERT INTO customer_health (supplier_id, calculated_on, score, coverage, pace, playbook_version)
  VALUES ('{SUPPLIER}', '2026-02-01', 61.5, 1, 0.4, 1);
INSERT INTO interventions (id, supplier_id, trigger, action, channel, status, reason, priority,
    decided_at, decided_on, facts, playbook_version)
  SELECT gen_random_uuid(), '{SUPPLIER}', trigger, action, 'email', status, reason, 50,
    '2026-02-01', '2026-02-01', facts::jsonb, 1
  FROM (VALUES
    ('early_silence', 'send_quiet_check', 'decided', 'it is quiet',
     '{{"quiet_days": 5, "pace": 0.4, "silence_chance": null, "name": "Rosa"}}'),
    ('no_login_7_days', 'x', 'withheld', 'budget', '{{}}'),
    ('check', 'x', 'withheld', 'cooldown', '{{"plan": "pro"}}'),
    ('odd', 'x', 'withheld', 'cooldown', '"pace"'),
    ('offer', 'x', 'held_out', 'held_out', '{{}}')) AS old (trigger, action, status, reason, facts);
INSERT INTO tasks (supplier_id, kind, priority, title, reason, status) VALUES
  ('{SUPPLIER}', 'early_silence', 'high', 't', 'r', 'open'),
  ('{SUPPLIER}', 'other', 'low', 't', 'r', 'dropped');
INSERT INTO outbox (supplier_id, id, template, topic, to_email, facts, expires_at) VALUES
  ('{SUPPLIER}', gen_random_uuid(), 'quiet_check', 'success', 'rosa@example.com',
   '{{"quiet_days": 5, "name": "Rosa"}}', '2026-03-01'),
  ('{SUPPLIER}', gen_random_uuid(), 'call_for_advisor', 'transactional', 'rosa@example.com', '{{}}',
   '2026-03-01');
INSERT INTO tips_shown (supplier_id, tip_id, intervention_id, shown_at, answer)
  SELECT '{SUPPLIER}', tip, gen_random_uuid(), '2026-02-01', answer
  FROM (VALUES ('a', 'do'), ('b', 'later'), ('c', 'never'), ('d', NULL)) AS old (tip, answer);
INSERT INTO advice_given (supplier_id, advice_id, given_on, channel, closes, told, taken_at, worked)
  VALUES ('{SUPPLIER}', 'import_couples', '2026-02-01', 'coach', 'login', false, '2026-02-02', true);
INSERT INTO advice_given (supplier_id, advice_id, given_on, channel, closes, told, worked)
  SELECT '{SUPPLIER}', name, '2026-02-03', 'coach', 'login', true, worked
  FROM (VALUES ('ask_those_who_left', true), ('ask_churned', false)) AS names (name, worked);
INSERT INTO advice_effects VALUES ('ask_those_who_left', 'dj', 40, 20, 10, 4),
  ('portal_silent', 'dj', 5, 2, 1, 0), ('portal_inactive', 'dj', 7, 3, 1, 0);
INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at, celebrated_by_mail_at)
  VALUES ('{SUPPLIER}', 'five_active_couples', '2026-02-01', '2026-02-02'),
    ('{OTHER}', 'five_active_couples', '2026-02-01', NULL),
    ('{OTHER}', 'five_active_clients', '2026-02-05', NULL);
INSERT INTO playbook_versions (sha256, source) VALUES ('x', '{{}}');
INSERT INTO runs (run_on, as_of, playbook_version, summary) VALUES ('2026-02-01', '2026-02-01', 1,
  '{{"suppliers": 9, "interventions": {{"decided": 1, "withheld": {{"budget": 2, "cooldown": 1}}, "held_out": 3, "by_trigger": {{}}}}}}');
INSERT INTO run_slices VALUES ('2026-02-01', '{SUPPLIER}', 9,
  '{{"suppliers": 9, "decided": 1, "withheld": {{"budget": 2}}, "held_out": 3}}');
"""


@pytest.fixture(scope="module")
def upgraded(server_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A database of release 0.2.0 with a row of each kind, brought to this version."""
    name = f"terms_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    url = with_database(server_url, name)
    every = db.list_migrations()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db, "list_migrations", lambda: every[:RELEASED])
        asyncio.run(db.migrate(url))
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        conn.execute(BEFORE)  # type: ignore[arg-type]
    applied = asyncio.run(db.migrate(url))
    assert len(applied) == len(every) - RELEASED
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        yield conn
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT events_total, clients_added FROM supplier_activity", [(7, 3)]),
        ("SELECT score, season_index::numeric(3, 1)::text FROM customer_health", [(61.5, "0.4")]),
        (
            "SELECT trigger, action, status, reason, evaluated_on::text FROM interventions ORDER BY 1",
            [
                ("check", "x", "skipped", "cooldown", "2026-02-01"),
                ("early_inactivity", "send_inactivity_check", "triggered", "it is quiet", "2026-02-01"),
                ("no_login_7_days", "x", "skipped", "frequency_cap", "2026-02-01"),
                ("odd", "x", "skipped", "cooldown", "2026-02-01"),
                ("offer", "x", "holdout", "holdout", "2026-02-01"),
            ],
        ),
        (
            "SELECT facts FROM interventions WHERE status = 'triggered'",
            [({"days_inactive": 5, "season_index": 0.4, "inactivity_probability": None, "name": "Rosa"},)],
        ),
        ("SELECT facts FROM interventions WHERE trigger = 'check'", [({"plan": "pro"},)]),
        (
            "SELECT kind, status FROM tasks ORDER BY 1",
            [("early_inactivity", "open"), ("other", "dismissed")],
        ),
        (
            "SELECT template, facts FROM outbox ORDER BY 1",
            [("call_for_csm", {}), ("inactivity_check", {"days_inactive": 5, "name": "Rosa"})],
        ),
        (
            "SELECT tip_id, response FROM tip_impressions ORDER BY 1",
            [("a", "completed"), ("b", "snoozed"), ("c", "dismissed"), ("d", None)],
        ),
        (
            "SELECT recommendation_id, shown_on::text, dimension, treated, clicked_at IS NULL, improved"
            " FROM recommendation_impressions ORDER BY 1",
            [
                ("ask_churned", "2026-02-03", "login", True, True, False),
                ("ask_those_who_left", "2026-02-03", "login", True, True, True),
                ("import_clients", "2026-02-01", "login", False, False, True),
            ],
        ),
        (
            "SELECT recommendation_id, treated, treated_improved, control, control_improved"
            " FROM recommendation_effects ORDER BY 1",
            [
                ("ask_churned", 40, 20, 10, 4),
                ("portal_inactive", 7, 3, 1, 0),
                ("portal_silent", 5, 2, 1, 0),
            ],
        ),
        (
            "SELECT milestone_type, achieved_at::date::text, celebrated_by_email_at IS NULL"
            " FROM success_milestones ORDER BY supplier_id, 1",
            [
                ("five_active_clients", "2026-02-01", False),
                ("five_active_clients", "2026-02-05", True),
                ("five_active_couples", "2026-02-01", True),
            ],
        ),
        (
            "SELECT summary -> 'suppliers', summary -> 'interventions' FROM runs",
            [
                (
                    9,
                    {
                        "triggered": 1,
                        "skipped": {"frequency_cap": 2, "cooldown": 1},
                        "holdout": 3,
                        "by_trigger": {},
                    },
                )
            ],
        ),
        (
            "SELECT summary FROM run_slices",
            [({"suppliers": 9, "triggered": 1, "skipped": {"frequency_cap": 2}, "holdout": 3},)],
        ),
    ],
)  # fmt: skip
def test_the_data_of_release_0_2_is_kept_under_its_new_names(
    upgraded: psycopg.Connection[Any], query: str, rows: list[tuple[Any, ...]]
) -> None:
    assert upgraded.execute(query).fetchall() == rows  # type: ignore[arg-type]
