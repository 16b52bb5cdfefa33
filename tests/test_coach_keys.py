"""What is typed in the coach reaches no shortcut of the host's, and what is typed in the host no part of the coach."""

from typing import Any

from playwright.sync_api import Page, expect

from helpers_host import Host
from helpers_host import chromium as chromium
from helpers_host import host as host
from helpers_host import site as site
from helpers_visit import button, coach, needs_chromium, opener, panel

pytestmark = needs_chromium
TEXT = "growing/gala fees? ½ Straße, 婚礼 #1"
BODY = "<main><h1>Host</h1><input id=own><button id=menu>Menu</button></main><div id=root>{coach}</div>"

# Shortcuts as pages have them: they look at the target's tag, act on emails, and prevent what they take. They
# listen everywhere and in both phases; those at the window that capture are set when the page has loaded.
SHORTCUTS = """
globalThis.hits = [];
globalThis.shortcut = (place) => (event) => {
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target?.tagName)) return;
  hits.push([event.type, event.key ?? event.inputType ?? "", place].join(" "));
  if (event.key?.length === 1 || event.type === "paste" || event.type === "wheel") event.preventDefault();
};
globalThis.listen = (target, place, capture) => {
  for (const type of "keydown keypress keyup beforeinput input paste copy cut compositionstart wheel touchmove".split(" "))
    target.addEventListener(type, shortcut(place), { capture, passive: false });
};
const places = { document, html: document.documentElement, body: document.body, root, element: root.firstElementChild };
for (const [place, target] of Object.entries(places)) {
  listen(target, place, false);
  listen(target, place + ", capturing", true);
}
listen(window, "window", false);
onkeydown = shortcut("window.onkeydown");
document.body.onkeyup = shortcut("body.onkeyup");
addEventListener("load", () => listen(window, "window, capturing", true));
"""
# One that counts the keys at the document alone.
DOCUMENT = """
globalThis.hits = [];
for (const type of ["keydown", "keyup"]) document.addEventListener(type, (event) => hits.push(`${type} ${event.key}`), true);
"""


def book(page: Page) -> Any:
    """Open it, ask for a call, and give the field for its topic."""
    opener(page).click()
    button(page, "Talk to us").click()
    field = panel(page).get_by_label("What is it about")
    field.click()
    return field


def hits(page: Page) -> list[str]:
    return page.evaluate("hits.splice(0)")


