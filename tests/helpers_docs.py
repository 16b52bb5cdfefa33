"""The documentation as data: its files, links and console blocks, and a shell to run the blocks in."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers_server import Server
from helpers_source import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
_BASE = "http://127.0.0.1:8000"
_SHORT_ID = re.compile(r"\b[0-9a-f]{8}\b(?!-)")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block and what the page says it prints."""

    text: str
    output: str
    place: str


def read(name: str) -> str:
    """A page under docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def list_commands(page: Path) -> list[Command]:
    """Every `$ command` of a page's console blocks, in order; a command goes on until its quotes, braces and backslashes close."""
    found: list[Command] = []
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start()].count("\n") + 1
        lines = block[1].splitlines()
        while lines:
            first = lines.pop(0)
            line += 1
            assert first.startswith("$ "), f"{page.name}:{line}: output before a command: {first}"
            command = first[2:]
            start = line
            while lines and not _is_whole(command):
                command += "\n" + lines.pop(0)
                line += 1
            output: list[str] = []
            while lines and not lines[0].startswith("$ "):
                output.append(lines.pop(0))
                line += 1
            found.append(
                Command(command, "\n".join(output).strip(), f"{page.relative_to(ROOT)}:{start}")
            )
    return found


def _is_whole(command: str) -> bool:
    if command.endswith("\\"):
        return False
    if heredoc := re.search(r"<<'(\w+)'", command):
        return command.rstrip().endswith("\n" + heredoc[1])
    return command.count("'") % 2 == 0


class Shell:
    """One bash that keeps its variables from command to command, with this environment's `everafter` on its path."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        settings = server.settings
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "EVERAFTER_DATABASE_URL": settings.database_url or "",
                "EVERAFTER_DATA": str(settings.data),
                "EVERAFTER_SECRET": settings.secret,
                "COLUMNS": "200",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ids: dict[str, str] = {}

    def run(self, command: Command) -> str:
        """Run it and give what it printed; the server's address and ids shown before are put in."""
        text = command.text.replace(_BASE, self._server.base_url)
        for said, real in self._ids.items():
            text = text.replace(said, real)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{text}\nprintf '\\n@@ended %s\\n' \"$?\"\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while not (line := self._process.stdout.readline()).startswith("@@ended"):
            assert line, f"{command.place}: the shell ended"
            lines.append(line)
        printed = "".join(lines).strip()
        assert line.split()[1] == "0", (
            f"{command.place}: `{text}` ended with {line.split()[1]}: {printed}"
        )
        self._ids.update(
            zip(_SHORT_ID.findall(command.output), _SHORT_ID.findall(printed), strict=False)
        )
        if "/v1/" in text:
            self._server.wait_folded()
        return printed

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout:
            self._process.stdout.close()


def check_output(command: Command, printed: str) -> None:
    """What a page shows is what comes, up to numbers, times and ids; `…` means anything."""
    said = command.output
    if said.startswith(("{", "[")):
        expected = json.loads(re.sub(r",…(?=[\]}])", "", said))
        real = json.loads(printed)
        assert _shape(expected, real), (
            f"{command.place}: the page shows\n{said}\nand it printed\n{printed}"
        )
        return
    if _SHORT_ID.search(said):
        said = _SHORT_ID.sub("0", said)
        printed = _SHORT_ID.sub("0", printed)
    printed = " ".join(printed.split())
    place = 0
    for part in said.split("…"):
        pattern = r"\s*".join(re.sub(r"\d+", r"\\d+", re.escape(word)) for word in part.split())
        found = re.compile(pattern).search(printed, place)
        assert found, (
            f"{command.place}: the page shows\n{command.output}\nand it printed\n{printed}"
        )
        place = found.end()


def _shape(said: Any, real: Any) -> bool:
    """The same keys all the way down; texts, numbers and nulls may differ, and a list shows its first."""
    if isinstance(said, dict):
        return (
            isinstance(real, dict)
            and said.keys() == real.keys()
            and all(_shape(said[key], real[key]) for key in said)
        )
    if isinstance(said, list):
        return (
            isinstance(real, list)
            and bool(said) == bool(real)
            and (not said or _shape(said[0], real[0]))
        )
    return not isinstance(real, dict | list)


def slug(heading: str) -> str:
    """The anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")
