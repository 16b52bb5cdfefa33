"""The stylesheets and the templates use the same class names."""

import re
from pathlib import Path

import pytest

SOURCE = Path("src/everafter")
CHOSEN_BY_VALUE = {"patch"}
"""Classes that come from a value: the HTTP method of an operation."""


@pytest.fixture(scope="module")
def markup() -> str:
    files = [path for ending in ("html", "py", "js") for path in SOURCE.rglob(f"*.{ending}")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("sheet", sorted(SOURCE.rglob("*.css")), ids=lambda path: path.name)
def test_every_styled_class_is_used(sheet: Path, markup: str) -> None:
    rules = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = " ".join(re.findall(r"([^{}]+)\{", rules))
    words = set(re.findall(r"[\w-]+", markup))
    prefixes = set(re.findall(r"([\w-]+-)\{\{", markup))
    unused = {
        name
        for name in re.findall(r"\.([a-z][\w-]*)", selectors)
        if name not in words and not any(name.startswith(prefix) for prefix in prefixes)
    }
    assert unused <= CHOSEN_BY_VALUE
