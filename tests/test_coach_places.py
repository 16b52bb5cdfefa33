"""Where the coach may be: among dialogs, popovers and full screens, before the body is there, twice, moved, taken away."""

from playwright.sync_api import Page, expect

from helpers_host import Host
from helpers_host import chromium as chromium
from helpers_host import host as host
from helpers_host import site as site
from helpers_platform import wait_until
from helpers_visit import button, coach, needs_chromium, opener, panel

pytestmark = needs_chromium


def on_top(page: Page) -> bool:
    """Whether a click on the middle of the button reaches it."""
    return page.evaluate(
        """() => {
          const coach = document.querySelector("everafter-coach");
          const { x, y } = coach.shadowRoot.querySelector(".opener").getBoundingClientRect();
          return document.elementFromPoint(x + 28, y + 28) === coach;
        }"""
    )


def test_a_modal_dialog_lies_over_it_and_leaves_it_as_it_was(host: Host) -> None:
    page = host.ready(
        body="<dialog id=dialog style='width:100vw;height:100vh;max-width:none'>Host</dialog>{coach}"
    )
    opener(page).click()
    expect(panel(page)).to_be_focused()
    page.evaluate("dialog.showModal()")
    coach(page).evaluate(
        "coach => { coach.setAttribute('locale', 'de'); dispatchEvent(new Event('resize')); }"
    )
    expect(panel(page)).to_have_attribute("lang", "de")
    assert not on_top(page), "it does not cover what makes it inert"
    page.evaluate("dialog.close()")
    assert on_top(page)
    expect(panel(page)).to_be_focused()
    opener(page).click()
    expect(panel(page)).to_be_hidden()


def test_it_waits_for_the_end_of_a_dialog_that_was_open_before(host: Host) -> None:
    dialog = "<dialog id=dialog>Host</dialog><script>dialog.showModal()</script>"
    page = host.ready(body=dialog + "{coach}")
    expect(opener(page)).to_be_hidden()
    page.evaluate("dialog.close()")
    expect(opener(page)).to_be_visible()
    assert on_top(page)


def test_inside_a_dialog_it_is_on_top_each_time(host: Host) -> None:
    page = host.ready(
        body="<dialog id=dialog style='width:100vw;height:100vh;max-width:none'>Host{coach}</dialog>"
    )
    for _ in range(2):
        page.evaluate("dialog.showModal()")
        expect(opener(page)).to_be_visible()
        wait_until(page, lambda: on_top(page), "above the dialog that holds it")
        opener(page).click()
        expect(panel(page)).to_be_visible()
        page.keyboard.press("Escape")
        expect(panel(page)).to_be_hidden()
        page.evaluate("dialog.close()")
        expect(opener(page)).to_be_hidden()


def test_inside_a_popover_and_a_shadow_root_it_is_on_top_too(host: Host) -> None:
    page = host.ready(
        body="<div id=pop popover=manual style='inset:0;width:100vw;height:100vh'>{coach}</div>"
    )
    page.evaluate("pop.showPopover()")
    wait_until(page, lambda: on_top(page), "above the popover that holds it")
    page.evaluate(
        """() => {
          const dialog = document.body.appendChild(document.createElement("dialog"));
          const inner = dialog.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
          globalThis.one = document.querySelector("everafter-coach");
          dialog.showModal();
          inner.append(one);
        }"""
    )
    page.wait_for_function("one.shadowRoot.querySelector('#layer').matches(':popover-open')")


def test_full_screen_of_the_page_keeps_it_and_of_a_part_covers_it(host: Host) -> None:
    page = host.ready(
        body="<button id=all>All</button><div id=part><button id=some>Part</button></div>{coach}"
    )
    page.evaluate(
        """() => {
          document.querySelector("#all").onclick = () => document.documentElement.requestFullscreen();
          document.querySelector("#some").onclick = () => document.querySelector("#part").requestFullscreen();
        }"""
    )
    page.locator("#all").click()
    page.wait_for_function("document.fullscreenElement")
    wait_until(page, lambda: on_top(page), "part of the page that fills the screen")
    page.evaluate("document.exitFullscreen()")
    page.wait_for_function("!document.fullscreenElement")
    page.locator("#some").click()
    page.wait_for_function("document.fullscreenElement")
    wait_until(page, lambda: not on_top(page), "the part was asked for alone")
    page.evaluate("document.exitFullscreen()")
    wait_until(page, lambda: on_top(page), "and afterwards it is back")


def test_siblings_that_are_inert_leave_it_usable_and_hidden_is_the_hosts_word(host: Host) -> None:
    page = host.ready(
        body="<main inert>Host</main>{coach}<div inert style='position:fixed;inset:0;z-index:2147483647'></div>"
    )
    opener(page).click()
    expect(panel(page)).to_be_visible()
    for word in ("hidden", "inert"):
        coach(page).evaluate("(coach, word) => { coach[word] = true }", word)
        expect(opener(page)).to_be_hidden()
        expect(panel(page)).to_be_hidden()
        coach(page).evaluate("(coach, word) => { coach[word] = false }", word)
        expect(panel(page)).to_be_visible()


def test_it_may_be_there_before_the_body_and_move_without_asking_again(host: Host) -> None:
    early = "<script>globalThis.one = document.createElement('everafter-coach'); one.setAttribute('token-url', '/token');"
    early += "document.documentElement.append(one)</script>"
    page = host.ready(head=early, body="<main>Host</main>")
    assert on_top(page)
    opener(page).click()
    button(page, "Talk to us").click()
    field = panel(page).get_by_label("What is it about")
    field.fill("Forms")
    asked = len(host.bearers)
    for move in (
        "document.querySelector('main').append(one)",
        "one.remove(); document.body.prepend(one)",
        "document.body.moveBefore?.(one, null)",
    ):
        page.evaluate(move)
        expect(field).to_be_visible()
        expect(field).to_have_value("Forms")
        assert on_top(page)
    coach(page).evaluate("coach => coach.refresh()")
    wait_until(page, lambda: len(host.bearers) > asked, "it still listens")
    assert (len(host.bearers), host.asked) == (asked + 1, 1), "moving is no new visit"
    page.evaluate("one.remove()")
    page.evaluate("document.body.append(one)")
    expect(field).to_have_count(0)
    wait_until(page, lambda: host.asked == 2, "one that was removed starts again")


def test_one_of_several_speaks_and_another_takes_over(host: Host) -> None:
    page = host.ready(body="{coach}{coach}<div>{coach}</div>")
    shown = [opener(page).nth(place).is_visible() for place in range(3)]
    assert shown == [True, False, False] and host.asked == 1 and len(host.bearers) == 1
    assert len([text for text in host.console if "one on this page already" in text]) == 2
    page.evaluate("document.querySelector('everafter-coach').remove()")
    expect(opener(page).first).to_be_visible()
    expect(opener(page).last).to_be_hidden()
    wait_until(page, lambda: len(host.bearers) == 2, "the next one asks for itself")
    page.evaluate("document.body.prepend(document.querySelector('div'))")
    page.evaluate("document.querySelector('div').remove()")
    expect(opener(page)).to_be_visible()
    assert (host.asked, len(host.bearers)) == (2, 2)
