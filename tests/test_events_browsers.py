"""Browsers send events: the real web SDKs in Chromium on a page of another origin, and `navigator.sendBeacon`."""

import base64
import gzip
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from everafter.core.settings import Settings
from helpers_browser import bundle_sdks, chromium, needs_chromium
from helpers_foreign import Routes, foreign_site
from helpers_server import Server, serving

ELSEWHERE = "https://app.example"
BATCH_PATHS = ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch"]
CALL_PATHS = {
    "/v1/t": {"event": "login"},
    "/v1/track": {"event": "login"},
    "/v1/p": {"name": "Clients"},
    "/v1/s": {"name": "Home"},
    "/v1/i": {"traits": {"plan": "pro"}},
    "/v1/g": {"groupId": "SUPPLIER", "traits": {"plan": "pro"}},
    "/v1/a": {"previousId": "visitor"},
}
POSTHOG_PATHS = ["/batch", "/capture", "/e", "/i/v0/e"]


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Server]:
    """One server for all: every test has suppliers of its own."""
    with serving(module_settings, own_address=True) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.key("ingest")


@pytest.fixture
def supplier(server: Server) -> str:
    supplier_id = str(uuid.uuid4())
    server.sql("INSERT INTO suppliers (id, name) VALUES (%s, 'Known')", supplier_id)
    return supplier_id


def stored(server: Server, supplier: str) -> dict[str, int]:
    return dict(
        server.sql(
            "SELECT type, count(*)::int FROM events WHERE supplier_id = %s GROUP BY type", supplier
        )
    )


def preflight(
    server: Server, path: str, asked: str = "content-type", **headers: str
) -> httpx.Response:
    more = {
        "Origin": ELSEWHERE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
        **headers,
    }
    return httpx.options(server.base_url + path, headers=more)


def assert_readable(answer: httpx.Response) -> None:
    """A page of elsewhere may read this answer, whatever its fetch does with cookies."""
    assert answer.headers["access-control-allow-origin"] == ELSEWHERE, answer.url
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


# ── paths and headers ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_accepts_the_same_event(
    server: Server, key: str, supplier: str, slash: str
) -> None:
    def send(path: str, body: dict[str, Any]) -> None:
        url = server.base_url + path + slash
        answer = httpx.post(
            url,
            content=json.dumps(body),
            headers={"Origin": ELSEWHERE, "Content-Type": "text/plain"},
        )
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (
            200,
            1,
            [],
        ), path
        assert_readable(answer)

    for path in BATCH_PATHS:
        event = {
            "type": "track",
            "event": "login",
            "userId": supplier,
            "messageId": uuid.uuid4().hex,
        }
        send(path, {"batch": [event], "writeKey": key})
    for path, call in CALL_PATHS.items():
        filled = {name: supplier if value == "SUPPLIER" else value for name, value in call.items()}
        send(path, {"userId": supplier, "messageId": uuid.uuid4().hex, "writeKey": key, **filled})
    for path in POSTHOG_PATHS:
        send(
            path,
            {"api_key": key, "event": "login", "distinct_id": supplier, "uuid": str(uuid.uuid4())},
        )
    assert stored(server, supplier) == {"login": 10, "page": 1, "screen": 1}


@pytest.mark.parametrize(
    "path",
    [
        *BATCH_PATHS,
        *CALL_PATHS,
        *POSTHOG_PATHS,
        "/v1/m",
        "/v1/nothing",
        "//v1//t",
        "/v1/projects/k/settings",
        "/sourceConfig",
        "/flags/",
        "/s/",
    ],
)
def test_a_preflight_permits_every_header_that_it_asks_for(server: Server, path: str) -> None:
    asked = "anonymousid,authorization,content-type,rsa-since-last-attempt,x-made-up"
    answer = preflight(server, path, asked)
    assert answer.status_code == 204
    assert_readable(answer)
    permitted = {
        name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")
    }
    assert set(asked.split(",")) <= permitted
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert int(answer.headers["access-control-max-age"]) > 0


