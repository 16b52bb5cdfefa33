"""Suppliers as the coach meets them, and a platform of another origin with the coach in its pages."""

import re
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
from playwright.sync_api import Page

from everafter.core.settings import Settings
from everafter.playbook.loading import playbook_path, read_playbook
from helpers_foreign import Routes, foreign_site, json_answer, strict_policy
from helpers_server import Server

# One tip for pages under /tip, for everybody; nobody is in the holdout, or a test would hang on the lot.
_TIP = """
[tips.greet]
when = "clients_total >= 1"
pages = ["/tip*"]
title = '''Say hello to {who}'''
body = "A line a week keeps a client with you."
reason = "You have {clients_total} clients."
action_label = "Write to them"
action_url = "/clients?to=all"
success = "clients_total >= 5"
priority = 100
holdout = 0.0

[tips.greet.translations.de]
title = "Sagen Sie Hallo"
action_label = "Schreiben"
"""
STYLE = """
:root { color-scheme: light dark; font-family: sans-serif; }
body { margin: 2rem; min-height: 150vh; background: light-dark(#f4f1ec, #15181a); color: light-dark(#222, #ddd); }
a { color: inherit; }
"""


def coach_settings(settings: Settings, folder: Path, who: str = "your clients") -> Settings:
    """The shipped playbook with a tip of our own in place of its tips, and nobody in the holdout."""
    text = read_playbook(playbook_path(settings)).replace(
        "global_share = 0.05", "global_share = 0.0"
    )
    text = re.sub(r"(?ms)^\[tips\..*?(?=^\[(?!tips\.)|\Z)", "", text)
    path = folder / "coach.toml"
    path.write_text(text + _TIP.replace("{who}", who), encoding="utf-8")
    return replace(settings, playbook=path)


def add_supplier(
    server: Server,
    *,
    inactive_days: float = 0,
    form: bool = False,
    client: str = "Amy & Tom",
    **traits: Any,
) -> str:
    """A photographer of 40 days who is doing well; with `inactive_days`, one who has not come for so long; with `form`, one whose
    first form was made a minute ago."""
    supplier, now = str(uuid.uuid4()), datetime.now(UTC)
    began = now - timedelta(days=40)
    last = now - timedelta(days=inactive_days, minutes=5)
    said = {
        "name": "Rosewood",
        "email": "hello@rosewood.example",
        "vendor_type": "photographer",
        "plan": "pro",
        "country": "GB",
        "timezone": "Europe/London",
        "created_at": began.isoformat(),
        **traits,
    }
    client = {
        "client_id": "amy",
        "name": client,
        "wedding_date": str((now + timedelta(days=300)).date()),
    }
    events: list[tuple[str, datetime, dict[str, Any]]] = [
        *(
            (event, began, {})
            for event in ("account_created", "vendor_type_selected", "completed_wizard", "login")
        ),
        ("client_added", began + timedelta(days=1), client),
        *(
            ("feature_used", last, {"feature": feature})
            for feature in ("forms", "gallery", "invoices")
        ),
        ("client_active", last, {"client_id": "amy"}),
        ("login", last, {}),
    ]
    if form:
        events.append(("form_created", now - timedelta(minutes=1), {}))
    batch: list[dict[str, Any]] = [
        {"type": "identify", "userId": supplier, "messageId": f"{supplier}-id", "traits": said}
    ]
    for place, (event, at, properties) in enumerate(events):
        one = {
            "type": "track",
            "event": event,
            "timestamp": at.isoformat(),
            "properties": properties,
        }
        batch.append({**one, "userId": supplier, "messageId": f"{supplier}-{place}"})
    send(server, batch)
    return supplier


def send(server: Server, batch: list[dict[str, Any]]) -> None:
    """Hand events in as the platform's server does, and wait until they are part of the suppliers' states."""
    with server.client("ingest") as client:
        answer = client.post("/v1/batch", json={"batch": batch}).json()
    assert answer["rejected"] == [], answer
    server.wait_folded()


def track(server: Server, supplier: str, event: str, **properties: Any) -> None:
    """One event, now."""
    one = {
        "type": "track",
        "userId": supplier,
        "messageId": str(uuid.uuid4()),
        "event": event,
        "properties": properties,
    }
    send(server, [one])


def sign(key: str, supplier: str, seconds: int = 600, **claims: Any) -> str:
    """A token as the platform's server signs it."""
    now = int(datetime.now(UTC).timestamp())
    body = {"sub": supplier, "aud": "everafter-coach", "iat": now, "exp": now + seconds, **claims}
    return jwt.encode(body, key, algorithm="HS256", headers={"typ": "coach+jwt"})


@dataclass
class Platform:
    """The foreign site. supplier: who is signed in; attributes: of the element; tokens: handed out before good ones, null for none;
    asked: how many were asked for."""

    server: Server
    key: str
    origin: str = ""
    supplier: str = ""
    attributes: str = ""
    elements: int = 1
    lang: str = "en"
    dir: str = "ltr"
    script: str = "coach.js"
    tokens: list[str | None] = field(default_factory=list[str | None])
    asked: int = 0

    def token(self, _: str) -> tuple[str, str]:
        self.asked += 1
        return json_answer(
            {"token": self.tokens.pop(0) if self.tokens else sign(self.key, self.supplier)}
        )

    def html(self, path: str) -> tuple[str, str]:
        element = (
            f'<everafter-coach token-url="/coach-token" {self.attributes}></everafter-coach>'
            * self.elements
        )
        script = f'<script type="module" crossorigin src="{self.server.base_url}/{self.script}"></script>'
        return "text/html", (
            f'<!doctype html><html lang="{self.lang}" dir="{self.dir}"><head><meta charset="utf-8"><title>Aisle</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/style.css">'
            f'<script src="/watch.js"></script><script src="/axe.js"></script>{script}</head>'
            f"<body><main><h1>{path.partition('?')[0]}</h1><p>The platform's own page.</p><a href='/'>Home</a></main>{element}</body></html>"
        )


@contextmanager
def platform(server: Server, axe: Path | None = None) -> Generator[Platform]:
    """Serve it; every path is the same page."""
    made = Platform(server, server.key("coach"))
    routes: Routes = {
        "/coach-token": made.token,
        "/style.css": ("text/css", STYLE),
        "/axe.js": ("text/javascript", axe.read_text(encoding="utf-8") if axe else ""),
        "/favicon.ico": ("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "/*": made.html,
    }
    with foreign_site(routes, strict_policy(server.base_url)) as origin:
        made.origin = origin
        yield made


# What jumps in the page or the coach (the browser leaves out what follows a click at once), and what the coach tells the page.
WATCH = """
globalThis.shifts = [];
new PerformanceObserver((list) => shifts.push(...list.getEntries().filter((one) => !one.hadRecentInput).map((one) => one.value)))
  .observe({ type: "layout-shift", buffered: true });
globalThis.heard = [];
for (const name of ["action", "booked", "celebrate", "error"])
  addEventListener("everafter:" + name, (event) => heard.push([name, event.detail]));
"""


def book(server: Server, supplier: str, starts_at: str) -> httpx.Response:
    """Somebody else's booking of that time."""
    with server.client("write") as client:
        body = {"supplier_id": supplier, "type": "success_call", "starts_at": starts_at}
        return client.post("/api/support/schedule-call", json=body)


def wait_until(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Let the browser go on until it is so.

    Raises:
        AssertionError: it was not within thirty seconds.
    """
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(what)
