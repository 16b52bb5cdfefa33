"""The API's description: every operation with its callers, its statuses and its examples, each of which fits its schema."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import jsonschema_rs
import pytest

from everafter.core.limits import Limits
from everafter.core.settings import Settings
from everafter.openapi import SECURITY_SCHEMES
from everafter.support.model import CALL_TYPES
from helpers_server import Server, serving

ALWAYS = {"400", "408", "414", "431", "503"}
KEYED = ALWAYS | {"401", "403"}
OPERATIONS = {
    ("/api/success/milestone", "post"): KEYED | {"200", "201", "404", "409", "413", "422"},
    ("/api/success/milestones/{supplier_id}", "get"): KEYED | {"200", "404"},
    ("/api/success/recommendations/{supplier_id}", "get"): KEYED | {"200", "404"},
    ("/api/health/score/{supplier_id}", "get"): KEYED | {"200", "404"},
    ("/api/support/slots", "get"): KEYED | {"200", "404", "422"},
    ("/api/support/schedule-call", "post"): KEYED | {"201", "404", "409", "413", "422"},
    ("/api/support/calls/{interaction_id}/cancel", "post"): KEYED
    | {"200", "404", "409", "413", "422"},
    ("/api/support/calls/{file_name}", "get"): ALWAYS | {"200", "404"},
    ("/api/support/interactions", "get"): KEYED | {"200", "404"},
    ("/api/coach", "get"): ALWAYS | {"200", "401", "404"},
    ("/api/coach/tokens", "post"): KEYED | {"201", "404", "413"},
    ("/v1/batch", "post"): KEYED | {"200", "413", "429"},
    ("/v1/t", "post"): KEYED | {"200", "413", "429"},
    ("/e", "post"): KEYED | {"200", "413", "429"},
    ("/livez", "get"): ALWAYS | {"200"},
}
CALLERS = {
    "getHealthScore": ["readKey", "writeKey"],
    "scheduleCall": ["writeKey"],
    "createCoachToken": ["coachKey"],
    "getCoach": ["coachToken"],
    "ingestBatch": ["ingestKey", "ingestKeyAsUser", "ingestKeyInAddress"],
    "ingestPostHogE": ["ingestKey", "ingestKeyAsUser", "ingestKeyInAddress"],
    "getCallInvitation": [],
    "isReady": [],
}


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    """Many wrong keys come from one address here, and each is to hear 401."""
    with serving(replace(settings, limits=Limits(address_rate=0))) as running:
        yield running


@pytest.fixture
def schema(server: Server) -> dict[str, Any]:
    with server.client() as client:
        return client.get("/openapi.json").json()


def list_operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in schema["paths"].items()
        for method, operation in item.items()
    ]


def test_every_operation_is_described_with_its_errors(schema: dict[str, Any]) -> None:
    for (path, method), statuses in OPERATIONS.items():
        assert schema["paths"][path][method]["responses"].keys() == statuses, path
    for path, _, operation in list_operations(schema):
        assert (
            operation["tags"]
            and operation["summary"]
            and operation["description"]
            and operation["operationId"]
        )
        assert operation["responses"].keys() >= ALWAYS, path
        for status, response in operation["responses"].items():
            if status >= "400":
                [(media, content)] = response["content"].items()
                assert media == "application/problem+json"
                assert content["schema"]["$ref"].endswith("Problem")
                example = schema["components"]["examples"][
                    content["examples"]["problem"]["$ref"].rpartition("/")[2]
                ]
                assert str(example["value"]["status"]) == status
    assert len({operation["operationId"] for _, _, operation in list_operations(schema)}) == len(
        list_operations(schema)
    )


def test_every_operation_says_who_may_call(schema: dict[str, Any]) -> None:
    callers = {
        operation["operationId"]: [name for choice in operation["security"] for name in choice]
        for _, _, operation in list_operations(schema)
    }
    assert {name: callers[name] for name in CALLERS} == CALLERS
    assert {name for names in callers.values() for name in names} == SECURITY_SCHEMES.keys()
    assert schema["components"]["securitySchemes"].keys() == SECURITY_SCHEMES.keys()


def test_every_operation_has_examples_that_fit(schema: dict[str, Any]) -> None:
    def check(content: dict[str, Any], value: Any, where: str) -> None:
        (
            jsonschema_rs.validator_for(
                {**content["schema"], "components": schema["components"]}
            ).validate(value),
            where,
        )

    for path, method, operation in list_operations(schema):
        where = f"{method} {path}: scripts/openapi_examples.py records examples"
        bodies = [*operation.get("requestBody", {}).get("content", {}).values()]
        for status, response in operation["responses"].items():
            if status < "400":
                bodies += response.get("content", {}).values()
        for content in bodies:
            assert content.get("examples"), where
            for example in content["examples"].values():
                check(content, example["value"], where)
        for parameter in operation.get("parameters", ()):
            if "example" in parameter:
                check(parameter, parameter["example"], where)
            else:
                assert not parameter["required"], where


def test_answers_link_to_what_can_be_done_with_them(schema: dict[str, Any]) -> None:
    links = schema["paths"]["/api/support/schedule-call"]["post"]["responses"]["201"]["links"]
    assert links["cancelCall"] == {
        "operationId": "cancelCall",
        "parameters": {"interaction_id": "$response.body#/interaction_id"},
        "requestBody": {"supplier_id": "$response.body#/supplier_id"},
    }


def test_parameters_and_bodies_are_named_as_the_contract_has_them(schema: dict[str, Any]) -> None:
    slots = {p["name"]: p for p in schema["paths"]["/api/support/slots"]["get"]["parameters"]}
    assert {name for name, p in slots.items() if p["required"]} == {"supplier_id", "type"}
    assert slots.keys() == {"supplier_id", "type", "from", "days", "timezone"}
    assert slots["type"]["schema"]["enum"] == list(CALL_TYPES)
    assert slots["timezone"]["schema"]["type"] == "string", (
        "an optional parameter is absent, never null"
    )
    for path in ("/api/success/milestone", "/api/support/schedule-call"):
        [header] = [p for p in schema["paths"][path]["post"]["parameters"] if p["in"] == "header"]
        assert (header["name"], header["required"]) == ("Idempotency-Key", False)
    [booked] = [
        s for name, s in schema["components"]["schemas"].items() if name.endswith("BookedAnswer")
    ]
    assert {"interaction_id", "starts_at", "ends_at", "csm", "ics_url"} <= set(booked["required"])
    reported = schema["components"]["schemas"]["ImpressionsRequest"]["properties"]["ids"]
    assert reported["items"] == {"type": "string", "minLength": 1, "maxLength": 100}


def test_only_the_callers_that_are_named_may_call(server: Server, schema: dict[str, Any]) -> None:
    """Each operation, as everybody: 401 or 403 for all but those that its description names."""
    scopes = {"ingestKey": "ingest", "readKey": "read", "writeKey": "write", "coachKey": "coach"}
    callers = {
        name: {"Authorization": f"Bearer {server.key(scope)}"} for name, scope in scopes.items()
    }  # pyright: ignore
    callers |= {
        "nobody": {},
        "stranger": {"Authorization": "Bearer ea_write_made-up"},
        "coachToken": {"Authorization": "Bearer a.b.c"},
    }
    with httpx.Client(base_url=server.base_url, timeout=30) as client:
        for path, method, operation in list_operations(schema):
            named = {name for choice in operation["security"] for name in choice}
            address = path
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    address = address.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            body = next((content["examples"]["example"]["value"] for content in bodies), None)
            for name, headers in callers.items():
                answer = client.request(method, address, headers=headers, json=body)
                refused = answer.status_code in {401, 403}
                expected = bool(named) and name not in named - {"coachToken"}
                assert refused is expected, (name, method, path, answer.status_code)
                assert str(answer.status_code) in operation["responses"], (
                    name,
                    method,
                    path,
                    answer.status_code,
                )
