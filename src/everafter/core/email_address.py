"""Email addresses: one parser, for addresses that come in and addresses that are used.

An address is stored as it is sent (RFC 5321): its domain in ASCII by IDNA 2008, its local part
quoted where its dots require it. Envelope, header and calendar use the same form."""

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import quote

import idna

from everafter.core.texts import clean_line

_LONGEST_NAME = 100
_LONGEST_LOCAL = 64  # octets, by RFC 5321, 4.5.3.1
_LONGEST_ADDRESS = 254
_LONGEST_DOMAIN = 253
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]"
_DOT_ATOM = re.compile(rf"{_ATOM}+(?:\.{_ATOM}+)*")
_DOTTED = re.compile(rf"(?:{_ATOM}|\.)+")
_QUOTABLE = re.compile(rf"(?:{_ATOM}|[. ])+")
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

_JOINER = re.compile("[\u200c\u200d]")  # IDNA allows them where a script requires them
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


class EmailError(ValueError):
    """Not an address that mail can be sent to. The message has the address and the reason."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """local: quoted where necessary, may be non-ASCII. domain: ASCII, lower case. display_name: one
    clean line, or empty."""

    local: str
    domain: str
    display_name: str = ""

    @property
    def addr_spec(self) -> str:
        """The address alone: `info@xn--bcher-kva.example`."""
        return f"{self.local}@{self.domain}"

    def __str__(self) -> str:
        """For people and logs, not for a header."""
        return f"{self.display_name} <{self.addr_spec}>" if self.display_name else self.addr_spec

    @property
    def needs_smtputf8(self) -> bool:
        """Whether it needs a mail server with SMTPUTF8 (RFC 6531)."""
        return not self.local.isascii()

    @property
    def mailto(self) -> str:
        """The address as a mailto: URL (RFC 6068)."""
        return "mailto:" + quote(self.addr_spec, safe="@+!$'*._~-")


def read_email(text: str, name: str = "") -> EmailAddress:
    """Parse one address.

    Args:
        name: the display name before it.

    Raises:
        EmailError: not one address, or one that no mail can be sent to.

    >>> read_email("info@faß.example").addr_spec
    'info@xn--fa-hia.example'
    >>> read_email("taro..yamada.@Docomo.example.").addr_spec
    '"taro..yamada."@docomo.example'
    """
    whole = text.strip()
    local, at, domain = whole.rpartition("@")
    if not at:
        raise _error(text, "there is no @ in it")
    if any(unicodedata.category(sign) in _UNSEEN for sign in local + _JOINER.sub("", domain)):
        raise _error(text, "it has invisible characters")
    try:
        address = EmailAddress(
            _read_local(local), _read_domain(domain), clean_line(name, _LONGEST_NAME)
        )
    except ValueError as error:
        raise _error(text, str(error)) from error
    if len(address.addr_spec.encode()) > _LONGEST_ADDRESS:
        raise _error(text, f"it is longer than {_LONGEST_ADDRESS} octets")
    return address


def travelling_form(text: str) -> str:
    """The address as it is sent; text that is not an address is returned unchanged."""
    try:
        return read_email(text).addr_spec
    except EmailError:
        return text


def _error(text: str, reason: str) -> EmailError:
    return EmailError(f"not an email address: {clean_line(text, 100)!r}: {reason}")


def _read_local(local: str) -> str:
    """The part before the @, quoted only where its dots or spaces require it."""
    if not local:
        raise ValueError("there is nothing before the @")
    quoted = len(local) > 2 and local[0] == local[-1] == '"'
    bare = unicodedata.normalize("NFC", local[1:-1] if quoted else local)
    if not (_QUOTABLE if quoted else _DOTTED).fullmatch(bare):
        sign = next((one for one in bare if not _QUOTABLE.fullmatch(one)), " ")
        raise ValueError(f"the part before the @ cannot have {sign!r}")
    if any(sign.isspace() and sign != " " for sign in bare):
        raise ValueError("the part before the @ has an unusual space character")
    written = bare if _DOT_ATOM.fullmatch(bare) else f'"{bare}"'
    if len(written.encode()) > _LONGEST_LOCAL:
        raise ValueError(f"the part before the @ is longer than {_LONGEST_LOCAL} octets")
    return written


def _read_domain(domain: str) -> str:
    """The domain in ASCII: IDNA 2008 with the mapping of UTS 46, which keeps ß and ς."""
    if domain.startswith("["):
        raise ValueError("the domain is an IP address")
    mapped = domain
    if not domain.isascii():
        try:
            mapped = idna.uts46_remap(domain, std3_rules=True, transitional=False)
        except idna.IDNAError as error:
            raise ValueError(f"the domain is not valid: {clean_line(str(error), 100)}") from error
    labels = mapped.lower().removesuffix(".").split(".")
    if not all(labels):
        raise ValueError("a part of the domain is empty")
    ascii_domain = ".".join(map(_read_label, labels))
    if labels[-1].isdigit():
        raise ValueError("the domain ends in a number")
    if len(ascii_domain) > _LONGEST_DOMAIN:
        raise ValueError(f"the domain is longer than {_LONGEST_DOMAIN} octets")
    return ascii_domain


def _read_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        if not _HOST_LABEL.fullmatch(label):
            raise ValueError(f"{clean_line(label, 70)!r} cannot be a part of a domain")
        return label
    try:
        return idna.alabel(label).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"the domain is not valid: {clean_line(str(error), 100)}") from error
