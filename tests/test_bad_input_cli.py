"""Unusable input to the command line: one line on stderr, an exit code other than 0, never a traceback."""

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
