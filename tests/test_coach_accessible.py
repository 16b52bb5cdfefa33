"""The coach for everybody: axe-core in every state, the keyboard alone, large fonts, small screens, right to left, few colours."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from helpers_node import need_packages
from helpers_platform import add_supplier
from helpers_visit import Visit, button, coach, needs_chromium, opener, panel
from helpers_visit import chromium as chromium
from helpers_visit import visit as visit

pytestmark = needs_chromium


def nothing(_: Page) -> None:
    """As the page comes."""


def open_panel(page: Page) -> None:
    opener(page).click()
    panel(page).locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")


def ask_when(page: Page) -> None:
    button(page, "Later").click()


def pick_time(page: Page) -> None:
    button(page, "Book 15 min call").click()
    expect(panel(page).locator(".slot").first).to_be_visible()


def book_it(page: Page) -> None:
    pick_time(page)
    panel(page).locator(".slot").first.click()
    expect(panel(page).get_by_role("heading", name="Your call is booked")).to_be_visible()


# name: the page, days inactive, whether a form was just made, what is done first
STATES: dict[str, tuple[str, float, bool, Callable[[Page], None]]] = {
    "closed": ("/", 0, False, nothing),
    "open": ("/", 0, False, open_panel),
    "tip": ("/tip", 0, False, nothing),
    "tip in the panel": ("/tip", 0, False, open_panel),
    "later": ("/tip", 0, False, ask_when),
    "help": ("/", 35, False, nothing),
    "times": ("/", 35, False, pick_time),
    "booked": ("/", 35, False, book_it),
    "celebration": ("/", 0, True, nothing),
}


def bring(visit: Visit, state: str, **more: object) -> Page:
    path, inactive, form, act = STATES[state]
    visit.site.supplier = add_supplier(visit.server, inactive_days=inactive, form=form)
    page = visit.page(path, reduced_motion="reduce", **more)
    expect(opener(page)).to_have_accessible_name(re.compile("^Your coach, 1 of 5 done"))
    if state != "closed":
        (opener(page) if state == "open" else panel(page)).wait_for()
    act(page)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(visit: Visit, state: str, scheme: str) -> None:
    need_packages()
    page = bring(visit, state, color_scheme=scheme)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    reported = [
        (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"]])
        for one in found["violations"]
    ]
    assert reported == []
    assert len(found["passes"]) > 10, "it did look"


def test_the_keyboard_is_enough_and_never_trapped(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server, inactive_days=35)
    page = visit.page("/", reduced_motion="reduce")
    expect(button(page, "Book 15 min call")).to_be_visible()
    active = "document.activeElement.shadowRoot?.activeElement"
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Home")).to_be_focused()
    page.keyboard.press("Tab")
    expect(opener(page)).to_be_focused()
    page.keyboard.press("Tab")
    expect(button(page, "Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    expect(opener(page)).to_be_focused()
    page.keyboard.press("Enter")
    expect(panel(page)).to_be_focused()
    assert (
        panel(page).get_attribute("role") == "dialog"
        and opener(page).get_attribute("aria-expanded") == "true"
    )
    seen: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if not page.evaluate(f"Boolean({active})"):
            break
        seen.append(page.evaluate(f"{active}.textContent.trim()"))
        ring = page.evaluate(
            f"(() => {{ const s = getComputedStyle({active}); return [s.outlineStyle, parseFloat(s.outlineWidth)]; }})()"
        )
        assert ring[0] == "solid" and ring[1] >= 2, "focus can be seen"
    else:
        raise AssertionError("the keyboard is trapped")
    assert "Book 15 min call" in seen
    button(page, "Book 15 min call").focus()
    page.keyboard.press("Enter")
    expect(panel(page).locator(".slot").first).to_be_visible()
    expect(panel(page)).to_be_focused()
    panel(page).locator(".slot").first.focus()
    page.keyboard.press("Space")
    expect(panel(page).get_by_role("heading", name="Your call is booked")).to_be_visible()
    expect(panel(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(opener(page)).to_be_focused()


def test_what_is_focused_stays_so_when_news_come(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/tip")
    button(page, "Later").focus()
    page.evaluate("history.pushState(null, '', '/tip/other')")
    coach(page).evaluate("coach => coach.setAttribute('locale', 'de')")
    expect(button(page, "Später")).to_be_focused()


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(390, 700, 1), (500, 400, 2), (320, 480, 1)]
)
@pytest.mark.parametrize("state", ["tip", "help", "times", "open", "celebration"])
def test_it_fits_small_screens_and_large_fonts(
    visit: Visit, state: str, width: int, height: int, scale: int
) -> None:
    page = bring(
        visit,
        state,
        viewport={"width": width // scale, "height": height // scale},
        device_scale_factor=scale,
    )
    inner = page.evaluate("[innerWidth, innerHeight]")
    box = panel(page).bounding_box()
    assert (
        box
        and box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= inner[0]
        and box["y"] + box["height"] <= inner[1]
    )
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], "the page does not scroll sideways for it"
    inside = panel(page).locator(".scroll").evaluate("one => one.scrollWidth - one.clientWidth")
    assert inside <= 0
    small = panel(page).evaluate(
        """panel => [...panel.querySelectorAll('button, summary, a, input')].filter((one) => one.checkVisibility()
        && (one.offsetHeight < 44 || one.offsetWidth < 44)).map((one) => [one.className, one.offsetWidth, one.offsetHeight])"""
    )
    assert small == [], "every target has 44 pixels"


def test_right_to_left_it_is_on_the_other_side(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.site.dir = "rtl"
    page = visit.page("/tip")
    expect(panel(page)).to_be_visible()
    box, wide = (
        panel(page).bounding_box(),
        page.evaluate("[document.documentElement.scrollWidth, innerWidth]"),
    )
    assert box and 0 < box["x"] < 50 and wide[0] <= wide[1]
    expect(opener(page)).to_be_in_viewport(ratio=1)


def test_everything_is_distinguishable_in_forced_colours(visit: Visit) -> None:
    page = bring(visit, "tip in the panel", forced_colors="active")
    borders = (
        coach(page)
        .locator(".sheet, .opener, .act:not(.plain), .did")
        .evaluate_all(
            "all => all.map((one) => [one.className, getComputedStyle(one).borderTopWidth, getComputedStyle(one).borderTopColor])"
        )
    )
    assert borders and all(
        width != "0px" and not re.match(r"rgba\(.*, 0\)", colour) for _, width, colour in borders
    ), borders


def test_printing_leaves_it_out(visit: Visit) -> None:
    page = bring(visit, "tip")
    page.emulate_media(media="print")
    expect(opener(page)).to_be_hidden()
    expect(panel(page)).to_be_hidden()
