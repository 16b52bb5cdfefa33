"""The program's own source as syntax trees, for tests that hold it to its rules."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "everafter"


@dataclass(frozen=True, slots=True)
class Module:
    """One module: `name` is dotted, from `everafter` on; `imports` are the dotted names of modules, lazily imported ones too."""

    name: str
    path: Path
    tree: ast.Module
    imports: frozenset[str]
    eager: frozenset[str]

    @property
    def slice(self) -> str:
        """The folder it lies in: `core`, a slice's name, or '' for modules at the top."""
        inside = self.path.relative_to(SRC).parts
        return inside[0] if len(inside) > 1 else ""

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.tree) or ""

    def place(self, node: ast.AST) -> str:
        """Where a node is, for a test's message."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


@cache
def list_modules() -> dict[str, Module]:
    """Every module of the program by its dotted name."""
    found: dict[str, tuple[Path, ast.Module]] = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (path, ast.parse(path.read_text(encoding="utf-8")))
    names = frozenset(found)
    return {
        name: Module(
            name, path, tree, _imports(ast.walk(tree), names), _imports(iter(tree.body), names)
        )
        for name, (path, tree) in found.items()
    }


def _imports(nodes: object, names: frozenset[str]) -> frozenset[str]:
    out: set[str] = set()
    for node in nodes:  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            out.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports hide which slice is meant"
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & names
            out.update(inside)
            # `from everafter.mail import queries` is an import of the module, not of the package's contents
            if len(inside) < len(node.names):
                out.add(node.module)
    return frozenset(out)


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with its dotted name as written: `datetime.now`, `print`, `conn.execute`; '' in front of what is no name."""
    return [(_dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""
