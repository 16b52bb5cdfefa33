"""The API's description: every operation of these slices, its errors as problem+json, its schemas by name."""

from typing import Any

import pytest

from everafter.support.model import CALL_TYPES
from helpers_server import Server

OPERATIONS = {
    ("/api/success/milestone", "post"): {"200", "201", "400", "401", "403", "404", "409", "422", "503"},
    ("/api/success/milestones/{supplier_id}", "get"): {"200", "400", "401", "403", "404", "503"},
    ("/api/success/recommendations/{supplier_id}", "get"): {"200", "400", "401", "403", "404", "503"},
    ("/api/support/slots", "get"): {"200", "400", "401", "403", "404", "422", "503"},
    ("/api/support/schedule-call", "post"): {"201", "400", "401", "403", "404", "409", "422", "503"},
    ("/api/support/calls/{file_name}", "get"): {"200", "400", "401", "403", "404", "503"},
    ("/api/support/interactions", "get"): {"200", "400", "401", "403", "404", "503"},
}


@pytest.fixture
def schema(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return client.get("/openapi.json").json()


def test_every_operation_is_described_with_its_errors(schema: dict[str, Any]) -> None:
    for (path, method), statuses in OPERATIONS.items():
        operation = schema["paths"][path][method]
        assert operation["responses"].keys() == statuses, path
        assert operation["tags"] and operation["summary"] and operation["description"] and operation["operationId"]
        for status, response in operation["responses"].items():
            [(media, content)] = response["content"].items()
            if status >= "400":
                assert media == "application/problem+json"
                assert content["schema"]["$ref"].endswith("Problem")


def test_parameters_and_bodies_are_named_as_the_contract_has_them(schema: dict[str, Any]) -> None:
    slots = {p["name"]: p for p in schema["paths"]["/api/support/slots"]["get"]["parameters"]}
    assert {name for name, p in slots.items() if p["required"]} == {"supplier_id", "type"}
    assert slots.keys() == {"supplier_id", "type", "from", "days", "timezone"}
    assert slots["type"]["schema"]["enum"] == list(CALL_TYPES)
    for path in ("/api/success/milestone", "/api/support/schedule-call"):
        [header] = [p for p in schema["paths"][path]["post"]["parameters"] if p["in"] == "header"]
        assert (header["name"], header["required"]) == ("Idempotency-Key", False)
    [booked] = [s for name, s in schema["components"]["schemas"].items() if name.endswith("BookedAnswer")]
    assert {"interaction_id", "starts_at", "ends_at", "csm", "ics_url"} <= set(booked["required"])
