"""The signed-in user behind a request, and protection of forms against forgery."""

import hmac
from datetime import timedelta

from litestar.datastructures import Cookie, FormMultiDict
from litestar.di import NamedDependency

from everafter.accounts import queries, rules
from everafter.accounts.model import ABSOLUTE_LIMIT, Viewer
from everafter.core.bodies import read_form
from everafter.core.db import Connection
from everafter.core.errors import ForbiddenError, UnauthorizedError
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest


async def provide_viewer(request: AnyRequest, conn: NamedDependency[Connection]) -> Viewer:
    """`viewer` of a page's handler.

    Raises:
        UnauthorizedError: nobody is signed in; browsers are redirected to the sign-in page.
    """
    token = request.cookies.get(cookie_name(request.app.state.settings))
    viewer = await queries.find_viewer(conn, token) if token else None
    if viewer is None:
        raise _not_signed_in()
    return viewer


def refuse_anonymous(request: AnyRequest) -> None:
    """Refuse requests without a session cookie for pages that need one, before a database
    connection is used.

    Raises:
        UnauthorizedError: the handler takes `viewer`, and there is no session cookie.
    """
    takes = request.scope["route_handler"].parsed_fn_signature.parameters
    if "viewer" in takes and not request.cookies.get(cookie_name(request.app.state.settings)):
        raise _not_signed_in()


def _not_signed_in() -> UnauthorizedError:
    return UnauthorizedError("sign in first; programs use /api with an API key")


async def check_form(request: AnyRequest, viewer: Viewer) -> FormMultiDict:
    """Read a form after checking that it was sent from one of this user's pages.

    Raises:
        ForbiddenError: it came from another site, or without the session's token.
    """
    form = await read_form(request)
    token = str(form.get("csrf", ""))
    if not rules.came_from_here(request.headers) or not hmac.compare_digest(
        token.encode(), viewer.csrf_token.encode()
    ):
        raise ForbiddenError(
            "this form was not sent from your page; go back, reload the page and try again"
        )
    return form


def cookie_name(settings: Settings, kind: str = "session") -> str:
    """The cookie's name. With https its prefix makes browsers enforce Secure, the path / and this
    host."""
    prefix = "__Host-" if settings.base_url.startswith("https://") else ""
    return f"{prefix}everafter-{kind}"


def make_cookie(
    settings: Settings, kind: str, value: str, lasts: timedelta = ABSOLUTE_LIMIT
) -> Cookie:
    """A cookie that scripts cannot read and other sites' forms cannot send; an empty value deletes
    it."""
    return Cookie(
        key=cookie_name(settings, kind),
        value=value,
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.base_url.startswith("https://"),
        max_age=int(lasts.total_seconds()) if value else 0,
    )
