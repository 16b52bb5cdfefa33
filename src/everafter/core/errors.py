"""All errors of the program. Each becomes an exit code of the command line or a problem+json."""

from typing import Any


class EverafterError(Exception):
    """An error that the user can fix; the message says what is wrong and where.

    status: of the HTTP response. code: a stable name for programs. exit_code: of the command line.
    """

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
    """The input cannot be used."""

    status = 400
    code = "invalid"
    exit_code = 2


class UnauthorizedError(EverafterError):
    """No key, or not a valid one."""

    status = 401
    code = "unauthorized"


class ForbiddenError(EverafterError):
    """The key is valid, but its scope does not allow this."""

    status = 403
    code = "forbidden"


class NotFoundError(EverafterError):
    """There is nothing of that name or id."""

    status = 404
    code = "not_found"
    exit_code = 3


class ConflictError(EverafterError):
    """The current state does not allow it."""

    status = 409
    code = "conflict"


class TooLargeError(EverafterError):
    """More bytes than the limit."""

    status = 413
    code = "too_large"


class UnprocessableError(EverafterError):
    """The request is well-formed, but cannot be accepted."""

    status = 422
    code = "unprocessable"
    exit_code = 2


class OverloadedError(EverafterError):
    """A limit is reached; `retry_after` (seconds) says when to retry."""

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
