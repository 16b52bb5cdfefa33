"""Build the data of the API reference at /docs from the OpenAPI document. Pure."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from shlex import quote
from typing import Any
from urllib.parse import quote as quote_url

from msgspec import Struct

Document = dict[str, Any]

_MOST_DEPTH = 5
_KEY_NAMES = {
    "ingestKey": "INGEST",
    "readKey": "READ",
    "writeKey": "WRITE",
    "coachKey": "COACH",
    "coachToken": "TOKEN",
}


class Field(Struct, frozen=True):
    """A parameter, or a field of a body.

    notes: limits and default as text. depth: nesting depth, 0 for a top-level field. place: path,
    query or header for a parameter, empty for a field."""

    name: str
    type: str
    is_required: bool
    description: str
    notes: str = ""
    depth: int = 0
    place: str = ""


class Body(Struct, frozen=True):
    """The body of a request or response. example: JSON or text, empty when none was recorded."""

    media_type: str
    type: str
    fields: list[Field]
    example: str


class Answer(Struct, frozen=True):
    """A response of an operation. headers: (name, description)."""

    status: str
    phrase: str
    description: str
    headers: list[tuple[str, str]]
    body: Body | None


class Operation(Struct, frozen=True):
    """An operation. Operations that differ only in the path are merged into one.

    keys: the accepted security schemes, of which one is needed; empty when none is.
    """

    id: str
    method: str
    paths: list[str]
    ids: list[str]
    summary: str
    description: str
    keys: list[str]
    parameters: list[Field]
    body: Body | None
    is_body_required: bool
    answers: list[Answer]
    errors: list[Answer]
    call: str


class Group(Struct, frozen=True):
    """The operations with one tag."""

    id: str
    name: str
    operations: list[Operation]


class Scheme(Struct, frozen=True):
    """A security scheme. how: the header or parameter that carries the key."""

    name: str
    how: str
    description: str


class Reference(Struct, frozen=True):
    """The whole page. problem: the fields of an error's body."""

    title: str
    version: str
    groups: list[Group]
    schemes: list[Scheme]
    problem: list[Field]


def describe_reference(document: Document, base_url: str) -> Reference:
    """Build the page of an OpenAPI document. `base_url`: the server of the example calls."""
    groups: dict[str, dict[tuple[str, ...], list[tuple[str, str, Document]]]] = {}
    for path, method, operation in _operations(document):
        tag = (operation.get("tags") or ["Other"])[0]
        name = tag[:1].upper() + tag[1:]
        alike = (method, operation.get("summary", ""), operation.get("description", ""))
        groups.setdefault(name, {}).setdefault(alike, []).append((path, method, operation))
    schemas = document["components"]["schemas"]
    return Reference(
        title=document["info"]["title"],
        version=document["info"]["version"],
        groups=[
            Group(
                f"tag-{name.lower()}",
                name,
                [_operation(document, one, base_url) for one in operations.values()],
            )
            for name, operations in sorted(groups.items())
        ],
        schemes=[
            _scheme(name, scheme)
            for name, scheme in document["components"].get("securitySchemes", {}).items()
        ],
        problem=list(_fields(document, schemas["Problem"])) if "Problem" in schemas else [],
    )


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _operation(
    document: Document, alike: list[tuple[str, str, Document]], base_url: str
) -> Operation:
    path, method, first = alike[0]
    answers = [_answer(document, status, answer) for status, answer in first["responses"].items()]
    body, summary = first.get("requestBody", {}), first.get("summary", "")
    return Operation(
        id=first["operationId"],
        method=method,
        paths=[one for one, _, _ in alike],
        ids=[one["operationId"] for _, _, one in alike],
        summary=summary if " " in summary else _spaced(first["operationId"]),
        description=first.get("description", ""),
        keys=[name for choice in first.get("security", ()) for name in choice],
        parameters=[_parameter(document, one) for one in first.get("parameters", ())],
        body=_body(document, body.get("content", {})),
        is_body_required=body.get("required", False),
        answers=[one for one in answers if one.status < "400"],
        errors=[one for one in answers if one.status >= "400"],
        call=_call(path, method, first, base_url),
    )


def _spaced(name: str) -> str:
    """Split a name in camelCase into words, for operations without a written summary.

    >>> _spaced("ingestBatch"), _spaced("isReady")
    ('Ingest batch', 'Is ready')
    """
    return " ".join(re.findall(r"[A-Z]?[a-z]+|\d+", name)).capitalize()


def _scheme(name: str, scheme: Document) -> Scheme:
    how = "Authorization: Bearer …"
    if scheme["type"] == "apiKey":
        how = f"?{scheme['name']}=…"
    elif scheme.get("scheme") == "basic":
        how = "Authorization: Basic …"
    return Scheme(name, how, scheme.get("description", ""))


def _parameter(document: Document, parameter: Document) -> Field:
    schema = _resolve(document, parameter["schema"])
    description = parameter.get("description") or schema.get("description", "")
    required = parameter.get("required", False)
    return Field(
        parameter["name"],
        _type(document, schema),
        required,
        description,
        _notes(schema),
        place=parameter["in"],
    )


def _answer(document: Document, status: str, answer: Document) -> Answer:
    phrase = HTTPStatus(int(status)).phrase
    description = answer.get("description", "")
    if description == HTTPStatus(int(status)).description:
        description = ""
    headers = [
        (name, one.get("description", "")) for name, one in answer.get("headers", {}).items()
    ]
    return Answer(status, phrase, description, headers, _body(document, answer.get("content", {})))


