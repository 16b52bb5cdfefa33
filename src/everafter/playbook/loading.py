"""From a file to a Playbook. The one place that knows which words the other slices give a playbook
to use."""

from importlib import resources
from pathlib import Path

from everafter.core.errors import InputError
from everafter.core.holidays import knows_holidays
from everafter.core.settings import Settings
from everafter.events.model import CANONICAL
from everafter.mail.rules import list_templates
from everafter.playbook.model import CALL_TYPES, ONBOARDING_ACTIONS, Mistake, Playbook
from everafter.playbook.rules import check_playbook, to_playbook

_PACKAGED = "weddings.toml"
_MOST_BYTES = 1_000_000


def load_playbook(settings: Settings) -> Playbook:
    """The policy in force: the file the settings name, or the wedding playbook that ships with the
    package.

    Raises: InputError: the file cannot be read, or says something that cannot be followed; all
        mistakes are listed."""
    path = playbook_path(settings)
    return parse_playbook(read_playbook(path), str(path))


def playbook_path(settings: Settings) -> Path:
    """The file of the policy in force."""
    return settings.playbook or Path(str(resources.files("everafter.playbook") / _PACKAGED))


def read_playbook(path: Path) -> str:
    """The text of a playbook's file.

    Raises:
        InputError: it is not there, too large for a playbook, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the playbook {path} cannot be read: {error.strerror or error}"
        ) from error
    if len(content) > _MOST_BYTES:
        raise InputError(
            f"{path} has more than {_MOST_BYTES:,} bytes; a playbook has some thousands"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise InputError(f"{path}:{line}:{column}: not UTF-8; save the file as UTF-8") from error


def find_mistakes(text: str) -> list[Mistake]:
    """Every mistake in a playbook's text, measured by this installation's templates, onboarding
    actions and event types."""
    return check_playbook(
        text,
        frozenset(list_templates()),
        frozenset(ONBOARDING_ACTIONS),
        frozenset(CANONICAL),
        knows_holidays,
        frozenset(CALL_TYPES),
    )


def parse_playbook(text: str, source: str) -> Playbook:
    """The policy in `text`; `source` names it in messages.

    Raises: InputError: it says something that cannot be followed; all mistakes are listed, one a
        line. Warnings are passed over."""
    errors = [mistake for mistake in find_mistakes(text) if mistake.level == "error"]
    if errors:
        lines = [
            f"{source}:{m.line}:{m.column}: {m.message}{f' ({m.hint})' if m.hint else ''}"
            for m in errors
        ]
        raise InputError("the playbook cannot be followed:\n" + "\n".join(lines))
    return to_playbook(text)
