"""What a check of a playbook has found, and how it looks into the data. Pure."""

from typing import Any, Literal

from everafter.playbook.places import Path

Level = Literal["error", "warning"]
Found = tuple[Path, tuple[int, int] | None, str, str, Level]
"""Where, which part of the text value there, what is wrong, what to do, how bad."""


def table(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """The table at that path, empty when there is none or it is something else (which the check of
    the shape has said)."""
    for name in names:
        inner = data.get(name)
        data = inner if isinstance(inner, dict) else {}
    return data
