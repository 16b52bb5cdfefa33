"""How the coach lives in somebody else's page: navigation, tokens, a server that is away, hostile texts, neighbours."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from everafter.core.settings import Settings
from helpers_platform import add_supplier, coach_settings, platform, sign, wait_until
from helpers_server import serving
from helpers_visit import Visit, button, coach, heard, link, needs_chromium, opener, panel
from helpers_visit import chromium as chromium
from helpers_visit import visit as visit

pytestmark = needs_chromium
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def asked_pages(page: Page) -> list[str]:
    """The pages that the coach asks about from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.path == "/api/coach" and request.method == "GET":
            found.append(parse_qs(address.query)["page"][0])

    page.on("request", note)
    return found


def test_it_is_there_before_the_page_has_loaded(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/", service_workers="block")
    # no answer of the server is needed for the button: it is there at once, and nothing moves when the rest comes
    page.route("**/api/coach?*", lambda route: None)
    page.reload()
    expect(opener(page)).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    page.reload()
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")


# ── a page of one piece ───────────────────────────────────────────────────────────────────────────────────────────────


def test_it_follows_the_history_and_gives_up_overtaken_requests(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/")
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")
    asked = asked_pages(page)
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.failure or ""))
    page.evaluate("history.pushState(null, '', '/tip')")
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    page.go_back()
    wait_until(page, lambda: asked[-1] == "/", "a step back is a page too")
    expect(panel(page)).to_be_hidden()
    page.evaluate("""async () => { for (const page of ['/a', '/b', '/c', '/tip']) {
        history.pushState(null, '', page); await new Promise((done) => setTimeout(done, 1)); } }""")
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    assert asked[-1] == "/tip" and len(asked) == 6
    assert failed and set(failed) == {"net::ERR_ABORTED"}, "overtaken requests are given up"
    assert heard(page, "error") == [], "and that is no error"


