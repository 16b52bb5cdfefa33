"""Secrets have a minimum length, and files with secrets or suppliers' data are private, whatever the umask."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from everafter.core.errors import SettingsError
from everafter.core.files import is_open, make_ours, make_private, open_private
from everafter.core.settings import load_settings, read_settings
from everafter.doctor import check_files

EVERAFTER = str(Path(sys.executable).with_name("everafter"))


@pytest.fixture(params=[0o000, 0o077], ids=["umask-000", "umask-077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ── the secret ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "secret", ["x", "s" * 31, "é" * 31, " " * 40, f"  {'s' * 31}\n\n", "\t", "x\n" + " " * 40]
)
@pytest.mark.parametrize("in_file", [False, True])
def test_a_short_secret_is_refused_wherever_it_comes_from(
    tmp_path: Path, secret: str, in_file: bool
) -> None:
    env = {"EVERAFTER_DATA": str(tmp_path / "data"), "EVERAFTER_SECRET": secret}
    if in_file:
        (tmp_path / "given").write_text(secret, encoding="utf-8")
        env = {
            **env,
            "EVERAFTER_SECRET": "s" * 40,
            "EVERAFTER_SECRET_FILE": str(tmp_path / "given"),
        }
    with pytest.raises(SettingsError, match="at least 32 are needed") as refused:
        load_settings(env)
    assert refused.value.message.startswith(
        "EVERAFTER_SECRET_FILE" if in_file else "EVERAFTER_SECRET has"
    )
    assert secret.strip() not in refused.value.message or len(secret.strip()) < 2, "it is not shown"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("secret", ["s" * 32, "é" * 32, f" {'s' * 32}\n"])
def test_thirty_two_characters_are_enough(tmp_path: Path, secret: str) -> None:
    assert (
        load_settings({"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_SECRET": secret}).secret
        == secret
    )
    (tmp_path / "given").write_text(secret, encoding="utf-8")
    assert (
        load_settings(
            {"EVERAFTER_DATA": str(tmp_path), "EVERAFTER_SECRET_FILE": str(tmp_path / "given")}
        ).secret
        == secret.strip()
    )


def test_a_stored_secret_must_be_long_enough(tmp_path: Path) -> None:
    made = load_settings({"EVERAFTER_DATA": str(tmp_path / "data")}).secret
    assert (
        len(made) >= 32 and load_settings({"EVERAFTER_DATA": str(tmp_path / "data")}).secret == made
    )
    path = tmp_path / "data" / "secret"
    for text in ("", "\n", "s" * 31, "\udcff"):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(SettingsError) as refused:
            load_settings({"EVERAFTER_DATA": str(tmp_path / "data")})
        assert str(path) in refused.value.message


@pytest.mark.parametrize(
    "words", [("serve", "--port", "0"), ("work", "--once"), ("run",), ("key", "list"), ("migrate",)]
)
def test_every_command_that_needs_the_secret_stops(tmp_path: Path, words: tuple[str, ...]) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "EVERAFTER_DATA": str(tmp_path),
        "EVERAFTER_SECRET": "hunter2",
    }
    done = subprocess.run(
        [EVERAFTER, *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith(
        "error: EVERAFTER_SECRET has 7 characters"
    )
    assert done.stderr.count("\n") == 1 and "hunter2" not in done.stderr


def test_all_invalid_settings_are_reported(tmp_path: Path) -> None:
    _, errors = read_settings(
        {
            "EVERAFTER_DATA": str(tmp_path),
            "EVERAFTER_SECRET": "x",
            "EVERAFTER_SMTP_URL": "nonsense",
            "EVERAFTER_BASE_URL": "ftp://x",
        }
    )
    assert {error.message.split(":")[0].split(" ")[0] for error in errors} == {
        "EVERAFTER_SECRET", "EVERAFTER_SMTP_URL", "EVERAFTER_BASE_URL"
    }  # fmt: skip


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("umask")
def test_new_files_and_folders_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert mode(make_private(folder)) == 0o700
    for name, how, text in (("t", "w", "x"), ("b", "wb", b"x")):
        (folder / "before").write_text("long before")
        (folder / "before").chmod(0o666)
        for path in (folder / name, folder / "before"):
            with open_private(path, how) as file:
                file.write(text)
            assert mode(path) == 0o600 and path.read_text() == "x"


@pytest.mark.usefixtures("umask")
def test_our_folder_is_made_private_and_a_shared_one_is_not(tmp_path: Path) -> None:
    ours, shared = tmp_path / "ours", tmp_path / "shared"
    for folder in (ours, shared):
        folder.mkdir()
        (folder / "secret").write_text("s" * 40)
        (folder / "secret").chmod(0o644)
        folder.chmod(0o755)
    (shared / "somebody-elses").touch()
    settings = load_settings({"EVERAFTER_DATA": str(ours)})
    assert mode(ours) & 0o066 == 0 and not is_open(ours) and mode(ours / "secret") == 0o600
    assert list(check_files(settings)) == []
    settings = load_settings({"EVERAFTER_DATA": str(shared)})
    assert mode(shared) == 0o755, "it may be meant for others"
    assert mode(shared / "secret") == 0o600
    (check,) = check_files(settings)
    assert check.status == "warn" and str(shared) in check.found and "chmod" in check.do
    make_private(shared)
    make_ours(shared)
    assert mode(shared) == 0o755


@pytest.mark.usefixtures("umask")
def test_import_and_export_write_private_files(tmp_path: Path, database: str) -> None:
    bad = tmp_path / "suppliers.csv"
    bad.write_text("id,name\n,Nobody\n")
    data = tmp_path / "data"
    (data / "rejects").mkdir(parents=True)
    (data / "rejects").chmod(0o755)
    data.chmod(0o755)
    env = {
        "PATH": os.environ["PATH"],
        "EVERAFTER_DATA": str(data),
        "EVERAFTER_DATABASE_URL": database,
    }
    subprocess.run(
        [EVERAFTER, "import", str(bad)], env=env, capture_output=True, timeout=60, check=False
    )
    out = tmp_path / "exported"
    subprocess.run(
        [EVERAFTER, "demo", "--export", str(out), "--suppliers", "20", "--months", "4"],
        env=env,
        capture_output=True,
        timeout=60,
        check=True,
    )
    files = [path for folder in (data, out) for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "secret",
        "suppliers.csv",
        "clients.csv",
        "events.csv.gz",
    }
    assert any(path.parent.name == "rejects" for path in files)
    assert {str(path): mode(path) for path in files} == {str(path): 0o600 for path in files}
    assert {mode(folder) for folder in (data, data / "rejects", out)} == {0o700}
