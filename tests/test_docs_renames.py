"""The changelog's table of renamed things: the new names exist, and the old ones do not."""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import pytest
import typer

from everafter.app import create_app
from everafter.core.settings import load_settings
from everafter.interventions.model import SKIP_REASONS
from everafter.metrics.model import Conclusion
from everafter.playbook.loading import find_mistakes
from everafter.signals import model as signals_model
from helpers_source import ROOT, SRC

_ROW = re.compile(r"^\| ([a-z ]+) \| `([^`]+)`(?: \([^|]*\))? \| `([^`]+)` \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Renamed:
    kind: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.old}"


def _list_renamed() -> list[Renamed]:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    table = text.partition("### Renamed")[2].partition("\n### ")[0]
    return [Renamed(*row.groups()) for row in _ROW.finditer(table)]


RENAMED = _list_renamed()


@cache
def _columns() -> dict[str, set[str]]:
    """Every table of schema.sql with its columns."""
    schema = (ROOT / "schema.sql").read_text(encoding="utf-8")
    tables = re.findall(r"^CREATE TABLE (?:\w+\.)?(\w+) \((.*?)^\)", schema, re.M | re.S)
    return {name: set(re.findall(r"^    (\w+) ", body, re.M)) for name, body in tables}


@cache
def _app() -> Any:
    settings = load_settings({"EVERAFTER_DATA": "/nonexistent", "EVERAFTER_SECRET": "s" * 32})
    return create_app(settings, "postgresql://nowhere/none")


@cache
def _routes() -> set[str]:
    paths = _app().description["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def _operations() -> list[Any]:
    return [one for path in _app().description["paths"].values() for one in path.values()]


@cache
def _parameters() -> set[str]:
    return {parameter["name"] for one in _operations() for parameter in one.get("parameters", [])}


@cache
def _page_parameters() -> set[str]:
    """The query parameters that pages read."""
    sources = [path.read_text(encoding="utf-8") for path in SRC.glob("*/*rules.py")]
    return {name for text in sources for name in re.findall(r'params\.get\("(\w+)"', text)}


@cache
def _pages() -> set[str]:
    return {re.sub(r":\w+}", "}", route.path) for route in _app().routes}


@cache
def _fields() -> set[str]:
    schemas = _app().description["components"]["schemas"].values()
    return {name for schema in schemas for name in schema.get("properties", {})}


@cache
def _statuses() -> set[str]:
    schema = (ROOT / "schema.sql").read_text(encoding="utf-8")
    return {
        word
        for check in re.findall(r"(?:status|response) = ANY \(ARRAY\[(.*?)\]\)", schema)
        for word in re.findall(r"'(\w+)'", check)
    }


@cache
def _commands() -> set[str]:
    from everafter.cli import app

    command: Any = typer.main.get_command(app)
    return {f"everafter {name}" for name in command.commands}


@cache
def _signals() -> set[str]:
    every = (*signals_model.SIGNALS, *signals_model.CLIENT_SIGNALS)
    return {signal.name for signal in every}


@cache
def _playbook() -> dict[str, Any]:
    return tomllib.loads((SRC / "playbook" / "weddings.toml").read_text(encoding="utf-8"))


def _is_in_playbook(name: str) -> bool:
    """`messaging.quiet_from`; `*` is any table in between."""
    here: list[Any] = [_playbook()]
    for part in name.split("."):
        tables = [one for one in here if isinstance(one, dict)]
        here = [value for one in tables for key, value in one.items() if part in ("*", key)]
    return bool(here)


def _is_action(name: str) -> bool:
    return name in {trigger["action"] for trigger in _playbook()["triggers"].values()}


def _is_column(name: str) -> bool:
    table, _, column = name.partition(".")
    return column in _columns().get(table, set())


EXISTS: dict[str, Callable[[str], bool]] = {
    "table": lambda name: name in _columns(),
    "column": _is_column,
    "status": lambda name: name in _statuses(),
    "skip reason": lambda name: name in SKIP_REASONS,
    "conclusion": lambda name: name in get_args(Conclusion),
    "page parameter": lambda name: name in _page_parameters(),
    "parameter": lambda name: name in _parameters(),
    "operation": lambda name: name in {one["operationId"] for one in _operations()},
    "route": lambda name: name in _routes(),
    "page": lambda name: name in _pages(),
    "field": lambda name: name in _fields(),
    "coach element": lambda name: name in (SRC / "static" / "coach.js").read_text(encoding="utf-8"),
    "command": lambda name: name in _commands(),
    "signal": lambda name: name in _signals(),
    "playbook": _is_in_playbook,
    "action": _is_action,
    "template": lambda name: (SRC / "mail" / "templates" / name).exists(),
}


def test_the_table_is_read() -> None:
    assert len(RENAMED) > 40
    assert {one.kind for one in RENAMED} == set(EXISTS)
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    table = text.partition("### Renamed")[2].partition("\n### ")[0]
    assert len(RENAMED) == table.count("\n|") - 2, "a row is not in the form of the others"


@pytest.mark.parametrize("renamed", RENAMED, ids=str)
def test_the_new_name_exists_and_the_old_one_does_not(renamed: Renamed) -> None:
    exists = EXISTS[renamed.kind]
    assert exists(renamed.new), f"{renamed.kind} {renamed.new} does not exist"
    assert not exists(renamed.old), f"{renamed.kind} {renamed.old} still exists"


def _list_retired_keys() -> Iterator[Renamed]:
    for one in RENAMED:
        if one.kind == "playbook" and "." not in one.old:
            yield one


@pytest.mark.parametrize("renamed", list(_list_retired_keys()), ids=str)
def test_playbook_check_names_the_replacement_of_a_retired_table(renamed: Renamed) -> None:
    text = (SRC / "playbook" / "weddings.toml").read_text(encoding="utf-8")
    old = text.replace(f"[{renamed.new}]", f"[{renamed.old}]")
    old = old.replace(f"[{renamed.new}.", f"[{renamed.old}.")
    assert old != text
    mistakes = " ".join(map(str, find_mistakes(old)))
    assert renamed.old in mistakes and renamed.new in mistakes, mistakes[:300]
