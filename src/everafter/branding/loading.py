"""Load the brand from a playbook's [platform] and folder, and reload it when a file changes."""

import errno
import logging
import os
import stat
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from everafter.branding.images import MOST_LOGO_BYTES, LogoError, read_logo
from everafter.branding.model import OURS, Brand, Logo, Platform, Problem
from everafter.branding.rules import check_platform, is_hosted, resolve_colors
from everafter.core.errors import InputError
from everafter.core.settings import Settings

EMAIL_FOLDER = Path("templates") / "emails"
"""The folder of overrides, relative to the playbook."""

log = logging.getLogger("everafter.branding")

_MOST_FILE_BYTES = 64_000
_MOST_FILES = 500
_MOST_PLAYBOOK_BYTES = 1_000_000
_IGNORED = frozenset({"README", "README.md", "README.txt"})

Check = Callable[[Mapping[str, str], Collection[str]], list[Problem]]
"""Finds mistakes in email templates and phrases, by file name; also given the names of those that
cannot be read."""
_State = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The result of loading the files in a given state. good: the last valid brand; null: none."""

    state: _State
    watched: tuple[Path, ...]
    good: Brand | None
    error: str


_cache: dict[tuple[Path, Check | None], _Loaded] = {}


def load_brand(settings: Settings, check: Check | None = None) -> Brand:
    """The current brand, cached until a file changes.

    If the files become invalid, the last valid ones are kept, and the reason is logged.

    Args:
        check: also load the email templates and phrases, and check them with this function.

    Raises:
        InputError: the files are invalid, and no valid state was loaded before.
    """
    if settings.playbook is None:
        return OURS
    key = (settings.playbook.absolute(), check)
    loaded = _cache.get(key)
    if loaded is None or _state(loaded.watched) != loaded.state:
        loaded = _cache[key] = _load(key[0], check, loaded.good if loaded else None)
    if loaded.good is None:
        raise InputError(loaded.error)
    return loaded.good


def read_brand(path: Path, platform: Platform) -> tuple[Brand, list[Problem]]:
    """The brand of the playbook at `path`, and the problems of the files beside it."""
    logo, problems = _find_logo(path.parent, platform.logo)
    files, unreadable = read_files(path.parent)
    brand = Brand(
        name=platform.name or "",
        sender_name=platform.sender_name or "",
        reply_to=platform.reply_to or "",
        language=platform.language,
        languages=platform.languages,
        colors=resolve_colors(platform.colors),
        logo=logo,
        files=files,
    )
    return brand, [*problems, *unreadable]


def read_files(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    """The text of each override by file name, and the problems of unreadable files."""
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    try:
        names = sorted(entry.name for entry in os.scandir(folder / EMAIL_FOLDER))
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [
            Problem(
                f"the folder cannot be read: {error.strerror}",
                "make it readable for Everafter",
                str(folder / EMAIL_FOLDER),
            )
        ]
    names = [
        name
        for name in names
        if not name.startswith(".") and not name.endswith("~") and name not in _IGNORED
    ]
    if len(names) > _MOST_FILES:
        hint = "keep only email templates and phrases in it"
        return {}, [
            Problem(
                f"{len(names)} files; the limit is {_MOST_FILES}", hint, str(folder / EMAIL_FOLDER)
            )
        ]
    for name in names:
        try:
            texts[name] = _read_text(folder, EMAIL_FOLDER / name)
        except _UnusableError as error:
            problems.append(replace(error.problem, file=str(folder / EMAIL_FOLDER / name)))
    return texts, problems


def _load(path: Path, check: Check | None, good: Brand | None) -> _Loaded:
    """Load all files. Their state is read first, so that later changes are found next time."""
    platform, error = _read_platform(path)
    watched = tuple(
        _watched(path, platform.logo if platform else None, templates=check is not None)
    )
    state = _state(watched)
    if platform is not None:
        brand, problems = read_brand(path, platform)
        problems = [one for one in problems if check is not None or not one.file]
        folder = path.parent / EMAIL_FOLDER
        problems += [
            replace(one, file=str(folder / one.file))
            for one in (check(brand.files, unreadable_names(problems)) if check is not None else [])
        ]
        if lines := [describe_problem(one, path) for one in problems if one.level == "error"]:
            error = "\n".join([f"{path}: the logo or the email templates are invalid:", *lines])
        else:
            return _Loaded(state, watched, brand, "")
    if good is not None:
        log.error("%s\nThe last valid files stay in use.", error)
    return _Loaded(state, watched, good, error)


def unreadable_names(problems: Collection[Problem]) -> frozenset[str]:
    """The names of the overrides that could not be read, of the problems of `read_brand`."""
    return frozenset(Path(one.file).name for one in problems if one.file)


def describe_problem(problem: Problem, playbook: Path) -> str:
    """One line with the place, the mistake and, in brackets, the hint."""
    place = (
        f"{problem.file}:{problem.line}:{problem.column}"
        if problem.file
        else f"{playbook}: {'.'.join(problem.path)}"
    )
    return f"{place}: {problem.message}{f' ({problem.hint})' if problem.hint else ''}"


def _read_platform(path: Path) -> tuple[Platform | None, str]:
    """The table [platform], or why it is invalid. `load_playbook` checks the other tables."""
    try:
        with open_regular(path) as file:
            text = file.read(_MOST_PLAYBOOK_BYTES).decode("utf-8-sig")
        table = tomllib.loads(text).get("platform", {})
        platform = msgspec.convert(table, Platform)
    except OSError as error:
        return None, f"the playbook {path} cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        return None, f"the playbook {path} is invalid: {error}; run everafter playbook check"
    errors = [describe_problem(one, path) for one in check_platform(table) if one.level == "error"]
    return (None, "\n".join(errors)) if errors else (platform, "")


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes. A named pipe would block until something is written to it.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is not a file")


# ── files ─────────────────────────────────────────────────────────────────────────────────────


class _UnusableError(Exception):
    """A file cannot be read."""

    def __init__(self, message: str, hint: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.problem = Problem(message, hint, line=line, column=column)


def _find_logo(folder: Path, logo: str | None) -> tuple[Logo | None, list[Problem]]:
    if logo is None:
        return None, []
    if is_hosted(logo):
        return Logo(url=logo), []
    try:
        return read_logo(_read_bytes(folder, Path(logo), MOST_LOGO_BYTES)), []
    except _UnusableError as error:
        return None, [replace(error.problem, path=("platform", "logo"))]
    except LogoError as error:
        return None, [Problem(f"{logo}: {error}", error.hint, path=("platform", "logo"))]


def _read_text(folder: Path, name: Path) -> str:
    content = _read_bytes(folder, name, _MOST_FILE_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise _UnusableError("the file is not UTF-8", "save it as UTF-8", line, column) from error
    if "\0" in text:
        raise _UnusableError("the file has a NUL character", "save it as plain text")
    return text.replace("\r\n", "\n")


def _read_bytes(folder: Path, name: Path, most: int) -> bytes:
    """The content of a regular file in the folder; links inside it are followed."""
    try:
        root, path = folder.resolve(strict=True), (folder / name).resolve(strict=True)
        if not path.is_relative_to(root):
            raise _UnusableError(
                f"{name} is outside the playbook's folder: {path}", "copy it into the folder"
            )
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _UnusableError(f"{name} is not a file", "replace or remove it")
            content = file.read(most + 1)
    except FileNotFoundError as error:
        raise _UnusableError(
            f"{name} does not exist", f"use a path relative to {folder}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _UnusableError(
            f"{name} cannot be read: {reason}", "make it readable for Everafter"
        ) from error
    if len(content) > most:
        raise _UnusableError(f"{name} has more than {most:,} bytes", "make it smaller")
    return content


def _watched(playbook: Path, logo: str | None, *, templates: bool) -> Iterator[Path]:
    """The files that the brand depends on; for a folder, all files in it."""
    yield playbook
    if logo and not is_hosted(logo):
        yield playbook.parent / logo
    if templates:
        yield playbook.parent / EMAIL_FOLDER


def _state(watched: tuple[Path, ...]) -> _State:
    """The modification time and size of each file; -1: it does not exist."""
    found: list[tuple[str, int, int]] = []
    for path in watched:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else []
        except OSError:
            inside = []
        for one in (path, *inside):
            try:
                known = one.stat()
                found.append((str(one), known.st_mtime_ns, known.st_size))
            except OSError:
                found.append((str(one), -1, -1))
    return tuple(found)