def _body(document: Document, content: Document) -> Body | None:
    for media_type, media in content.items():
        schema = media.get("schema", {})
        example = next(iter(media.get("examples", {}).values()), {})
        if "$ref" in example:
            example = document["components"]["examples"][example["$ref"].rpartition("/")[2]]
        value = example.get("value")
        shown = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        return Body(
            media_type,
            _type(document, schema),
            list(_fields(document, schema)),
            "" if value is None else shown,
        )
    return None


# ── schemas ───────────────────────────────────────────────────────────────────────────────────────


def _resolve(document: Document, schema: Document) -> Document:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _choices(schema: Document) -> list[Document]:
    """Return the schema's alternatives except null, or the schema itself."""
    choices = schema.get("oneOf") or schema.get("anyOf") or [schema]
    return [one for one in choices if one.get("type") != "null"]


def _fields(
    document: Document, schema: Document, depth: int = 0, seen: tuple[str, ...] = ()
) -> Iterator[Field]:
    """Yield the fields of a schema, each followed by its subfields. Recursive schemas are expanded
    once."""
    for choice in _choices(schema):
        name = choice.get("$ref", "")
        if depth >= _MOST_DEPTH or (name and name in seen):
            continue
        inner, within = _resolve(document, choice), (*seen, name)
        if "oneOf" in inner or "anyOf" in inner:
            yield from _fields(document, inner, depth, within)
        elif "items" in inner:
            yield from _fields(document, inner["items"], depth, within)
        elif isinstance(values := inner.get("additionalProperties"), dict) and values:
            yield Field("{name}", _type(document, values), False, "", _notes(values), depth)
            yield from _fields(document, values, depth + 1, within)
        else:
            yield from _properties(document, inner, depth, within)


def _properties(
    document: Document, schema: Document, depth: int, seen: tuple[str, ...]
) -> Iterator[Field]:
    required = schema.get("required", ())
    for name, below in schema.get("properties", {}).items():
        resolved = _resolve(document, below)
        description = below.get("description") or resolved.get("description", "")
        yield Field(
            name, _type(document, below), name in required, description, _notes(resolved), depth
        )
        yield from _fields(document, below, depth + 1, seen)


def _type(document: Document, schema: Document) -> str:
    """Describe a type: `string or null`, `list of objects`, `"open" or "done"`."""
    schema = _resolve(document, schema)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        names = dict.fromkeys(_type(document, choice) for choice in choices)
        return " or ".join(sorted(names, key=lambda name: name == "null"))
    if schema.get("type") == "array":
        inner = _type(document, schema.get("items", {}))
        return f"list of {inner if ' ' in inner or inner == 'any' else inner + 's'}"
    kinds = schema.get("type", "object" if "properties" in schema else "any")
    names = [kinds] if isinstance(kinds, str) else [*kinds]
    shown = " or ".join(sorted(names, key=lambda name: name == "null"))
    return f"{shown} ({schema['format']})" if "format" in schema else shown


def _notes(schema: Document) -> str:
    """Describe limits and default: `1 to 500; default 100`."""
    notes: list[str] = []
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        low, high = _whole(schema.get(least)), _whole(schema.get(most))
        if low is not None and high is not None:
            notes.append(f"{low} to {high}{unit}")
        elif high is not None:
            notes.append(f"at most {high}{unit}")
        elif low is not None:
            notes.append("not empty" if unit and low == 1 else f"at least {low}{unit}")
    if schema.get("default") is not None:
        notes.append(f"default {json.dumps(schema['default'])}")
    return "; ".join(notes)


def _whole(number: float | None) -> float | None:
    return int(number) if number is not None and number == int(number) else number


# ── the example call ──────────────────────────────────────────────────────────────────────────────


def _call(path: str, method: str, operation: Document, base_url: str) -> str:
    """Write the operation as a curl command with the recorded example values."""
    query: list[str] = []
    lines: list[str] = []
    for parameter in operation.get("parameters", ()):
        value, name = parameter.get("example"), parameter["name"]
        if parameter["in"] == "path" and value is not None:
            path = path.replace(f"{{{name}}}", quote_url(str(value), safe=""))
        elif parameter["in"] == "query" and (value is not None or parameter.get("required")):
            query.append(f"{name}={quote_url(str(value)) if value is not None else '…'}")
    keys = [
        name for choice in operation.get("security", ()) for name in choice if name in _KEY_NAMES
    ]
    if keys:
        lines.append(f'-H "Authorization: Bearer ${_KEY_NAMES[keys[0]]}"')
    body = _example(operation)
    if body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(f"-d {quote(json.dumps(body, indent=2, ensure_ascii=False))}")
    address = f"{base_url}{path}" + (f"?{'&'.join(query)}" if query else "")
    shown = f'"{address}"' if query else address
    verb = "" if method == "GET" or (method == "POST" and body is not None) else f" -X {method}"
    return " \\\n  ".join([f"curl -sS{verb} {shown}", *lines])


def _example(operation: Document) -> Any:
    for media in operation.get("requestBody", {}).get("content", {}).values():
        for example in media.get("examples", {}).values():
            return example.get("value")
    return None
