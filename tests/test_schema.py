"""schema.sql is true, migrations can be repeated and raced, every statement fits, every big table can be distributed."""

import ast
import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from conftest import with_database
from everafter.core import db
from everafter.core.db import list_migrations, migrate
from everafter.core.errors import EverafterError
from everafter.core.schema import dump_schema, normalize
from helpers_source import ROOT, list_modules
from helpers_sql import PREPARABLE, Statement, list_statements

# Calls whose statement is put together where they stand, and how else it is tried.
COMPOSED = {
    "src/everafter/core/db.py": "the ways of any statement; every test goes through them",
    "src/everafter/core/probes.py": "gauges, which are prepared below",
    "src/everafter/demo/queries.py": "DROP SCHEMA",
    "src/everafter/interventions/log_queries.py": "filters; tests/test_pages_interventions.py asks for each",
    "src/everafter/portfolio/queries.py": "sorts and filters; tests/test_pages_portfolio.py asks for each",
    "src/everafter/events/segment.py": "no SQL: its reader reads calls",
}


# ── schema.sql ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_schema_sql_is_what_the_migrations_make(database: str) -> None:
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "SELECT setting, current_setting('server_version_num')::int FROM pg_config WHERE name = 'BINDIR'"
        ).fetchone()
    assert row
    if not (Path(row[0]) / "pg_dump").exists() or row[1] // 10_000 != 18:
        pytest.skip(
            "the server under test is not the one that comes with the package; its dump differs in form"
        )
    written = (ROOT / "schema.sql").read_text(encoding="utf-8")
    assert asyncio.run(dump_schema(database)) == written, (
        "schema.sql is out of date: `make docs` writes it"
    )


def test_the_dump_has_no_trace_of_machine_or_moment() -> None:
    noise = (
        r"\restrict 5x7token"
        + "\n-- Dumped from database version 18.6\nSET statement_timeout = 0;\n"
    )
    assert normalize(noise + "CREATE TABLE a ();\n") == normalize("CREATE TABLE a ();\n\n\n\n\n")
    assert "5x7" not in normalize(noise)


# ── migrations ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def empty(server_url: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    name = f"empty_{datetime.now(UTC):%H%M%S%f}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    yield with_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[arg-type]


def test_migrating_twice_does_nothing_the_second_time(empty: str) -> None:
    assert asyncio.run(migrate(empty)) == [name for _, name, _ in list_migrations()]
    assert asyncio.run(migrate(empty)) == []


