"""Unusable input to the command line: one line on stderr, an exit code other than 0, never a traceback."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from everafter.cli import main
from everafter.core.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command; exit code, standard output and standard error."""
    assert settings.database_url
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["everafter", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize(
    "words", [("explain", "[/red]"), ("run", "--as-of", "[/x]"), ("import", "/nowhere/[/x]")]
)
def test_brackets_in_what_was_typed_are_shown_as_they_are(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code in {2, 3}
    assert words[-1] in err


def test_an_import_of_a_file_with_brackets_in_its_name(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "suppliers[bold].csv"
    file.write_text("name\nx\n")
    code, out, err = run("import", str(file))
    assert code == 2
    assert "suppliers[bold].csv" in out
    assert f"{file} line 1: column id is missing" in err


def test_names_with_brackets_are_names(run: Run, database: str) -> None:
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO suppliers (id, name) VALUES ('aaaaaaaa-0000-0000-0000-000000000001', '[/red] [bold')"
        )
    code, out, _ = run("explain", "aaaaaaaa-0000-0000-0000-000000000001")
    assert code == 0
    assert out.startswith("[/red] [bold")
    assert run("key", "create", "--scope", "read", "--name", "[/x]")[0] == 0
    assert "[/x]" in run("key", "list")[1]


@pytest.mark.parametrize(
    "words", [("explain", "\udcff"), ("key", "create", "--scope", "read", "--name", "\udcff")]
)
def test_bytes_that_are_no_text_are_named(run: Run, words: tuple[str, ...]) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert r"'\udcff' is not UTF-8" in err


@pytest.mark.parametrize("host", ["\udcff", "a" * 300, "[/x]"])
def test_a_host_that_cannot_be_one(run: Run, host: str) -> None:
    code, _, err = run("serve", "--host", host, "--port", "1")
    assert code == 2
    assert "error: cannot listen on" in err


def test_a_database_that_may_only_be_read_says_so(run: Run, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')  # pyright: ignore
    code, _, err = run("run")
    assert code == 4
    assert "read-only transaction" in err


@pytest.mark.parametrize("name", ["EVERAFTER_SMTP_URL", "EVERAFTER_BASE_URL"])
@pytest.mark.parametrize("rest", ["://[::1", "://host:99999", "://host:port"])
def test_a_url_that_is_none_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, rest: str
) -> None:
    monkeypatch.setenv(name, ("smtp" if "SMTP" in name else "http") + rest)
    code, _, err = run("key", "list")
    assert code == 2
    assert err.startswith(f"error: {name}: ")


def test_a_data_folder_that_is_a_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.delenv("EVERAFTER_DATABASE_URL")
    monkeypatch.setenv("EVERAFTER_DATA", str(file))
    monkeypatch.setenv("EVERAFTER_SECRET", "given" * 7)
    code, _, err = run("key", "list")
    assert code == 2
    assert f"EVERAFTER_DATA: the folder {file} cannot" in err


@pytest.mark.parametrize("command", [("work",), ("work", "--once"), ("serve", "--port", "0")])
@pytest.mark.parametrize("text", [None, "[messaging]\nquiet = 1\n"])
def test_a_playbook_that_cannot_be_used_stops_long_running_commands_at_once(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: tuple[str, ...],
    text: str | None,
) -> None:
    playbook = tmp_path / "playbook.toml"
    if text is not None:
        playbook.write_text(text)
    monkeypatch.setenv("EVERAFTER_PLAYBOOK", str(playbook))
    # no command may get as far as the database
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err.startswith("error: the playbook ")
    assert str(playbook) in err
    assert "Traceback" not in err and "answers at" not in err


def test_serve_announces_its_address_only_when_it_serves(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no uploads today")

    monkeypatch.setattr("everafter.app._open_scorers", fail)
    code, _, err = run("serve", "--port", "0")
    assert code != 0
    assert "answers at" not in err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret%zz@h/x",
        "postgresql://u:secret@key@h/x",
        "postgresql://u:secret/key@h/x",
        "host=h password=x secret",
        "secret",
    ],
)
@pytest.mark.parametrize("command", ["key list", "doctor"])
def test_a_password_is_never_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch, url: str, command: str
) -> None:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", url)
    code, out, err = run(*command.split())
    assert code == (1 if command == "doctor" else 2)
    assert "EVERAFTER_DATABASE_URL: this is not a PostgreSQL URL" in out + err
    assert "secret" not in out + err
    assert "key@" not in out + err


