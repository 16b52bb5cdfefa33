"""The pure checks of accounts: email addresses, roles, passwords, origins of forms, redirects."""

import pytest

from everafter.accounts import passwords, rules
from everafter.core.errors import InputError


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mia",
        "mia@",
        "@example.com",
        "a b@example.com",
        "a@b@c",
        "mia@exa\nmple.com",
        "a" * 260 + "@b.c",
    ],
)
def test_invalid_addresses_are_rejected(text: str) -> None:
    with pytest.raises(InputError, match="not an email address"):
        rules.clean_email(text)


def test_addresses_are_stored_in_lower_case() -> None:
    assert rules.clean_email("  Mia@Example.COM ") == "mia@example.com"


def test_only_known_roles_are_accepted() -> None:
    assert rules.clean_role("lead") == "lead"
    with pytest.raises(InputError, match="admin, lead, member, observer"):
        rules.clean_role("boss")


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "x" * 300,
        "mia.longenough@example.com",
        "MIA.LONGENOUGH",
        "aaaaaaaaaaaa",
        "ababababababab",
    ],
)
def test_short_long_and_easily_guessed_passwords_are_rejected(password: str) -> None:
    with pytest.raises(InputError):
        rules.check_password(password, "mia.longenough@example.com")


def test_a_long_password_needs_no_special_characters() -> None:
    rules.check_password("plain words will do", "mia@example.com")
    rules.check_password(passwords.generate_password(), "mia@example.com")
    assert len({passwords.generate_password() for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        (
            {"sec-fetch-site": "cross-site", "origin": "http://here:8000", "host": "here:8000"},
            False,
        ),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://here:8000", "host": "here:8000"}, True),
        ({"origin": "http://here:9000", "host": "here:8000"}, False),
        ({"origin": "null", "host": "here:8000"}, False),
        ({"host": "here:8000"}, True),
    ],
)
def test_forms_are_accepted_from_the_same_origin_only(headers: dict[str, str], ours: bool) -> None:
    assert rules.came_from_here(headers) is ours


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/a\nb",
        "/a\\b",
        "a",
    ],
)
def test_sign_in_does_not_redirect_to_other_sites(wanted: str | None) -> None:
    assert rules.local_path(wanted) == "/"


def test_sign_in_redirects_to_the_requested_page() -> None:
    assert rules.local_path("/suppliers/1?until=2026-01-02") == "/suppliers/1?until=2026-01-02"


def test_throttle_buckets_contain_no_addresses_and_no_tokens() -> None:
    names = [
        bucket.name for bucket in rules.unknown_browser_buckets(" Mia@Example.com", "203.0.113.7")
    ]
    assert names == [
        bucket.name for bucket in rules.unknown_browser_buckets("mia@example.com", "203.0.113.7")
    ]
    assert names[0] == "address:203.0.113.7" and len(set(names)) == 4
    assert not any("mia" in name for name in names)
    assert (
        rules.known_browser_bucket("mia@example.com", "a").name
        != rules.known_browser_bucket("mia@example.com", "b").name
    )
    assert "token" not in rules.known_browser_bucket("mia@example.com", "token").name
    assert len(rules.known_browser_bucket("\udc80", "\udcff").name) < 100


def test_the_hash_is_argon2id_with_the_stated_cost() -> None:
    assert passwords.hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
