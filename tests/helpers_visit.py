"""A supplier's browser on a foreign platform with the coach: real Chromium, real server, real database."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

from everafter.core.settings import Settings
from helpers_node import PACKAGES
from helpers_platform import WATCH, Platform, coach_settings, platform
from helpers_server import Server, serving

CHROMIUM = (
    os.environ.get("EVERAFTER_TEST_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
needs_chromium = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


class Visit:
    """A supplier's browser on the platform; collects what a page complains about."""

    def __init__(self, server: Server, site: Platform, chromium: Browser) -> None:
        self.server, self.site, self.chromium = server, site, chromium
        self.contexts: list[BrowserContext] = []
        self.pages: list[Page] = []
        self.console: list[str] = []
        self.may_complain: list[str] = []

    def page(self, path: str = "/", **more: Any) -> Page:
        context = self.chromium.new_context(
            base_url=self.site.origin, **{"viewport": {"width": 1000, "height": 800}, **more}
        )
        self.contexts.append(context)
        return self.tab(context, path)

    def tab(self, context: BrowserContext, path: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.add_init_script(WATCH)
        page.on(
            "console",
            lambda message: (
                self.console.append(message.text) if message.type in {"error", "warning"} else None
            ),
        )
        page.on("pageerror", lambda error: self.console.append(str(error)))
        self.pages.append(page)
        page.goto(path)
        return page

    def check(self) -> None:
        """No policy was broken, nothing jumped, and the console is empty but for what the test said may be there."""
        for page in self.pages:
            assert page.evaluate("troubles") == []
            assert page.evaluate("shifts.reduce((a, b) => a + b, 0)") == 0, (
                "nothing of the page or the coach jumped"
            )
        assert [
            text for text in self.console if not any(word in text for word in self.may_complain)
        ] == []


@pytest.fixture
def visit(settings: Settings, tmp_path: Path, chromium: Browser) -> Iterator[Visit]:
    """Looked through at the end by `Visit.check`."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(coach_settings(settings, tmp_path)))
        made = Visit(server, stack.enter_context(platform(server, axe_source())), chromium)
        yield made
        made.check()
        for context in made.contexts:
            context.close()


def axe_source() -> Path | None:
    """axe-core, where scripts/install-test-tools has brought it."""
    path = PACKAGES / "axe-core" / "axe.min.js"
    return path if path.exists() else None


def opener(page: Page) -> Locator:
    return page.locator("everafter-coach").locator(".opener")


def panel(page: Page) -> Locator:
    return page.locator("everafter-coach").locator(".panel")


def button(page: Page, name: str) -> Locator:
    return panel(page).get_by_role("button", name=name, exact=True)


def link(page: Page, name: str) -> Locator:
    return panel(page).get_by_role("link", name=name, exact=True)


def coach(page: Page) -> Locator:
    return page.locator("everafter-coach")


def heard(page: Page, name: str) -> list[Any]:
    return [detail for kind, detail in page.evaluate("heard") if kind == name]
