"""A site of somebody else's: another origin, a strict Content-Security-Policy, and pages that tell what went wrong in them."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[str, str | bytes]


@dataclass(frozen=True)
class Reply:
    """An answer with another status than 200, or with headers."""

    status: int
    kind: str = "text/plain"
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])


Routes = dict[str, Answer | Callable[[str], Answer | Reply]]


def strict_policy(server: str) -> str:
    """Nothing but the site's own files and Everafter's module and API; nothing inline."""
    return (
        f"default-src 'none'; script-src 'self' {server}; connect-src 'self' {server}; style-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


# Served as a file of the site's own, before all others: what the policy stopped, and what no one caught.
WATCH = """
globalThis.troubles = [];
addEventListener("securitypolicyviolation", (event) => troubles.push(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("error", (event) => troubles.push(`error ${event.message}`));
addEventListener("unhandledrejection", (event) => troubles.push(`rejection ${event.reason}`));
"""


def json_answer(value: object) -> Answer:
    return "application/json", json.dumps(value)


@contextmanager
def foreign_site(routes: Routes, policy: str) -> Generator[str]:
    """Serve the routes (a path ending in * takes all that begin so) on a loopback port of its own; gives the origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = routes.get(path) or next(
                (r for p, r in routes.items() if p.endswith("*") and path.startswith(p[:-1])), None
            )
            if path == "/watch.js":
                found = ("text/javascript", WATCH)
            if found is None:
                self.send_error(404)
                return
            answer = found(self.path) if callable(found) else found
            reply = answer if isinstance(answer, Reply) else Reply(200, *answer)
            payload = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            self.send_header("Content-Type", f"{reply.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(payload)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            with suppress(ConnectionError):  # the browser has read enough
                self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            return

    site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.daemon_threads = True
    thread = threading.Thread(target=site.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{site.server_port}"
    finally:
        site.shutdown()
        site.server_close()
        thread.join(10)
