"""Write docs/cli.md from the commands themselves: `make docs` runs this, and a test fails when the
page is another."""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import typer

from everafter.cli import load_commands

HEADER = """\
# The command line

Every command with all it takes. Generated from the commands by `make docs`.

Each takes `-h` or `--help`; `everafter --version` prints the version.

Output is for people on a terminal, and for programs with `--json`: one JSON document on standard output, and nothing else there.
What goes wrong is one line on standard error, naming what and where.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed, or was done with something to look at: rejected rows of `import`, something bad in `doctor` |
| 2 | what was handed in cannot be used: an option, a file, a setting, a playbook |
| 3 | no such supplier, key, message or user |
| 4 | the database does not answer |
| 130 | stopped with Ctrl+C |

Settings come from the environment: see [installation](install.md#settings).
"""


def write_page() -> str:
    """The whole page."""
    parts = [HEADER]
    for name, command in sorted(commands(load_commands())):
        parts.append("\n".join(section(name, command)))
    return "\n".join(parts)


def commands(named: dict[str, Any], prefix: str = "everafter") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for name, command in named.items():
        if hasattr(command, "commands"):
            yield from commands(command.commands, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def section(name: str, command: Any) -> Iterator[str]:
    """One command: how it is written, what it does, its arguments and options."""
    context = typer.Context(command)
    arguments = [param for param in command.params if not param.opts[0].startswith("-")]
    options = [
        param
        for param in command.params
        if param.opts[0].startswith("-") and param.opts[0] != "--help"
    ]
    words = [name, *(_argument(param) for param in arguments), *(["[OPTIONS]"] if options else [])]
    yield f"## `{name}`\n"
    yield f"`{' '.join(words)}`\n"
    yield inspect.cleandoc(command.help or "").replace("\n\n", "\n\n") + "\n"
    rows = [(_argument(param), param.help or "") for param in arguments if param.help]
    rows += [param.get_help_record(context) for param in options]
    if rows:
        yield "| | |\n|---|---|"
        yield (
            "\n".join(
                f"| `{_cell(left)}` | {_cell(re.sub('  +', ' ', right))} |" for left, right in rows
            )
            + "\n"
        )


def _argument(param: Any) -> str:
    shown = param.metavar or param.name.upper()
    return shown if param.required else f"[{shown}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


if __name__ == "__main__":
    sys.stdout.write(write_page())
