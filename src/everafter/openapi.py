"""Build the OpenAPI document: Litestar's description of the handlers, and what all of them share.

Handlers describe their own parameters, bodies, responses and errors (`core.openapi.problems`).
Added here are security, the errors that every operation can return, examples and links.
"""

from collections.abc import Iterator
from http import HTTPStatus
from importlib import resources
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from everafter.core.web import PROBLEM, KeyScope

Document = dict[str, Any]

SECURITY_SCHEMES: Document = {
    "ingestKey": {
        "type": "http",
        "scheme": "bearer",
        "description": (
            "A key of scope `ingest`. A body may carry it too, as `writeKey`, `api_key` or `token`."
        ),
    },
    "ingestKeyAsUser": {
        "type": "http",
        "scheme": "basic",
        "description": "The ingest key as user name; no password.",
    },
    "ingestKeyInAddress": {
        "type": "apiKey",
        "in": "query",
        "name": "writeKey",
        "description": (
            "The ingest key in the address, for `navigator.sendBeacon`; `api_key` and `token` are"
            " read too."
        ),
    },
    "readKey": {"type": "http", "scheme": "bearer", "description": "A key of scope `read`."},
    "writeKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of scope `write`; it may read, too.",
    },
    "coachKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of scope `coach`, from server to server.",
    },
    "coachToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "A token for one supplier's browser, of at most 15 minutes, signed with a coach key."
        ),
    },
}
_KEYS_OF_SCOPE = {
    "ingest": ("ingestKey",),
    "read": ("readKey", "writeKey"),
    "write": ("writeKey",),
    "coach": ("coachKey",),
}

