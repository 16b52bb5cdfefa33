"""Coach tokens: each kind of invalid token has its own error code, and no token opens another supplier's coach."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from everafter.accounts.keys import derive_coach_key, read_coach_key_id
from everafter.core.settings import Settings
from helpers_coach import Browser, add_supplier, claims, send, sign
from helpers_server import Server, serving

EVERY_ROUTE = (
    ("GET", "/api/coach", None),
    ("GET", "/api/coach/slots", None),
    ("POST", "/api/coach/calls", {"starts_at": "2027-01-11T10:00:00Z"}),
    ("POST", "/api/coach/tips/first_form", {"response": "completed"}),
    ("POST", "/api/coach/celebrations/first_form", {}),
    ("POST", "/api/coach/recommendations/send_first_form/click", {}),
)


@dataclass(frozen=True)
class FromNow:
    """A moment as a claim, in seconds (or thousandths, ...) of the Unix clock when the test runs."""

    seconds: int
    times: int = 1

    def said(self) -> int:
        return (int(time.time()) + self.seconds) * self.times


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def by_hand(header: Any, payload: Any, key: str = "", digest: str | None = "sha256") -> str:
    """A token that no library would make."""
    parts = [
        base64url(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (header, payload)
    ]
    signature = hmac.digest(key.encode(), ".".join(parts).encode(), digest) if digest else b""
    return ".".join([*parts, base64url(signature)])


def refusal(server: Server, token: str) -> tuple[int, str]:
    """Status and code for a token, the same on every route that a browser may call; nothing but the refusal is said."""
    found: set[tuple[int, str]] = set()
    with server.client() as client:
        for method, path, body in EVERY_ROUTE:
            header = f"Bearer {token}".encode("latin-1")
            answer = client.request(method, path, json=body, headers={b"Authorization": header})
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cache-control"] == "no-store"
            found.add((answer.status_code, problem["code"]))
    assert len(found) == 1, found
    return found.pop()


def test_a_valid_token_opens_only_its_suppliers_coach(server: Server) -> None:
    mine, other = add_supplier(server), add_supplier(server, name="Somebody Else")
    browser = Browser(server, mine)
    for name in ("supplier_id", "sub"):
        refused = browser.client.get("/api/coach", params={"page": "/", name: other})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, "*")
        assert refused.headers["cache-control"] == "no-store"
        assert other not in refused.text and "Somebody" not in refused.text
    answer = browser.client.get(
        "/api/coach", params={"page": "/"}, headers={"X-Supplier-Id": other}
    )
    assert answer.status_code == 200
    assert answer.json()["supplier"] == {"id": mine, "external_id": None, "name": "Rosa Flowers"}
    assert other not in answer.text and "Somebody" not in answer.text


def test_the_printed_key_is_the_secret_for_jwt_libraries(server: Server) -> None:
    supplier = add_supplier(server)
    key = server.key("coach")
    assert read_coach_key_id(key) is not None
    assert (
        refusal_of_good(
            server, by_hand({"alg": "HS256", "typ": "coach+jwt"}, claims(supplier), key)
        )
        == 200
    )
    assert (
        refusal_of_good(server, sign(key, claims(supplier), kid=str(read_coach_key_id(key)))) == 200
    )
    assert (
        refusal_of_good(server, sign(key, claims(supplier, aud=["other", "everafter-coach"])))
        == 200
    )


def refusal_of_good(server: Server, token: str) -> int:
    with server.client() as client:
        return client.get("/api/coach", headers={"Authorization": f"Bearer {token}"}).status_code


def test_the_database_contains_no_signing_secret(server: Server) -> None:
    key = server.key("coach", "platform")
    [(key_id, key_hash)] = server.sql("SELECT id, key_hash FROM api_keys")
    assert key == derive_coach_key(server.settings.secret, key_id)
    assert bytes(key_hash) == hashlib.sha256(key.encode()).digest()
    everything = json.dumps(server.sql("SELECT a::text FROM api_keys a"))
    assert key[32:] not in everything and server.settings.secret not in everything


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": FromNow(-700), "iat": FromNow(-1300)}, "token_expired"),
        ({"aud": "somebody-else"}, "token_audience"),
        ({"aud": []}, "token_audience"),
        ({"aud": None}, "token_claims"),
        ({"sub": None}, "token_claims"),
        ({"iat": None}, "token_claims"),
        ({"exp": None}, "token_claims"),
        ({"sub": ""}, "token_claims"),
        ({"sub": "rosa" * 51}, "token_claims"),
        ({"sub": ["rosa"]}, "token_claims"),
        ({"sub": True}, "token_claims"),
        ({"exp": "tomorrow"}, "token_claims"),
        ({"exp": True}, "token_claims"),
        ({"exp": 1e300}, "token_lifetime"),
        ({"exp": FromNow(3600)}, "token_lifetime"),
        ({"exp": FromNow(600, 1000), "iat": FromNow(0, 1000)}, "token_lifetime"),
        ({"iat": FromNow(600), "exp": FromNow(600)}, "token_lifetime"),
        ({"iat": FromNow(600), "exp": FromNow(1200)}, "token_early"),
        ({"nbf": FromNow(600)}, "token_early"),
        ({"nbf": "soon"}, "token_claims"),
        ({"iat": 10**400, "exp": 10**400 + 5}, "token_claims"),
        ({"iat": -(10**400), "exp": 5}, "token_claims"),
        ({"locale": ["de"]}, "token_claims"),
    ],
)
def test_a_wrong_claim_is_named(server: Server, changes: dict[str, Any], code: str) -> None:
    supplier = add_supplier(server)
    moments = {
        name: value.said() if isinstance(value, FromNow) else value
        for name, value in changes.items()
    }
    said = claims(supplier, **moments)
    assert refusal(
        server, by_hand({"alg": "HS256", "typ": "coach+jwt"}, said, server.key("coach"))
    ) == (401, code)


def test_only_hs256_is_accepted(server: Server) -> None:
    supplier = add_supplier(server)
    key = server.key("coach")
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    said = claims(supplier)
    for token in (
        jwt.encode(said, None, algorithm="none", headers={"typ": "coach+jwt"}),
        by_hand({"alg": "none", "typ": "coach+jwt"}, said, digest=None),
        by_hand({"alg": "NONE", "typ": "coach+jwt"}, said, digest=None),
        by_hand({"alg": "none", "typ": "coach+jwt"}, said, key),
        by_hand({"typ": "coach+jwt"}, said, key),
        by_hand({"alg": ["HS256"], "typ": "coach+jwt"}, said, key),
        jwt.encode(said, private, algorithm="RS256", headers={"typ": "coach+jwt"}),
        jwt.encode(said, key, algorithm="HS512", headers={"typ": "coach+jwt"}),
        by_hand({"alg": "HS384", "typ": "coach+jwt"}, said, key, "sha384"),
    ):
        assert refusal(server, token) == (401, "token_algorithm")
    # the header says HS256 and the signature is none, another's, or made with a public key
    for token in (
        by_hand({"alg": "HS256", "typ": "coach+jwt"}, said, digest=None),
        by_hand({"alg": "HS256", "typ": "coach+jwt"}, said, public.decode()),
        by_hand({"alg": "HS256", "typ": "coach+jwt"}, said, ""),
        by_hand({"alg": "HS256", "typ": "coach+jwt"}, said, key, "sha512"),
    ):
        assert refusal(server, token) == (401, "token_key")


def test_a_forged_or_changed_token_is_refused(server: Server) -> None:
    mine, other = add_supplier(server), add_supplier(server)
    key = server.key("coach")
    header, payload, signature = sign(key, claims(mine)).split(".")
    changed = base64url(json.dumps(claims(other)).encode())
    flipped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    assert refusal(server, f"{header}.{changed}.{signature}") == (401, "token_key")
    assert refusal(server, f"{header}.{payload}.{flipped}") == (401, "token_key")
    assert refusal(server, sign("ea_coach_" + "x" * 66, claims(mine))) == (401, "token_key")
    assert refusal(server, sign(derive_coach_key("another secret", uuid4()), claims(mine))) == (
        401,
        "token_key",
    )
    assert refusal(server, sign(key, claims(mine), kid=str(uuid4()))) == (401, "token_key")


@pytest.mark.parametrize("scope", ["ingest", "read", "write"])
def test_keys_of_other_scopes_cannot_sign(server: Server, scope: Any) -> None:
    server.key("coach")
    assert refusal(server, sign(server.key(scope), claims(add_supplier(server)))) == (
        401,
        "token_key",
    )


@pytest.mark.parametrize("scope", ["ingest", "read", "write", "coach"])
def test_a_key_is_not_accepted_as_a_token(server: Server, scope: Any) -> None:
    assert refusal(server, server.key(scope)) == (401, "token_is_key")


def test_another_kind_of_token_is_refused(server: Server) -> None:
    key, said = server.key("coach"), claims(add_supplier(server))
    for header in (
        {"alg": "HS256", "typ": "JWT"},
        {"alg": "HS256"},
        {"alg": "HS256", "typ": 7},
        {"alg": "HS256", "typ": "at+jwt"},
    ):
        assert refusal(server, by_hand(header, said, key)) == (401, "token_type")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "..",
        "é.é.é",
        by_hand(b"not json", {}),
        by_hand(b"\xff\xfe", {}),
        by_hand([1], {}),
        by_hand({"alg": "HS256", "typ": "coach+jwt", "kid": 7}, {}),
        by_hand({"alg": "HS256", "typ": "coach+jwt", "crit": ["x"]}, {}),
        by_hand(b"[" * 2_000, {}),
        "a" * 4_097,
        "e30." * 1_000,
        "a" * 30_000,
    ],
    ids=lambda token: token[:24],
)
def test_text_that_is_not_a_token_is_refused(server: Server, token: str) -> None:
    server.key("coach")
    assert refusal(server, token) == (401, "token_malformed")


@pytest.mark.parametrize(
    "payload", [b"not json", b"\xff", b"[]", b"null", b"", b"[" * 1_000, b'{"sub": 1e999}']
)
def test_signed_invalid_claims_are_refused(server: Server, payload: bytes) -> None:
    assert refusal(
        server, by_hand({"alg": "HS256", "typ": "coach+jwt"}, payload, server.key("coach"))
    ) == (401, "token_claims")


def test_a_request_without_a_token_is_refused(server: Server) -> None:
    with server.client() as client:
        for headers in ({}, {"Authorization": "Basic eA=="}, {"Authorization": "Bearer"}):
            answer = client.get("/api/coach", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


def test_a_supplier_that_is_not_known_is_not_found(server: Server) -> None:
    answer = Browser(server, str(uuid4())).client.get("/api/coach")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_revoked_key_stops_working_within_five_seconds(server: Server) -> None:
    supplier = add_supplier(server)
    kept, revoked = (Browser(server, supplier, server.key("coach")) for _ in range(2))
    assert revoked.look() and kept.look()
    server.sql(
        "UPDATE api_keys SET revoked_at = now() WHERE id = %s", read_coach_key_id(revoked.key)
    )
    deadline = time.monotonic() + 6
    while revoked.client.get("/api/coach").status_code == 200:
        assert time.monotonic() < deadline, "a revoked key still signs"
        time.sleep(0.2)
    assert revoked.client.get("/api/coach").json()["code"] == "token_key"
    assert kept.look()


def test_a_new_key_works_at_once_beside_the_old_one(server: Server) -> None:
    supplier = add_supplier(server)
    old = Browser(server, supplier)
    assert old.look()
    time.sleep(0.25)  # what is not known is looked for so often at most
    assert Browser(server, supplier, server.key("coach")).look() and old.look()


def test_a_changed_secret_is_reported(settings: Settings) -> None:
    with serving(settings) as server:
        supplier, key = add_supplier(server), server.key("coach")
    with serving(replace(settings, secret="another-secret-than-before")) as server:
        assert refusal(server, sign(key, claims(supplier))) == (401, "token_secret")
        with server.client() as client:
            answer = client.post(
                "/api/coach/tokens",
                json={"supplier_id": supplier},
                headers={"Authorization": f"Bearer {key}"},
            )
        assert (answer.status_code, answer.json()["code"]) == (401, "token_secret")
        time.sleep(0.25)  # what is not known is looked for so often at most
        assert Browser(server, supplier, server.key("coach")).look(), "a key made since then works"


def test_use_of_a_key_is_noted(server: Server) -> None:
    browser = Browser(server, add_supplier(server))
    assert server.sql("SELECT last_used_at FROM api_keys") == [(None,)]
    browser.look()
    assert server.sql("SELECT last_used_at > now() - interval '1 minute' FROM api_keys") == [
        (True,)
    ]


# ── tokens from the server itself ─────────────────────────────────────────────────────────────────────────────────────


def ask_token(server: Server, key: str, **body: Any) -> Any:
    with server.client() as client:
        return client.post(
            "/api/coach/tokens", json=body, headers={"Authorization": f"Bearer {key}"}
        )


def test_a_token_can_be_requested_with_the_key(server: Server) -> None:
    supplier, key = add_supplier(server), server.key("coach")
    made = ask_token(server, key, supplier_id=supplier, locale="de-AT", minutes=5)
    assert made.status_code == 201
    assert (
        made.headers["cache-control"] == "no-store"
        and "access-control-allow-origin" not in made.headers
    )
    said = jwt.decode(made.json()["token"], key, algorithms=["HS256"], audience="everafter-coach")
    assert (said["sub"], said["locale"], said["exp"] - said["iat"]) == (supplier, "de-AT", 300)
    with server.client() as client:
        coach = client.get(
            "/api/coach", headers={"Authorization": f"Bearer {made.json()['token']}"}
        )
    assert coach.json()["supplier"]["id"] == supplier
    assert coach.json()["locale"] == "de"


def test_only_a_coach_key_gets_a_token_and_only_for_a_supplier(server: Server) -> None:
    supplier, key = add_supplier(server), server.key("coach")
    assert ask_token(server, server.key("write"), supplier_id=supplier).status_code == 403
    assert ask_token(server, sign(key, claims(supplier)), supplier_id=supplier).status_code == 401
    assert ask_token(server, key, supplier_id=str(uuid4())).status_code == 404
    cancelled = add_supplier(server)
    send(server, cancelled, ("subscription_cancelled", 1.0, {}))
    assert ask_token(server, key, supplier_id=cancelled).status_code == 404
    for body in (
        {"supplier_id": supplier, "minutes": 16},
        {"supplier_id": supplier, "minutes": 0},
        {"supplier_id": ""},
        {},
    ):
        assert ask_token(server, key, **body).status_code == 400


# ── the examples a platform copies ────────────────────────────────────────────────────────────────────────────────────

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    "command",
    [["python", "python/coach_token.py"], ["node", "node/coach-token.mjs"]],
    ids=["python", "node"],
)
def test_the_examples_create_accepted_tokens(
    server: Server, command: list[str], which: Any
) -> None:
    program = which(command[0])
    supplier = add_supplier(server)
    done = subprocess.run(
        [program, str(EXAMPLES / command[1]), supplier, "de-AT"],
        env=os.environ | {"COACH_KEY": server.key("coach")},
        capture_output=True,
        text=True,
        check=True,
    )
    with server.client() as client:
        answer = client.get(
            "/api/coach", headers={"Authorization": f"Bearer {done.stdout.strip()}"}
        )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["supplier"]["id"], answer.json()["locale"]) == (supplier, "de")


def test_the_node_example_can_be_imported_without_a_script_name(which: Any) -> None:
    text = "import('./coach-token.mjs').then(({ coachToken }) => console.log(coachToken('k', 's').split('.').length))"
    done = subprocess.run(
        [which("node"), "-e", text], cwd=EXAMPLES / "node", capture_output=True, text=True
    )
    assert done.stdout == "3\n", done.stderr


@pytest.fixture
def which() -> Any:
    import shutil
    import sys

    def find(name: str) -> str:
        found = sys.executable if name == "python" else shutil.which(name)
        if not found:
            pytest.skip(f"{name} is not installed")
        return found

    return find
