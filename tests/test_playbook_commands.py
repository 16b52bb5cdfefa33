"""`everafter playbook`, and loading playbooks."""

import io
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from everafter.branding.loading import load_brand
from everafter.cli import app
from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.playbook.commands import print_mistakes
from everafter.playbook.loading import load_playbook, parse_playbook, playbook_path, read_playbook
from everafter.playbook.model import Mistake

# With a secret the commands do not write one to the current folder.
runner = CliRunner(env={"EVERAFTER_SECRET": "s" * 32, "EVERAFTER_PLAYBOOK": ""})


@pytest.fixture
def weddings(tmp_path: Path) -> str:
    return read_playbook(playbook_path(settings_for(None, tmp_path)))


def settings_for(path: Path | None, tmp_path: Path) -> Settings:
    return Settings(
        None, tmp_path, path, None, "http://testserver", "a-secret-for-tests-and-for-nothing-else"
    )


def test_check_of_the_shipped_playbook() -> None:
    result = runner.invoke(app, ["playbook", "check"])
    assert result.exit_code == 0
    assert "nothing to fix" in result.output


def test_check_points_at_each_mistake(tmp_path: Path, weddings: str) -> None:
    file = tmp_path / "mine.toml"
    text = weddings.replace(
        "days_inactive >= 7 AND stage", "\tdays_inactve >= 7 AND stage", 1
    ).replace("cooldown_days = 7\n", "cooldown = 7\n", 1)
    file.write_text(text)
    result = runner.invoke(app, ["playbook", "check", str(file)])
    assert result.exit_code == 2
    lines = result.output.splitlines()
    line = 1 + next(i for i, line in enumerate(text.splitlines()) if "days_inactve" in line)
    column = text.splitlines()[line - 1].index("days_inactve") + 1
    at = next(
        i for i, shown in enumerate(lines) if shown.startswith(f"{file}:{line}:{column}: error: ")
    )
    source, caret = lines[at + 1], lines[at + 2]
    assert caret.rstrip().endswith("^" * len("days_inactve"))
    assert source[caret.index("^") : caret.index("^") + 12] == "days_inactve"
    assert "did you mean days_inactive?" in lines[at + 3]
    assert "did you mean cooldown_days?" in result.output
    assert lines[-1] == f"{file}: 2 mistakes"


def test_check_as_json(tmp_path: Path, weddings: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        weddings.replace("holdout = 0.05", "holdout = 0", 1).replace(
            "floor = 0.25", "floor = 25", 1
        )
    )
    result = runner.invoke(app, ["playbook", "check", str(file), "--json"])
    assert result.exit_code == 2
    answer = json.loads(result.output)
    assert answer["valid"] is False
    assert answer["file"] == str(file)
    assert [(m["path"], m["level"]) for m in answer["mistakes"]] == [
        ("season.floor", "error"),
        ("triggers.approaching_limits.holdout", "warning"),
    ]
    assert answer["mistakes"][0]["hint"] == "a share: 25 % is written 0.25"


@pytest.mark.parametrize(
    ("errors", "warnings", "summary"),
    [
        (0, 0, "nothing to fix"),
        (1, 0, "1 mistake"),
        (2, 1, "2 mistakes and 1 warning"),
        (5, 2, "5 mistakes and 2 warnings"),
    ],
)
def test_mistakes_are_counted(errors: int, warnings: int, summary: str) -> None:
    mistakes = [Mistake(1, 1, "a", "it is wrong")] * errors
    mistakes += [Mistake(1, 1, "a", "it is odd", level="warning")] * warnings
    output = io.StringIO()
    print_mistakes(Console(file=output), "my.toml", "a = 1", mistakes)
    assert output.getvalue().splitlines()[-1] == f"my.toml: {summary}"


