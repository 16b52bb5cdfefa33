"""A sample platform, "Aisle & Co", with the coach embedded in its pages.

It runs on its own origin under a strict Content-Security-Policy. Like a real platform, its server
signs coach tokens for the signed-in supplier and sends events to Everafter."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import jwt
from litestar import Litestar, Response, get, post
from litestar.datastructures import Cookie, State
from litestar.params import FromPath
from litestar.response import Redirect, Template

from everafter.core.db import connection
from everafter.core.pages import template_config
from everafter.core.web import AnyRequest
from everafter.demo import platform_queries as queries
from everafter.demo.platform_queries import Tenant
from everafter.playbook.model import Playbook

_TOKEN_SECONDS = 300
_LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "it": "Italiano",
    "nl": "Nederlands",
}
_PAGES = {
    "/dashboard": "Overview",
    "/clients": "Clients",
    "/forms": "Forms",
    "/journeys": "Journeys",
    "/account/billing": "Billing",
}

_GENERATED: dict[str, Callable[[], str]] = {
    "(new)": lambda: secrets.token_hex(6),
    "(in seven months)": lambda: (datetime.now(UTC) + timedelta(days=210)).date().isoformat(),
}

# Actions on the pages: the event sent to Everafter, its properties (some are generated when the
# event is sent), and the confirmation on the page.
_ACTIONS: dict[str, tuple[str, dict[str, str], str]] = {
    "import": ("import_clients_started", {}, "Your list of clients is being read."),
    "client": (
        "client_added",
        {"client_id": "(new)", "name": "Noor & Alex", "wedding_date": "(in seven months)"},
        "Noor & Alex are on your books.",
    ),
    "form": ("form_created", {}, "Your form is ready to send."),
    "invite": ("invite_sent_to_client", {"client_id": "(new)"}, "The invitation is on its way."),
    "journey": ("customer_journey_started", {}, "Your journey is running."),
    "automation": ("automation_enabled", {}, "The automation is on."),
    "pay": ("payment_recovered", {}, "Thank you. The payment went through."),
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everafter's address and the two keys the platform needs."""

    everafter: str
    ingest_key: str
    coach_key: str


def create_platform(url: str, wiring: Wiring, playbook: Playbook) -> Litestar:
    """Create the platform's application, which reads the demo's database at `url`.

    Args:
        playbook: Everafter's, which says what the coach of each supplier shows.
    """
    return Litestar(
        route_handlers=[
            redirect_to_overview,
            switch_supplier,
            switch_language,
            get_token,
            get_style,
            do_action,
            show_page,
        ],
        state=State({"url": url, "wiring": wiring, "playbook": playbook}),
        template_config=template_config(),
        openapi_config=None,
        logging_config=None,
    )


def sign_token(coach_key: str, supplier_id: UUID, now: int) -> str:
    """Sign a coach token for the signed-in supplier, with a standard JWT library (HS256)."""
    claims = {
        "sub": str(supplier_id),
        "aud": "everafter-coach",
        "iat": now,
        "exp": now + _TOKEN_SECONDS,
    }
    return jwt.encode(claims, coach_key, algorithm="HS256", headers={"typ": "coach+jwt"})


async def _tenants(request: AnyRequest, state: State) -> tuple[list[Tenant], Tenant | None]:
    """Return the suppliers to choose from and the signed-in one. The cookie needs no signature
    here: every visitor may be any supplier."""
    try:
        chosen = UUID(request.cookies.get("aisle_supplier", ""))
    except ValueError:
        chosen = None
    async with connection(state.url) as conn:
        tenants = await queries.list_tenants(conn, chosen, state.playbook, datetime.now(UTC))
    return tenants, next(
        (tenant for tenant in tenants if tenant.id == chosen), tenants[0] if tenants else None
    )


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────


@get("/")
async def redirect_to_overview() -> Redirect:
    """Redirect to the overview."""
    return Redirect("/dashboard", status_code=302)


