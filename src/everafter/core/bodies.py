"""Errors in request bodies that Litestar does not handle itself."""

from typing import Any

from litestar import Response
from litestar.datastructures import FormMultiDict

from everafter.core.errors import InputError
from everafter.core.web import AnyRequest, problem


def _on_not_utf8(_: AnyRequest, error: UnicodeDecodeError) -> Response[bytes]:
    return problem(400, "bad_request", f"the body is not UTF-8: byte {error.start} cannot be read")


def _on_too_deep(_: AnyRequest, __: RecursionError) -> Response[bytes]:
    return problem(400, "bad_request", "the body is nested too deeply")


BODY_ERRORS: dict[int | type[Exception], Any] = {
    UnicodeDecodeError: _on_not_utf8,
    RecursionError: _on_too_deep,
}
"""`exception_handlers` of a handler with a JSON body: the decoder raises these unwrapped, and they
would become a 500."""


async def read_form(request: AnyRequest) -> FormMultiDict:
    """Read a page's form.

    Raises:
        InputError: it is not text in a known encoding.
    """
    try:
        form = await request.form()
        for name, value in form.multi_items():
            # a part may name its own encoding, and some decode to lone surrogates
            f"{name}{value}".encode()
    except (UnicodeError, LookupError) as error:
        raise InputError(
            "this form cannot be read: it is not UTF-8 text; go back, reload the page and try again"
        ) from error
    return form
