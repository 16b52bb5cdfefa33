"""No style of the host's moves, shrinks, hides or recolours the coach, and it moves nothing there."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from helpers_host import Host
from helpers_host import chromium as chromium
from helpers_host import host as host
from helpers_host import site as site
from helpers_visit import coach, needs_chromium, opener, panel

pytestmark = needs_chromium
TALL = "<main><h1>Host</h1><p>Its own page.</p><div style='height:3000px'></div></main>{coach}"

# what the host's style sheet says to everything, and to the coach by name
STYLES = {
    "children of the body are positioned": "body > * { position: relative; z-index: 1 }",
    "everything unset": "* { all: unset !important }",
    "everything initial": "*, ::before, ::after { all: initial !important }",
    "the element is not displayed": "everafter-coach { display: none !important }",
    "all but the page's main part": "body > :not(main) { display: none }",
    "moved": "* { margin: 40px !important; inset: auto !important; transform: translate(-300px, -300px) scale(.5) !important }",
    "rotated and scaled": "everafter-coach { rotate: 30deg; scale: .5; translate: 9px; perspective: 1px }",
    "filtered": "body, everafter-coach { filter: invert(1) blur(4px); backdrop-filter: blur(3px); opacity: .1 }",
    "contained": "* { contain: strict; overflow: hidden; content-visibility: auto }",
    "sized": "* { width: 3px !important; height: 3px !important; max-width: 3px !important; padding: 7px !important }",
    "no font size": "* { font-size: 0 !important; line-height: 0 !important }",
    "large root font": "html { font-size: 40px }",
    "small root font": "html { font-size: 62.5% } body { font-size: 5rem; font-weight: 900 }",
    "other typography": "* { letter-spacing: 9px; word-spacing: 40px; text-transform: uppercase; font-style: italic;"
    " text-indent: 50px; text-align: right; white-space: nowrap; word-break: break-all; -webkit-text-fill-color: red;"
    " font-variant: small-caps; text-shadow: 0 0 9px red; -webkit-text-security: disc; -webkit-text-stroke: 3px red }",
    "not to be touched": "* { pointer-events: none !important; user-select: none; cursor: none; touch-action: none }",
    "not to be seen": "* { visibility: hidden !important; opacity: 0 !important; clip-path: inset(50%) }",
    "another direction": "* { direction: rtl; unicode-bidi: bidi-override; writing-mode: vertical-rl; text-orientation: upright }",
    "zoomed page": "html { zoom: 1.5 }",
    "zoomed body and element": "body { zoom: .5 } everafter-coach { zoom: 3 }",
    "animated": "@keyframes drift { to { opacity: 0; transform: translateX(-900px) } }"
    " body > * { animation: drift 1ms both infinite; transition: all 60s 60s }",
    # this one has ended: while it runs, the page's own parts come and go between two measurements
    "animated to nothing": "@keyframes vanish { to { opacity: 0; display: none; transform: translateX(-900px) } }"
    " body > * { animation: vanish 1ms -1ms both; transition: all 60s 60s }",
    "coloured": "* { color: red !important; background: yellow !important; border: 9px solid lime !important;"
    " outline: 5px solid blue; accent-color: red; caret-color: red; fill: red; box-shadow: 0 0 9px red }",
    "our words as custom properties": "* { --accent: red; --ink: red; --gap: 300px; --surface: lime; --line: red; --done: 3px;"
    " --quiet: red; --radius: 99px; --zoom: 3; --on-accent: red }",
    "registered custom properties": "@property --accent { syntax: '<color>'; inherits: false; initial-value: red }"
    " @property --gap { syntax: '<length>'; inherits: false; initial-value: 300px }"
    " @property --done { syntax: '<number>'; inherits: false; initial-value: 3 }",
    "popovers are styled": ":popover-open, [popover] { display: none !important; inset: 0; margin: auto; color: red }"
    " ::backdrop { background: red !important; pointer-events: auto !important }",
    "boxes before and after": "*::before, *::after { content: 'x' !important; display: block !important; height: 50px }",
    "a picture in its place": "body > * { content: url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>\") }",
    "a grid with gaps": "body { display: grid; gap: 70px; grid-auto-rows: 100px } body > * + * { margin-top: 90px }",
    "a transformed page": "html { transform: translateZ(0) scale(.7) } body { perspective: 10px; will-change: transform }",
    "clipped": "html, body { overflow: clip; height: 100%; clip-path: circle(10px); mask: linear-gradient(#0000, #0000) }",
    "columns": "body { columns: 3; float: left; position: absolute; width: 20px }",
    "printed as on paper": "html { filter: grayscale(1); mix-blend-mode: difference; isolation: isolate }",
    "hidden slots": ":not(:defined), everafter-coach, everafter-coach * { display: inline !important; float: left }",
}

BOXES = {
    "transform": "<div style='transform:translateZ(0)'>{inside}</div>",
    "filter and opacity": "<div style='filter:sepia(1);opacity:.2'>{inside}</div>",
    "contain": "<div style='contain:strict;height:200px;width:200px'>{inside}</div>",
    "scrolling box": "<div style='height:150px;overflow:auto;position:relative'>{inside}</div>",
    "clipping box": "<div style='height:10px;width:10px;overflow:hidden;clip-path:inset(4px)'>{inside}</div>",
    "a container": "<div style='container-type:size;height:100px;width:100px;zoom:2'>{inside}</div>",
    "content that may be skipped": "<div style='height:4000px'></div><div style='content-visibility:auto'>{inside}</div>",
    "a stacking context below all": "<div style='position:relative;z-index:-1'>{inside}</div>"
    "<div style='position:fixed;inset:0;z-index:2147483647;background:white'></div>",
    "a table": "<table><tr><td style='position:relative'>{inside}</td></tr></table>",
    "a fieldset that is off": "<fieldset disabled>{inside}</fieldset>",
    "a shadow root": "<div><template shadowrootmode='open'>{inside}</template></div>",
    "a sideways scroller": "<div dir='ltr' style='writing-mode:vertical-rl;overflow:auto;width:90px'>{inside}</div>",
}


Look = tuple[dict[str, object], bytes]


def look(page: Page) -> dict[str, object]:
    """Where the button and the open panel stand, and how large the page is."""
    return page.evaluate(
        """() => {
          const round = (value) => Math.round(value * 10) / 10;
          const coach = globalThis.coach ??= document.querySelector("everafter-coach");
          const box = (name) => {
            const { x, y, width, height } = coach.shadowRoot.querySelector(name).getBoundingClientRect();
            return [x, y, width, height].map(round);
          };
          const at = box(".opener"), hit = coach.getRootNode().elementFromPoint(at[0] + 28, at[1] + 28);
          return { opener: at, sheet: box(".sheet"), on_top: hit === coach, seen: coach.shadowRoot
            .querySelector(".opener").checkVisibility({ visibilityProperty: true }) };
        }"""
    )


def paint(page: Page) -> bytes:
    """The panel's pixels, without its round corners, through which the page is seen."""
    box = coach(page).locator(".sheet").bounding_box()
    assert box
    clip = {
        "x": box["x"] + 8,
        "y": box["y"] + 8,
        "width": box["width"] - 16,
        "height": box["height"] - 16,
    }
    return page.screenshot(clip=clip, animations="disabled")


