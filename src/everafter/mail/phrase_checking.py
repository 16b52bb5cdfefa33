"""Check the translated phrases beside the playbook: phrases.LANGUAGE.toml."""

import re
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from everafter.branding.model import ENGLISH, Problem
from everafter.core.messages import check_message, placeholders
from everafter.mail.formatting import NUMBER_LABELS
from everafter.mail.translation import FRAME


def nearest(name: str, known: list[str]) -> str:
    """A hint with the most similar known name; empty: none is similar."""
    found = get_close_matches(name[:100], known, n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else ""


def check_phrases(text: str, language: str) -> Iterator[Problem]:
    """All mistakes in phrases.LANGUAGE.toml, by line."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        yield Problem("not TOML that can be read: nested too deeply", 'a line is key = "text"')
        return
    except ValueError as error:  # also of a number with too many digits
        yield _syntax_error(str(error))
        return
    for part in table:
        if part not in {"frame", "numbers"}:
            yield Problem(
                f"unknown table {part!r}",
                nearest(part, ["frame", "numbers"]) or "known here: frame, numbers",
                line=_line_of(text, part),
            )
        elif not isinstance(table[part], dict):
            yield Problem(
                f"{part} is not a table",
                f"write [{part}] and its keys below it",
                line=_line_of(text, part),
            )
    frame, numbers = (
        table.get(name, {}) if isinstance(table.get(name, {}), dict) else {}
        for name in ("frame", "numbers")
    )
    yield from _check_frame(text, frame, language)
    yield from _check_numbers(text, numbers, language)


def _syntax_error(message: str) -> Problem:
    """The mistake that tomllib found."""
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    words = message[: place.start()] if place else message
    hint = 'a line is key = "text"'
    if twice := re.fullmatch(r"Cannot declare \((.+?),?\) twice", words):
        table = ".".join(re.findall(r"'([^']*)'", twice[1]))
        words, hint = f"[{table}] is there twice", "merge the two tables"
    elif words == "Cannot overwrite a value":
        words, hint = "a key is there twice", "keep one"
    return Problem(f"not TOML: {words}", hint, line=int(place[1]) if place and place[1] else 1)


def _check_numbers(text: str, numbers: dict[str, Any], language: str) -> Iterator[Problem]:
    for name, label in numbers.items():
        line = _line_of(text, name)
        if name not in NUMBER_LABELS:
            yield Problem(
                f"unknown number {name!r}",
                nearest(name, list(NUMBER_LABELS)) or f"numbers: {', '.join(NUMBER_LABELS)}",
                line=line,
            )
        elif not isinstance(label, str) or not label.strip():
            example = f'{name} = "{NUMBER_LABELS[name]}"'
            yield Problem(f"{name} is not text", " ".join(example.split()), line=line)
        else:
            yield from _check_label(name, label, language, line)


def _check_label(name: str, label: str, language: str, line: int) -> Iterator[Problem]:
    remarks = check_message(label, {"n": "number"}, language)
    if not any(remark.level == "error" for remark in remarks):
        for unknown in {word for word in placeholders(label) if word != "n"}:
            yield Problem(
                f"{name} has an unknown placeholder {{{unknown}}}", "the number is n", line=line
            )
    for remark in remarks:
        yield Problem(f"{name}: {remark.message}", remark.hint, line=line, level=remark.level)


def _check_frame(text: str, frame: dict[str, Any], language: str) -> Iterator[Problem]:
    for name, value in frame.items():
        line = _line_of(text, name)
        if name not in FRAME:
            yield Problem(
                f"unknown phrase {name!r}",
                nearest(name, list(FRAME)) or f"known here: {', '.join(FRAME)}",
                line=line,
            )
        elif not isinstance(value, str) or not value.strip() or "\n" in value or len(value) > 300:
            yield Problem(
                f"{name} is not text on one line",
                f'{name} = "…", at most 300 characters',
                line=line,
            )
        elif FRAME[name] not in value:
            yield Problem(f"{name} has no {FRAME[name]}", f"add {FRAME[name]}", line=line)
    missing = [name for name in FRAME if name not in frame]
    if missing and language[:2] != ENGLISH:
        yield Problem(
            f"[frame] has no {', '.join(missing)}",
            "translate every phrase",
            line=_line_of(text, "frame"),
        )


def _line_of(text: str, name: str) -> int:
    """The first line that starts with that key or table; 1: none."""
    pattern = re.compile(rf"""\s*\[?["']?{re.escape(name)}\b""")
    return next(
        (number for number, line in enumerate(text.split("\n"), 1) if pattern.match(line)), 1
    )