_EVERY_OPERATION = {
    400: (
        "the request cannot be read, or a parameter or field is of the wrong kind; `errors` names"
        " each"
    ),
    408: "the request did not arrive in time",
    414: "the URL is too long",
    431: "the request's headers are too large",
    503: (
        "the database does not answer, or the server is overloaded; `Retry-After` says when to"
        " retry"
    ),
}
_UNAUTHORIZED = "no key or token, or an unknown one"
_FORBIDDEN = "the key's scope does not allow this"
_NOT_FOUND = "there is nothing at this URL"
_IN_FLIGHT = "a request with this Idempotency-Key is in progress"
_KEY_REUSED = "this Idempotency-Key was used with another body"
_TOO_LARGE = "the body is too large"
_HEADERS = {
    401: {
        "WWW-Authenticate": {
            "description": "how to authenticate",
            "schema": {"type": "string"},
        }
    },
    429: {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
}

LINKS: dict[tuple[str, int], tuple[str, ...]] = {
    ("scheduleCall", 201): ("rescheduleCall", "cancelCall", "recordCallOutcome"),
    ("openTicket", 201): ("getTicket", "actOnTicket"),
    ("recordMilestone", 201): ("listMilestones",),
    ("recordInteraction", 201): ("listInteractions",),
}
"""Operations that take the ids of a response, as parameters or fields of the same name."""


def describe_api(app: Litestar) -> Document:
    """The whole OpenAPI document."""
    document: Document = app.openapi_schema.to_schema()
    components = document["components"]
    components["securitySchemes"] = SECURITY_SCHEMES
    components["examples"] = {f"problem_{status}": _example_of(status) for status in _PROBLEM_CODES}
    handlers = dict(_list_handlers(app))
    examples = _read_examples()
    operations = {operation["operationId"]: operation for operation in _list_operations(document)}
    for name, operation in operations.items():
        _describe_body(document, operation, handlers[name])
        _describe_parameters(operation)
        operation["security"] = _describe_security(handlers[name])
        _add_errors(operation)
        _add_examples(operation, examples.get(name, {}))
    for (name, status), targets in LINKS.items():
        answer = operations[name]["responses"][str(status)]
        fields = _fields_of(document, answer["content"]["application/json"])
        answer["links"] = {
            target: _link(document, operations[target], fields) for target in targets
        }
    return document


def _list_operations(document: Document) -> Iterator[Document]:
    for path in document["paths"].values():
        yield from path.values()


def _list_handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if isinstance(handler.operation_id, str):
                    yield handler.operation_id, handler


def _describe_security(handler: HTTPRouteHandler) -> list[dict[str, list[str]]]:
    """The keys that its guard accepts, else what the handler declares; empty: no key needed."""
    scopes = [guard for guard in handler.resolve_guards() if isinstance(guard, KeyScope)]
    keys = [key for guard in scopes for allowed in guard.allowed for key in _KEYS_OF_SCOPE[allowed]]
    return [{key: []} for key in dict.fromkeys(keys)] or list(handler.resolve_security())


def _describe_parameters(operation: Document) -> None:
    """Optional parameters are absent, never null."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.pop("oneOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            parameter["schema"] = {**kinds[0], **schema}
        elif kinds:
            schema["oneOf"] = kinds


def _describe_body(document: Document, operation: Document, handler: HTTPRouteHandler) -> None:
    """Add the constraints of list items, which Litestar does not read from the types."""
    field = handler.parsed_data_field
    kind = field.annotation if field else None
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return
    # ids are described by core.openapi, but msgspec requires a schema for them too
    _, exact = msgspec.json.schema_components([kind], schema_hook=lambda _: {"type": "string"})
    described = _resolve(
        document, operation["requestBody"]["content"]["application/json"]["schema"]
    )
    for name, schema in exact[kind.__name__]["properties"].items():
        if "items" in schema:
            described["properties"][name]["items"] = schema["items"]


# ── errors ────────────────────────────────────────────────────────────────────────────────────────

_PROBLEM_CODES = {
    400: ("bad_request", "limit: 0 is less than 1"),
    401: ("unauthorized", "this key is not known, or was revoked"),
    403: ("forbidden", "this key's scope is ingest; needed: read"),
    404: ("not_found", "there is no such supplier"),
    408: ("request_timeout", "the body did not arrive within 30 s"),
    409: ("conflict", "this time is taken"),
    413: ("too_large", "the body is larger than 4194304 bytes; send smaller batches"),
    414: ("too_long", "the URL is longer than 65536 bytes"),
    422: ("unprocessable", "type: there is no call type 'chat'"),
    429: ("rate_limited", "too many requests; retry in 2 s"),
    431: ("headers_too_large", "the request's headers are more than 64 KB"),
    503: ("database_unavailable", "the database does not answer; try again shortly"),
}


def _example_of(status: int) -> Document:
    code, detail = _PROBLEM_CODES[status]
    title = HTTPStatus(status).phrase
    value = {
        "type": f"urn:everafter:{code}",
        "title": title,
        "status": status,
        "code": code,
        "message": detail,
        "detail": detail,
    }
    return {"summary": title, "value": value}


def _add_errors(operation: Document) -> None:
    """Add the errors that every operation of its kind can return, unless the handler describes
    them."""
    texts = dict(_EVERY_OPERATION)
    keys = {key for choice in operation["security"] for key in choice}
    if keys:
        texts[401] = _UNAUTHORIZED
    if keys - {"coachToken"}:
        texts[403] = _FORBIDDEN
    if "requestBody" in operation:
        texts[413] = _TOO_LARGE
    parameters = operation.get("parameters", ())
    if any(parameter["in"] == "path" for parameter in parameters):
        texts[404] = _NOT_FOUND
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        texts |= {409: _IN_FLIGHT, 422: _KEY_REUSED}
    responses = operation["responses"]
    for status, text in texts.items():
        described = responses.get(str(status), {})
        if PROBLEM not in described.get(
            "content", {}
        ):  # Litestar's own description of a 400 does not match
            responses[str(status)] = {
                "description": text,
                "content": {PROBLEM: {"schema": _PROBLEM_SCHEMA}},
            }
    for status, response in responses.items():
        if content := response.get("content", {}).get(PROBLEM):
            content["examples"] = {"problem": {"$ref": f"#/components/examples/problem_{status}"}}
            response.update({"headers": _HEADERS[int(status)]} if int(status) in _HEADERS else {})
    operation["responses"] = {status: responses[status] for status in sorted(responses)}


_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}

# ── examples and links ────────────────────────────────────────────────────────────────────────────


def _read_examples() -> Document:
    """The examples recorded by scripts/openapi_examples.py. By operation: `parameters`, `request`,
    and `responses` by status."""
    return msgspec.json.decode(
        (resources.files("everafter") / "openapi_examples.json").read_bytes()
    )


def _add_examples(operation: Document, examples: Document) -> None:
    for parameter in operation.get("parameters", ()):
        value = examples.get("parameters", {}).get(parameter["name"])
        if value is not None:
            parameter["example"] = value
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "request" in examples:
            content["examples"] = {"example": {"value": examples["request"]}}
    for status, value in examples.get("responses", {}).items():
        for content in operation["responses"][status].get("content", {}).values():
            content["examples"] = {"example": {"value": value}}


def _resolve(document: Document, schema: Document) -> Document:
    reference = schema.get("$ref")
    return document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def _fields_of(document: Document, content: Document) -> set[str]:
    return set(_resolve(document, content["schema"]).get("properties", {}))


def _link(document: Document, target: Document, fields: set[str]) -> Document:
    """A link that passes on every id of the response that the target takes."""

    def carry(names: set[str]) -> dict[str, str]:
        return {
            name: f"$response.body#/{name}"
            for name in sorted(names & fields)
            if name.endswith("_id")
        }

    link: Document = {"operationId": target["operationId"]}
    if parameters := carry({parameter["name"] for parameter in target.get("parameters", ())}):
        link["parameters"] = parameters
    if body := target.get("requestBody"):
        link["requestBody"] = carry(_fields_of(document, body["content"]["application/json"]))
    return link
