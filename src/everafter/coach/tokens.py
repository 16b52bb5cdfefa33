"""The supplier's identity in a browser: a short-lived JWT that the platform's server signs with a
coach key (decision 0020)."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import jwt
from jwt.api_jws import PyJWS

from everafter.accounts.keys import (
    CoachKey,
    derive_coach_key,
    hash_key,
    list_coach_keys,
    note_use,
    read_coach_key_id,
)
from everafter.coach.errors import TokenError, TokenIsKeyError, TokenKeyError, TokenSecretError
from everafter.coach.token_rules import (
    ALGORITHM,
    AUDIENCE,
    TYPE,
    Claims,
    check_claims,
    check_header,
)
from everafter.core.db import Pool

MOST_CHARACTERS = 4_096
_JWS = PyJWS(algorithms=[ALGORITHM])

log = logging.getLogger("everafter.coach")


class KeyRing:
    """The live coach keys, cached. A revoked key ends within `LIVE_SECONDS`; a new one is found
    within `UNKNOWN_SECONDS`."""

    LIVE_SECONDS = 5.0
    UNKNOWN_SECONDS = 0.2
    MOST_VERIFIED = 5_000

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._keys: list[CoachKey] = []
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._verified: dict[
            str, tuple[CoachKey, bytes]
        ] = {}  # tokens with a valid signature; a tab sends the same one for minutes
        self._noted: dict[UUID, float] = {}
        self._complained = float("-inf")

    async def read_token(self, pool: Pool, token: str, now: datetime) -> Claims:
        """The claims of a valid token.

        Raises:
            TokenError: the token is not valid; a subclass says why.
        """
        await self._refresh(pool, self.LIVE_SECONDS)
        if known := self._verified.get(token):
            await self._note(pool, known[0])
            return check_claims(known[1], now)
        header = _read_header(token)
        found = self._find(token, header)
        if found is None:
            await self._refresh(
                pool, self.UNKNOWN_SECONDS
            )  # the key may be newer than what we know
            found = self._find(token, header)
        if found is None:
            raise self._refusal(header)
        claims = check_claims(found[1], now)
        if len(self._verified) >= self.MOST_VERIFIED:
            self._verified.clear()
        self._verified[token] = found
        await self._note(pool, found[0])
        return claims

    async def _refresh(self, pool: Pool, seconds: float) -> None:
        if monotonic() - self._read_at < seconds:
            return
        async with self._reading:
            if monotonic() - self._read_at < seconds:
                return
            async with pool.connection() as conn:
                keys = await list_coach_keys(conn, self._secret)
            if [key.id for key in keys] != [key.id for key in self._keys]:
                self._verified.clear()
            self._keys = keys
            self._read_at = monotonic()

    def _find(self, token: str, header: dict[str, Any]) -> tuple[CoachKey, bytes] | None:
        for key in self._candidates(header):
            try:
                return key, _JWS.decode_complete(token, key.key, algorithms=[ALGORITHM])["payload"]
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError as error:
                raise TokenError(f"this is not a token: {error}") from None
        return None

    def _candidates(self, header: dict[str, Any]) -> Sequence[CoachKey]:
        ours = [key for key in self._keys if key.is_ours]
        kid = header.get("kid")
        return ours if kid is None else [key for key in ours if kid == str(key.id)]

    def _refusal(self, header: dict[str, Any]) -> TokenError:
        if not self._keys:
            return TokenKeyError(
                "there is no active coach key; `everafter key create --scope coach` creates one"
            )
        if not any(key.is_ours for key in self._keys):
            if monotonic() - self._complained > 60:
                self._complained = monotonic()
                log.error(
                    "no coach key fits EVERAFTER_SECRET, which has changed since they were created;"
                    " create new ones"
                )
            return TokenSecretError(
                "EVERAFTER_SECRET has changed since the coach keys were created, and they do not"
                " work without it; restore it, or create a new key:"
                " `everafter key create --scope coach`"
            )
        if header.get("kid") is not None:
            return TokenKeyError(
                "no active coach key fits this kid and signature; kid is the id that"
                " `everafter key list` shows"
            )
        return TokenKeyError(
            "no active coach key made this signature: sign with the whole text that"
            " `everafter key create` printed, as it is; it is not base64 to be decoded, and revoked"
            " keys are not accepted"
        )

    async def _note(self, pool: Pool, key: CoachKey) -> None:
        if key.used_recently or monotonic() - self._noted.get(key.id, float("-inf")) < 60:
            return
        self._noted[key.id] = monotonic()
        async with pool.connection() as conn:
            await note_use(conn, hash_key(key.key))


def _read_header(token: str) -> dict[str, Any]:
    """The checked header of a token, before its signature is verified.

    Raises:
        TokenError: the text is not a token; a subclass says why.
    """
    if token.startswith("ea_"):
        raise TokenIsKeyError(
            "this is a key, not a token: keep it on your server, and sign a token with it or"
            " request one with POST /api/coach/tokens (docs/coach.md)"
        )
    if len(token) > MOST_CHARACTERS:
        raise TokenError(
            f"the token has {len(token):,} characters; the maximum is {MOST_CHARACTERS:,}"
        )
    try:
        header = _JWS.get_unverified_header(token)
    except (jwt.InvalidTokenError, UnicodeEncodeError, RecursionError, ValueError) as error:
        raise TokenError(
            f"this is not a token (header.claims.signature, each in base64url): {error}"
        ) from None
    check_header(header)
    return header


def mint_token(
    secret: str,
    coach_key: str,
    supplier_id: UUID,
    now: datetime,
    *,
    minutes: int,
    locale: str | None,
) -> str:
    """A token for one supplier, signed with a coach key.

    Raises:
        TokenSecretError: the key was derived from another secret, so the token would be refused.
    """
    key_id = read_coach_key_id(coach_key)
    if key_id is None or derive_coach_key(secret, key_id) != coach_key:
        raise TokenSecretError(
            "EVERAFTER_SECRET has changed since this key was created;"
            " `everafter key create --scope coach` creates one"
        )
    claims: dict[str, Any] = {
        "sub": str(supplier_id),
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=minutes)).timestamp()),
        **({"locale": locale} if locale else {}),
    }
    return jwt.encode(
        claims, coach_key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": str(key_id)}
    )
