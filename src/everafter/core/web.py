"""What all handlers share: one transaction per request, errors as problem+json, API keys."""

import base64
import binascii
import logging
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
import psycopg
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import TypeDecodersSequence
from litestar.typing import FieldDefinition
from psycopg_pool import PoolClosed, PoolTimeout

from everafter.core.db import Connection, Pool
from everafter.core.errors import (
    EverafterError,
    ForbiddenError,
    InputError,
    UnauthorizedError,
)
from everafter.core.ids import SupplierId, TextId, read_supplier_id, read_text_id
from everafter.core.paths import sent_path

AnyRequest = Request[Any, Any, State]
log = logging.getLogger("everafter.web")


async def provide_connection(state: State) -> AsyncIterator[Connection]:
    """`conn` of a handler: one transaction, committed before the response is sent, or rolled back
    on an error."""
    pool: Pool = state.pool
    async with pool.connection() as conn:
        yield conn


ID_DECODERS: TypeDecodersSequence = [
    (lambda kind: kind is SupplierId, lambda _, value: read_supplier_id(value)),
    (lambda kind: kind is TextId, lambda _, value: read_text_id(value)),
]
"""How ids in paths, queries and bodies are read."""


# ── errors ────────────────────────────────────────────────────────────────────────────────────────

PROBLEM = "application/problem+json"


def problem_body(status: int, code: str, detail: str, **extra: Any) -> bytes:
    """An RFC 9457 document, with `code` and `message` for SDKs that read those."""
    body = {
        "type": f"urn:everafter:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "message": detail,
        "detail": detail,
        **extra,
    }
    return msgspec.json.encode(body)


def problem(status: int, code: str, detail: str, **extra: Any) -> Response[bytes]:
    """The response to a request that failed."""
    headers = {"Retry-After": str(extra.get("retry_after", 5))} if status in {429, 503} else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        problem_body(status, code, detail, **extra),
        status_code=status,
        media_type=PROBLEM,
        headers=headers,
    )


def on_everafter_error(request: AnyRequest, error: EverafterError) -> Response[bytes]:
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return on_unexpected_error(request, error)
    return problem(error.status, error.code, error.message, **error.extra)


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    extra: dict[str, Any] = {}
    if isinstance(error, ValidationException) and error.extra:
        extra["errors"] = error.extra
        if isinstance(cause := _cause(error), EverafterError):
            found: list[Any] = [*error.extra]  # one entry for each field
            return problem(
                error.status_code, cause.code, f"{found[0].get('key')}: {cause.message}", **extra
            )
        return _on_invalid_values(request, error, [*error.extra])
    phrase = HTTPStatus(error.status_code).phrase
    answer = problem(
        error.status_code,
        phrase.lower().replace(" ", "_").replace("-", "_"),
        error.detail or phrase,
        **extra,
    )
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def _on_invalid_values(
    request: AnyRequest, error: ValidationException, found: list[Any]
) -> Response[bytes]:
    """Describe each parameter in plain English."""
    errors = [
        {**one, "message": _describe_value(request.query_params.get(one["key"]), one["message"])}
        if one.get("source") == "query"
        else one
        for one in found
    ]
    detail = error.detail
    if all(one.get("source") == "query" for one in errors):
        detail = "; ".join(f"{one['key']}: {one['message']}" for one in errors)
    return problem(error.status_code, "bad_request", detail, errors=errors)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _describe_value(value: str | None, message: str) -> str:
    """What is wrong with a parameter, from msgspec's message.

    >>> _describe_value("x", "Expected `int | null`, got `str`")
    "'x' is not a whole number"
    >>> _describe_value("0", "Expected `int` >= 1"), _describe_value("9", "Expected `int` <= 5")
    ('0 is less than 1', '9 is more than 5')
    """
    given = (value or "")[:50]
    if found := re.fullmatch(r"Expected `(int|float|bool)( \| null)?`, got `str`", message):
        return f"{given!r} is not {_KINDS[found[1]]}"
    if found := re.fullmatch(r"Expected `int( \| null)?` (>=|<=) (-?\d+)", message):
        return f"{given} is {'less' if found[2] == '>=' else 'more'} than {found[3]}"
    if message == "Invalid RFC3339 encoded date":
        return f"{given!r} is not a date such as 2026-08-01"
    return message


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def on_database_error(_: AnyRequest, error: Exception) -> Response[bytes]:
    log.warning("the database does not answer: %s", error)
    return problem(503, "database_unavailable", "the database does not answer; try again shortly")


