"""Tokens in links, and the cursors of paged lists."""

import uuid
from datetime import UTC, datetime

import pytest

from everafter.certificates.rules import sign_certificate
from everafter.core.cursor import read_cursor, write_cursor
from everafter.core.errors import InputError
from everafter.core.signing import make_token, read_token
from everafter.mail.model import Key
from everafter.mail.rules import message_token, one_click_token
from everafter.support.ics import sign_call, sign_manage

SECRET = "a-secret-of-thirty-two-characters"
ONE = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
TWO = uuid.UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")


def test_links_that_were_sent_stay_valid() -> None:
    """The tokens were made by version 0.2. If one of them became invalid, links in sent emails would break."""
    assert [
        sign_call(SECRET, ONE, TWO),
        sign_manage(SECRET, ONE, TWO),
        sign_certificate(SECRET, ONE),
        message_token(SECRET, Key(ONE, TWO)),
        one_click_token(SECRET, Key(ONE, TWO)),
    ] == [
        "PyUE4E-JQdOaDAMF6CwzAXnA4PRG-_k_x-EhYiT2IwQ",
        "PyUE4E-JQdOaDAMF6CwzAX1ESECdwBHRskVf_c50-tK3e5OjJYZ9f4a9X99lp5J-",
        "PyUE4E-JQdOaDAMF6CwzAUK6ZYXXQS5B8qzer62CoOE",
        "PyUE4E-JQdOaDAMF6CwzAX1ESECdwBHRskVf_c50-tK-xr4UorDaWm-oovma-zkP",
        "PyUE4E-JQdOaDAMF6CwzAX1ESECdwBHRskVf_c50-tLbfpCetMzRddqTaHRAAzi5",
    ]


def test_a_token_is_read_only_for_its_secret_purpose_and_bound_ids() -> None:
    token = make_token(SECRET, b"one", ONE, bound=(TWO,))
    assert read_token(SECRET, b"one", token, 1, bound=(TWO,)) == (ONE,)
    assert read_token("another", b"one", token, 1, bound=(TWO,)) is None
    assert read_token(SECRET, b"two", token, 1, bound=(TWO,)) is None
    assert read_token(SECRET, b"one", token, 1, bound=(ONE,)) is None
    assert read_token(SECRET, b"one", token, 2) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("B" if token[-1] == "A" else "A"),
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token + "=",
        lambda token: token.replace("-", "+"),
        lambda token: " " + token,
        lambda token: "é" + token,
        lambda token: "",
    ],
    ids=["changed", "short", "long", "padded", "other alphabet", "space", "not ascii", "empty"],
)
def test_a_changed_token_is_not_read(change: object) -> None:
    token = make_token(SECRET, b"one", ONE)
    assert "-" in token
    assert read_token(SECRET, b"one", change(token), 1) is None  # type: ignore[operator]


def test_a_cursor_returns_the_sort_key() -> None:
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    cursor = write_cursor(at, ONE, "inv 7 é")
    assert read_cursor(cursor, lambda text: text.split(" ", 2)) == [
        "2026-03-01T09:30:00+00:00",
        str(ONE),
        "inv 7 é",
    ]
    assert read_cursor(None, str) is None


@pytest.mark.parametrize("cursor", ["!", "é", "a", write_cursor("a\0b"), "_w", write_cursor("x")])
def test_any_other_text_is_refused_as_a_cursor(cursor: str) -> None:
    with pytest.raises(InputError, match=r"^cursor: this is not the next_cursor"):
        read_cursor(cursor, int)
