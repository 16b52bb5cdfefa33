"""The coach in a real Chromium, inside another origin's page under a strict policy: every flow, through the real server."""

import re
from typing import Any

from playwright.sync_api import Page, Route, expect

from helpers_platform import add_supplier, book, sign, track, wait_until
from helpers_visit import Visit, button, coach, heard, link, needs_chromium, opener, panel
from helpers_visit import chromium as chromium
from helpers_visit import visit as visit

pytestmark = needs_chromium


def answers(visit: Visit) -> list[tuple[Any, ...]]:
    return visit.server.sql(
        "SELECT tip_id, response, snoozed_until IS NOT NULL FROM tip_impressions"
    )


# ── a tip ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_tip_comes_by_itself_says_why_and_leads_on(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/tip")
    expect(panel(page).get_by_role("heading", name="Say hello to your clients")).to_be_visible()
    assert page.evaluate("document.activeElement === document.body"), "the focus stays where it was"
    assert panel(page).get_attribute("role") == "region"
    expect(coach(page).get_by_role("status").first).to_have_text(
        "A tip for you: Say hello to your clients"
    )
    expect(panel(page).get_by_text("You have 1 clients.")).to_be_hidden()
    panel(page).get_by_text("Why you see this").click()
    expect(panel(page).get_by_text("You have 1 clients.")).to_be_visible()
    link(page, "Write to them").click()
    expect(page).to_have_url(visit.site.origin + "/clients?to=all")
    assert answers(visit) == [("greet", "completed", False)]
    page.goto("/tip")
    expect(opener(page)).to_be_visible()
    page.wait_for_timeout(400)
    expect(panel(page)).to_be_hidden()


