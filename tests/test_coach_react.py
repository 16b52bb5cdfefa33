"""InAppCoach with real React in a real browser, on another origin's page with a strict CSP."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from helpers_foreign import Answer, Routes, foreign_site, json_answer, strict_policy
from helpers_node import react_project, run_node
from helpers_server import Server

CHROMIUM = (
    os.environ.get("EVERAFTER_TEST_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return react_project(tmp_path_factory.mktemp("react"))


def test_the_types_accept_valid_and_reject_invalid_props(project: Path) -> None:
    run_node(project, "node_modules/.bin/tsc", "-p", ".")


def test_server_rendering_gives_the_empty_element(project: Path) -> None:
    html = run_node(project, "node", "ssr.mjs").strip()
    assert (
        html
        == '<everafter-coach supplier-id="7" server="https://success.example.com" page="/forms"></everafter-coach>'
    )


@dataclass
class Platform:
    """The React page in a browser. asked: the addresses of the coach's JSON that it asked for."""

    page: Page
    origin: str
    suppliers: list[str]
    asked: list[str] = field(default_factory=list)

    @property
    def reported(self) -> dict[str, Any]:
        return self.page.evaluate("reported")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).click()

    def wait_asked(self, number: int, part: str = "") -> None:
        deadline = time.monotonic() + 10
        while sum(part in address for address in self.asked) < number:
            assert time.monotonic() < deadline, self.asked
            self.page.wait_for_timeout(30)


def new_supplier(server: Server, name: str) -> str:
    """Signed up two days ago, and has logged in once: the checklist has steps to do."""
    supplier, key, now = str(uuid.uuid4()), server.key("ingest"), datetime.now(UTC)
    began = (now - timedelta(days=2)).isoformat()
    traits = {
        "name": name,
        "email": "hello@example.com",
        "vendor_type": "photographer",
        "createdAt": began,
    }
    batch: list[dict[str, Any]] = [{"type": "identify", "userId": supplier, "traits": traits}]
    done = ("account_created", "vendor_type_selected", "completed_wizard", "login")
    batch += [
        {"type": "track", "event": event, "userId": supplier, "timestamp": began, "properties": {}}
        for event in done
    ]
    batch = [{**message, "messageId": uuid.uuid4().hex} for message in batch]
    answer = httpx.post(
        f"{server.base_url}/v1/batch",
        json={"batch": batch},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 200 and not answer.json().get("rejected"), answer.text
    server.wait_folded()
    return supplier


@pytest.fixture
def platform(
    request: pytest.FixtureRequest, server: Server, project: Path, tmp_path: Path
) -> Iterator[Platform]:
    react = getattr(request, "param", "")
    names = (
        [f"--alias:react={'react' + react}", f"--alias:react-dom={'react-dom' + react}"]
        if react
        else []
    )
    form = ["--bundle", "--format=esm", "--jsx=automatic", f"--outfile={tmp_path}/app.js"]
    run_node(project, "node_modules/.bin/esbuild", "app.jsx", *form, *names)
    suppliers = [new_supplier(server, "Ada Photography"), new_supplier(server, "Grace Films")]
    coach_key = httpx.Client(
        base_url=server.base_url, headers={"Authorization": f"Bearer {server.key('coach')}"}
    )

    def token(path: str) -> Answer:
        answer = coach_key.post("/api/coach/tokens", json={"supplier_id": path.rpartition("/")[2]})
        assert answer.status_code in {200, 201}, answer.text
        return json_answer({"token": answer.json()["token"]})

    settings = json.dumps({"server": server.base_url, "suppliers": suppliers})
    html = (
        "<!doctype html><html lang=en><title>Platform</title><script src=/watch.js></script>"
        f"<script type='application/json' id=settings>{settings}</script><div id=app></div><script type=module src=/app.js></script>"
    )
    routes: Routes = {
        "/": ("text/html", html),
        "/app.js": ("text/javascript", (tmp_path / "app.js").read_bytes()),
        "/token/*": token,
    }
    with (
        coach_key,
        foreign_site(routes, strict_policy(server.base_url)) as origin,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page()
        made = Platform(page, origin, suppliers)
        page.on(
            "request",
            lambda request: (
                made.asked.append(request.url) if "/api/coach?" in request.url else None
            ),
        )
        page.goto(origin)
        page.get_by_role("button", name="Your coach").wait_for()
        yield made
        assert page.evaluate("troubles") == []
        browser.close()


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("platform", ["", "18"], indirect=True, ids=["newest", "18"])
def test_it_renders_once_and_requests_the_suppliers_token(platform: Platform) -> None:
    platform.wait_asked(1)
    assert platform.page.locator("everafter-coach").count() == 1
    reported = platform.reported
    assert set(reported["tokens"]) == {platform.suppliers[0]} and not reported["errors"]


@needs_chromium
@pytest.mark.browser
def test_rendering_again_sends_no_requests(platform: Platform) -> None:
    platform.wait_asked(1)
    platform.page.wait_for_timeout(200)
    asked, tokens = len(platform.asked), len(platform.reported["tokens"])
    for number in range(5):
        platform.press(f"Rendered {number}")
    platform.page.wait_for_timeout(300)
    assert (len(platform.asked), len(platform.reported["tokens"])) == (asked, tokens)


@needs_chromium
@pytest.mark.browser
def test_it_follows_the_platforms_router_without_a_new_token(platform: Platform) -> None:
    platform.wait_asked(1)
    platform.page.wait_for_timeout(200)
    tokens = len(platform.reported["tokens"])
    platform.press("Forms")
    platform.wait_asked(1, "page=%2Fforms")
    assert len(platform.reported["tokens"]) == tokens


@needs_chromium
@pytest.mark.browser
def test_a_button_calls_the_platforms_router_once(platform: Platform) -> None:
    platform.page.get_by_role("button", name="Your coach").click()
    panel = platform.page.get_by_role("dialog")
    panel.get_by_role("link").first.click()
    platform.page.wait_for_function("reported.actions.length > 0")
    platform.page.wait_for_timeout(
        900
    )  # longer than the element waits before it would go by itself
    actions = platform.reported["actions"]
    assert len(actions) == 1 and actions[0].startswith("/")
    assert platform.page.get_by_role("heading", level=1).inner_text() == actions[0], (
        "the router went there"
    )
    assert platform.page.url == platform.origin + "/", "and the browser stayed"


@needs_chromium
@pytest.mark.browser
def test_another_supplier_gets_a_new_coach(platform: Platform) -> None:
    platform.wait_asked(1)
    platform.page.evaluate("globalThis.first = document.querySelector('everafter-coach')")
    platform.press("Somebody else")
    platform.page.wait_for_function(
        "reported.tokens.at(-1) === document.querySelector('everafter-coach').getAttribute('supplier-id')"
    )
    assert platform.reported["tokens"][-1] == platform.suppliers[1]
    assert platform.page.evaluate(
        "first !== document.querySelector('everafter-coach') && !first.isConnected"
    )


@needs_chromium
@pytest.mark.browser
def test_it_can_be_removed_and_mounted_again(platform: Platform) -> None:
    platform.wait_asked(1)
    platform.press("Coach on and off")
    assert platform.page.locator("everafter-coach").count() == 0
    asked = len(platform.asked)
    platform.press("Coach on and off")
    platform.page.get_by_role("button", name="Your coach").wait_for()
    platform.wait_asked(asked + 1)
