"""Node and what tests/react/package.json names, or a plain word that they are not here."""

import shutil
import subprocess
from pathlib import Path

import pytest

REACT = Path(__file__).parent / "react"
PACKAGES = REACT / "node_modules"


def need_packages() -> Path:
    """The folder of npm's packages; skips where `scripts/install-test-tools` could not bring them."""
    if not shutil.which("node") or not (PACKAGES / "installed.json").exists():
        pytest.skip(
            "Node or the npm packages of tests/react are not here (scripts/install-test-tools brings them)"
        )
    return PACKAGES


def react_project(folder: Path) -> Path:
    """A project as a platform has one: the sources of tests/react, the wrapper beside them, the installed packages."""
    packages = need_packages()
    for source in REACT.iterdir():
        if source.is_file():
            shutil.copy(source, folder)
    shutil.copytree(REACT.parent.parent / "clients" / "react", folder / "everafter-react")
    (folder / "node_modules").symlink_to(packages, target_is_directory=True)
    return folder


def run_node(folder: Path, *command: str) -> str:
    """What the command says on stdout; its failure fails the test with all it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
