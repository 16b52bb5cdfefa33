"""Who is asking: the session behind a page, and whether a form is really theirs."""

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
    """`viewer` for a page's handler.

    Raises:
        UnauthorizedError: nobody is signed in (a browser is then led to the sign-in page).
    """
    token = request.cookies.get(cookie_name(request.app.state.settings))
    viewer = await queries.find_viewer(conn, token) if token else None
    if viewer is None:
        raise _not_signed_in()
    return viewer


def refuse_strangers(request: AnyRequest) -> None:
    """For every request: a page for people who are signed in costs a stranger no database
    connection.

    Raises:
        UnauthorizedError: the handler asks for `viewer`, and no session cookie came.
    """
    takes = request.scope["route_handler"].parsed_fn_signature.parameters
    if "viewer" in takes and not request.cookies.get(cookie_name(request.app.state.settings)):
        raise _not_signed_in()


def _not_signed_in() -> UnauthorizedError:
    return UnauthorizedError("sign in first; a program sends an API key to /api instead")


async def check_form(request: AnyRequest, viewer: Viewer) -> FormMultiDict:
    """The form, once it is known to come from a page that this person was shown.

    Raises:
        ForbiddenError: it came from another site, or without the session's token.
    """
    form = await read_form(request)
    token = str(form.get("csrf", ""))
    if not rules.came_from_here(request.headers) or not hmac.compare_digest(
        token.encode(), viewer.csrf_token.encode()
    ):
        raise ForbiddenError(
            "this form did not come from a page of yours; go back, reload the page and try again"
        )
    return form


def cookie_name(settings: Settings, kind: str = "session") -> str:
    """With https the name itself makes browsers insist on Secure, on path / and on this very
    host."""
    prefix = "__Host-" if settings.base_url.startswith("https://") else ""
    return f"{prefix}everafter-{kind}"


def make_cookie(
    settings: Settings, kind: str, value: str, lasts: timedelta = ABSOLUTE_LIMIT
) -> Cookie:
    """A cookie no script can read and no other site's form can send; an empty value removes it."""
    return Cookie(
        key=cookie_name(settings, kind),
        value=value,
        path="/",
        httponly=True,
        samesite="lax",
        secure=settings.base_url.startswith("https://"),
        max_age=int(lasts.total_seconds()) if value else 0,
    )
