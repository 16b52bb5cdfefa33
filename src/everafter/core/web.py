"""The web's common ground: one transaction a request, errors as problem+json, who is calling."""

import hashlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard
from psycopg_pool import PoolTimeout

from everafter.core.db import Connection, Pool
from everafter.core.errors import DatabaseUnavailableError, EverafterError, ForbiddenError, UnauthorizedError

AnyRequest = Request[Any, Any, State]


async def provide_connection(state: State) -> AsyncIterator[Connection]:
    """`conn` for a handler: one transaction, committed before the answer goes out, rolled back on any error."""
    pool: Pool = state.pool
    try:
        async with pool.connection() as conn:
            yield conn
    except (PoolTimeout, psycopg.OperationalError) as error:
        raise DatabaseUnavailableError("the database does not answer") from error


def problem(status: int, code: str, detail: str, **extra: Any) -> Response[bytes]:
    """An RFC 9457 answer; `code` and `message` stand there too, for the SDKs that read those."""
    body = {
        "type": f"urn:everafter:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "message": detail,
        "detail": detail,
        **extra,
    }
    headers = {"Retry-After": str(extra.get("retry_after", 5))} if status in {429, 503} else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        msgspec.json.encode(body), status_code=status, media_type="application/problem+json", headers=headers
    )


def on_everafter_error(_: AnyRequest, error: EverafterError) -> Response[bytes]:
    return problem(error.status, error.code, error.message, **error.extra)


def on_http_error(_: AnyRequest, error: HTTPException) -> Response[bytes]:
    extra: dict[str, Any] = {}
    if isinstance(error, ValidationException) and error.extra:
        extra["errors"] = error.extra
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return problem(error.status_code, code, error.detail, **extra)


def on_database_error(_: AnyRequest, error: psycopg.OperationalError | PoolTimeout) -> Response[bytes]:
    return problem(503, "database_unavailable", "the database does not answer; try again shortly")


def scope(*allowed: str) -> Guard:
    """A guard that lets an API key of one of these scopes pass (`write` may do all that `read` may)."""

    async def guard(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
        header = connection.headers.get("authorization", "")
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise UnauthorizedError("send a key as Authorization: Bearer …; `everafter key create` makes one")
        found = await find_key_scope(connection.app.state.pool, token.strip())
        if found is None:
            raise UnauthorizedError("this key is not known, or was revoked")
        if found not in allowed and not (found == "write" and "read" in allowed):
            raise ForbiddenError(f"this key's scope is {found}; needed: {' or '.join(allowed)}")

    return guard


async def find_key_scope(pool: Pool, token: str) -> str | None:
    """The scope of a live API key, or null."""
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "SELECT scope FROM api_keys WHERE key_hash = %s AND revoked_at IS NULL",
            [hashlib.sha256(token.encode()).digest()],
        )
        row = await cursor.fetchone()
    return row[0] if row else None
