"""The coach's words in every language that it speaks, read once from messages.toml."""

import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

_LAST = "en"


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(
        resources.files("everafter.coach").joinpath("messages.toml").read_text(encoding="utf-8")
    )


def list_languages() -> list[str]:
    """Languages that the interface has."""
    return list(_tables()["words"])


def pick_language(languages: Sequence[str]) -> str:
    """The first of these languages that the interface has."""
    return next((language for language in languages if language in _tables()["words"]), _LAST)


@lru_cache(maxsize=500)
def interface_messages(languages: tuple[str, ...]) -> dict[str, str]:
    """Every word of the interface, each in the first of these languages that has it."""
    return _merged("words", languages)


@lru_cache(maxsize=500)
def help_messages(languages: tuple[str, ...]) -> dict[str, str]:
    """What is said with the offer of a call, by the reason for it; `message` goes before."""
    return _merged("help", languages)


def _merged(part: str, languages: tuple[str, ...]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for language in (_LAST, *reversed(languages)):
        merged |= _tables()[part].get(language, {})
    return merged