def test_a_preflight_repeats_only_valid_header_names(server: Server) -> None:
    answer = preflight(
        server,
        "/v1/track",
        "content-type, x y, a(b), " + ", ".join(f"x-{number}" for number in range(500)),
    )
    permitted = [name.strip() for name in answer.headers["access-control-allow-headers"].split(",")]
    assert permitted[0] == "content-type" and "x-1" in permitted
    assert len(permitted) <= 64 and not {"x y", "a(b)"} & set(permitted)


def test_a_preflight_for_a_private_network_is_allowed(server: Server) -> None:
    asked = preflight(server, "/v1/track", **{"Access-Control-Request-Private-Network": "true"})
    assert asked.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-private-network" not in preflight(server, "/v1/track").headers


def test_error_responses_allow_the_pages_origin(server: Server, key: str) -> None:
    auth, origin = {"Authorization": f"Bearer {key}"}, {"Origin": ELSEWHERE}
    answers = {
        400: httpx.post(f"{server.base_url}/v1/t", content=b"{", headers=auth | origin),
        401: httpx.post(f"{server.base_url}/v1/t", content=b"{}", headers=origin),
        404: httpx.post(f"{server.base_url}/v1/nothing", content=b"{}", headers=auth | origin),
        405: httpx.get(
            f"{server.base_url}/v1/batch", headers=auth | origin | {"Accept": "text/html"}
        ),
        413: httpx.post(
            f"{server.base_url}/v1/batch", content=b" " * 5_000_000, headers=auth | origin
        ),
    }
    limit = server.app.state.admission.known
    limit.requests, before = limit.max_requests, limit.requests
    answers[503] = httpx.post(f"{server.base_url}/v1/batch", content=b"{}", headers=auth | origin)
    limit.requests = before
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert_readable(answer)
    assert answers[405].headers["allow"] == "POST, OPTIONS"
    assert "Retry-After" in answers[503].headers["access-control-expose-headers"]


def test_responses_of_the_connection_limits_allow_the_pages_origin(server: Server) -> None:
    answer = httpx.post(
        f"{server.base_url}/v1/t",
        content=b"{}",
        headers={"Origin": ELSEWHERE, "X-Long": "x" * 70_000},
    )
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (431, "*")


def test_only_listed_origins_can_send_events(server: Server, key: str, supplier: str) -> None:
    body = json.dumps({"userId": supplier, "event": "login", "messageId": "one", "writeKey": key})
    settings = replace(
        server.settings, ingest_origins=("https://app.example", "http://localhost:3000")
    )
    with serving(settings) as closed:

        def send(origin: str | None) -> httpx.Response:
            return httpx.post(
                f"{closed.base_url}/v1/t",
                content=body,
                headers={"Origin": origin} if origin else {},
            )

        for origin in (
            "https://evil.example",
            "https://app.example.evil.example",
            "http://app.example",
            "null",
        ):
            refused = send(origin)
            assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
            assert "access-control-allow-origin" not in refused.headers
        assert (
            "access-control-allow-origin"
            not in preflight(closed, "/v1/t", Origin="https://evil.example").headers
        )
        assert stored(server, supplier) == {}
        assert_readable(send(ELSEWHERE))
        assert send(None).status_code == 200, "a server names no origin"
        assert stored(server, supplier) == {"login": 1}


def test_the_key_can_be_in_the_query(server: Server, key: str, supplier: str) -> None:
    for number, name in enumerate(("writeKey", "api_key", "token")):
        body = json.dumps({"userId": supplier, "event": "login", "messageId": f"query-{number}"})
        assert httpx.post(f"{server.base_url}/v1/t?{name}={key}", content=body).status_code == 200
        assert httpx.post(f"{server.base_url}/v1/t?{name}=wrong", content=body).status_code == 401
    assert stored(server, supplier) == {"login": 3}


