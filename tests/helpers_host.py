"""A page of somebody else's that means the coach ill: its styles, boxes, dialogs and listeners are the test's."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from everafter.core.settings import Settings
from helpers_foreign import Answer, Reply, Routes, foreign_site, json_answer
from helpers_platform import WATCH, add_supplier, coach_settings, sign
from helpers_server import Server, serving
from helpers_visit import chromium as chromium
from helpers_visit import opener

_ELEMENT = '<everafter-coach token-url="/token" supplier-id="{supplier}"></everafter-coach>'
_POLICY = "default-src 'self' 'unsafe-inline' {server} data:; connect-src 'self' {server}"


@dataclass
class Host:
    """The site. supplier: who is signed in; token: what the address of the token answers instead of a
    good one; moved: what `/moved` answers; asked: how many tokens were asked for; sent: how
    often a browser tried to; bearers: what was sent to Everafter as a token."""

    server: Server
    chromium: Browser
    key: str
    origin: str = ""
    supplier: str = ""
    html: str = ""
    token: Reply | Answer | None = None
    moved: Reply | Answer | None = None
    asked: int = 0
    sent: int = 0
    bearers: list[str] = field(default_factory=list[str])
    console: list[str] = field(default_factory=list[str])
    contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])

    def answer_token(self, _: str) -> Reply | Answer:
        self.asked += 1
        return self.token or json_answer({"token": sign(self.key, self.supplier)})

    def page(
        self,
        *,
        head: str = "",
        body: str = "{coach}",
        clock: bool = False,
        broken: bool = False,
        **more: Any,
    ) -> Page:
        """Open a page with this head and body; `{coach}` in the body is the element.

        clock: the page's timers run when the test says so. broken: no line leads to the token.
        """
        script = f'<script type="module" src="{self.server.base_url}/coach.js"></script>'
        element = _ELEMENT.replace("{supplier}", self.supplier)
        self.html = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Host</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"{head}{script}</head><body>{body.replace('{coach}', element)}</body></html>"
        )
        options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **more}
        context = self.chromium.new_context(base_url=self.origin, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.add_init_script(WATCH)
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        page.on("request", self._note)
        if clock:
            page.clock.install()
        if broken:
            page.route("**/token", lambda route: route.abort("connectionrefused"))
        page.goto("/")
        return page

    def ready(self, **more: Any) -> Page:
        """Open it, and wait until the coach has its answer."""
        page = self.page(**more)
        expect(opener(page).first).to_have_attribute("aria-label", "Your coach, 1 of 5 done")
        return page

    def repair(self, page: Page) -> None:
        """The line leads to the token again."""
        page.unroute_all(behavior="wait")

    def clear(self) -> None:
        """Close what the test opened, and forget what it did."""
        for context in self.contexts:
            context.close()
        for kept in (self.contexts, self.bearers, self.console):
            kept.clear()
        self.token = self.moved = None
        self.asked = self.sent = 0

    def _note(self, request: Any) -> None:
        self.sent += request.url == self.origin + "/token"
        if "/api/coach" in request.url and request.method != "OPTIONS":
            self.bearers.append(request.headers.get("authorization", ""))


@contextmanager
def serve_host(server: Server, chromium: Browser) -> Generator[Host]:
    """Serve it on an origin of its own."""
    host = Host(server, chromium, server.key("coach"))
    routes: Routes = {
        "/token": host.answer_token,
        "/favicon.ico": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "/": lambda _: ("text/html", host.html),
        "/moved": lambda _: host.moved or ("text/plain", ""),
    }
    with foreign_site(routes, _POLICY.replace("{server}", server.base_url)) as origin:
        host.origin = origin
        yield host
        host.clear()


@pytest.fixture(scope="module")
def site(
    module_settings: Settings, tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[Host]:
    """One server for a whole file of tests, and a supplier who is doing well."""
    settings = coach_settings(module_settings, tmp_path_factory.mktemp("coach"))
    with serving(settings) as server, serve_host(server, chromium) as host:
        host.supplier = add_supplier(server)
        yield host


@pytest.fixture
def host(site: Host) -> Iterator[Host]:
    """That site, with nothing left of the test before."""
    yield site
    site.clear()
