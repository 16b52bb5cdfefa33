"""The command line: its help, imports and version, and warnings about unknown settings."""

import inspect
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from everafter import __version__
from everafter.cli import COMMANDS, app, load_command, load_commands
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
