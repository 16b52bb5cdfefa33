"""The words of a certificate and the token that shows it. Pure."""

import base64
import hashlib
import hmac
import unicodedata
from uuid import UUID

from everafter.certificates.model import Certificate

_SIGNATURE_BYTES = 16
_LONGEST_NAME = 120


def sign_certificate(secret: str, supplier_id: UUID) -> str:
    """The token that shows this supplier's certificate to whoever holds it: the id and 128 bits that only the secret can make."""
    return base64.urlsafe_b64encode(supplier_id.bytes + _mac(secret, supplier_id)).decode().rstrip("=")


def read_certificate_token(secret: str, token: str) -> UUID | None:
    """Whose certificate it shows, or null for any text that `sign_certificate` did not make."""
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if len(raw) != 16 + _SIGNATURE_BYTES:
        return None
    supplier_id = UUID(bytes=raw[:16])
    # compared as written: the last letter has two bits to spare, and one certificate has one address
    whole = sign_certificate(secret, supplier_id)
    return supplier_id if hmac.compare_digest(token.encode(), whole.encode()) else None


def certificate_url(base_url: str, secret: str, supplier_id: UUID) -> str:
    """The address of the certificate's page; with `.pdf` or `.png` after it the sheet or the picture."""
    return f"{base_url}/certificates/{sign_certificate(secret, supplier_id)}"


def words_of(certificate: Certificate) -> dict[str, str]:
    """What the sheets print, each a plain text. Pictographs are left out of names: few machines have a typeface with them."""
    name = " ".join(_without_pictographs(unicodedata.normalize("NFC", certificate.name)).split())
    day = certificate.earned_on
    return {
        "language": "en",
        "heading": "Certificate of success",
        "before": "This is to say that",
        "name": name[:_LONGEST_NAME] or "Our supplier",
        "body": "has set up everything that happy couples need: a first form, couples invited and active,"
        " and journeys that write by themselves.",
        "date": f"{day.day} {day:%B %Y}",
        "date_label": "fully activated",
        "sender": " ".join(certificate.sender.split())[:_LONGEST_NAME],
        "sender_label": "with congratulations",
        "year": str(day.year),
    }


def _without_pictographs(text: str) -> str:
    unprintable = {"So", "Sk", "Cc", "Cf", "Cs", "Co", "Cn"}
    kept = "".join(
        sign if unicodedata.category(sign) not in unprintable or _joins(text, place) else " " for place, sign in enumerate(text)
    )
    return "".join(sign for sign in kept if not 0xFE00 <= ord(sign) <= 0xFE0F)  # they choose how a pictograph is drawn


def _joins(text: str, place: int) -> bool:
    """Whether this is a joiner or a non-joiner that stands between letters, as many scripts need them."""
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    return text[place] in "\u200c\u200d" and len(around) == 2 and all(unicodedata.category(sign)[0] in "LM" for sign in around)


def _mac(secret: str, supplier_id: UUID) -> bytes:
    return hmac.digest(secret.encode(), b"everafter certificate 1\0" + supplier_id.bytes, hashlib.sha256)[:_SIGNATURE_BYTES]
