"""How the API's errors stand in its OpenAPI document."""

from http import HTTPStatus

from litestar.openapi import ResponseSpec
from msgspec import Struct


class Problem(Struct, frozen=True):
    """An RFC 9457 problem: what is wrong and where. More members may stand beside these; the operation names them."""

    type: str
    title: str
    status: int
    code: str
    message: str
    detail: str


def problems(**said: str) -> dict[int, ResponseSpec]:
    """The errors of an operation, for a handler's `responses`: `problems(not_found="no such supplier")`.

    Only those that are the operation's own: `everafter.openapi` adds what every operation can answer.
    """
    texts = {HTTPStatus[name.upper()]: text for name, text in said.items()}
    return {
        int(status): ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=text,
            media_type="application/problem+json",
        )
        for status, text in sorted(texts.items())
    }
