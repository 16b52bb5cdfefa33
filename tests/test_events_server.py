"""The server itself: probes, errors as problem+json, keys."""

from litestar import Litestar

from everafter.server import make_server
from helpers_server import Server


def test_probes_report_the_process_and_the_database(server: Server) -> None:
    with server.client() as client:
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/readyz").json()["status"] == "ready"
        metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "everafter_ingest_pending_events 0" in metrics.text
    assert "everafter_up 1" in metrics.text


def test_an_idle_connection_outlives_the_keep_alive_of_proxies() -> None:
    """If the server closed a connection just as the proxy reuses it, a request would be lost."""
    assert make_server(Litestar([])).config.timeout_keep_alive > 60


def test_the_openapi_document_is_served(server: Server) -> None:
    with server.client() as client:
        schema = client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert "/readyz" in schema["paths"]


def test_unknown_paths_and_methods_answer_problem_json(server: Server) -> None:
    with server.client() as client:
        missing, method = client.get("/nothing/here"), client.delete("/livez")
    assert (missing.status_code, method.status_code) == (404, 405)
    for answer in (missing, method):
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code"} <= answer.json().keys()
