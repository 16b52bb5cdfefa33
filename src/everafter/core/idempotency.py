"""POST requests that are safe to repeat: the response is stored in the transaction of its effect,
and returned again for the same Idempotency-Key."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import MediaType, Response
from litestar.params import HeaderParameter

from everafter.core.db import Connection
from everafter.core.errors import ConflictError, UnprocessableError
from everafter.core.ids import find_supplier_id
from everafter.core.web import AnyRequest

T = TypeVar("T")

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=255,
        required=False,
        description="Any text of your own. A repetition with the same body returns the first"
        " response and has no second effect; with another body it returns 422, and 409 while the"
        " first is in progress.",
    ),
]
"""A handler declares `idempotency_key: IdempotencyKey = None` and passes it to `answer_once`."""

REPLAYED = "Idempotency-Replayed"


class InFlightError(ConflictError):
    """A request with this key is in progress."""

    code = "idempotency_in_flight"


class KeyReusedError(UnprocessableError):
    """The key was used before, with another body."""

    code = "idempotency_key_reused"


async def answer_once(
    request: AnyRequest,
    conn: Connection,
    key: str | None,
    effect: Callable[[], Awaitable[tuple[int, T]]],
    *,
    caller: str | None = None,
) -> Response[T]:
    """Run `effect`, which returns status and body, once for this key, caller and route; later calls
    return the same bytes.

    The row is written on `conn`, so the response is stored exactly when the effect is committed.
    If the effect raises, neither is, and the key may be used again. The lock belongs to the
    transaction, so a killed server leaves none.

    Args:
        caller: identifies the caller when its Authorization header changes between requests;
            null: the header identifies it.

    Raises:
        InFlightError: another request with this key is in progress.
        KeyReusedError: the key was used with another body.
    """
    if key is None:
        status, answer = await effect()
        return Response(answer, status_code=status)
    scope, body_hash = _scope(request, caller), await _body_hash(request)
    if not await _lock(conn, scope, key):
        raise InFlightError(
            "a request with this Idempotency-Key is in progress; repeat it in a second",
            retry_after=1,
        )
    # A separate statement: its snapshot must be newer than the lock, or it would not see the row of
    # the request that held the lock before.
    cursor = await conn.execute(
        """
        SELECT body_hash, status, response
        FROM idempotency_keys
        WHERE scope = %s AND key = %s
        """,
        [scope, key],
    )
    if row := await cursor.fetchone():
        if row[0] != body_hash:
            raise KeyReusedError(
                "this Idempotency-Key was used with another body; use a new key for a new request"
            )
        return _response(row[1], row[2], replayed=True)
    status, answer = await effect()
    body = msgspec.json.encode(answer)
    await conn.execute(
        """
        INSERT INTO idempotency_keys (scope, key, body_hash, status, response)
        VALUES (%s, %s, %s, %s, %s)
        """,
        [scope, key, body_hash, status, body],
    )
    return _response(status, body, replayed=False)


async def delete_idempotency_keys(conn: Connection, before: datetime) -> int:
    """Delete the responses stored before a moment; return how many. Clients repeat within hours."""
    cursor = await conn.execute("DELETE FROM idempotency_keys WHERE created_at < %s", [before])
    return cursor.rowcount


def _response(status: int, body: bytes, *, replayed: bool) -> Response[Any]:
    # the stored bytes, so that the first and the repeated response cannot differ
    return Response(
        body,
        status_code=status,
        media_type=MediaType.JSON,
        headers={REPLAYED: "true"} if replayed else {},
    )


def _scope(request: AnyRequest, caller: str | None) -> str:
    caller = hashlib.sha256(
        (caller or request.headers.get("authorization", "")).encode()
    ).hexdigest()[:32]
    return f"{request.method} {_path(request)} {caller}"


def _path(request: AnyRequest) -> str:
    """The path with the supplier's UUID, whichever id the caller used."""
    parameters: dict[str, Any] = request.scope["path_params"]
    if (supplier_id := find_supplier_id(parameters.get("supplier_id"))) is None:
        return request.url.path
    values = {**parameters, "supplier_id": supplier_id}
    return re.sub(r"\{(\w+)\}", lambda name: str(values[name[1]]), request.scope["path_template"])


async def _body_hash(request: AnyRequest) -> bytes:
    return hashlib.sha256(request.url.query.encode() + b"\n" + await request.body()).digest()


async def _lock(conn: Connection, scope: str, key: str) -> bool:
    number = int.from_bytes(hashlib.sha256(f"{scope}\n{key}".encode()).digest()[:8], signed=True)
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
    row = await cursor.fetchone()
    return bool(row and row[0])