def on_unexpected_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A bug: the log gets the traceback, the caller no details."""
    log.error("%s %s failed", request.method, sent_path(request.scope), exc_info=error)
    return problem(500, "internal", "something went wrong; it has been logged")


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    EverafterError: on_everafter_error,
    HTTPException: on_http_error,
    psycopg.OperationalError: on_database_error,
    PoolTimeout: on_database_error,
    PoolClosed: on_database_error,
    Exception: on_unexpected_error,
}


# ── parameters ─────────────────────────────────────────────────────────────────────────────────

FROM_MAIL = "opened_from_mail"
"""Option of a handler that is linked from emails: unknown parameters, which mail programs add, are
ignored."""


async def refuse_unknown_parameters(request: AnyRequest) -> None:
    """Refuse query parameters that an API's GET would ignore, such as a misspelled filter.

    POST requests are not checked: their input is the body, and event SDKs add their own parameters.

    Raises:
        InputError: an unknown parameter (`did_you_mean` has the nearest name), one given twice, or
            null.
    """
    handler = request.scope["route_handler"]
    if (
        not request.scope["query_string"]
        or request.method != "GET"
        or not request.url.path.startswith("/api/")
    ):
        return
    if handler.opt.get(FROM_MAIL):
        return
    known = _parameters_of(handler)
    for name in request.query_params:
        if name not in known:
            raise _unknown_parameter(name, known)
        field, values = known[name], request.query_params.getall(name)
        if field.is_non_string_sequence:
            continue
        if len(values) > 1:
            raise InputError(f"{name}: given more than once; give one value")
        # the decoder would read the text null as no value, and the filter would be ignored
        if (
            values == ["null"]
            and field.is_optional
            and str not in {one.annotation for one in field.inner_types}
        ):
            raise InputError(f"{name}: null is not a value; leave the parameter out instead")


def _unknown_parameter(name: str, known: Iterable[str]) -> InputError:
    near = get_close_matches(name[:100], known, 1)
    parameters = ", ".join(known) or "none"
    hint = f"did you mean {near[0]}?" if near else f"its parameters: {parameters}"
    return InputError(
        f"query: there is no parameter {name[:100]!r} here; {hint}", did_you_mean=near
    )


def _parameters_of(handler: BaseRouteHandler) -> dict[str, FieldDefinition]:
    declared = handler.parsed_fn_signature.parameters.items()
    return {
        field.kwarg_definition.name or name: field
        for name, field in declared
        if isinstance(field.kwarg_definition, QueryParameter)
    }


# ── API keys ────────────────────────────────────────────────────────────────────────────────


class KeyLookup(Protocol):
    """How API keys are looked up; the application provides it as `state.key_cache`."""

    def is_live(self, token: str) -> bool:
        """Whether the key was live when the keys were last read; no query."""
        ...

    async def find_scope(self, pool: Pool, token: str) -> str | None:
        """The scope of a live key, or null."""
        ...


def read_bearer(header: str) -> str | None:
    """The token of an `Authorization: Bearer …` header, or null."""
    kind, _, token = header.partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def read_basic_user(header: str) -> str | None:
    """The user name of an `Authorization: Basic …` header, or null; a missing colon is
    tolerated."""
    kind, _, token = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        text = base64.b64decode(
            token.strip() + "=" * (-len(token.strip()) % 4), validate=True
        ).decode()
    except (binascii.Error, ValueError):
        return None
    return text.partition(":")[0] or None


@dataclass(frozen=True, slots=True)
class KeyScope:
    """Guard that requires an API key of one of these scopes; `write` includes `read`."""

    allowed: tuple[str, ...]

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler
    ) -> None:
        token = read_bearer(connection.headers.get("authorization", ""))
        if token is None:
            raise UnauthorizedError(
                "send a key as Authorization: Bearer …; `everafter key create` makes one"
            )
        await require_scope(connection.app.state, token, *self.allowed)


def scope(*allowed: str) -> KeyScope:
    """The guard of a route for keys of these scopes."""
    return KeyScope(allowed)


async def require_scope(state: State, token: str, *allowed: str) -> None:
    """Check that a key has one of these scopes.

    Raises:
        UnauthorizedError: there is no such key, or it was revoked.
        ForbiddenError: the key has another scope.
    """
    keys: KeyLookup = state.key_cache
    found = await keys.find_scope(state.ingest_pool, token)
    if found is None:
        raise UnauthorizedError("this key is not known, or was revoked")
    if found not in allowed and not (found == "write" and "read" in allowed):
        raise ForbiddenError(f"this key's scope is {found}; needed: {' or '.join(allowed)}")
