"""/docs: every operation with parameters, bodies, statuses and keys."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from playwright.sync_api import Page

from everafter.core.settings import Settings
from everafter.reference import describe_reference
from everafter.reference_pages import format_prose
from helpers_browser import chromium, needs_chromium
from helpers_docs import read
from helpers_server import Server, serving


@pytest.fixture(scope="module")
def site(module_settings: Settings) -> Iterator[Server]:
    with serving(module_settings) as server:
        yield server


@pytest.fixture(scope="module")
def html(site: Server) -> str:
    with site.client() as client:
        answer = client.get("/docs")
    assert (
        answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    )
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return answer.text


@pytest.fixture(scope="module")
def document(site: Server) -> dict[str, Any]:
    with site.client() as client:
        return client.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_operation_is_on_the_page(html: str, document: dict[str, Any]) -> None:
    shown = unescape(html).replace("\u200b", "")
    for method, path, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in html, path
        assert re.search(
            rf'<span class="method {method.lower()}">{method}</span> <code>{re.escape(path)}</code>',
            shown,
        ), path


def test_the_fields_of_a_body_are_counted(html: str) -> None:
    counts = re.findall(r"<summary>(\d+) (field\w*)</summary>", html)
    assert {word for number, word in counts if number != "1"} == {"fields"}
    assert {word for number, word in counts if number == "1"} <= {"field"}


def test_everything_about_an_operation_is_shown(document: dict[str, Any]) -> None:
    described = describe_reference(document, "https://x.example")
    shown = {
        name: one for group in described.groups for one in group.operations for name in one.ids
    }
    assert len(shown) == len(list(operations(document))) > 40
    for _, path, operation in operations(document):
        one = shown[operation["operationId"]]
        assert {field.name for field in one.parameters} == {
            parameter["name"] for parameter in operation.get("parameters", ())
        }, path
        assert [answer.status for answer in one.answers + one.errors] == list(
            operation["responses"]
        ), path
        assert one.keys == [key for choice in operation["security"] for key in choice], path
        assert (one.body is not None) == ("requestBody" in operation), path
    assert {scheme.name for scheme in described.schemes} == set(
        document["components"]["securitySchemes"]
    )
    assert all(field.description for field in described.problem)


def test_subfields_are_shown_once(document: dict[str, Any]) -> None:
    described = describe_reference(document, "https://x.example")
    (score,) = [
        one for group in described.groups for one in group.operations if one.id == "getHealthScore"
    ]
    body = score.answers[0].body
    assert body is not None
    fields = [(field.depth, field.name) for field in body.fields]
    assert (0, "components") in fields and (1, "{name}") in fields and (2, "points") in fields
    assert (
        score.call.startswith("curl -sS https://x.example/api/health/score/")
        and '"Authorization: Bearer $READ"' in score.call
    )


def test_a_recursive_schema_ends() -> None:
    node = {
        "properties": {
            "name": {"type": "string"},
            "below": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        }
    }
    answer = {
        "description": "",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}},
    }
    tree = {
        "info": {"title": "t", "version": "1"},
        "paths": {"/tree": {"get": {"operationId": "getTree", "responses": {"200": answer}}}},
        "components": {"schemas": {"Node": node}},
    }
    (group,) = describe_reference(tree, "http://x").groups
    body = group.operations[0].answers[0].body
    assert body is not None and [(field.name, field.type) for field in body.fields] == [
        ("name", "string"),
        ("below", "list of objects"),
    ]


def test_descriptions_are_escaped() -> None:
    assert format_prose("a `<b>` & c\n\nd") == "<p>a <code>&lt;b&gt;</code> &amp; c</p><p>d</p>"


def test_no_inline_code_or_remote_files(html: str) -> None:
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html)
    assert not re.search(r'(?:src|href)="(?:[a-z]+:|//)', html)
    assert all(re.search(r'\ssrc="/static/', tag) for tag in re.findall(r"<script[^>]*>", html))


def test_it_is_linked_from_the_api_page() -> None:
    assert "`GET /docs`" in read("api.md")


@needs_chromium
@pytest.mark.browser
def test_the_page_in_a_browser(site: Server) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        trouble: list[str] = []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto(f"{site.base_url}/docs#scheduleCall")
        assert page.locator("#scheduleCall h3").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.set_viewport_size({"width": 1200, "height": 800})
        count = page.locator("article").count()
        filter_by(page, "POST interaction_id}/cancel")
        assert (
            page.locator("article:visible").count() == 1
            and page.locator("[role=status]").inner_text() == f"1 of {count} operations"
        )
        filter_by(page, "xyzzy")
        assert (
            page.locator("article:visible").count() == 0
            and page.locator("[role=status]").inner_text() == "No matches"
        )
        filter_by(page, "")
        assert page.locator("article:visible").count() == count
        assert trouble == []


def filter_by(page: Page, text: str) -> None:
    """The "/" key focuses the filter."""
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Backspace")
    page.keyboard.type(text)
