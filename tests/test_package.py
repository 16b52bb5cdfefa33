"""The wheel has everything the package needs at run time, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from everafter import __version__
from helpers_source import ROOT, SRC


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        str(folder),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return zipfile.ZipFile(built)


def contents(folder: Path) -> set[str]:
    """The package's files in git."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in done.stdout.splitlines() if (folder / name).exists()}


def test_the_wheel_has_the_packages_files(wheel: zipfile.ZipFile) -> None:
    inside = {
        name.removeprefix("everafter/")
        for name in wheel.namelist()
        if name.startswith("everafter/")
    }
    there = contents(SRC)
    assert inside == there
    for ending in (".sql", ".html", ".css", ".js", ".woff2", ".toml", ".json"):
        assert any(name.endswith(ending) for name in inside), ending
    assert all(wheel.read(f"everafter/{name}") == (SRC / name).read_bytes() for name in there)


def test_the_wheel_has_metadata(wheel: zipfile.ZipFile) -> None:
    info = f"everafter-{__version__}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    for line in (
        f"Version: {__version__}",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.11",
        "Author: Everafter contributors",
    ):
        assert line in metadata.splitlines(), line
    assert wheel.read(f"{info}/entry_points.txt").decode().split() == [
        "[console_scripts]",
        "everafter",
        "=",
        "everafter.cli:main",
    ]
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n" in text and "Version 2.0, January 2004" in text
    assert (
        all(f"\n   {number}. " in text for number in range(1, 10))
        and "END OF TERMS AND CONDITIONS" in text
    )