def test_without_the_navigation_api_a_step_back_is_seen(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/")
    page.add_init_script("Object.defineProperty(window, 'navigation', { value: undefined })")
    page.goto("/tip")
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    page.evaluate("history.replaceState(null, '', '/elsewhere'); history.pushState(null, '', '/x')")
    asked = asked_pages(page)
    page.go_back()
    expect(panel(page)).to_be_hidden()
    assert asked == ["/elsewhere"]


def test_the_page_may_describe_itself_which_page_it_is(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.site.attributes = 'page="/tip/first"'
    page = visit.page("/whatever")
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    asked = asked_pages(page)
    page.evaluate("history.pushState(null, '', '/elsewhere')")
    coach(page).evaluate(
        "coach => { coach.page = '/x'; coach.page = '/y'; coach.page = '/forms'; }"
    )
    wait_until(page, lambda: asked == ["/forms"], "several changes at once are one request")
    expect(coach(page)).to_have_attribute("page", "/forms")


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_token_serves_until_it_ends_and_a_refused_one_is_replaced_once(visit: Visit) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    visit.site.tokens = [sign(visit.site.key, supplier, exp=1, iat=0)]
    visit.may_complain = ["401"]
    page = visit.page("/tip")
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    assert visit.site.asked == 2, "the one that had run out, and another"
    button(page, "Do not show again").click()
    coach(page).evaluate("coach => coach.refresh()")
    page.wait_for_timeout(300)
    assert visit.site.asked == 2, "a good one is kept"
    visit.site.asked = 0
    visit.site.tokens = [sign(visit.site.key, supplier, seconds=31), sign(visit.site.key, supplier)]
    page.reload()
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")
    page.wait_for_timeout(1100)
    coach(page).evaluate("coach => coach.refresh()")
    wait_until(
        page, lambda: visit.site.asked == 2, "one that is about to end is replaced before it does"
    )
    assert heard(page, "error") == []


@pytest.mark.parametrize("token", [None, "no-token-at-all", "another supplier's key"])
def test_who_has_no_good_token_sees_nothing_and_the_page_goes_on(
    visit: Visit, token: str | None
) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    bad = sign("x" * 40, supplier) if token and " " in token else token
    visit.site.tokens = [bad] * 4
    visit.may_complain = ["401"]
    page = visit.page("/tip")
    wait_until(page, lambda: bool(heard(page, "error")), "the page is notified")
    expect(opener(page)).to_be_hidden()
    expect(panel(page)).to_be_hidden()
    assert heard(page, "error")[0]["status"] == 401 and visit.site.asked <= 3, "and nobody insists"
    visit.site.tokens = []
    coach(page).evaluate("coach => coach.refresh()")
    expect(opener(page)).to_be_visible()


def test_a_function_of_the_page_may_give_the_token(visit: Visit) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/tip")
    expect(panel(page)).to_be_visible()
    before = visit.site.asked
    page.evaluate(
        """(token) => { document.querySelector('everafter-coach').remove(); const coach = document.createElement('everafter-coach');
        globalThis.asked = 0; coach.getToken = async () => { asked++; return token; }; document.body.append(coach); }""",
        sign(visit.site.key, supplier),
    )
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    assert page.evaluate("asked") == 1 and visit.site.asked == before


# ── a server that is away ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_is_away_breaks_nothing_and_is_found_again(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.may_complain = ["ERR_CONNECTION_REFUSED", "ERR_FAILED"]
    page = visit.page("/elsewhere")
    page.route("**/api/coach?*", lambda route: route.abort("connectionrefused"))
    page.goto("/tip")
    wait_until(page, lambda: len(heard(page, "error")) >= 2, "it tries again by itself")
    opener(page).click()
    expect(
        panel(page).get_by_text("Your coach cannot be reached just now. It keeps trying.")
    ).to_be_visible()
    page.unroute_all()
    expect(panel(page).get_by_role("heading", name="Say hello")).to_be_visible()
    count = len(heard(page, "error"))
    page.wait_for_timeout(1500)
    assert len(heard(page, "error")) == count, "then it rests"


def test_an_answer_is_not_lost_when_the_line_is(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.may_complain = ["ERR_FAILED"]
    page = visit.page("/tip")
    page.route("**/api/coach/tips/*", lambda route: route.abort(), times=2)
    button(page, "Do not show again").click()
    expect(panel(page)).to_be_hidden()
    wait_until(
        page,
        lambda: visit.server.sql("SELECT response FROM tip_impressions") == [("dismissed",)],
        "sent at the third try",
    )


# ── texts and languages ───────────────────────────────────────────────────────────────────────────────────────────────


def test_hostile_texts_stay_texts(settings: Settings, tmp_path: Path, chromium: Browser) -> None:
    with (
        serving(coach_settings(settings, tmp_path, who=HOSTILE)) as server,
        platform(server) as site,
    ):
        visit = Visit(server, site, chromium)
        site.supplier = add_supplier(server, name=HOSTILE, client=HOSTILE)
        page = visit.page("/tip")
        expect(panel(page).get_by_role("heading", name=f"Say hello to {HOSTILE}")).to_be_visible()
        opener(page).click()
        panel(page).locator("details").evaluate_all(
            "all => all.forEach((one) => { one.open = true; })"
        )
        assert panel(page).locator("img, script, iframe").count() == 0 and page.title() == "Aisle"
        visit.check()


def test_addresses_that_would_run_something_are_no_links(visit: Visit) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/elsewhere")

    def bend(route: object) -> None:
        answer = httpx.get(
            route.request.url, headers={"Authorization": route.request.headers["authorization"]}
        )  # type: ignore[attr-defined]
        tip = {
            "id": "x",
            "title": "T",
            "body": "B",
            "reason": "",
            "action": {"label": "Go", "url": "javascript:document.title=1"},
        }
        route.fulfill(
            json={**answer.json(), "tip": tip}, headers={"Access-Control-Allow-Origin": "*"}
        )  # type: ignore[attr-defined]

    assert supplier
    page.route("**/api/coach?*", bend)
    page.goto("/tip")
    expect(panel(page).get_by_role("heading", name="T", exact=True)).to_be_visible()
    expect(panel(page).get_by_role("link")).to_have_count(0)


@pytest.mark.parametrize(
    ("locale", "later", "title"),
    [
        ("de-AT", "Später", "Sagen Sie Hallo"),
        ("xx-Unknown", "Later", "Say hello to your clients"),
        ("not a locale!", "Later", "Say hello to your clients"),
    ],
)
def test_languages_fall_back(visit: Visit, locale: str, later: str, title: str) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.site.attributes = f'locale="{locale}"'
    page = visit.page("/tip")
    expect(panel(page).get_by_role("heading", name=title)).to_be_visible()
    expect(button(page, later)).to_be_visible()
    opener(page).click()
    assert panel(page).get_attribute("lang") == ("de" if locale.startswith("de") else "en")
    assert panel(page).locator(".checklist .small").count() > 1, (
        "dates are written in it, or in English"
    )


def test_the_pages_own_language_is_taken_and_may_change(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.site.lang = "de"
    page = visit.page("/tip", locale="fr-FR")
    expect(button(page, "Nicht mehr zeigen")).to_be_visible()
    coach(page).evaluate("coach => coach.setAttribute('locale', 'en-GB')")
    expect(button(page, "Do not show again")).to_be_visible()


# ── neighbours ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_on_a_page_do_not_disturb_each_other(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server, form=True)
    visit.site.elements = 2
    visit.may_complain = ["there is one on this page already"]
    page = visit.page("/style.css")
    asked = asked_pages(page)
    page.goto("/")
    wait_until(page, lambda: len(heard(page, "celebrate")) == 1, "one of them celebrates")
    expect(coach(page).first.locator(".opener")).to_be_visible()
    expect(coach(page).last.locator(".opener")).to_be_hidden()
    coach(page).last.evaluate(
        "coach => { coach.refresh(); coach.setAttribute('locale', 'de'); coach.page = '/tip'; }"
    )
    assert len(visit.console) == 1, "and the page's developer is warned"
    assert (asked, visit.site.asked) == (["/"], 1), "only one of them asks"
    coach(page).first.evaluate("coach => coach.remove()")
    expect(coach(page).locator(".opener")).to_be_visible()
    expect(button(page, "Später")).to_be_visible()
    assert asked == ["/", "/tip"] and len(heard(page, "celebrate")) == 1


def test_another_supplier_is_another_coach(visit: Visit) -> None:
    first = visit.site.supplier = add_supplier(visit.server, inactive_days=35)
    visit.site.attributes = f'supplier-id="{first}"'
    page = visit.page("/")
    expect(button(page, "Book 15 min call")).to_be_visible()
    second = visit.site.supplier = add_supplier(visit.server)
    coach(page).evaluate("(coach, id) => coach.setAttribute('supplier-id', id)", second)
    expect(panel(page)).to_be_hidden()
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")


def test_forbidden_storage_is_done_without(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/elsewhere")
    page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page.goto("/tip")
    button(page, "Close").click()
    expect(panel(page)).to_be_hidden()
    coach(page).evaluate("coach => coach.refresh()")
    page.wait_for_timeout(300)
    expect(panel(page)).to_be_hidden()


def test_the_versioned_module_runs_with_its_hash(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    module = httpx.get(visit.server.base_url + "/coach.json").json()
    visit.site.script = module["src"].lstrip("/") + f'" integrity="{module["integrity"]}'
    page = visit.page("/tip")
    expect(link(page, "Write to them")).to_be_visible()
    visit.site.script = module["src"].lstrip("/") + '" integrity="sha384-' + "A" * 64
    visit.may_complain = ["integrity"]
    page.reload()
    page.wait_for_timeout(300)
    assert coach(page).evaluate("coach => coach.shadowRoot") is None, (
        "another content than the page was promised does not run"
    )
