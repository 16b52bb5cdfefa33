"""The page of a call in Chromium: with the keyboard, on a phone, light and dark, under its content security policy."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from helpers_node import need_packages
from helpers_server import Server
from test_support_calls import add_supplier
from test_support_changes import ada, book, change  # noqa: F401 ada is a fixture

CHROMIUM = (
    os.environ.get("EVERAFTER_TEST_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("ada")
def test_a_call_is_moved_and_cancelled_with_the_keyboard_on_a_phone(
    server: Server, chromium: Browser, scheme: str
) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        call = book(client, supplier, topic="An_endless_word_" * 12)
    context = chromium.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    trouble: list[str] = []
    page.on(
        "console",
        lambda message: (
            trouble.append(message.text) if message.type in {"error", "warning"} else None
        ),
    )
    page.goto(server.base_url + call["manage_url"].removeprefix(server.settings.base_url))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is wider than the phone"
    )
    sizes = page.evaluate(
        "[...document.querySelectorAll('.times a, summary, .button')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(size for size in sizes if size) >= 40, "a thumb can hit everything"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.times') !== null"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Move the call here?")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Move the call"
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Your call has been moved")
    page.get_by_text("Cancel this call").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("A wedding came up")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="This call is cancelled")).to_be_visible()
    context.close()
    assert trouble == []
    assert server.sql("SELECT outcome, notes, sequence FROM support_interactions") == [
        ("cancelled", "Cancelled: A wedding came up", 2)
    ]


@pytest.mark.usefixtures("ada")
def test_the_page_needs_no_javascript(server: Server, chromium: Browser) -> None:
    with server.client("write") as client:
        call = book(client, add_supplier(server))
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.base_url + call["manage_url"].removeprefix(server.settings.base_url))
    page.locator("summary").nth(3).click()
    page.locator("details").nth(3).locator(".times a").first.click()
    page.get_by_role("button", name="Move the call").click()
    expect(page.get_by_role("status")).to_contain_text("Your call has been moved")
    context.close()
    assert server.sql("SELECT sequence FROM support_interactions") == [(1,)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("ada")
def test_axe_finds_nothing_in_any_state(server: Server, chromium: Browser, scheme: str) -> None:
    axe = need_packages() / "axe-core" / "axe.min.js"
    with server.client("write") as client:
        call, cancelled = (
            book(client, add_supplier(server)),
            book(client, add_supplier(server, timezone="No/Where"), 12),
        )
        taken = book(client, add_supplier(server), 14)
        change(client, cancelled, "cancel")
    path = call["manage_url"].removeprefix(server.settings.base_url)
    states = [
        path,
        f"{path}?at={taken['starts_at']}",
        cancelled["manage_url"].removeprefix(server.settings.base_url),
        path[:-3],
    ]
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)  # type: ignore[arg-type]  axe itself is inline
    page = context.new_page()
    page.goto(server.base_url + path)
    states.append(page.locator(".times a").nth(3).get_attribute("href") or "")
    for state in states:
        page.goto(server.base_url + state)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        page.add_script_tag(path=axe)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert found["violations"] == [], (
            state,
            [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]],
        )
    context.close()
