"""What a check of a playbook finds, and helpers that all checks use. Pure."""

from collections.abc import Collection, Iterator
from typing import Any, Literal, NamedTuple, Protocol

from everafter.playbook.places import Path

Level = Literal["error", "warning"]
_LONGEST = 1000


class Finding(NamedTuple):
    """A mistake in a playbook.

    Attributes:
        path: where it is.
        hint: what to do.
        part: the characters of the text value there that are meant; null: the whole value.
        at_key: whether it is the key that is wrong, and not its value.
    """

    path: Path
    message: str
    hint: str = ""
    level: Level = "error"
    part: tuple[int, int] | None = None
    at_key: bool = False


class Remark(Protocol):
    """A mistake in a text, at the characters from `start` to `end`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def level(self) -> Level: ...


def at(path: Path, remark: Remark) -> Finding:
    """The finding of a remark on the text at `path`."""
    return Finding(path, remark.message, remark.hint, remark.level, (remark.start, remark.end))


def table(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """The table at that path; empty when there is none, or when it is not a table (which the check
    of the shape reports)."""
    for name in names:
        inner = data.get(name)
        data = inner if isinstance(inner, dict) else {}
    return data


def list_names(names: Collection[str]) -> str:
    """Names for a hint.

    >>> list_names({"b", "a"})
    'a, b'
    """
    return ", ".join(sorted(names))


def shorten(text: str) -> str:
    """A message or a hint, cut where a long value makes it longer than anyone reads."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def texts_in(items: Any) -> Iterator[tuple[int, str]]:
    """The texts of a list with their places; nothing when it is not a list."""
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, str):
            yield index, item
