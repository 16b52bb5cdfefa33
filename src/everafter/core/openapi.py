"""How the API's errors and ids are described in its OpenAPI document."""

from http import HTTPStatus
from typing import Annotated, Any

from litestar.openapi import ResponseSpec
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import Meta, Struct

from everafter.core.ids import MAX_ID_CHARACTERS, SupplierId, TextId


class Problem(Struct, frozen=True):
    """An RFC 9457 problem: what is wrong and where. More members may be beside these; the operation
    names them."""

    type: Annotated[str, Meta(description="`urn:everafter:` and the code")]
    title: Annotated[str, Meta(description="the status's name")]
    status: Annotated[int, Meta(description="the HTTP status")]
    code: Annotated[str, Meta(description="a stable word for programs; docs/api.md lists all")]
    message: Annotated[str, Meta(description="the same as `detail`")]
    detail: Annotated[str, Meta(description="what is wrong and where, for people")]


class IdSchemas(OpenAPISchemaPlugin):
    """Describe parameters that are ids: text, and in a JSON body also a whole number."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return value in (SupplierId, TextId)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        is_supplier = field_definition.annotation is SupplierId
        return Schema(
            type=[OpenAPIType.STRING, OpenAPIType.INTEGER],
            min_length=1,
            max_length=MAX_ID_CHARACTERS,
            pattern=_pattern(
                r"\u0000-\u001f\u007f-\u009f\ufffd"
                if is_supplier
                else r"\u0000-\u001f\u007f-\u009f"
            ),
            description="The platform's own id of the supplier, or its UUID."
            if is_supplier
            else None,
            examples=["4711", "0b5e7a10-5a1e-4c0d-9a7e-1f2d3c4b5a69"]
            if is_supplier
            else ["T-1042"],
        )


def _pattern(refused: str) -> str:
    """At least one character and none of the refused ones, with whitespace around."""
    return rf"^\s*[^\s{refused}]([^{refused}]*[^\s{refused}])?\s*$"


def problems(**descriptions: str) -> dict[int, ResponseSpec]:
    """The errors of an operation, for a handler's `responses`:
    `problems(not_found="no such supplier")`.

    Only the operation's own errors; `everafter.openapi` adds those that every operation has."""
    texts = {HTTPStatus[name.upper()]: text for name, text in descriptions.items()}
    return {
        int(status): ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=text,
            media_type="application/problem+json",
        )
        for status, text in sorted(texts.items())
    }
