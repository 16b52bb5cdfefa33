"""Bodies sent as a form, `data=…`, which needs no CORS preflight; older SDKs of PostHog do this."""

import base64
import binascii
import re
from urllib.parse import parse_qs

from everafter.core.errors import InputError
from everafter.events.body import GZIP, Hold, inflate

_FORM = re.compile(rb"(?:[A-Za-z_]{1,20}=[^&{\[]{0,200}&){0,5}data=")
_MAX_FIELDS = 20


def unwrap_form(body: bytes, hold: Hold) -> bytes:
    """Extract the JSON from a form's field `data`: plain, base64, or base64 of gzip. Other bodies
    are returned unchanged.

    Raises:
        InputError: the field is neither.
        TooLargeError, OverloadedError: as for `read_body`.
    """
    if not _FORM.match(body):
        return body
    try:
        [data] = parse_qs(body.decode(), max_num_fields=_MAX_FIELDS)["data"]
        content = data.encode() if data.lstrip()[:1] in {"{", "["} else _decode(data)
    except (ValueError, KeyError, binascii.Error) as error:
        raise InputError("the form field `data` is neither JSON nor base64-encoded JSON") from error
    if content.startswith(GZIP):
        content = inflate(content)
    hold.take(len(content))
    return content


def _decode(text: str) -> bytes:
    """Decode base64 in both alphabets, without padding, and with spaces for + as forms have
    them."""
    plain = text.strip().replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
