"""The command line: its help, imports and version, and warnings about unknown settings."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from everafter import __version__
from everafter.cli import COMMANDS, app, load_command, load_commands
from everafter.core.errors import DatabaseUnavailableError
from everafter.core.unknown_settings import describe_unknown, find_unknown

HEAVY = {"polars", "numpy", "litestar", "uvicorn", "psycopg", "pyarrow", "typst"}


def loaded_by(*arguments: str) -> set[str]:
    """The packages of HEAVY that a command imports, in a separate process."""
    script = (
        "import sys; from everafter.cli import main\n"
        "try: main()\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split()) & HEAVY


@pytest.mark.parametrize("argument", ["--help", "-h", "--version"])
def test_help_imports_no_heavy_package(argument: str) -> None:
    assert loaded_by(argument) == set()


def test_a_commands_help_imports_only_its_module() -> None:
    assert loaded_by("signals", "-h") == {"polars"}


def test_the_table_repeats_each_commands_help() -> None:
    assert len(COMMANDS) > 12 and len({one.name for one in COMMANDS}) == len(COMMANDS)
    for one in COMMANDS:
        first = inspect.cleandoc(load_command(one.name).help or "").split("\n\n")[0]
        assert one.help == " ".join(first.split()), one.name


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["-h"]).output
    assert [
        one.name for one in COMMANDS if not re.search(rf"^\W+{one.name} ", shown, re.MULTILINE)
    ] == []


def test_short_help_works_at_every_depth() -> None:
    for name, command in load_commands().items():
        assert CliRunner().invoke(app, [name, "-h"]).exit_code == 0
        for below in getattr(command, "commands", {}):
            shown = CliRunner().invoke(app, [name, below, "-h"])
            assert shown.exit_code == 0 and f"everafter {name} {below}" in " ".join(
                shown.output.split()
            ), below


def test_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"everafter {__version__}\n"


def test_a_mistyped_command_suggests_the_nearest() -> None:
    refused = CliRunner().invoke(app, ["sevre"])
    assert refused.exit_code == 2 and "Did you mean 'serve'" in refused.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mail list --limit x", "--limit: 'x' is not a whole number; see `everafter mail list -h`"),
        ("mail list --limit 0", "--limit: 0 is less than 1; see `everafter mail list -h`"),
        ("serve --port 65536", "--port: 65536 is more than 65535; see `everafter serve -h`"),
        ("explain", "Missing argument 'SUPPLIER'; see `everafter explain -h`"),
        ("mail list --foo", "No such option: --foo; see `everafter mail list -h`"),
        (
            "key create --scope x",
            "--scope: 'x' is not one of 'ingest', 'read', 'write', 'coach';"
            " see `everafter key create -h`",
        ),
        (
            "key create",
            "Missing option '--scope'. Choose from: ingest, read, write, coach;"
            " see `everafter key create -h`",
        ),
    ],
)
def test_a_usage_error_is_one_line(words: str, message: str) -> None:
    refused = CliRunner().invoke(app, words.split(), prog_name="everafter")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {message}\n"


def test_help_names_values_as_the_docs_do() -> None:
    shown = CliRunner().invoke(app, ["csm", "off", "-h"]).output
    assert "EMAIL FROM [UNTIL]" in shown and "--reason" in shown and "TEXT" in shown
    for words in (["-h"], ["csm", "off", "-h"], ["mail", "list", "-h"], ["key", "create", "-h"]):
        assert not re.search(r"<\w+|\{\w+", CliRunner().invoke(app, words).output), words


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("explain Foo", 4),
        ("metrics", 4),
        ("mail list", 4),
        ("mail show 0", 4),
        ("mail suppressed", 4),
        ("csm list", 4),
        ("playbook path", 0),
        ("playbook check", 0),
        ("playbook show", 0),
        ("doctor", 0),
    ],
)
def test_a_reading_command_creates_nothing(
    words: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EVERAFTER_")]:
        monkeypatch.delenv(name)
    done = CliRunner().invoke(app, words.split())
    if code:
        assert isinstance(done.exception, DatabaseUnavailableError)
        assert done.exception.exit_code == code
        for cure in ("EVERAFTER_DATABASE_URL", "EVERAFTER_DATA", "everafter demo", "migrate"):
            assert cure in done.exception.message
    else:
        assert done.exit_code == 0
    assert list(tmp_path.iterdir()) == []


# ── settings with a wrong name ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("EVERAFTER_DATABASE", "EVERAFTER_DATABASE_URL"),
        ("EVERAFTER_SMPT_URL", "EVERAFTER_SMTP_URL"),
        ("EVERAFTER_BASEURL", "EVERAFTER_BASE_URL"),
        ("EVERAFTER_FROM", "EVERAFTER_MAIL_FROM"),
        ("EVERAFTER_SECRETS", "EVERAFTER_SECRET"),
        ("EVERAFTER_DATABASE_FILE", "EVERAFTER_DATABASE_URL_FILE"),
        ("EVERAFTER_COLOUR_OF_THE_SKY", None),
    ],
)
def test_an_unknown_setting_suggests_the_nearest(name: str, near: str | None) -> None:
    assert find_unknown({name: "x"}) == [(name, near)]


def test_variables_set_by_other_programs_are_ignored() -> None:
    env = {
        "EVERAFTER_SECRET_FILE": "/run/secrets/x",
        "EVERAFTER_COACH_KEY": "of the platform's backend",
        "EVERAFTER_SERVICE_HOST": "10.0.0.1",
        "EVERAFTER_PORT": "tcp://10.0.0.1:80",
        "EVERAFTER_PORT_80_TCP_ADDR": "10.0.0.1",
        "PATH": "/bin",
    }
    assert describe_unknown(env) == []


def test_every_command_warns_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERAFTER_SMPT_URL", "smtp://mail.example")
    done = CliRunner().invoke(app, ["signals", "--json"])
    assert (
        done.stderr
        == "warning: EVERAFTER_SMPT_URL is not a setting; did you mean EVERAFTER_SMTP_URL?\n"
    )
    assert done.stdout.startswith("[{")
