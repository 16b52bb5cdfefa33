"""The secret that is made when none is given: one, whole, private."""

import subprocess
import sys
from pathlib import Path

import pytest

from everafter.core.errors import SettingsError
from everafter.core.settings import load_settings


def test_whoever_comes_first_makes_the_secret_of_all(tmp_path: Path) -> None:
    script = "import sys; from everafter.core.settings import load_settings; print(load_settings({'EVERAFTER_DATA': sys.argv[1]}).secret)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    secrets = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(secrets) == 1 and len(secrets.pop()) >= 40
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_nothing_is_signed_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="has 0 characters"):
        load_settings({"EVERAFTER_DATA": str(tmp_path)})


def origins(tmp_path: Path, text: str) -> tuple[str, ...]:
    return load_settings(
        {"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_INGEST_ORIGINS": text}
    ).ingest_origins


def test_origins_are_read_as_browsers_write_them(tmp_path: Path) -> None:
    assert origins(tmp_path, "") == origins(tmp_path, " * ") == ("*",)
    reported = "https://App.Example:443/, http://localhost:3000\nhttp://[::1]:80"
    assert origins(tmp_path, reported) == (
        "https://app.example",
        "http://localhost:3000",
        "http://[::1]",
    )
    assert origins(tmp_path, "capacitor://localhost null") == ("capacitor://localhost", "null")


@pytest.mark.parametrize(
    "bad",
    [
        "app.example",
        "https://",
        "https://a.example/path",
        "https://u:p@a.example",
        "file:///home",
        "http://a:b",
    ],
)
def test_what_is_no_origin_is_named(tmp_path: Path, bad: str) -> None:
    with pytest.raises(SettingsError, match="EVERAFTER_INGEST_ORIGINS"):
        origins(tmp_path, f"https://app.example {bad}")