COMPARE = """async pictures => {
  const [one, other] = await Promise.all(pictures.map(async data => {
    const bytes = Uint8Array.from(atob(data), char => char.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  }));
  if (one.width !== other.width || one.height !== other.height) return [Infinity, 255];
  let pixels = 0, most = 0;
  for (let at = 0; at < one.data.length; at += 4) {
    const far = Math.max(...[0, 1, 2].map(part => Math.abs(one.data[at + part] - other.data[at + part])));
    if (far) pixels += 1;
    most = Math.max(most, far);
  }
  return [pixels / (one.data.length / 4), most];
}"""


def is_alike(page: Page, one: bytes, other: bytes) -> bool:
    """Whether two pictures are the same, but for the antialiasing of edges between two pixels, which
    depends on how a zoom of the page is rounded: at most one pixel in 5,000, by a quarter at most."""
    if one == other:
        return True
    blank = page.context.new_page()
    share, most = blank.evaluate(
        COMPARE, [base64.b64encode(data).decode() for data in (one, other)]
    )
    blank.close()
    return share <= 1 / 5000 and most <= 64


def extent(page: Page) -> list[int]:
    """The page's own height and width, as scrolled."""
    return page.evaluate(
        "(({ scrollHeight, scrollWidth }) => [scrollHeight, scrollWidth])(document.scrollingElement)"
    )


