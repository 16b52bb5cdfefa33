"""The real SDKs of Segment and RudderStack, with only their host setting changed."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import rudderstack.analytics.client as rudderstack
import rudderstack.analytics.request as rudderstack_request
import segment.analytics.client as segment
import segment.analytics.request as segment_request

from helpers_server import Server

CLIENTS = {"segment": segment.Client, "rudderstack": rudderstack.Client}


@pytest.fixture(autouse=True)
def _closed_sessions() -> Iterator[None]:
    yield
    segment_request._session.close()
    rudderstack_request._session.close()


@pytest.fixture(params=["segment", "rudderstack"])
def sdk(request: pytest.FixtureRequest) -> Any:
    return CLIENTS[request.param]


def flushed(client: Any, server: Server) -> None:
    client.flush()
    client.join()
    server.wait_folded()


@pytest.mark.parametrize("gzip", [False, True])
def test_events_sent_by_the_sdk_are_stored(server: Server, sdk: Any, gzip: bool) -> None:
    errors: list[Any] = []
    client = sdk(
        server.key("ingest"),
        host=server.base_url,
        gzip=gzip,
        on_error=lambda error, _: errors.append(error),
        max_retries=1,
        upload_interval=0.05,
    )
    supplier, moment = str(uuid.uuid4()), datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    client.identify(
        supplier, {"name": "Ann", "vendorType": "photographer", "country": "GB", "plan": "pro"}
    )
    client.track(supplier, "login", timestamp=moment)
    client.track(supplier, "feature_used", {"feature": "forms"})
    client.track(supplier, "form_sent", {"client_id": "c1", "form_id": "f1"})
    client.page(supplier, "Docs", "Home", {"path": "/"})
    client.screen(supplier, "App", "Start")
    client.group(supplier, supplier, {"email": "ann@example.com"})
    client.alias("anonymous", supplier)
    for _ in range(150):
        client.track(supplier, "login")
    flushed(client, server)
    assert errors == []
    assert server.sql("SELECT name, vendor_type, country, plan, email FROM suppliers") == [
        ("Ann", "photographer", "GB", "pro", "ann@example.com")
    ]
    assert dict(server.sql("SELECT type, count(*) FROM events GROUP BY type")) == {
        "login": 151,
        "feature_used": 1,
        "form_sent": 1,
        "page": 1,
        "screen": 1,
    }
    assert server.sql("SELECT events_total FROM supplier_activity") == [(155,)]
    [(at,)] = server.sql(
        "SELECT occurred_at FROM events WHERE occurred_at < now() - interval '1 day'"
    )
    assert abs((at - moment).total_seconds()) < 5, (
        "corrected by the skew, which is the time on the way"
    )


def test_an_sdk_with_a_bad_key_gets_an_error_and_does_not_retry(server: Server, sdk: Any) -> None:
    errors: list[Any] = []
    client = sdk(
        "wrong",
        host=server.base_url,
        on_error=lambda error, _: errors.append(error),
        max_retries=5,
        upload_interval=0.05,
    )
    started = time.monotonic()
    client.track(str(uuid.uuid4()), "login")
    client.flush()
    client.join()
    assert [(error.status, error.code) for error in errors] == [(401, "unauthorized")]
    assert time.monotonic() - started < 5


def test_an_sdk_retries_after_an_overload(server: Server, sdk: Any) -> None:
    supplier = str(uuid.uuid4())
    server.sql("INSERT INTO suppliers (id) VALUES (%s)", supplier)
    limit = server.app.state.admission.known
    limit.requests = limit.max_requests
    errors: list[Any] = []
    client = sdk(
        server.key("ingest"),
        host=server.base_url,
        on_error=lambda error, _: errors.append(error),
        upload_interval=0.05,
    )
    client.track(supplier, "login")
    time.sleep(0.5)
    assert server.sql("SELECT count(*) FROM events") == [(0,)]
    limit.requests = 0
    flushed(client, server)
    assert errors == []
    assert server.sql("SELECT count(*) FROM events") == [(1,)]


def test_sync_mode_stores_a_repeated_message_once(server: Server, sdk: Any) -> None:
    supplier = str(uuid.uuid4())
    client = sdk(server.key("ingest"), host=server.base_url, sync_mode=True)
    client.identify(supplier, {"name": "Ann"})
    client.track(supplier, "login", message_id="the-same")
    client.track(supplier, "login", message_id="the-same")
    assert server.sql("SELECT count(*) FROM events") == [(1,)]
