"""Options of commands."""

from everafter.core.errors import InputError


def refuse_together(**given: object) -> None:
    """Refuse options that exclude each other.

    Args:
        given: the options by name, true if given.

    Raises:
        InputError: more than one is given.
    """
    names = [f"--{name}" for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names)} exclude each other; choose one")