def open_panel(page: Page) -> None:
    """Open it by its button, and wait until it is filled."""
    opener(page).click()
    expect(panel(page).get_by_role("progressbar")).to_be_visible()


@pytest.fixture(scope="module", params=[1280, 390], ids=["wide", "phone"])
def shown(request: pytest.FixtureRequest, site: Host) -> Iterator[tuple[Page, Look]]:
    """A page with the panel open, and how it looks while the page wishes it no ill."""
    page = site.ready(
        head="<style id='ill'></style>", body=TALL, viewport={"width": request.param, "height": 800}
    )
    open_panel(page)
    context = site.contexts.pop()
    yield page, (look(page), paint(page))
    context.close()


def test_on_a_clean_page_it_is_in_the_corner(shown: tuple[Page, Look]) -> None:
    page, (found, _) = shown
    wide = page.evaluate("innerWidth")
    gap = 24 if wide > 960 else 12
    assert found["opener"] == [wide - gap - 56, 800 - gap - 56, 56, 56] and found["on_top"]
    x, y, width, height = found["sheet"]
    assert x >= 0 and y >= 0 and x + width <= wide and y + height <= 800


@pytest.mark.parametrize("style", STYLES)
def test_no_style_of_the_page_reaches_it(shown: tuple[Page, Look], style: str) -> None:
    page, clean = shown
    page.evaluate("style => { document.querySelector('#ill').textContent = style }", STYLES[style])
    coach(page).evaluate("coach => { coach.hidden = false; coach.close(); coach.open() }")
    assert look(page) == clean[0] and is_alike(page, paint(page), clean[1])
    before = extent(page)
    coach(page).evaluate("coach => { coach.hidden = true }")
    assert extent(page) == before, "the page is as large without it"
    coach(page).evaluate("coach => { coach.hidden = false }")


def test_all_of_them_from_the_beginning(host: Host, shown: tuple[Page, Look]) -> None:
    page = host.ready(
        head=f"<style>{' '.join(STYLES.values())}</style>",
        body=TALL,
        viewport=shown[0].viewport_size,
    )
    open_panel(page)
    assert (look(page), paint(page)) == shown[1]


@pytest.mark.parametrize("box", BOXES)
def test_no_box_of_the_page_holds_it(host: Host, shown: tuple[Page, Look], box: str) -> None:
    page, clean = shown
    asked = host.asked
    page.evaluate(
        """html => {
          const place = document.body.appendChild(document.createElement("div"));
          place.setHTMLUnsafe(html);
          const find = (root) => root.querySelector("#here")
            ?? find([...root.querySelectorAll("*")].find((one) => one.shadowRoot).shadowRoot);
          find(place).replaceWith(coach);
        }""",
        BOXES[box].replace(
            "{inside}", "<h1>Host</h1><div style='height:3000px'></div><i id='here'></i><p>More</p>"
        ),
    )
    assert (look(page), paint(page)) == clean
    assert page.evaluate("coach.parentNode !== document.body") and host.asked == asked, (
        "moved, and nothing else"
    )
    page.evaluate("document.body.append(coach)")
    assert (look(page), paint(page)) == clean
