"""The pages in Chromium: common tasks, by mouse and keyboard, wide and narrow."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from helpers_pages import PASSWORD, XSS, add_conclusion, add_message, add_portfolio, add_user
from helpers_server import Server

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


@pytest.fixture
def site(server: Server) -> dict[str, str]:
    """A site with data: the paths of its pages by name."""
    ids = add_portfolio(server)
    add_user(server)
    result = add_conclusion(server, ids[3], "no_login_7_days", "triggered", XSS)
    add_conclusion(server, ids[4], "no_login_7_days", "skipped", "frequency_cap")
    body = f"<p>Hello</p>{XSS}<form action='/sign-out' method='post'><button>x</button></form><a href='https://example.com'>go</a>"
    message = add_message(server, ids[3], id=result, subject=XSS, body_text=XSS, body_html=body)
    return {
        "portfolio": "/",
        "supplier": f"/suppliers/{ids[3]}",
        "interventions": "/interventions",
        "messages": "/messages",
        "message": f"/messages/{ids[3]}/{message}",
        "error": "/nowhere",
    }


@pytest.fixture
def visit(server: Server, chromium: Browser, site: dict[str, str]) -> Iterator["Visit"]:
    made = Visit(server, chromium)
    yield made
    for context in made.contexts:
        context.close()
    assert made.trouble == [], made.trouble


class Visit:
    """Opens browser contexts and collects the errors of pages."""

    def __init__(self, server: Server, chromium: Browser) -> None:
        self.server, self.chromium = server, chromium
        self.contexts: list[BrowserContext] = []
        self.trouble: list[str] = []

    def page(self, width: int = 1280, *, scripts: bool = True, signed_in: bool = True) -> Page:
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
            base_url=self.server.base_url,
        )
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        if signed_in:
            page.goto("/")
            page.get_by_label("Email").fill("mia@example.com")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_role("heading", name="Portfolio")).to_be_visible()
        return page


def scores(page: Page) -> list[int]:
    return [int(text) for text in page.locator("td.score b").all_inner_texts() if text != "–"]


def test_sign_in_returns_to_the_requested_page_and_sign_out_works(visit: Visit) -> None:
    page = visit.page(signed_in=False)
    page.goto("/messages?status=queued")
    page.get_by_label("Email").fill("mia@example.com")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Email or password is incorrect.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/messages\?status=queued$"))
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_sort_and_filter_with_and_without_javascript(visit: Visit, scripts: bool) -> None:
    page = visit.page(scripts=scripts)
    assert scores(page) == sorted(scores(page))
    page.get_by_role("link", name="Score", exact=True).click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Score")
    assert scores(page) == sorted(scores(page), reverse=True)
    page.locator("[name=vendor]").select_option("dj")
    if not scripts:
        page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status")).to_contain_text("12 suppliers")
    assert "vendor=dj" in page.url and "dir=desc" in page.url, "the URL holds the view"
    page.locator(".distribution").get_by_role("link", name="Critical").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Score")
    assert scores(page) and max(scores(page)) < 40
    page.go_back()
    expect(page.get_by_role("status")).to_contain_text("12 suppliers")
    page.get_by_label("Search").fill("no such name")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No suppliers match these filters")).to_be_visible()


def test_filters_apply_on_change_and_survive_going_back(visit: Visit) -> None:
    page = visit.page()
    page.evaluate("window.same = true")
    page.get_by_label("Search").press_sequentially("Supplier 01")
    expect(page.get_by_role("status")).to_contain_text("9 suppliers")
    expect(page.get_by_label("Search")).to_be_focused()
    assert page.evaluate("window.same") is True, "the page was not reloaded"
    page.locator("[name=churn]").select_option("high")
    expect(page).to_have_url(re.compile("churn=high"))
    found = page.get_by_role("status").inner_text()
    page.reload()
    expect(page.get_by_role("status")).to_have_text(found)
    assert page.get_by_label("Search").input_value() == "Supplier 01"


def test_everything_is_reachable_by_keyboard(visit: Visit) -> None:
    page = visit.page()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("j")
    assert page.get_by_label("Search").input_value() == "j", "shortcuts do not apply in a field"
    with page.expect_response(lambda answer: "q=" not in answer.url):
        page.get_by_label("Search").fill("")
    expect(page.locator(".results[aria-busy]")).to_have_count(0)
    page.get_by_label("Search").blur()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    row = page.locator("a.row").first
    expect(row).to_be_focused()
    style = row.evaluate(
        "e => [getComputedStyle(e).outlineStyle, parseFloat(getComputedStyle(e).outlineWidth)]"
    )
    assert style[0] == "solid" and style[1] >= 2, "focus is visible"
    name = row.inner_text()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_the_focus_stays_on_its_row_when_the_list_is_replaced(visit: Visit) -> None:
    page = visit.page()
    page.goto("/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    row = page.locator("a.row").nth(1)
    expect(row).to_be_focused()
    name = row.inner_text()
    page.evaluate("document.querySelector('.results').dataset.old = 'yes'")
    page.evaluate(
        "document.querySelector('form[data-live]')"
        ".dispatchEvent(new Event('submit', {cancelable: true}))"
    )
    expect(page.locator(".results:not([data-old])")).to_be_visible()
    assert page.evaluate("document.activeElement.innerText") == name


@pytest.mark.parametrize("width", [390, 768, 1280, 1900])
def test_no_page_scrolls_sideways(visit: Visit, site: dict[str, str], width: int) -> None:
    page = visit.page(width)
    for name, path in site.items():
        page.goto(path)
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{name} is {wide[0]} wide in {wide[1]}"


def test_narrow_screens_show_cards_with_labels(visit: Visit) -> None:
    page = visit.page(390)
    page.goto("/")
    card = page.locator("tbody tr").nth(5)
    inside = card.evaluate(
        "e => [...e.children].every(c => c.getBoundingClientRect().right <= innerWidth)"
    )
    assert inside, "cards are not cut off"
    label = card.locator("td[data-label='Last login']").evaluate(
        "e => getComputedStyle(e, '::before').content"
    )
    assert label == '"Last login"'
    page.locator("[name=sort]").select_option("mrr")
    expect(page).to_have_url(re.compile("sort=mrr"))


def test_names_and_messages_are_escaped(visit: Visit, site: dict[str, str]) -> None:
    page = visit.page()
    for path in (*site.values(), "/?q=" + "%3Cscript%3Edocument.title%3D'pwned'%3C%2Fscript%3E"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert "pwned" not in page.title().lower().replace(XSS.lower(), ""), path
        assert page.evaluate("document.title === 'pwned'") is False
    page.goto(site["supplier"])
    expect(page.get_by_role("heading", level=1)).to_have_text(XSS)


def test_the_email_frame_runs_no_code(visit: Visit, site: dict[str, str]) -> None:
    page = visit.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site["message"])
    frame = page.frame_locator("iframe.email")
    expect(frame.get_by_text("Hello")).to_be_visible()
    frame.get_by_role("button", name="x").click()
    page.goto(site["messages"])
    expect(page.get_by_role("heading", name="Messages")).to_be_visible()
    assert not [url for url in asked if "sign-out" in url], "a form in an email is not sent"
    assert not [url for url in asked if not url.startswith(visit.server.base_url)], (
        "no requests to other hosts"
    )


def test_the_email_opened_directly_runs_no_code(visit: Visit, site: dict[str, str]) -> None:
    page = visit.page()
    page.goto(site["message"] + "/html")
    page.wait_for_load_state("networkidle")
    assert page.title() != "pwned"
    expect(page.get_by_text("Hello")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_have_enough_contrast(visit: Visit, site: dict[str, str], scheme: str) -> None:
    page = visit.page()
    page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    for path in site.values():
        page.goto(path)
        faint = page.evaluate(CONTRAST)
        assert faint == [], f"{path}: {faint[:5]}"


# WCAG 2.2, 1.4.3: 4.5 to 1 for text of ordinary size. Every element's own colour against the nearest painted ground.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return [255, 255, 255]; };
  return [...document.querySelectorAll("main *, header *")].filter((e) =>
    [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility() && !e.closest("svg, .hidden, iframe, option")
  ).map((e) => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), e.className, e.textContent.trim().slice(0, 30)];
  }).filter(([ratio]) => ratio < 4.5);
}"""