@get("/{path:path}")
async def show_page(request: AnyRequest, state: State, path: FromPath[str]) -> Response[Any]:
    """Show any page. Pages outside the menu have a title only."""
    tenants, tenant = await _tenants(request, state)
    language = request.cookies.get("aisle_language", "en")
    figures, clients = None, []
    if tenant:
        async with connection(state.url) as conn:
            figures = await queries.get_figures(conn, tenant.id)
            is_overview = path == "/dashboard"
            clients = await queries.list_clients(
                conn, tenant.id, 5 if is_overview else 40, coming=is_overview
            )
    action = _ACTIONS.get(request.query_params.get("done", ""))
    context = {
        "path": path,
        "menu": _PAGES,
        "title": _PAGES.get(path)
        or path.strip("/").replace("-", " ").replace("/", " · ").capitalize()[:80],
        "tenant": tenant,
        "tenants": tenants,
        "figures": figures,
        "clients": clients,
        "languages": _LANGUAGES,
        "language": language if language in _LANGUAGES else "en",
        "everafter": state.wiring.everafter,
        "done": action[2] if action else "",
    }
    return Template(
        "demo/templates/platform.html",
        context=context,
        media_type="text/html",
        headers=_headers(state.wiring),
    )


def _headers(wiring: Wiring) -> dict[str, str]:
    """Headers with a strict Content-Security-Policy: own files, Everafter's module and API."""
    policy = (
        f"default-src 'none'; script-src {wiring.everafter};"
        f" connect-src 'self' {wiring.everafter}; style-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }


@get("/platform.css", sync_to_thread=True)
def get_style() -> Response[bytes]:
    """Serve the stylesheet."""
    style = resources.files("everafter.demo").joinpath("templates", "platform.css").read_bytes()
    return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})


@post("/as", status_code=303)
async def switch_supplier(request: AnyRequest) -> Response[Any]:
    """Sign in as another supplier."""
    form = await request.form()
    return _back(
        request,
        Cookie(
            "aisle_supplier",
            value=str(form.get("supplier", ""))[:36],
            httponly=True,
            samesite="lax",
        ),
    )


@post("/language", status_code=303)
async def switch_language(request: AnyRequest) -> Response[Any]:
    """Change the coach's language."""
    form = await request.form()
    return _back(
        request,
        Cookie(
            "aisle_language", value=str(form.get("language", ""))[:2], httponly=True, samesite="lax"
        ),
    )


def _back(request: AnyRequest, *cookies: Cookie, done: str = "") -> Response[Any]:
    path = httpx.URL(request.headers.get("referer", "/dashboard")).path
    where = "/" + quote(path.lstrip("/"), safe="/") + (f"?done={done}" if done else "")
    return Response(
        b"",
        status_code=303,
        headers={"Location": where},
        cookies=list(cookies),
        media_type="text/plain",
    )


# ── calls between the platform's server and Everafter ─────────────────────────────────────────────


@get("/coach-token")
async def get_token(request: AnyRequest, state: State) -> Response[Any]:
    """Return a coach token for the signed-in supplier."""
    _, tenant = await _tenants(request, state)
    if tenant is None:
        return Response({"message": "not signed in"}, status_code=401)
    token = sign_token(state.wiring.coach_key, tenant.id, int(time.time()))
    return Response({"token": token}, headers={"Cache-Control": "no-store"})


@post("/do/{action:str}", status_code=303)
async def do_action(request: AnyRequest, state: State, action: FromPath[str]) -> Response[Any]:
    """Send the action's event to Everafter."""
    _, tenant = await _tenants(request, state)
    if tenant is None or action not in _ACTIONS:
        return _back(request)
    event, properties, _ = _ACTIONS[action]
    known = {
        name: _GENERATED[value]() if value in _GENERATED else value
        for name, value in properties.items()
    }
    wiring: Wiring = state.wiring
    async with httpx.AsyncClient(timeout=10) as client:
        answer = await client.post(
            f"{wiring.everafter}/v1/track",
            json={
                "userId": str(tenant.id),
                "event": event,
                "properties": known,
                "messageId": str(uuid4()),
            },
            headers={"Authorization": f"Bearer {wiring.ingest_key}"},
        )
        answer.raise_for_status()
    await _wait_folded(state.url, tenant.id)
    return _back(request, done=action)


async def _wait_folded(url: str, supplier_id: UUID) -> None:
    """Wait for the supplier's events to count, two seconds at most, so that the page that follows
    shows them. A platform that stays on its page calls `refresh` of the coach instead."""
    async with connection(url) as conn:
        for _ in range(40):
            if not await queries.has_pending_events(conn, supplier_id):
                return
            await asyncio.sleep(0.05)
