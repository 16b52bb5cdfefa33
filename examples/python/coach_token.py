"""A coach token for one supplier's browser. Standard library only; copy it into your server.

With Flask, behind your own sign-in:

    @app.get("/coach-token")
    @login_required
    def get_token():
        token = coach_token(os.environ["COACH_KEY"], current_user.supplier_id, current_user.locale)
        return {"token": token}, {"Cache-Control": "no-store"}

On the command line: COACH_KEY=ea_coach_… python coach_token.py SUPPLIER_ID [LOCALE]
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time


def coach_token(key: str, supplier_id: str, locale: str | None = None, minutes: int = 10) -> str:
    """Sign a token that is valid for `minutes` (at most 15).

    key: the output of `everafter key create --scope coach`.
    """
    now = int(time.time())
    claims = {"sub": supplier_id, "aud": "everafter-coach", "iat": now, "exp": now + 60 * minutes}
    if locale:
        claims["locale"] = locale
    header = {"alg": "HS256", "typ": "coach+jwt"}
    parts = [_base64url(json.dumps(part).encode()) for part in (header, claims)]
    signature = hmac.digest(key.encode(), ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64url(signature)])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.environ.get("COACH_KEY"):
        sys.exit("usage: COACH_KEY=ea_coach_… python coach_token.py SUPPLIER_ID [LOCALE]")
    print(coach_token(os.environ["COACH_KEY"], *sys.argv[1:3]))