def form_bodies(key: str, supplier: str) -> dict[str, bytes]:
    """What PostHog's SDK has sent over the years, by name."""
    event = {
        "event": "login",
        "properties": {"token": key, "distinct_id": supplier, "note": "ä+b&c=d"},
    }

    def text(name: str) -> bytes:
        return json.dumps({**event, "uuid": f"form-{name}"}).encode()

    def base64_of(body: bytes) -> str:
        return base64.b64encode(body).decode()

    return {
        "base64": f"data={quote(base64_of(text('base64')), safe='')}".encode(),
        "bare": f"data={base64_of(text('bare'))}".encode(),
        "unpadded": f"data={base64_of(text('unpadded')).rstrip('=')}".encode(),
        "late": f"verbose=1&compression=base64&data={quote(base64_of(text('late')), safe='')}&ip=0".encode(),
        "plain": f"data={quote(text('plain'))}".encode(),
        "zipped": f"data={quote(base64_of(gzip.compress(text('zipped'))), safe='')}".encode(),
        "list": f"data={quote(base64_of(b'[' + text('list') + b']'), safe='')}".encode(),
        "not-a-form": text("not-a-form"),
        "only-gzip": gzip.compress(text("only-gzip")),
    }


def test_all_form_encodings_of_posthog_are_accepted(
    server: Server, key: str, supplier: str
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    bodies = form_bodies(key, supplier)
    for name, body in bodies.items():
        answer = httpx.post(
            f"{server.base_url}/e/?compression=base64&ip=1", content=body, headers=form
        )
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1), name
    rows = server.sql(
        "SELECT message_id, properties->>'note' FROM events WHERE supplier_id = %s", supplier
    )
    assert dict(rows) == {f"form-{name}": "ä+b&c=d" for name in bodies}
    for bad in (b"data=", b"data=%%%", b"data=!!!!", b"data=AAAA", b"data=" + b"a=1&" * 50):
        assert httpx.post(f"{server.base_url}/e/", content=bad, headers=form).status_code in {
            400,
            401,
        }, bad
    bomb = b"data=" + quote(base64.b64encode(gzip.compress(b" " * 50_000_000)).decode()).encode()
    assert httpx.post(f"{server.base_url}/e/", content=bomb, headers=form).status_code == 413


def test_the_settings_that_sdks_request_are_served(server: Server) -> None:
    def ask(path: str) -> Any:
        answer = httpx.get(server.base_url + path, headers={"Origin": ELSEWHERE})
        assert answer.status_code == 200
        assert_readable(answer)
        return answer.json()

    segment = ask("/v1/projects/k/settings")["integrations"]["Segment.io"]
    assert f"{segment['protocol']}://{segment['apiHost']}" == f"{server.base_url}/v1"
    assert ask("/sourceConfig/?writeKey=k&v=3")["source"]["enabled"] is True
    assert ask("/array/k/config")["hasFeatureFlags"] is False
    script = httpx.get(server.base_url + "/array/k%22];alert(1)/config.js")
    assert (
        script.headers["content-type"].startswith("text/javascript")
        and '["k\\"];alert(1)"]' in script.text
    )
    for path in ("/v1/m", "/flags/?v=2", "/decide/", "/s/"):
        assert httpx.post(server.base_url + path, content=b"anything").status_code == 200


# ── in Chromium ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Platform:
    """A site of another origin whose pages have the SDKs."""

    server: Server
    origin: str
    browser: Browser
    failures: list[str] = field(default_factory=list[str])

    def address(self, sdk: str, way: str, key: str) -> str:
        return f"{self.origin}/{sdk}?server={self.server.base_url}&key={key}&way={way}"

    def open(self, context: BrowserContext, address: str) -> Page:
        """A page with its SDK loaded; what the browser refuses to let it do is noted."""
        page = context.new_page()
        page.on(
            "console", lambda said: self.failures.append(said.text) if "CORS" in said.text else None
        )
        page.goto(address)
        page.wait_for_function("!!globalThis.send")
        return page


