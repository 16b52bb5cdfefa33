"""The commands `everafter user …`."""

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from everafter.accounts.passwords import _is_correct
from everafter.cli import app
from everafter.core.errors import ConflictError, InputError, NotFoundError

Cli = Callable[..., Result]


@pytest.fixture
def cli(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", database)
    monkeypatch.setenv("EVERAFTER_DATA", str(tmp_path))

    def run(*words: str, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, ["user", *words], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def stored_hash(database: str, email: str) -> str:
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        row = conn.execute("SELECT password_hash FROM users WHERE email = %s", [email]).fetchone()
    assert row
    return row[0]


def test_a_generated_password_is_printed_alone_on_stdout(cli: Cli, database: str) -> None:
    made = cli("create", "Ada@Example.com", "--name", "Ada", "--role", "admin")
    password = made.stdout.strip()
    assert "\n" not in password and len(password) == 23 and "can sign in as admin" in made.stderr
    assert _is_correct(password, stored_hash(database, "ada@example.com"))


def test_a_password_can_be_read_from_stdin(cli: Cli, database: str) -> None:
    made = cli(
        "create",
        "ada@example.com",
        "--name",
        "Ada",
        "--password-stdin",
        stdin="plain words will do\n",
    )
    assert made.stdout == "" and made.stderr == "ada@example.com can sign in as member.\n"
    assert _is_correct("plain words will do", stored_hash(database, "ada@example.com"))
    with pytest.raises(InputError, match="at least 12"):
        cli("create", "bo@example.com", "--name", "Bo", "--password-stdin", stdin="short\n")


def test_invalid_users_are_rejected(cli: Cli) -> None:
    cli("create", "ada@example.com", "--name", "Ada")
    with pytest.raises(ConflictError, match="everafter user password ada"):
        cli("create", "ADA@example.com", "--name", "Ada again")
    with pytest.raises(InputError, match="not an email address"):
        cli("create", "ada", "--name", "Ada")
    with pytest.raises(InputError, match="no role 'boss'"):
        cli("create", "bo@example.com", "--name", "Bo", "--role", "boss")
    with pytest.raises(InputError, match="--name"):
        cli("create", "bo@example.com", "--name", "  ")


def test_a_new_password_ends_the_sessions(cli: Cli, database: str) -> None:
    cli("create", "ada@example.com", "--name", "Ada")
    before = stored_hash(database, "ada@example.com")
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at)"
            " SELECT 'x', id, 'y', now() + interval '1 day' FROM users WHERE name = 'Ada'"
        )
    changed = cli("password", "ada@example.com")
    assert stored_hash(database, "ada@example.com") != before
    assert _is_correct(changed.stdout.strip(), stored_hash(database, "ada@example.com"))
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        left = conn.execute(
            "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.name = 'Ada'"
        ).fetchone()
    assert left == (0,)
    with pytest.raises(NotFoundError, match="everafter user list"):
        cli("password", "nobody@example.com")


def test_list_escapes_markup_and_shows_no_passwords(cli: Cli) -> None:
    cli("create", "ada@example.com", "--name", "[red]Ada[/red]", "--role", "lead")
    shown = cli("list").stdout
    assert "[red]Ada[/red]" in shown and "success@everafter.invalid" in shown
    users = {user["email"]: user for user in json.loads(cli("list", "--json").stdout)}
    assert (
        users["ada@example.com"]["role"] == "lead"
        and users["ada@example.com"]["can_sign_in"] is True
    )
    assert users["success@everafter.invalid"]["can_sign_in"] is False
    assert "password" not in json.dumps(users)


def test_the_first_command_creates_the_schema(cli: Cli, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("DROP SCHEMA everafter CASCADE")
    cli("create", "ada@example.com", "--name", "Ada")
    assert "ada@example.com" in cli("list").stdout