def test_later_and_never_are_kept(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/tip")
    button(page, "Later").click()
    expect(button(page, "Tomorrow")).to_be_focused()
    button(page, "Back").click()
    expect(button(page, "Later")).to_be_focused()
    button(page, "Later").click()
    button(page, "In a week").click()
    expect(panel(page)).to_be_hidden()
    expect(opener(page)).to_be_focused()
    wait_until(page, lambda: answers(visit) == [("greet", "snoozed", True)], "the answer is kept")
    visit.site.supplier = add_supplier(visit.server)
    page.goto("/tip")
    button(page, "Do not show again").click()
    wait_until(page, lambda: ("greet", "dismissed", False) in answers(visit), "the answer is kept")


def test_a_page_of_one_piece_goes_on_by_itself(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    page = visit.page("/tip")
    page.evaluate(
        "addEventListener('everafter:action', (event) => { event.preventDefault(); history.pushState(null, '', '/tip/done'); })"
    )
    link(page, "Write to them").click()
    expect(panel(page)).to_be_hidden()
    assert page.url.endswith("/tip/done") and heard(page, "action") == [
        {"id": "greet", "url": "/clients?to=all"}
    ]
    wait_until(
        page, lambda: answers(visit) == [("greet", "completed", False)], "the answer is kept"
    )


def test_closing_is_no_answer_and_no_popup_shows_only_a_dot(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server)
    visit.site.attributes = "no-popup"
    page = visit.page("/tip")
    expect(opener(page)).to_have_accessible_name(re.compile("something new for you"))
    expect(opener(page).locator(".dot")).to_be_visible()
    expect(panel(page)).to_be_hidden()
    visit.site.attributes = ""
    page.reload()
    button(page, "Close").click()
    expect(opener(page).locator(".dot")).to_be_hidden()
    page.reload()
    page.wait_for_timeout(400)
    expect(panel(page)).to_be_hidden()
    opener(page).click()
    expect(link(page, "Write to them")).to_be_visible()
    assert answers(visit) == [("greet", None, False)]


# ── the checklist ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_checklist_follows_across_pages_and_ticks(visit: Visit) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    visit.site.attributes = f'supplier-id="{supplier}"'
    page = visit.page("/")
    expect(opener(page)).to_have_accessible_name(re.compile(r"^Your coach, \d of \d done$"))
    opener(page).click()
    expect(panel(page)).to_be_focused()
    done = int(panel(page).get_by_role("progressbar").get_attribute("value") or 0)
    form = link(page, "Make your first form")
    expect(form.or_(panel(page).get_by_role("link").first)).to_be_visible()
    page.goto("/forms")
    expect(panel(page)).to_be_visible()
    assert page.evaluate("document.activeElement === document.body"), (
        "it is open as before, and does not take the focus"
    )
    track(visit.server, supplier, "import_clients_started")
    coach(page).evaluate("coach => coach.refresh()")
    expect(panel(page).get_by_role("progressbar")).to_have_attribute("value", str(done + 1))
    button(page, "Close").click()
    page.goto("/")
    expect(opener(page)).to_be_visible()
    page.wait_for_timeout(300)
    expect(panel(page)).to_be_hidden()


# ── a call ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def start_booking(visit: Visit, **more: Any) -> Page:
    visit.site.supplier = visit.site.supplier or add_supplier(visit.server, inactive_days=35)
    page = visit.page("/", **more)
    button(page, "Book 15 min call").click()
    expect(panel(page).locator(".slot").first).to_be_visible()
    return page


def calls(visit: Visit) -> list[tuple[Any, ...]]:
    return visit.server.sql("SELECT supplier_id::text, topic FROM support_interactions")


def test_a_call_in_two_clicks_and_two_quick_clicks_are_one_call(visit: Visit) -> None:
    page = start_booking(visit)
    expect(panel(page).get_by_text("15 minutes, times in Europe/London")).to_be_visible()
    panel(page).get_by_label("What is it about").fill("Forms & <b>journeys</b>")
    days = panel(page).locator(".day")
    days.nth(1).click()
    expect(days.nth(1)).to_have_attribute("aria-pressed", "true")
    assert panel(page).get_by_label("What is it about").input_value() == "Forms & <b>journeys</b>"
    day, time = days.nth(1).inner_text(), panel(page).locator(".slot").nth(2).inner_text()
    panel(page).locator(".slot").nth(2).dblclick()
    expect(panel(page).get_by_role("heading", name="Your call is booked")).to_be_visible()
    assert (
        time in panel(page).inner_text() and day.split()[1].strip(",") in panel(page).inner_text()
    )
    assert calls(visit) == [(visit.site.supplier, "Forms & <b>journeys</b>")]
    assert [call["csm"]["name"] for call in heard(page, "booked")] and len(
        heard(page, "booked")
    ) == 1
    for name in ("Add to calendar", "Move or cancel"):
        address = link(page, name).get_attribute("href")
        assert (
            address
            and page.request.get(address.replace("http://testserver", visit.server.base_url)).ok
        ), name
    button(page, "Close").click()
    page.reload()
    page.wait_for_timeout(400)
    expect(panel(page)).to_be_hidden()
    opener(page).click()
    expect(button(page, "Book 15 min call")).to_have_count(0)


def test_a_broken_line_does_not_book_twice(visit: Visit) -> None:
    page = start_booking(visit)

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/api/coach/calls", lose_the_answer, times=1)
    visit.may_complain = ["ERR_FAILED"]
    panel(page).locator(".slot").first.click()
    expect(panel(page).get_by_role("alert")).to_have_text("That did not work. Nothing is lost.")
    panel(page).locator(".slot").first.click()
    expect(panel(page).get_by_role("heading", name="Your call is booked")).to_be_visible()
    assert len(calls(visit)) == 1


def test_a_time_that_was_taken_meanwhile(visit: Visit) -> None:
    page = start_booking(visit)
    visit.may_complain = ["409"]
    wanted = panel(page).locator(".slot").first
    assert (
        book(
            visit.server, add_supplier(visit.server), str(wanted.get_attribute("data-k"))
        ).status_code
        == 201
    )
    wanted.click()
    expect(panel(page).get_by_role("alert")).to_have_text(
        "That time was just taken. These are free:"
    )
    panel(page).locator(".slot").first.click()
    expect(panel(page).get_by_role("heading", name="Your call is booked")).to_be_visible()


def test_back_from_the_times_and_help_put_off(visit: Visit) -> None:
    page = start_booking(visit)
    assert panel(page).locator(".day").count() > 15, "a month of days"
    button(page, "Back").click()
    expect(button(page, "Book 15 min call")).to_be_visible()
    button(page, "Later").click()
    expect(button(page, "Book 15 min call")).to_have_count(0)
    expect(button(page, "Talk to us")).to_be_visible()
    page.reload()
    expect(button(page, "Talk to us")).to_be_visible()
    expect(button(page, "Book 15 min call")).to_have_count(0)


# ── celebrations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_celebrated_once_over_all_tabs(visit: Visit) -> None:
    visit.site.supplier = add_supplier(visit.server, form=True)
    page = visit.page("/")
    expect(panel(page).get_by_role("heading", name="First form")).to_be_visible()
    expect(coach(page).locator(".sky i").first).to_be_attached()
    assert [one["id"] for one in heard(page, "celebrate")] == ["first_form"]
    expect(coach(page).locator(".sky")).to_have_count(0, timeout=8000)
    other = visit.tab(visit.contexts[0], "/")
    opener(other).click()
    expect(panel(other).get_by_role("progressbar")).to_be_visible()
    expect(panel(other).get_by_role("heading", name="First form")).to_have_count(0)
    assert heard(other, "celebrate") == []
    button(page, "Lovely").click()
    expect(panel(page)).to_be_hidden()


def test_no_confetti_for_those_who_want_less_motion_and_the_certificate_is_there(
    visit: Visit,
) -> None:
    supplier = visit.site.supplier = add_supplier(visit.server)
    with visit.server.client("write") as client:
        assert client.post(
            "/api/success/milestone",
            json={"supplier_id": supplier, "milestone_type": "fully_activated"},
        ).is_success
    page = visit.page("/", reduced_motion="reduce")
    expect(panel(page).get_by_role("heading", name="Everything set up")).to_be_visible()
    page.wait_for_timeout(200)
    expect(coach(page).locator(".sky")).to_have_count(0)
    address = link(page, "See your certificate").get_attribute("href")
    assert (
        address and page.request.get(address.replace("http://testserver", visit.server.base_url)).ok
    )


def test_a_celebration_claimed_while_the_page_changes_is_shown_with_all_that_belongs_to_it(
    visit: Visit,
) -> None:
    visit.site.supplier = add_supplier(visit.server, form=True)
    visit.site.attributes = "page='/'"
    page = visit.page("/style.css")
    held: list[Route] = []
    page.route("**/api/coach/celebrations/*", lambda route: held.append(route))
    page.goto("/")
    wait_until(page, lambda: bool(held), "the celebration is claimed")
    page.evaluate("document.querySelector('everafter-coach').page = '/forms'")
    page.wait_for_timeout(200)  # for what the change of the page might set off meanwhile
    for route in held:
        route.continue_()
    page.unroute("**/api/coach/celebrations/*")
    expect(panel(page).get_by_role("heading", name="First form")).to_be_visible()
    assert [one["id"] for one in heard(page, "celebrate")] == ["first_form"]


# ── who it is for ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_that_comes_late_is_nobody_elses(visit: Visit) -> None:
    """Somebody else signs in while the token of the one before is still on its way: nothing is asked with that one any more."""
    before, after = (
        sign(visit.site.key, add_supplier(visit.server, name=name))
        for name in ("Rosewood", "Blue Barn")
    )
    visit.site.supplier = add_supplier(
        visit.server
    )  # whom the page itself asks for, before the two
    page = visit.page("/")
    asked: list[str] = []
    page.on(
        "request",
        lambda request: (
            asked.append(request.headers["authorization"]) if "/api/coach" in request.url else None
        ),
    )
    page.evaluate(
        """async ([before, after]) => {
          const coach = document.querySelector("everafter-coach"), late = new Promise((done) => setTimeout(done, 500, before));
          coach.getToken = () => late;
          await new Promise((done) => setTimeout(done, 100));
          coach.getToken = async () => after;
          await late;
          await new Promise((done) => setTimeout(done, 300));
          coach.refresh();
        }""",
        [before, after],
    )
    page.wait_for_timeout(500)
    assert f"Bearer {before}" not in asked and asked[-1] == f"Bearer {after}"
