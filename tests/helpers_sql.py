"""Every SQL statement of the program, found in its source, in a form that PostgreSQL can prepare."""

import ast
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from helpers_source import Module, list_modules

# How a statement gets from the source to the database: the call's last name, and which argument is the statement.
ROADS = {"execute": 0, "executemany": 0, "fetch": 0, "read": 0, "copy": 0, "read_copy": 1}
# These put values in by `{name}`; the others by `%s` and `%(name)s`.
BRACED = {"fetch", "read", "read_copy"}
PREPARABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "MERGE")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. text: as PostgreSQL takes it, with NULL for every value; place: file and line."""

    text: str
    place: str
    module: str

    @property
    def verb(self) -> str:
        return self.text.split(None, 1)[0].upper() if self.text.strip() else ""


def list_statements() -> tuple[list[Statement], list[str]]:
    """All statements, and the places of calls whose statement cannot be read off the source."""
    found: list[Statement] = []
    unread: list[str] = []
    for module in list_modules().values():
        for node in ast.walk(module.tree):
            road = (
                node.func.attr
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                else ""
            )
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                road = node.func.id
            if road not in ROADS or not isinstance(node, ast.Call) or len(node.args) <= ROADS[road]:
                continue
            if road == "read" and not _names_a_reader(node):
                continue
            text = _text_of(node.args[ROADS[road]], module)
            if text is None:
                unread.append(module.place(node))
            else:
                found.append(
                    Statement(
                        _with_nulls(text, braced=road in BRACED), module.place(node), module.name
                    )
                )
    found += _gauges()
    return found, unread


def _names_a_reader(node: ast.Call) -> bool:
    """`read` is also what files do."""
    return isinstance(node.func, ast.Attribute) and "reader" in ast.unparse(node.func.value)


def _text_of(node: ast.expr, module: Module) -> str | None:
    """The text of a literal, of literals put together (f-strings too), and of the module's own constants."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text_of(node.left, module), _text_of(node.right, module)
        return None if left is None or right is None else left + right
    if isinstance(node, ast.JoinedStr):
        parts = [_text_of(part, module) for part in node.values]
        return None if None in parts else "".join(part or "" for part in parts)
    if isinstance(node, ast.FormattedValue):
        return _text_of(node.value, module)
    if isinstance(node, ast.Name):
        value: Any = getattr(import_module(module.name), node.id, None)
        return value if isinstance(value, str) else None
    return None


def _with_nulls(text: str, *, braced: bool) -> str:
    if braced:
        return re.sub(r"\{[a-z_]+\}", "NULL", text).replace("{{", "{").replace("}}", "}")
    if not re.search(r"%(s|\([a-z_]+\)s|%)", text):
        return text
    # what is taken from or added to a moment is a span; a bare NULL would be taken for another moment
    text = re.sub(r"(now\(\) [-+] )%(s|\([a-z_]+\)s)(?! \*)", r"\1NULL::interval", text)
    return re.sub(r"%(s|\([a-z_]+\)s)", "NULL", text).replace("%%", "%")


def _gauges() -> list[Statement]:
    """The statements of /metrics are in a table of their own."""
    from everafter.app import GAUGES

    return [Statement(gauge.statement, f"gauge {gauge.name}", "everafter.app") for gauge in GAUGES]
