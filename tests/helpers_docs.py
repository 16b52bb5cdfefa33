"""The documentation as data: pages, console blocks, and a shell that runs them."""

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
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
]
_BASE = "http://127.0.0.1:8000"
_SHORT_ID = re.compile(r"\b[0-9a-f]{8}\b(?!-)")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block with its documented output."""

    text: str
    output: str
    place: str


def read(name: str) -> str:
    """The text of a page below docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def list_commands(page: Path) -> list[Command]:
    """The `$ commands` of a page's console blocks, in order. A command continues until its quotes, heredocs and
    backslashes are closed."""
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
    """A bash that keeps its variables between commands, with this environment's `everafter` on its path."""

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
        """Run a command and return its output. The server's address and earlier ids replace those of the page."""
        text = command.text.replace(_BASE, self._server.base_url)
        for shown, real in self._ids.items():
            text = text.replace(shown, real)
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
    """Compare output with the page, except numbers, times and ids; `…` matches anything."""
    shown = command.output
    if shown.startswith(("{", "[")):
        expected = json.loads(re.sub(r",…(?=[\]}])", "", shown))
        real = json.loads(printed)
        assert _shape(expected, real), (
            f"{command.place}: the page shows\n{shown}\nand it printed\n{printed}"
        )
        return
    if _SHORT_ID.search(shown):
        shown = _SHORT_ID.sub("0", shown)
        printed = _SHORT_ID.sub("0", printed)
    printed = " ".join(printed.split())
    place = 0
    for part in shown.split("…"):
        pattern = r"\s*".join(re.sub(r"\d+", r"\\d+", re.escape(word)) for word in part.split())
        found = re.compile(pattern).search(printed, place)
        assert found, (
            f"{command.place}: the page shows\n{command.output}\nand it printed\n{printed}"
        )
        place = found.end()


def _shape(shown: Any, real: Any) -> bool:
    """Whether the keys are the same at every level. Texts, numbers and nulls may differ; a list shows its first item."""
    if isinstance(shown, dict):
        return (
            isinstance(real, dict)
            and shown.keys() == real.keys()
            and all(_shape(shown[key], real[key]) for key in shown)
        )
    if isinstance(shown, list):
        return (
            isinstance(real, list)
            and bool(shown) == bool(real)
            and (not shown or _shape(shown[0], real[0]))
        )
    return not isinstance(real, dict | list)


def slug(heading: str) -> str:
    """The anchor of a heading, as on code hosts."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")
