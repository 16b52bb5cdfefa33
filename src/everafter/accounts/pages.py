"""Pages: sign in and sign out."""

import hmac
import secrets
from datetime import UTC, datetime
from typing import Any

from litestar import Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency

from everafter.accounts import queries, rules
from everafter.accounts.access import check_form, cookie_name, make_cookie
from everafter.accounts.model import BROWSER_LIMIT, Viewer
from everafter.accounts.passwords import verify_password
from everafter.core.admission import address_of
from everafter.core.bodies import read_form
from everafter.core.db import Connection, Pool
from everafter.core.pages import page, see_other
from everafter.core.web import AnyRequest

_SWEEP_EVERY = 50  # attempts, on average
_WRONG = "Email or password is incorrect."


@get("/sign-in")
async def show_sign_in(request: AnyRequest) -> Response[Any]:
    """Show the sign-in form."""
    return _form(request, rules.local_path(request.query_params.get("next")))


# Without `conn`: it would keep a connection while waiting to hash, and many sign-ins would keep
# them all.
@post("/sign-in", status_code=200, request_max_body_size=16_384)
async def sign_in(request: AnyRequest, state: State) -> Response[Any]:
    """Check the password and start a session."""
    pool: Pool = state.pool
    form = await read_form(request)
    email, password = str(form.get("email", "")).replace("\0", ""), str(form.get("password", ""))
    wanted = rules.local_path(str(form.get("next", "")))
    if not _is_own_form(request, str(form.get("csrf", ""))):
        return _form(request, wanted, email, "The form has expired. Please try again.", status=403)
    browser = request.cookies.get(cookie_name(state.settings, "browser"))
    name = email.strip().lower()
    if secrets.randbelow(_SWEEP_EVERY) == 0:
        async with pool.connection() as conn:
            await queries.sweep_buckets(conn)
    async with pool.connection() as conn:
        attempt = await queries.count_attempt(conn, name, address_of(request), browser)
        credentials = None if attempt.wait_until else await queries.find_credentials(conn, name)
    if attempt.wait_until:
        return _too_many(request, wanted, email, attempt.wait_until)
    password_hash = credentials.password_hash if credentials else None
    is_correct = await verify_password(password, password_hash, is_known=attempt.is_known)
    if credentials is None or not is_correct:
        return _form(request, wanted, email, _WRONG, status=401)
    async with pool.connection() as conn:
        await queries.forgive_attempt(conn, attempt)
        if old := request.cookies.get(cookie_name(state.settings)):
            await queries.delete_session(conn, old)
        token = await queries.insert_session(conn, credentials.user_id)
        browser = await queries.remember_browser(conn, credentials.user_id, browser)
    answer = see_other(wanted)
    answer.cookies.append(make_cookie(state.settings, "session", token))
    answer.cookies.append(make_cookie(state.settings, "browser", browser, BROWSER_LIMIT))
    answer.cookies.append(make_cookie(state.settings, "form", ""))
    return answer


@post("/sign-out", status_code=303, request_max_body_size=16_384)
async def sign_out(
    request: AnyRequest,
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """End the session."""
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


def _too_many(request: AnyRequest, wanted: str, email: str, until: datetime) -> Response[Any]:
    seconds = max(1, int((until - datetime.now(UTC)).total_seconds()))
    message = f"Too many attempts. Please wait {-(-seconds // 60)} min and try again."
    headers = {"Retry-After": str(seconds)}
    return _form(request, wanted, email, message, status=429, headers=headers)


def _is_own_form(request: AnyRequest, token: str) -> bool:
    settings = request.app.state.settings
    nonce = request.cookies.get(cookie_name(settings, "form"))
    if not nonce or not rules.came_from_here(request.headers):
        return False
    return hmac.compare_digest(token.encode(), rules.form_token(settings.secret, nonce).encode())


handlers = [
    Router(path="/", route_handlers=[show_sign_in, sign_in, sign_out], include_in_schema=False)
]
