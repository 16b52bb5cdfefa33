"""Bodies that browsers send as a form, so as not to be asked for permission first: `data=…`, as
PostHog's SDK did for years."""

import base64
import binascii
import re
from urllib.parse import parse_qs

from everafter.core.errors import InputError
from everafter.events.body import GZIP, Hold, inflate

_FORM = re.compile(rb"(?:[A-Za-z_]{1,20}=[^&{\[]{0,200}&){0,5}data=")
_MAX_FIELDS = 20


def unwrap_form(body: bytes, hold: Hold) -> bytes:
    """The JSON within a form's field `data`: plain, base64, or base64 of gzip. Any other body is
    left as it is.

    Raises:
        InputError: the field holds neither.
        TooLargeError, OverloadedError: as for `read_body`.
    """
    if not _FORM.match(body):
        return body
    try:
        [data] = parse_qs(body.decode(), max_num_fields=_MAX_FIELDS)["data"]
        content = data.encode() if data.lstrip()[:1] in {"{", "["} else _decode(data)
    except (ValueError, KeyError, binascii.Error) as error:
        raise InputError("the form's field data is neither JSON nor base64 of it") from error
    if content.startswith(GZIP):
        content = inflate(content)
    hold.take(len(content))
    return content


def _decode(text: str) -> bytes:
    """Base64 of both alphabets; a form turns + into a space, and padding may be left off."""
    plain = text.strip().replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
