"""Signing in and out."""

import hmac
import secrets
from datetime import UTC, datetime
from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts import queries, rules
from everafter.accounts.access import check_form, cookie_name, make_cookie
from everafter.accounts.model import Viewer
from everafter.accounts.passwords import verify_password
from everafter.core.bodies import read_form
from everafter.core.db import Connection, Pool
from everafter.core.pages import page, see_other

AnyRequest = Request[Any, Any, State]

_WRONG = "That address and password do not go together."


@get("/sign-in")
async def show_sign_in(request: AnyRequest) -> Response[Any]:
    """The form to sign in."""
    return _form(request, rules.local_path(request.query_params.get("next")))


# Takes no `conn`: it would hold a connection while it waits for its turn to hash, and a flood of sign-ins would hold them all.
@post("/sign-in", status_code=200, request_max_body_size=16_384)
async def sign_in(request: AnyRequest, state: State) -> Response[Any]:
    """Check the password and begin a session."""
    pool: Pool = state.pool
    form = await read_form(request)
    email, password = str(form.get("email", "")).replace("\0", ""), str(form.get("password", ""))
    wanted = rules.local_path(str(form.get("next", "")))
    if not _is_own_form(request, str(form.get("csrf", ""))):
        return _form(request, wanted, email, "The form had grown old. Please try once more.", status=403)
    buckets = rules.failure_buckets(email, request.client.host if request.client else "")
    async with pool.connection() as conn:
        throttled = rules.is_throttled(await queries.count_attempts(conn, buckets))
        credentials = None if throttled else await queries.find_credentials(conn, email.strip().lower())
    if throttled:
        seconds = max(1, int((throttled.until - datetime.now(UTC)).total_seconds()))
        message = f"Too many tries. Please wait {-(-seconds // 60)} min and try again."
        return _form(request, wanted, email, message, status=429, headers={"Retry-After": str(seconds)})
    fits = await verify_password(password, credentials.password_hash if credentials else None)
    if credentials is None or not fits:
        return _form(request, wanted, email, _WRONG, status=401)
    async with pool.connection() as conn:
        await queries.forgive_attempts(conn, buckets)
        if old := request.cookies.get(cookie_name(state.settings)):
            await queries.delete_session(conn, old)
        token = await queries.insert_session(conn, credentials.user_id)
    answer = see_other(wanted)
    answer.cookies.append(make_cookie(state.settings, "session", token))
    answer.cookies.append(make_cookie(state.settings, "form", ""))
    return answer


@post("/sign-out", status_code=303, request_max_body_size=16_384)
async def sign_out(
    request: AnyRequest, state: State, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[Any]:
    """End this session."""
    await check_form(request, viewer)
    await queries.delete_session(conn, request.cookies[cookie_name(state.settings)])
    answer = see_other("/sign-in")
    answer.cookies.append(make_cookie(state.settings, "session", ""))
    return answer


def _form(
    request: AnyRequest,
    wanted: str,
    email: str = "",
    message: str = "",
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[Any]:
    settings = request.app.state.settings
    kept = request.cookies.get(cookie_name(settings, "form"))
    nonce = kept or secrets.token_urlsafe(24)
    answer = page(
        request,
        "accounts/templates/sign_in.html",
        status_code=status,
        headers=headers,
        wanted=wanted,
        email=email,
        message=message,
        csrf=rules.form_token(settings.secret, nonce),
    )
    if not kept:
        answer.cookies.append(make_cookie(settings, "form", nonce))
    return answer


def _is_own_form(request: AnyRequest, token: str) -> bool:
    settings = request.app.state.settings
    nonce = request.cookies.get(cookie_name(settings, "form"))
    if not nonce or not rules.came_from_here(request.headers):
        return False
    return hmac.compare_digest(token.encode(), rules.form_token(settings.secret, nonce).encode())


handlers = [Router(path="/", route_handlers=[show_sign_in, sign_in, sign_out], include_in_schema=False)]
