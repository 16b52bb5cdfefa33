"""The metrics page in Chromium: wide and narrow, without JavaScript, by keyboard, in print."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from helpers_pages import PASSWORD, add_user
from helpers_server import Server
from test_metrics_faces import full as full

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


def open_page(browser: Browser, server: Server, width: int, *, scripts: bool = False) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        base_url=server.base_url,
        java_script_enabled=scripts,
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on(
        "console", lambda message: pytest.fail(message.text) if message.type == "error" else None
    )
    page.goto("/insights")
    page.get_by_label("Email").fill("mia@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Metrics", exact=True)).to_be_visible()
    return page


def test_filters_work_without_javascript_and_nothing_overflows(
    full: Server, chromium: Browser
) -> None:
    add_user(full)
    for width in (1280, 390):
        page = open_page(chromium, full, width)
        assert page.locator("section.insight").count() == 6
        assert page.evaluate("document.documentElement.scrollWidth") == width
        drawings = page.locator("section.insight svg:visible")
        assert drawings.count() > 20 and all(
            (drawings.nth(place).bounding_box() or {})["width"] > 30 for place in range(12)
        )
        page.get_by_label("Grouped by").select_option("plan")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#health_score h3").first).to_contain_text("By plan")
        page.get_by_role("link", name="30 days", exact=True).click()
        expect(page.locator(".periods [aria-current]")).to_have_text("30 days")
        assert "by=plan" in page.url, "the grouping stays when the period changes"
        expect(page.locator("#health_score h3").first).to_contain_text("By plan")
        page.context.close()


def test_every_table_and_file_is_reachable_by_keyboard(full: Server, chromium: Browser) -> None:
    add_user(full)
    page = open_page(chromium, full, 1280, scripts=True)
    page.locator("#from-nowhere, [name=from]").first.focus()
    reached: list[str] = []
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()"
            )
        )
    for region in (
        "Health score by cohort",
        "Intervention success by trigger",
        "Churn prediction accuracy by vendor type",
    ):
        assert region in reached, reached
    assert "CSV of Ticket resolution time by plan" in reached
    page.emulate_media(media="print")
    expect(page.locator(".insights-form")).to_be_hidden()
    expect(page.locator("#health_score .chart.wide")).to_be_visible()