def test_warnings_alone_do_not_fail(tmp_path: Path, weddings: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(weddings.replace("holdout = 0.05", "holdout = 0", 1))
    result = runner.invoke(app, ["playbook", "check", str(file)])
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == f"{file}: 1 warning"
    assert load_playbook(settings_for(file, tmp_path)).triggers["approaching_limits"].holdout == 0


def test_show_and_path(weddings: str) -> None:
    environment = {"COLUMNS": "200"}
    shown = runner.invoke(app, ["playbook", "show"], env=environment)
    assert shown.exit_code == 0
    for word in (
        "photographer",
        "no_login_7_days",
        "we_miss_you",
        "Everything set up",
        "ten_clients",
        "critical_below",
    ):
        assert word in shown.output
    as_json = json.loads(runner.invoke(app, ["playbook", "show", "--json"], env=environment).output)
    assert as_json["triggers"]["no_login_7_days"]["template"] == "we_miss_you"
    path = runner.invoke(app, ["playbook", "path"]).output.strip()
    assert Path(path).read_text(encoding="utf-8") == weddings


def test_loading_lists_all_mistakes(tmp_path: Path, weddings: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        weddings.replace("at_risk_below = 70", "at_risk_below = 20", 1).replace(
            'template = "check_in"', 'template = "chek_in"', 1
        )
    )
    with pytest.raises(InputError) as raised:
        load_playbook(settings_for(file, tmp_path))
    line = 1 + weddings.splitlines().index(
        next(w for w in weddings.splitlines() if w.startswith("critical_below"))
    )
    assert (
        f"{file}:{line}:18: critical_below (40) must be less than at_risk_below (20)"
        in raised.value.message
    )
    assert "there is no template 'chek_in' (did you mean check_in?)" in raised.value.message
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'name = "a"\nx = "\xff"\n', ":2:6: not UTF-8"),
        (b"#" * 1_000_001, "more than 1,000,000 bytes"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=says):
        load_playbook(settings_for(file, tmp_path))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_playbook(settings_for(tmp_path, tmp_path))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(
    tmp_path: Path, weddings: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbf" + weddings.replace("\n", "\r\n").encode())
    assert load_playbook(settings_for(file, tmp_path)) == parse_playbook(weddings, "weddings.toml")


@pytest.mark.parametrize("variable", [True, False])
def test_a_named_pipe_is_refused_without_waiting_for_it(tmp_path: Path, variable: bool) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    env = {"EVERAFTER_PLAYBOOK": str(pipe)} if variable else {}
    arguments = ["playbook", "check", *([] if variable else [str(pipe)])]
    result = runner.invoke(app, arguments, env=env)
    assert isinstance(result.exception, InputError)
    assert f"{pipe} cannot be read: it is not a file" in result.exception.message
    with pytest.raises(InputError, match="it is not a file"):
        load_brand(settings_for(pipe, tmp_path))


def test_a_file_of_one_long_line_is_shown_in_part(tmp_path: Path, weddings: str) -> None:
    file = tmp_path / "mac.toml"
    file.write_bytes(weddings.replace("\n", "\r").encode())
    result = runner.invoke(app, ["playbook", "check", str(file)])
    assert result.exit_code == 2
    assert "a line ends with a carriage return alone" in result.output
    assert "line ends of Unix (LF)" in result.output
    assert len(result.output) < 2000 and "\r" not in result.output


@pytest.mark.parametrize("value", ["clients_total = 1 OR " * 3000, "a" * 70_000 + "!"])
def test_a_long_value_makes_no_long_message(tmp_path: Path, weddings: str, value: str) -> None:
    file = tmp_path / "long.toml"
    for text in (
        re.sub(r'(?m)^action = ".*"$', f'action = "{value}"', weddings, count=1),
        f'{weddings}\n[triggers."{value}"]\nx = 1\n',
        f'{weddings}\n["{value}"]\nx = 1\n',
    ):
        file.write_text(text, encoding="utf-8")
        result = runner.invoke(app, ["playbook", "check", str(file)])
        assert result.exit_code == 2 and max(map(len, result.output.splitlines())) < 1200
        answer = json.loads(runner.invoke(app, ["playbook", "check", str(file), "--json"]).output)
        for mistake in answer["mistakes"]:
            assert len(mistake["hint"]) <= 1001 and len(mistake["message"]) <= 1001


def test_a_table_that_is_there_twice_is_named_as_it_is_written(weddings: str) -> None:
    with pytest.raises(InputError, match=r"not TOML: \[health\] is there twice \(.*merge the two"):
        parse_playbook(f"{weddings}\n[health]\n", "mine.toml")