@pytest.fixture(scope="module")
def platform(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    bundles = bundle_sdks(tmp_path_factory.mktemp("sdks"))
    routes: Routes = {"/": ("text/html", "<!doctype html><title>Platform</title>")}
    for name, script in bundles.items():
        routes[f"/{name}.js"] = ("text/javascript", script)
        routes[f"/{name}"] = (
            "text/html",
            f"<!doctype html><title>{name}</title><script type=module src=/{name}.js></script>",
        )
    with ExitStack() as stack:
        origin = stack.enter_context(
            foreign_site(routes, "default-src 'self'; connect-src *; script-src *")
        )
        yield Platform(server, origin, stack.enter_context(chromium()))


def wait_until(page: Page, done: Any) -> None:
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        page.wait_for_timeout(50)


ALL = {"login": 1, "feature_used": 1, "page": 1}
# PostHog flushes after five seconds at most, which may pass on a busy machine before the page is left.
SLOW_FLUSH = """
{
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (run, wait, ...rest) => setTimeout(run, wait >= 5000 ? 12 * wait : wait, ...rest);
}
"""


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(
    ("sdk", "way"),
    [
        ("segment", "one by one"),
        ("segment", "leave"),
        ("rudderstack", "one by one"),
        ("rudderstack", "batch"),
        ("rudderstack", "leave"),
        ("posthog", "gzip"),
        ("posthog", "plain"),
        ("posthog", "leave"),
    ],
)
def test_an_sdk_delivers_everything_once(
    platform: Platform, server: Server, key: str, supplier: str, sdk: str, way: str
) -> None:
    context = platform.browser.new_context()
    if way == "leave":
        context.add_init_script(SLOW_FLUSH)
    page = platform.open(context, platform.address(sdk, way, key))
    page.evaluate("supplier => send(supplier)", supplier)

    def reported() -> list[tuple[Any, ...]]:
        return server.sql("SELECT name, plan FROM suppliers WHERE id = %s", supplier)

    if way == "leave":
        if sdk == "posthog":
            # it compresses and sends identify at once, and loses that when the page is left meanwhile
            wait_until(page, lambda: reported()[0][0] == "Ann Frost")
        assert stored(server, supplier) == {}, "it waits until the page is left"
        page.goto(platform.origin)

    wait_until(
        page, lambda: stored(server, supplier) == ALL and reported() == [("Ann Frost", "pro")]
    )
    assert (stored(server, supplier), reported()) == (ALL, [("Ann Frost", "pro")])
    again = platform.open(
        context, platform.address(sdk, "gzip", key)
    )  # what was kept for another try goes out now
    again.evaluate("() => fetch('/')")
    assert stored(server, supplier) == ALL
    assert platform.failures == []
    assert server.sql(
        "SELECT properties->>'feature' FROM events WHERE supplier_id = %s AND type = 'feature_used'",
        supplier,
    ) == [("forms",)]
    context.close()


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", ""]
)
def test_beacons_sent_while_leaving_the_page_arrive(
    platform: Platform, server: Server, key: str, supplier: str, kind: str
) -> None:
    page = platform.browser.new_context().new_page()
    page.goto(platform.origin)
    page.evaluate(
        """([url, body, kind]) => addEventListener("pagehide", () => {
            navigator.sendBeacon(url, kind ? new Blob([body], { type: kind }) : body);
        })""",
        [
            f"{server.base_url}/v1/t",
            json.dumps({"userId": supplier, "event": "login", "messageId": "b1", "writeKey": key}),
            kind,
        ],
    )
    page.goto(platform.origin + "/?next")
    wait_until(page, lambda: stored(server, supplier))
    assert stored(server, supplier) == {"login": 1}
    page.context.close()


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("credentials", ["omit", "include"])
def test_a_page_can_read_responses_and_errors(
    platform: Platform, server: Server, key: str, supplier: str, credentials: str
) -> None:
    page = platform.browser.new_context().new_page()
    page.goto(platform.origin)
    statuses = page.evaluate(
        """async ([url, key, body, credentials]) => {
            const headers = { "Content-Type": "application/json", "X-Anything": "1" };
            const send = (path, more, body) => fetch(url + path, { method: "POST", headers: { ...headers, ...more }, body, credentials });
            const auth = { Authorization: `Bearer ${key}` };
            const answers = [await send("/v1/t", auth, body), await send("/v1/t", {}, "{}"), await send("/v1/t", auth, "{"),
                await send("/v1/nothing", auth, "{}"), await send("/batch/", auth, "{")];
            return Promise.all(answers.map(async (answer) => [answer.status, "accepted" in await answer.json()]));
        }""",
        [
            server.base_url,
            key,
            json.dumps({"userId": supplier, "event": "login", "messageId": "f1"}),
            credentials,
        ],
    )
    assert statuses == [[200, True], [401, False], [400, False], [404, False], [400, False]]
    page.context.close()
