"""Settings: the generated secret, origins, the sender, and invalid values."""

import subprocess
import sys
from pathlib import Path

import pytest

from everafter.core.errors import SettingsError
from everafter.core.settings import load_settings


def test_processes_that_start_together_generate_one_secret(tmp_path: Path) -> None:
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


def test_an_empty_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(SettingsError, match="has 0 characters"):
        load_settings({"EVERAFTER_DATA": str(tmp_path)})


def origins(tmp_path: Path, text: str) -> tuple[str, ...]:
    return load_settings(
        {"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_INGEST_ORIGINS": text}
    ).ingest_origins


def test_origins_are_normalized_as_browsers_send_them(tmp_path: Path) -> None:
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
def test_invalid_origins_are_rejected(tmp_path: Path, bad: str) -> None:
    with pytest.raises(SettingsError, match="EVERAFTER_INGEST_ORIGINS"):
        origins(tmp_path, f"https://app.example {bad}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rosa@example.com", "rosa@example.com"),
        ("Rosa Lund <rosa@example.com>", "Rosa Lund <rosa@example.com>"),
        ('"Lund, Rosa" <rosa@bücher.example>', "Lund, Rosa <rosa@xn--bcher-kva.example>"),
    ],
)
def test_the_sender_has_an_optional_name(tmp_path: Path, text: str, shown: str) -> None:
    (tmp_path / "from").write_text(text + "\n")
    for env in (
        {"EVERAFTER_MAIL_FROM": text},
        {"EVERAFTER_MAIL_FROM_FILE": str(tmp_path / "from")},
    ):
        assert str(load_settings({"EVERAFTER_DATA": str(tmp_path), **env}).mail_from) == shown


def test_the_platforms_url_is_kept_as_written(tmp_path: Path) -> None:
    settings = load_settings(
        {"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_APP_URL": "https://app.example/go/{action}"}
    )
    assert settings.app_url == "https://app.example/go/{action}"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("EVERAFTER_MAIL_FROM", "nobody", "expected rosa@example.com or Rosa"),
        ("EVERAFTER_MAIL_FROM", "A\nBcc:x@example.com <a@example.com\nb>", "invisible characters"),
        ("EVERAFTER_APP_URL", "javascript:alert(1)", "not an http or https URL"),
        ("EVERAFTER_APP_URL", "https://app.example/a b", "not an http or https URL"),
        ("EVERAFTER_SMTP_URL", "smtp://mail.example?from=a@example.com", "set EVERAFTER_MAIL_FROM"),
        (
            "EVERAFTER_SMTP_URL",
            "smtp://mail.example?timeout=9&app=https://app.example",
            "set EVERAFTER_APP_URL",
        ),
    ],
)
def test_an_invalid_setting_is_named_with_the_expected_form(
    tmp_path: Path, name: str, value: str, what: str
) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings({"EVERAFTER_DATA": str(tmp_path), name: value})
    assert what in caught.value.message
