"""What all handlers share: one transaction per request, errors as problem+json, API keys."""

import base64
import binascii
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
import psycopg
from litestar import Litestar, Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import ParameterKwarg, QueryParameter
from litestar.types import TypeDecodersSequence
from litestar.typing import FieldDefinition
from litestar.utils import normalize_path
from litestar.utils.scope.state import ScopeState
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
from everafter.core.validation import explain, explain_malformed, explain_parameter, find_in_body

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
    phrase = HTTPStatus(error.status_code).phrase
    code, detail = phrase.lower().replace(" ", "_").replace("-", "_"), error.detail or phrase
    extra: dict[str, Any] = {}
    if isinstance(error, ValidationException) and (errors := _list_errors(request, error)):
        extra["errors"] = errors
        detail = "; ".join(f"{one['key']}: {one['message']}" for one in errors)
        if isinstance(cause := _cause(error), EverafterError):
            code = cause.code
    elif isinstance(cause := _cause(error), msgspec.DecodeError):
        detail = f"the body is not JSON: {explain_malformed(str(cause))}"
    elif has_no_text(error):
        detail = _describe_route(request, error.status_code)
    answer = problem(error.status_code, code, detail, **extra)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


_MISSING = re.compile(r"Missing required (\w+) parameter '(.+)' for path .*", re.DOTALL)


def _list_errors(request: AnyRequest, error: ValidationException) -> list[dict[str, str]]:
    """Each error of a request with the name that the caller used, its place and what is wrong."""
    if missing := _MISSING.fullmatch(error.detail):
        source, name = missing[1], missing[2]
        return [{"key": name, "message": f"this {source} parameter is missing", "source": source}]
    found: list[Any] = error.extra if isinstance(error.extra, list) else []
    fields = request.scope["route_handler"].parsed_fn_signature.parameters
    return [
        _describe_body_error(request, one)
        if one.get("source") == "body" or one.get("key") == "data"
        else _describe_parameter_error(request, fields, one)
        for one in found
    ]


def _describe_body_error(request: AnyRequest, found: dict[str, str]) -> dict[str, str]:
    field = request.scope["route_handler"].parsed_fn_signature.parameters["data"]
    sent = ScopeState.from_scope(request.scope).body
    key, message = found.get("key", "body"), explain(found["message"])
    if not isinstance(sent, bytes) or not sent:
        key, message = "body", "it is empty; send JSON"
    else:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = msgspec.json.decode(sent)
            if place := find_in_body(body, field.raw, decode_id):
                key, message = place
    return {"key": key or "body", "message": message, "source": "body"}


def _describe_parameter_error(
    request: AnyRequest, fields: Mapping[str, FieldDefinition], found: dict[str, str]
) -> dict[str, str]:
    name, _, rest = found.get("key", "").partition(".")
    field = fields.get(name)
    if field is None:
        return {**found, "message": explain(found["message"])}
    declared = field.kwarg_definition
    shown, source = name, found.get("source")
    if isinstance(declared, ParameterKwarg):
        shown, source = declared.name or name, declared.param_type.value
    given = request.query_params.get(shown) if source == "query" else None
    message = explain_parameter(given, found["message"], field.annotation)
    key = f"{shown}.{rest}" if rest else shown
    return {"key": key, "message": message, **({"source": str(source)} if source else {})}


def decode_id(kind: type, value: Any) -> Any:
    """msgspec's `dec_hook` for the ids of `ID_DECODERS`."""
    for is_kind, decode in ID_DECODERS:
        if is_kind(kind):
            return decode(kind, value)
    return value


def has_no_text(error: HTTPException) -> bool:
    """Whether the error is a 404 or 405 of the router, which says no more than its status."""
    status = error.status_code
    return status in {404, 405} and error.detail in {"", HTTPStatus(status).phrase}


def _describe_route(request: AnyRequest, status: int) -> str:
    path = sent_path(request.scope)
    path = path if len(path) <= 200 else f"{path[:200]}…"
    methods = ", ".join(list_methods(request.app, request.scope["path"]))
    if status == HTTPStatus.METHOD_NOT_ALLOWED and methods:
        return f"{path} does not take {request.method}; it takes {methods}"
    return f"there is nothing at {path}; GET /openapi.json lists every path"


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def list_methods(app: Litestar, path: str) -> list[str]:
    """The methods of a path, including HEAD and OPTIONS; empty when there is no route."""
    found = [method for method in _METHODS if _has_route(app, path, method)]
    if not found:
        return []
    return [
        *(["GET", "HEAD"] if "GET" in found else []),
        *(method for method in found if method != "GET"),
        "OPTIONS",
    ]


def _has_route(app: Litestar, path: str, method: str) -> bool:
    try:
        app.asgi_router.handle_routing(path=normalize_path(path), method=method)
    except HTTPException:  # 404 or 405
        return False
    return True


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