def test_several_processes_may_migrate_at_once(empty: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        applied = list(threads.map(lambda _: asyncio.run(migrate(empty)), range(6)))
    assert sorted(name for names in applied for name in names) == [
        name for _, name, _ in list_migrations()
    ], "each was applied exactly once"


def test_a_migration_that_fails_leaves_nothing(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = list_migrations()
    broken = (
        good[-1][0] + 1,
        f"{good[-1][0] + 1:04d}_broken.sql",
        "CREATE TABLE half (id int); CREATE TABLE half (id int);",
    )
    monkeypatch.setattr(db, "list_migrations", lambda: [*good, broken])
    with pytest.raises(psycopg.errors.DuplicateTable):
        asyncio.run(migrate(empty))
    with psycopg.connect(empty) as conn:
        assert conn.execute("SELECT to_regclass('everafter.half')").fetchone() == (None,)
        assert conn.execute("SELECT max(version) FROM everafter.migrations").fetchone() == (
            good[-1][0],
        )
    monkeypatch.setattr(db, "list_migrations", lambda: good)
    assert asyncio.run(migrate(empty)) == []


def test_a_migration_changed_after_the_fact_is_refused(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, name, text = list_migrations()[0]
    monkeypatch.setattr(
        db, "list_migrations", lambda: [(number, name, text + "\n"), *list_migrations()[1:]]
    )
    with pytest.raises(EverafterError, match=f"{name} has been changed"):
        asyncio.run(migrate(database))


def test_a_database_of_a_newer_program_is_refused(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO everafter.migrations (version, name, sha256) VALUES (9999, '9999_later.sql', '')"
        )
    with pytest.raises(EverafterError, match="newer Everafter"):
        asyncio.run(migrate(database))


def test_migrations_are_numbered_without_a_gap_and_hold_no_lock_for_long() -> None:
    numbers = [number for number, _, _ in list_migrations()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    first_tables = set(re.findall(r"CREATE TABLE (\w+)", list_migrations()[0][2]))
    for number, name, text in list_migrations():
        if text.startswith(db.OUTSIDE_TRANSACTION):
            for statement in db.split_statements(text):
                assert re.search(
                    r"INDEX CONCURRENTLY|ON CONFLICT DO NOTHING$|^DO \$\$\nBEGIN\n  PERFORM set_config\('lock_timeout'.*IF EXISTS",
                    statement.strip(),
                    re.S | re.M,
                ), f"{name}: may not be repeated: {statement}"
            continue
        assert "CONCURRENTLY" not in text.upper(), f"{name}: it runs in a transaction"
        indexed = (
            set(re.findall(r"CREATE (?:UNIQUE )?INDEX \w+ ON (\w+)", text))
            if number > 1
            else set[str]()
        )
        assert not indexed & first_tables, (
            f"{name}: builds an index on a table that holds rows, and nobody may write meanwhile"
        )


def migrate_to_first_index_build(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Migrate up to the first migration outside a transaction and forget that it was applied."""
    all_of_them = list_migrations()
    number, name, _ = next(one for one in all_of_them if one[2].startswith(db.OUTSIDE_TRANSACTION))
    with monkeypatch.context() as patch:
        patch.setattr(db, "list_migrations", lambda: [m for m in all_of_them if m[0] <= number])
        asyncio.run(migrate(url))
    with psycopg.connect(url, autocommit=True, options="-c search_path=everafter") as conn:
        conn.execute("DELETE FROM migrations WHERE version = %s", [number])
    return name


def test_an_index_build_that_was_killed_is_repeated(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process leaves: the version not noted, and an index that is not valid."""
    name = migrate_to_first_index_build(empty, monkeypatch)
    with psycopg.connect(empty, autocommit=True, options="-c search_path=everafter") as conn:
        conn.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tickets_open'::regclass"
        )
        assert name in asyncio.run(migrate(empty))
        assert conn.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)


def test_indexes_are_built_while_others_write(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate_to_first_index_build(empty, monkeypatch)
    with psycopg.connect(empty, options="-c search_path=everafter -c lock_timeout=2s") as writer:
        writer.execute(
            "INSERT INTO tickets (supplier_id, ticket_id) VALUES (gen_random_uuid(), 'a')"
        )
        with ThreadPoolExecutor(1) as thread:
            migrating = thread.submit(asyncio.run, migrate(empty))
            time.sleep(0.5)
            assert not migrating.done(), "it waits for the writer, who began before it"
            with psycopg.connect(
                empty, options="-c search_path=everafter -c lock_timeout=2s"
            ) as other:
                other.execute(
                    "INSERT INTO tickets (supplier_id, ticket_id) VALUES (gen_random_uuid(), 'b')"
                )
            writer.commit()
            migrating.result(30)


# ── statements ────────────────────────────────────────────────────────────────────────────────────────────────────────

STATEMENTS, UNREAD = list_statements()


def test_every_statement_is_a_literal_or_listed() -> None:
    assert len(STATEMENTS) > 100
    unknown = [place for place in UNREAD if place.rpartition(":")[0] not in COMPOSED]
    assert not unknown, (
        f"write the statement as a literal, or say in COMPOSED how it is tried: {unknown}"
    )
    unused = set(COMPOSED) - {place.rpartition(":")[0] for place in UNREAD}
    assert not unused, f"remove from COMPOSED: {unused}"


SQL_START = re.compile(
    r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|FROM|WHERE|ORDER BY|AND|RETURNING)\b"
)


def test_statements_are_written_as_sql() -> None:
    """As one text between triple quotes, with names for the parts that several share."""
    glued = [
        module.place(node)
        for module in list_modules().values()
        for node in _list_glued(module.path.read_text(encoding="utf-8"))
    ]
    assert not glued, f"write these as one text between triple quotes: {glued}"


def test_a_glued_statement_would_be_seen() -> None:
    for source in (
        'query = ("SELECT a"\n  " FROM b")',
        'query = (f"SELECT {a}"\n  " FROM b")',
        'query = "SELECT a FROM b" + tail',
        'query = start + " WHERE c"',
    ):
        assert _list_glued(source), source
    for source in (
        'query = """\nSELECT a\nFROM b"""',
        'query = f"""\nSELECT {a}\nFROM b\n{c}\nWHERE d"""',
        'text = ("Select a row"\n  " from the list")',
    ):
        assert not _list_glued(source), source


def _list_glued(source: str) -> list[ast.expr]:
    """SQL that is put together of several strings."""
    tree = ast.parse(source)
    parts = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    glued: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            if any(SQL_START.match(_literal(side)) for side in (node.left, node.right)):
                glued.append(node)
            continue
        if not isinstance(node, ast.Constant | ast.JoinedStr) or node in parts:
            continue
        if node.lineno != node.end_lineno and SQL_START.match(_literal(node)):
            quoted = ast.get_source_segment(source, node) or ""
            if not quoted.removeprefix("f").startswith('"""'):
                glued.append(node)
    return glued


def _literal(node: ast.expr) -> str:
    """The text of a literal, without the values of an f-string; '' of anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_literal(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_statement_can_be_prepared(database: str) -> None:
    """Each names tables, columns and functions that are there, of types that go together."""
    wrong: list[str] = []
    # one transaction, for temporary tables that end with it
    with psycopg.connect(database, options="-c search_path=everafter,public") as conn:
        for statement in STATEMENTS:
            if statement.text.lstrip().upper().startswith("CREATE TEMP TABLE"):
                conn.execute(statement.text)  # type: ignore[arg-type]
        for statement in STATEMENTS:
            if statement.verb in PREPARABLE:
                wrong += _prepare(conn, statement)
    assert not wrong, "\n\n".join(wrong)


def _prepare(conn: psycopg.Connection[Any], statement: Statement) -> list[str]:
    try:
        with conn.transaction():
            conn.execute("PREPARE tried AS " + statement.text)  # type: ignore[arg-type]
            conn.execute("DEALLOCATE tried")
    except psycopg.Error as error:
        return [f"{statement.place}: {error}\n{statement.text.strip()}"]
    return []


def test_a_wrong_statement_would_be_seen(database: str) -> None:
    with psycopg.connect(database, options="-c search_path=everafter,public") as conn:
        assert _prepare(conn, Statement("SELECT no_such_column FROM supplier_activity", "here", ""))
        assert _prepare(
            conn,
            Statement("SELECT 1 FROM supplier_activity WHERE events_total = 'many'", "here", ""),
        )
        assert not _prepare(
            conn,
            Statement(
                "SELECT events_total FROM supplier_activity WHERE supplier_id = NULL", "here", ""
            ),
        )


# ── what a cluster needs ──────────────────────────────────────────────────────────────────────────────────────────────

# Written by the hundred thousand: a foreign key would be looked up for each row (docs/decisions/0004).
BIG = (
    "events",
    "event_ids",
    "events_pending",
    "clients",
    "sent_items",
    "tickets",
    "ticket_changes",
    "supplier_activity",
    "customer_health",
    "churn_risk",
    "interventions",
    "outbox",
    "tasks",
)


def test_every_unique_key_of_a_suppliers_table_contains_the_supplier(database: str) -> None:
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT c.relname, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'supplier_id' AND a.attnotnull"
            " WHERE c.relnamespace = 'everafter'::regnamespace AND i.indisunique AND NOT a.attnum = ANY (i.indkey)"
        ).fetchall()
    assert not rows, f"a distributed table cannot keep these unique: {rows}"


def test_no_big_table_has_a_foreign_key_checked_for_each_row(database: str) -> None:
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE contype = 'f' AND connamespace = 'everafter'::regnamespace AND conrelid::regclass::text = ANY (%s)",
            [[f"everafter.{table}" for table in BIG]],
        ).fetchall()
        there = conn.execute(
            "SELECT count(*) FROM unnest(%s::text[]) AS t WHERE to_regclass('everafter.' || t) IS NOT NULL",
            [list(BIG)],
        )
        assert there.fetchone() == (len(BIG),)
    tasks_of = [
        row for row in rows if row[1] == "tasks_assignee_id_fkey"
    ]  # few rows, and to a small table
    assert len(rows) == len(tasks_of), rows


def test_the_script_for_citus_spreads_every_table_of_suppliers_with_its_foreign_keys(
    database: str,
) -> None:
    script = (ROOT / "scripts" / "distribute.sql").read_text(encoding="utf-8")
    lists = [set(re.findall(r"\w+", names)) for names in re.findall(r"'\{([^}]*)\}'", script)]
    whole, spread = lists
    with psycopg.connect(database) as conn:
        tables = conn.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'supplier_id'"
            " WHERE c.relnamespace = 'everafter'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND a.atttypid = 'uuid'::regtype"
        ).fetchall()
        keys = conn.execute(
            "SELECT f.conname, t.relname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class t ON t.oid = f.confrelid"
            " WHERE f.contype = 'f' AND f.connamespace = 'everafter'::regnamespace AND c.relname = ANY (%s)",
            [list(spread)],
        ).fetchall()
    assert spread == {name for (name,) in tables}, "name the new table in scripts/distribute.sql"
    assert {target for _, target in keys} <= whole | {"suppliers"}, (
        "a spread table refers only to what every machine has"
    )
    assert {name for name, _ in keys} == set(re.findall(r"DROP CONSTRAINT (\w+);", script))
    assert {name for name, _ in keys} == set(re.findall(r"ADD CONSTRAINT (\w+)", script))


def test_no_statement_locks_rows_across_a_cluster() -> None:
    wrong = [
        one.place
        for one in STATEMENTS
        if " FOR UPDATE" in one.text.upper() or "SKIP LOCKED" in one.text.upper()
    ]
    assert not wrong, f"a claim is a compare-and-set: {wrong}"


# What may give another answer at the next call (or is marked so): Citus needs the same value for
# every copy of a row.
MUTABLE = re.compile(
    r"\b(now|clock_timestamp|random|gen_random_uuid)\(\)|\b(jsonb_build_\w+|to_jsonb|format|concat)\("
)
CHOICE = re.compile(r"\bCASE\b.*?\bEND\b|\bcoalesce\((?:[^()]|\([^()]*\))*\)", re.S | re.I)


def _refused_by_citus(text: str, clustered: set[str]) -> str:
    """Why Citus refuses this statement, as far as its form shows; empty when nothing is seen."""
    if re.search(r"\(\s*SELECT\s+FROM\b", text):
        return "EXISTS (SELECT FROM …): select 1"
    target = re.match(r"\s*(?:INSERT INTO|UPDATE)\s+(\w+)", text)
    if not target or target[1] not in clustered:
        return ""
    _, _, at_conflict = text.partition("DO UPDATE")
    if MUTABLE.search(at_conflict.partition("RETURNING")[0]):
        return "now() in DO UPDATE: put it into VALUES and take it from excluded"
    if text.lstrip().startswith("UPDATE") and any(
        MUTABLE.search(choice) for choice in CHOICE.findall(text)
    ):
        return "not immutable in CASE or coalesce: take now() from a FROM beside it"
    return ""


def _list_clustered(database: str) -> set[str]:
    """The tables that a cluster distributes or copies."""
    script = (ROOT / "scripts" / "distribute.sql").read_text(encoding="utf-8")
    clustered = {
        name for names in re.findall(r"'\{([^}]*)\}'", script) for name in re.findall(r"\w+", names)
    }
    clustered |= {"suppliers"}
    with psycopg.connect(database) as conn:
        # a foreign key brings a table into the cluster, too
        linked = conn.execute(
            """
            SELECT c.relname, t.relname
            FROM pg_constraint f
            JOIN pg_class c ON c.oid = f.conrelid
            JOIN pg_class t ON t.oid = f.confrelid
            WHERE f.contype = 'f' AND f.connamespace = 'everafter'::regnamespace
            """
        ).fetchall()
    clustered |= {table for table, target in linked if target in clustered}
    return clustered


def test_no_statement_has_a_form_that_a_cluster_refuses(database: str) -> None:
    clustered = _list_clustered(database)
    found = [(one.place, _refused_by_citus(one.text, clustered)) for one in STATEMENTS]
    assert not [each for each in found if each[1]]


def test_no_migration_has_a_statement_that_a_cluster_refuses(database: str) -> None:
    """Of those after the release that was first distributed."""
    clustered = _list_clustered(database)
    wrong = [
        (name, reason, statement.strip())
        for number, name, text in list_migrations()
        if number > 4
        for statement in db.split_statements(re.sub(r"(?m)^--.*\n", "", text))
        if (reason := _refused_by_citus(statement, clustered))
    ]
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO supplier_activity (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET seen_at = now()",
        "UPDATE supplier_activity SET seen_at = coalesce(seen_at, now())",
        "UPDATE supplier_activity SET seen_at = coalesce(lower(a), random()) WHERE true",
        "UPDATE supplier_activity SET seen_at = CASE WHEN a THEN now() END",
        "UPDATE supplier_activity SET facts = CASE WHEN a THEN jsonb_build_object('b', c) END",
        "SELECT EXISTS (\n  SELECT FROM supplier_activity)",
    ],
)
def test_a_form_that_a_cluster_refuses_is_seen(text: str) -> None:
    assert _refused_by_citus(text, {"supplier_activity"})
    assert not _refused_by_citus(
        text.replace("supplier_activity", "elsewhere").replace("SELECT FROM", "SELECT 1 FROM"),
        {"supplier_activity"},
    )


def test_no_migration_adds_a_column_together_with_its_check() -> None:
    """To a table that may be spread already; those of the first release were made before anything was."""
    wrong = [
        f"{name}: {statement.strip()}"
        for number, name, text in list_migrations()
        if number > 4
        for statement in db.split_statements(text)
        if re.search(r"ADD COLUMN[^;]*\b(CHECK|REFERENCES|UNIQUE|PRIMARY KEY)\b", statement)
    ]
    assert not wrong, f"Citus takes them as two statements, the constraint by its name: {wrong}"


def test_the_command_prints_the_same_schema_from_a_server_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And leaves the folder of the operator's data alone."""
    from everafter.core.schema import read_fresh_schema

    before = set(tmp_path.iterdir())
    assert asyncio.run(read_fresh_schema()) == (ROOT / "schema.sql").read_text(encoding="utf-8")
    assert set(tmp_path.iterdir()) == before