def test_what_is_typed_reaches_no_shortcut(host: Host) -> None:
    page = host.ready(body=BODY + f"<script>{SHORTCUTS}</script>")
    field = book(page)
    page.keyboard.type(TEXT)
    expect(field).to_have_value(TEXT)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("ControlOrMeta+c")
    page.keyboard.press("End")
    page.keyboard.press("ControlOrMeta+v")
    expect(field).to_have_value(TEXT * 2)
    page.keyboard.press("Backspace")
    expect(field).to_have_value((TEXT * 2)[:-1])
    days = panel(page).locator(".day")
    days.nth(1).click()
    expect(days.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(panel(page).get_by_label("What is it about")).to_have_value((TEXT * 2)[:-1])
    page.keyboard.press("g")
    panel(page).locator(".scroll").hover()
    page.mouse.wheel(0, 200)
    page.wait_for_function(
        "coach => coach.shadowRoot.querySelector('.scroll').scrollTop > 0",
        arg=coach(page).element_handle(),
    )
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    assert hits(page) == []


def test_the_hosts_own_keys_are_its_own(host: Host) -> None:
    page = host.ready(body=BODY + f"<script>{SHORTCUTS}</script>")
    opener(page).click()
    page.locator("#own").click()
    page.keyboard.type("g/ ok")
    expect(page.locator("#own")).to_have_value("g/ ok")
    page.locator("#menu").focus()
    places = {"document", "html", "body", "window"}
    places |= {f"{place}, capturing" for place in places}
    for key in ("g", "Escape", "/"):
        page.keyboard.press(key)
        heard = set(hits(page))
        assert {
            f"{kind} {key} {place}" for kind in ("keydown", "keyup") for place in places
        } <= heard
        assert {f"keydown {key} window.onkeydown", f"keyup {key} body.onkeyup"} <= heard
    expect(panel(page)).to_be_visible()


def test_a_closed_coach_keeps_only_what_presses_its_button(host: Host) -> None:
    page = host.ready(body=BODY + f"<script>{DOCUMENT}</script>")
    opener(page).focus()
    page.keyboard.press("/")
    assert hits(page) == ["keydown /", "keyup /"], (
        "the page's shortcuts go on beside a closed coach"
    )
    page.keyboard.press("Enter")
    expect(panel(page)).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("Escape")
    expect(opener(page)).to_be_focused()
    page.keyboard.press("Space")
    expect(panel(page)).to_be_focused()
    page.keyboard.press("Escape")
    assert hits(page) == [], (
        "neither Escape that closed it, nor the release of a key that opened it"
    )


def test_a_key_belongs_to_whoever_it_was_pressed_in(host: Host) -> None:
    """The page counts pressed keys: one that was pressed in it is released in it, whatever has the focus by then."""
    page = host.ready(body=BODY + f"<script>{DOCUMENT}</script>")
    page.evaluate(
        "document.addEventListener('keydown', (event) => event.key === 'c' && document.querySelector('everafter-coach').open())"
    )
    page.locator("#menu").focus()
    page.keyboard.down("c")
    expect(panel(page)).to_be_focused()
    page.keyboard.up("c")
    assert hits(page) == ["keydown c", "keyup c"]
    page.keyboard.down("x")
    page.locator("#menu").focus()
    page.keyboard.up("x")
    assert hits(page) == []


def test_a_shortcut_set_at_the_window_before_the_module_hears_and_takes_nothing_away(
    host: Host,
) -> None:
    """Nothing can run before it, so it sees the keys. The text is complete, and a listener that skips text fields does nothing."""
    early = "<script>globalThis.hits = []; globalThis.asked = [];"
    early += "addEventListener('keydown', (event) => { hits.push(event.key); event.key.length > 1 || event.preventDefault(); }, true);"
    early += "addEventListener('keydown', (event) => event.target.isContentEditable || asked.push(event.key), true)</script>"
    page = host.ready(head=early, body=BODY)
    field = book(page)
    page.keyboard.type(TEXT)
    expect(field).to_have_value(TEXT)
    page.keyboard.press("ArrowLeft")
    page.keyboard.type("/g")
    expect(field).to_have_value(TEXT[:-1] + "/g" + TEXT[-1])
    assert page.evaluate("asked") == []
    assert hits(page), "as docs/coach.md says"


def test_escape_in_a_coach_inside_the_hosts_dialog_closes_the_coach_alone(host: Host) -> None:
    page = host.ready(
        body="<dialog id=dialog><p>Host</p>{coach}</dialog><script>dialog.showModal()</script>"
    )
    field = book(page)
    page.keyboard.type("/")
    expect(field).to_have_value("/")
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    assert page.evaluate("dialog.open")
    page.keyboard.press("Escape")
    assert not page.evaluate("dialog.open"), "the next one is the dialog's"


def test_a_trap_for_the_focus_is_not_fought(host: Host) -> None:
    """While a dialog of the page holds the focus, the coach does not pull it back: no endless to and fro."""
    trap = "<script>globalThis.pulls = 0; document.addEventListener('focusin', (event) => {"
    trap += "if (event.target.id !== 'own' && ++pulls < 100) own.focus(); }, true)</script>"
    page = host.ready(body=BODY + trap)
    opener(page).click()
    expect(panel(page)).to_be_visible()
    page.keyboard.type("g/")
    expect(page.locator("#own")).to_have_value("g/")
    assert page.evaluate("pulls") < 5
