"""Loading a playbook from its file.

This module knows which names other slices give a playbook to use: email templates, event types,
holidays."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from everafter.branding.loading import (
    EMAIL_FOLDER,
    open_regular,
    read_brand,
    read_files,
    unreadable_names,
)
from everafter.branding.model import Problem
from everafter.core.errors import InputError
from everafter.core.holidays import knows_holidays
from everafter.core.settings import Settings
from everafter.events.model import CANONICAL
from everafter.mail.overrides import TEXT_NAMES, check_overrides
from everafter.mail.rules import list_templates
from everafter.playbook.checking import check_playbook
from everafter.playbook.findings import shorten
from everafter.playbook.model import CALL_TYPES, ONBOARDING_ACTIONS, Mistake, Playbook
from everafter.playbook.places import Places, find_places
from everafter.playbook.renames import renamed_to
from everafter.playbook.rules import to_playbook

_PACKAGED = "weddings.toml"
_KNOWN = TEXT_NAMES | set(list_templates())
"""What an override can be named after or print."""
_MAX_BYTES = 1_000_000


def load_playbook(settings: Settings) -> Playbook:
    """Load the playbook of the settings, or the wedding playbook that ships with the package.

    Raises:
        InputError: the file cannot be read or has errors; all of them are listed.
    """
    path = playbook_path(settings)
    text = read_playbook(path)
    playbook = parse_playbook(text, str(path))
    if settings.playbook is not None:
        _raise_errors(find_file_mistakes(path, text, playbook), str(path))
    return playbook


def playbook_path(settings: Settings) -> Path:
    """The playbook's file."""
    return settings.playbook or Path(str(resources.files("everafter.playbook") / _PACKAGED))


def read_playbook(path: Path) -> str:
    """Read the text of a playbook's file.

    Raises:
        InputError: it does not exist, is too large, or is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the playbook {path} cannot be read: {error.strerror or error}"
        ) from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES:,} bytes; is it a playbook?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise InputError(f"{path}:{line}:{column}: not UTF-8; save the file as UTF-8") from error


def find_mistakes(text: str) -> list[Mistake]:
    """Find every mistake in a playbook's text, given the templates and event types of this
    version."""
    return check_playbook(
        text,
        frozenset(list_templates()),
        frozenset(ONBOARDING_ACTIONS),
        frozenset(CANONICAL),
        knows_holidays,
        frozenset(CALL_TYPES),
    )


def parse_playbook(text: str, source: str) -> Playbook:
    """Read a playbook. Warnings are ignored.

    Args:
        source: names the text in messages.

    Raises:
        InputError: it has errors; all of them are listed, one a line.
    """
    _raise_errors(find_mistakes(text), source)
    return to_playbook(text)


def find_file_mistakes(path: Path, text: str, playbook: Playbook) -> list[Mistake]:
    """Find every mistake in the files beside a playbook: its logo, email templates and phrases.

    Args:
        text: of a playbook without errors.
    """
    brand, problems = read_brand(path, playbook.platform)
    problems += _template_problems(path, brand.files, problems)
    problems += _missing_translations(playbook, brand.files)
    places = find_places(text)
    return [_as_mistake(one, places) for one in problems]


def find_template_mistakes(path: Path) -> list[Mistake]:
    """Find every mistake in the email templates and phrases beside a playbook that has errors
    itself."""
    files, problems = read_files(path.parent)
    places = find_places("")
    return [
        _as_mistake(one, places) for one in problems + _template_problems(path, files, problems)
    ]


def _template_problems(
    path: Path, files: Mapping[str, str], others: list[Problem]
) -> list[Problem]:
    """others: of the files that cannot be read, among those of the logo."""
    folder = path.parent / EMAIL_FOLDER
    return [
        replace(one, file=str(folder / one.file), hint=renamed_to(one.name, _KNOWN) or one.hint)
        for one in check_overrides(files, unreadable_names(others))
    ]


def _missing_translations(playbook: Playbook, files: Mapping[str, str]) -> Iterator[Problem]:
    """Languages of [platform] without a file; emails in them would be in English."""
    platform = playbook.platform
    named = {("platform", "language"): platform.language}
    named |= {
        ("platform", "languages", country): language
        for country, language in platform.languages.items()
    }
    written = {name.split(".")[1][:2] for name in files if name.count(".") == 2} | {"en"}
    for place, language in named.items():
        if language[:2] not in written:
            tag = language[:2]
            hint = f"put NAME.{tag}.txt and phrases.{tag}.toml into {EMAIL_FOLDER}"
            yield Problem(f"there is no email in {language!r}", hint, path=place, level="warning")


def _as_mistake(problem: Problem, places: Places) -> Mistake:
    problem = replace(problem, message=shorten(problem.message), hint=shorten(problem.hint))
    if problem.file:
        return Mistake(
            problem.line,
            problem.column,
            "",
            problem.message,
            problem.hint,
            level=problem.level,
            file=problem.file,
        )
    start, end = places.of_value(problem.path)
    line, column = places.line_and_column(start)
    path = ".".join(problem.path)
    return Mistake(
        line, column, path, problem.message, problem.hint, max(1, end - start), problem.level
    )


def _raise_errors(mistakes: list[Mistake], source: str) -> None:
    errors = [mistake for mistake in mistakes if mistake.level == "error"]
    if errors:
        lines = [
            f"{m.file or source}:{m.line}:{m.column}: {m.message}{f' ({m.hint})' if m.hint else ''}"
            for m in errors
        ]
        raise InputError("the playbook has errors:\n" + "\n".join(lines))
