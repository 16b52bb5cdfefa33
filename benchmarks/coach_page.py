"""The coach in Chromium on a page of another origin: time from the load event to paint, and layout
shift.

The browser's cache is empty at each load. The panel is open from the page before, so that the
server's content is painted too."""

import asyncio
import itertools
import os
import shutil
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import psycopg
from playwright.sync_api import Browser, sync_playwright

from benchmarks.place import new_database
from benchmarks.population import load
from benchmarks.serving import serve
from benchmarks.table import Row
from everafter.accounts.keys import create_key
from everafter.coach.tokens import mint_token
from everafter.core.db import connection

LOADS, SUPPLIERS, VISITORS = 40, 1_000, 5
_SECRET = "a-secret-for-benchmarks-and-nothing-else"

# What is in the document in one frame is on the screen when the next one begins.
_WATCH = """
sessionStorage.setItem("everafter:open", "true");
globalThis.seen = {}; globalThis.shift = 0;
new PerformanceObserver((list) => { for (const one of list.getEntries()) shift += one.value; }).observe({ type: "layout-shift", buffered: true });
const look = () => {
  const root = document.querySelector("everafter-coach")?.shadowRoot;
  const there = { button: root?.querySelector(".opener"), content: root?.querySelector(".card, .checklist, .recommendations, .nothing") };
  for (const [name, node] of Object.entries(there))
    if (node?.checkVisibility() && !(name in seen)) { seen[name] = 0; requestAnimationFrame(() => { seen[name] = performance.now(); }); }
  if (!seen.button || !seen.content) requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def measure(server: str) -> list[Row]:
    chromium = (
        os.environ.get("EVERAFTER_TEST_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    if not chromium:
        return [
            Row(
                "coach in the page",
                "no Chromium: run scripts/install-test-tools",
                "–",
                "< 100 ms",
                False,
            )
        ]
    url = new_database(server, "coach_page")
    asyncio.run(load(url, SUPPLIERS, datetime.now(UTC) - timedelta(hours=1)))
    tokens = asyncio.run(_make_tokens(url))
    os.environ["EVERAFTER_SECRET"] = _SECRET
    with (
        serve(url) as (port, *_),
        _site(f"http://127.0.0.1:{port}", tokens) as origin,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        _load(browser, origin)  # warm up the browser
        first = [_load(browser, origin) for _ in range(VISITORS - 1)]
        loads = [_load(browser, origin) for _ in range(LOADS)]
        browser.close()
    button, content, shift = (
        [one[name] for one in loads] for name in ("button", "content", "shift")
    )
    cold = [one["content"] for one in first]
    on, middle = f"{LOADS} loads, empty cache, another origin", statistics.median(content)
    return [
        Row(
            "coach in the page, button after load",
            f"{on}: the worst",
            f"{max(button):.0f} ms",
            "< 100 ms",
            max(button) < 100,
        ),
        Row(
            "  content after load",
            "the same: median",
            f"{middle:.0f} ms",
            "< 100 ms",
            middle < 100,
        ),
        Row("  the worst", "the same", f"{max(content):.0f} ms", "–", True),
        Row(
            "  without a cached score",
            "scored first: median",
            f"{statistics.median(cold):.0f} ms",
            "–",
            True,
        ),
        Row(
            "  layout shift",
            "sum over all loads",
            f"{sum(shift):.4f}",
            "0",
            sum(shift) == 0,
        ),
    ]


def _load(browser: Browser, origin: str) -> dict[str, float]:
    """Milliseconds from the end of the load event (negative: before it), and the layout shift."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(origin)
    while not page.evaluate(
        "seen.button && seen.content"
    ):  # wait_for_function needs eval, which the policy forbids
        page.wait_for_timeout(20)
    page.wait_for_timeout(300)
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    seen, shift = page.evaluate("seen"), page.evaluate("shift")
    context.close()
    return {"button": seen["button"] - loaded, "content": seen["content"] - loaded, "shift": shift}


async def _make_tokens(url: str) -> list[str]:
    with psycopg.connect(url, options="-c search_path=everafter") as conn:
        ids: list[UUID] = [
            row[0]
            for row in conn.execute("SELECT id FROM suppliers ORDER BY id LIMIT %s", [VISITORS])
        ]
    async with connection(url) as conn:
        key = await create_key(conn, "coach", secret=_SECRET)
    return [
        mint_token(_SECRET, key, supplier_id, datetime.now(UTC), minutes=15, locale=None)
        for supplier_id in ids
    ]


@contextmanager
def _site(server: str, tokens: list[str]) -> Iterator[str]:
    """Serve the platform's page, and tokens of one supplier after the other."""
    waiting = itertools.cycle(tokens)
    html = (
        f'<!doctype html><html lang="en"><title>Platform</title><script type="module" src="{server}/coach.js"></script>'
        '<h1>Platform</h1><p>A page of its own.</p><everafter-coach token-url="/token"></everafter-coach></html>'
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (next(waiting) if self.path == "/token" else html).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain" if self.path == "/token" else "text/html")
            self.send_header("Content-Length", str(len(body)))
            policy = f"default-src 'none'; script-src {server}; connect-src 'self' {server}; style-src 'self'"
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name in the base class
            return

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{site.server_port}"
    finally:
        site.shutdown()
        site.server_close()
