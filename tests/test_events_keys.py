"""The commands `everafter key …`, and parsing of keys in headers."""

import json
import sys
from typing import Any

import pytest

from everafter.cli import main
from everafter.core.settings import Settings
from everafter.core.web import read_basic_user, read_bearer


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    assert settings.database_url
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["everafter", "key", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_a_key_can_be_created_listed_and_revoked(run: Any) -> None:
    code, out, _ = run("create", "--scope", "ingest", "--name", "website")
    key = out.strip()
    assert (code, out) == (0, f"{key}\n"), "the key alone, so that a script can take it"
    assert key.startswith("ea_ingest_")
    run("create", "--scope", "read")
    code, out, _ = run("list", "--json")
    listed = json.loads(out)
    assert [(one["scope"], one["name"], one["revoked_at"]) for one in listed] == [
        ("ingest", "website", None),
        ("read", "", None),
    ]
    assert key not in run("list")[1]
    assert run("revoke", "website")[0] == 0
    assert json.loads(run("list", "--json")[1])[0]["revoked_at"]
    code, _, err = run("revoke", "website")
    assert code == 3
    assert "no active key" in err
    assert run("revoke", listed[1]["id"])[0] == 0


def test_revoking_an_ambiguous_name_revokes_nothing(run: Any) -> None:
    for _ in range(2):
        run("create", "--scope", "ingest", "--name", "twin")
    code, _, err = run("revoke", "twin")
    assert code == 3
    assert "2 active keys" in err


def test_an_unknown_scope_is_rejected(run: Any) -> None:
    code, _, err = run("create", "--scope", "everything")
    assert code == 2
    assert "everything" in err


@pytest.mark.parametrize(
    ("header", "user"),
    [
        ("Basic YTpi", "a"),
        ("basic YTo=", "a"),
        ("Basic YTo", "a"),
        ("Basic YQ==", "a"),
        ("Basic Og==", None),
        ("Basic ///", None),
        ("Basic", None),
        ("Bearer a", None),
        ("", None),
    ],
)
def test_basic_headers_are_parsed(header: str, user: str | None) -> None:
    assert read_basic_user(header) == user


def test_bearer_headers_are_parsed() -> None:
    assert [
        read_bearer(header)
        for header in ("Bearer a", "bearer  a ", "Bearer ", "Bearer", "Basic a", "")
    ] == [
        "a",
        "a",
        None,
        None,
        None,
        None,
    ]