@pytest.mark.parametrize("name", ["EVERAFTER_BASE_URL", "EVERAFTER_APP_URL"])
def test_a_web_address_is_repeated_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "ftp://rosa:secret@app.example/x")
    code, _, err = run("key", "list")
    assert code == 2
    assert "app.example" in err and "secret" not in err


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("key", "revoke", ""), "WHICH"),
        (("key", "revoke", " "), "WHICH"),
        (("mail", "pause", ""), "REASON"),
        (("mail", "list", "--supplier", ""), "--supplier"),
        (("explain", ""), "SUPPLIER"),
        (("import", ""), "PATH…"),
        (("demo", "--export", ""), "--export"),
    ],
)
def test_an_empty_shell_variable_is_refused(run: Run, words: tuple[str, ...], name: str) -> None:
    assert run("key", "create", "--scope", "read")[0] == 0
    assert run("key", "create", "--scope", "read", "--name", "")[0] == 0
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.endswith(": the value is empty\n")
    assert err.count("\n") == 1
    assert name in err.upper() or name in err
    assert "revoked" not in run("key", "list", "--json")[1].replace('"revoked_at":null', "")


@pytest.mark.parametrize(
    "words",
    [
        ("signals", "--json", "--markdown"),
        ("metrics", "--metric", "churn_prediction", "--csv", "--json"),
        ("mail", "show", "x", "--html", "--json"),
    ],
)
def test_options_that_exclude_each_other_are_refused(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "exclude each other; choose one" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["x\n\x1b[31m", "a\u202eb"])
def test_the_name_of_a_key_has_no_control_characters(run: Run, name: str) -> None:
    code, out, err = run("key", "create", "--scope", "read", "--name", name)
    assert (code, out) == (2, "")
    assert "control characters" in err and name not in err


def test_control_characters_are_printed_as_escapes(run: Run, database: str) -> None:
    with psycopg.connect(database, options="-c search_path=everafter") as conn:
        conn.execute(
            "INSERT INTO api_keys (id, key_hash, scope, name)"
            " VALUES (gen_random_uuid(), '\\x00', 'read', E'x\\x1b[31m')"
        )
        conn.execute(
            "INSERT INTO suppliers (id, name) VALUES"
            " ('aaaaaaaa-0000-0000-0000-000000000001', E'a\\u202Eb')"
        )
    assert r"x\x1b[31m" in run("key", "list")[1]
    assert r"a\u202eb" in run("explain", "aaaaaaaa-0000-0000-0000-000000000001")[1]


# ── what standard output cannot take ──────────────────────────────────────────────────────────────


MAIN = "from everafter.cli import main; main()"


def signals(redirect: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `everafter signals` with its output redirected by bash, and a pipe's own exit code."""
    command = shlex.join([sys.executable, "-c", MAIN, "signals", *words])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} {redirect}"],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_output_that_cannot_be_written(words: tuple[str, ...]) -> None:
    full = signals("> /dev/full", *words)
    assert full.returncode == 1
    assert full.stderr == "error: cannot write the output: No space left on device\n"
    closed = signals(">&-", *words)
    assert (closed.returncode, closed.stderr) == (0, "")
    # the shell's exit code for a program that SIGPIPE ended
    stopped = signals("| true", *words)
    assert (stopped.returncode, stopped.stderr) == (141, "")


def test_output_in_an_encoding_without_all_characters() -> None:
    ended = signals("", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "?" in ended.stdout
