"""One tree of errors. Each says what is wrong and where, and is mapped once to an exit code or a
problem+json."""

from typing import Any


class EverafterError(Exception):
    """Something the user can fix; the message says what and where.

    `status` is the HTTP status, `code` a stable word for programs, `exit_code` what the command
    line returns."""

    status = 500
    code = "internal"
    exit_code = 1

    def __init__(self, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


class SettingsError(EverafterError):
    """A setting is missing or cannot be read."""

    code = "settings"
    exit_code = 2


class InputError(EverafterError):
    """What was handed in cannot be used."""

    status = 400
    code = "invalid"
    exit_code = 2


class UnauthorizedError(EverafterError):
    """No key, or not a valid one."""

    status = 401
    code = "unauthorized"


class ForbiddenError(EverafterError):
    """The key is valid but its scope does not reach this."""

    status = 403
    code = "forbidden"


class NotFoundError(EverafterError):
    """Nothing is at that name."""

    status = 404
    code = "not_found"
    exit_code = 3


class ConflictError(EverafterError):
    """It cannot be done as things stand now."""

    status = 409
    code = "conflict"


class TooLargeError(EverafterError):
    """More bytes than the limit."""

    status = 413
    code = "too_large"


class UnprocessableError(EverafterError):
    """Well formed, but not acceptable."""

    status = 422
    code = "unprocessable"
    exit_code = 2


class OverloadedError(EverafterError):
    """More than can be taken now; `retry_after` (seconds) says when to come again."""

    status = 503
    code = "overloaded"


class DatabaseUnavailableError(EverafterError):
    """The database does not answer."""

    status = 503
    code = "database_unavailable"
    exit_code = 4


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class."""
    return next(iter(str(error).splitlines()), type(error).__name__)
