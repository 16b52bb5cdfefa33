"""HEAD wherever GET is, `Allow` headers that are true, and errors of the API as problem+json, on every route there is."""

import re
import socket
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from helpers_server import Server

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What changes by itself between two answers.
PASSING = {"date", "set-cookie"}


def list_routes(server: Server) -> dict[str, set[str]]:
    """The methods of each path, its parameters filled in with something."""

    def fill(found: re.Match[str]) -> str:
        kind = found[1].partition(":")[2]
        return {"uuid": str(uuid.UUID(int=5)), "path": "everafter.css", "int": "1"}.get(
            kind, "x.ics"
        )

    routes: dict[str, set[str]] = {}
    for route in server.app.routes:
        path = re.sub(r"\{([^}]+)\}", fill, route.path)
        routes.setdefault(path, set()).update(
            {str(method) for method in route.methods} - {"OPTIONS", "HEAD"}
        )
    return routes


def allowed(methods: set[str]) -> list[str]:
    return sorted([*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])])


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client("read") as client:
        yield client


def test_head_is_get_without_a_body(server: Server, client: httpx.Client) -> None:
    paths = [path for path, methods in list_routes(server).items() if "GET" in methods]
    assert len(paths) > 40
    seen: set[int] = set()
    for path in paths:
        for headers in ({}, {"Accept": "text/html", "Authorization": ""}):
            get = client.get(path, headers=headers)
            client.cookies.clear()
            head = client.head(path, headers=headers)
            client.cookies.clear()
            seen.add(get.status_code)
            assert head.status_code == get.status_code, path
            assert head.headers.keys() == get.headers.keys(), path
            differing = {
                name for name in get.headers if head.headers[name] != get.headers[name]
            } - PASSING
            assert differing <= ({"content-length"} if path == "/metrics" else set()), path
            assert head.content == b""
    assert {200, 303, 400, 401, 404} <= seen


def test_nothing_follows_the_headers_on_the_wire(server: Server) -> None:
    address = urlsplit(server.base_url)
    for path in (
        "/livez",
        "/coach.js",
        "/openapi.json",
        "/sign-in",
        "/static/everafter.css",
        "/nothing",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=30) as wire:
            wire.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            got = b"".join(iter(lambda: wire.recv(65536), b""))
        assert (
            got.startswith(b"HTTP/1.1 ")
            and got.count(b"\r\n\r\n") == 1
            and got.endswith(b"\r\n\r\n")
        ), path


def test_allow_names_the_methods_there_are(server: Server, client: httpx.Client) -> None:
    for path, methods in list_routes(server).items():
        reported = client.options(path)
        assert reported.status_code in {200, 204}, path
        assert sorted(reported.headers["allow"].split(", ")) == allowed(methods), path
        for method in {*METHODS, "HEAD", "TRACE", "PROPFIND"} - set(allowed(methods)):
            refused = client.request(method, path)
            assert refused.status_code == 405, (method, path)
            assert sorted(refused.headers["allow"].split(", ")) == allowed(methods), (method, path)


@pytest.mark.parametrize(
    "path",
    ["/api/nothing", "/v1/nothing", "/api", "/api/coach/nothing", "/api/success/milestone/x"],
)
def test_what_is_not_there_is_a_problem_for_every_method(client: httpx.Client, path: str) -> None:
    for method in (*METHODS, "OPTIONS", "TRACE"):
        answer = client.request(method, path, headers={"Accept": "text/html,*/*"})
        assert answer.status_code == 404, method
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= answer.json().keys()
        assert "allow" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/api/events", "/v1/batch", "/v1/t", "/api/coach", "/api/success/milestone"]
)
def test_a_wrong_method_is_a_problem_too(client: httpx.Client, path: str) -> None:
    answer = client.request("DELETE", path, headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert answer.json()["code"] == "method_not_allowed"
