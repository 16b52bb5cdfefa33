"""Retry times, senders, Message-IDs and tokens."""

import base64
import uuid

from hypothesis import given
from hypothesis import strategies as st

from everafter.branding.rules import sender_of
from everafter.core.email_address import read_email
from everafter.mail.model import Key
from everafter.mail.rules import (
    MAX_ATTEMPTS,
    links_of,
    message_id,
    one_click_token,
    one_click_token_key,
    retry_seconds,
)

KEY = Key(uuid.UUID(int=7), uuid.UUID(int=8))


def test_retry_waits_grow_to_a_limit() -> None:
    waits = [retry_seconds(attempt, 0) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert waits == sorted(waits) and waits[0] == 60 and waits[-1] == 14400
    assert retry_seconds(1, 1) == 75


def test_the_message_id_is_stable(settings_sender: str = "nora@care.example") -> None:
    assert (
        message_id(KEY.id, settings_sender) == "<00000000-0000-0000-0000-000000000008@care.example>"
    )
    assert sender_of(None, "https://care.example").addr_spec == "success@care.example"
    assert sender_of(read_email("a@b.example"), "https://care.example").addr_spec == "a@b.example"


def test_an_unsubscribe_token_identifies_its_row_only() -> None:
    token = one_click_token("secret", KEY)
    assert len(token) == 64 and token.isascii()
    assert one_click_token_key("secret", token) == KEY
    assert one_click_token_key("another secret", token) is None
    raw = base64.urlsafe_b64decode(token)
    for place in range(len(raw)):
        changed = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        assert one_click_token_key("secret", base64.urlsafe_b64encode(changed).decode()) is None


@given(st.text(max_size=100))
def test_other_texts_are_not_tokens(text: str) -> None:
    assert one_click_token_key("secret", text) is None


def test_only_success_email_has_an_unsubscribe_link() -> None:
    sender = read_email("nora@care.example")
    assert links_of("https://x", "s", KEY, "transactional", sender).unsubscribe is None
    links = links_of("https://x", "s", KEY, "success", sender)
    assert links.unsubscribe == f"https://x/u/{one_click_token('s', KEY)}"
    assert (links.go, links.sender) == ("https://x/go/", "nora@care.example")
