"""From a file to a Playbook."""

import tomllib
from importlib import resources

import msgspec

from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.playbook.model import Playbook


def load_playbook(settings: Settings) -> Playbook:
    """The policy in force: the file the settings name, or the wedding playbook that ships with the package.

    Raises:
        InputError: the file cannot be read, or says something that cannot be followed; all mistakes are listed.
    """
    if settings.playbook is None:
        source = "weddings.toml"
        text = resources.files("everafter.playbook").joinpath(source).read_text(encoding="utf-8")
        return parse_playbook(text, source)
    try:
        text = settings.playbook.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the playbook {settings.playbook} cannot be read: {error}") from error
    return parse_playbook(text, str(settings.playbook))


def parse_playbook(text: str, source: str) -> Playbook:
    """The policy in `text`; `source` names it in messages.

    Raises:
        InputError: it says something that cannot be followed; all mistakes are listed.
    """
    try:
        return msgspec.convert(tomllib.loads(text), Playbook)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{source}: {error}") from error
