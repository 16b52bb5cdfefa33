"""Write messages as bytes. Pure.

Python's email library decodes encoded words (`=?utf-8?q?=0D=0A?=`) in its input, so that a name can
become header lines. This module takes the text of each header literally, and `check_bytes` parses
the whole message again before it is sent.
"""

import binascii
import email
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import getaddresses
from quopri import decodestring
from urllib.parse import quote

from everafter.core.email_address import EmailAddress
from everafter.core.texts import clean_line

_LINE = 76
_LONGEST_LINE = 998  # RFC 5322, 2.1.1
_ENCODED = 60  # an encoded word with its delimiters, so that it fits on a header's first line
_LONGEST_WORD = 60
_LONGEST_TEXT = 2500
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_LITERAL = re.compile(r"[\x21-\x7e]{1,900}")
_UNFIT = re.compile(r'[/\\:*?"<>|]')
_PLAIN_IN_WORD = re.compile(r"[A-Za-z0-9!*+/-]")


class UnsafeMessageError(ValueError):
    """The bytes of a message differ from the intended message; it must not be sent."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header. pieces: its value, which may be folded between pieces."""

    name: str
    pieces: tuple[str, ...]

    def lines(self) -> str:
        """The folded header with its line end.

        Raises:
            UnsafeMessageError: a piece exceeds the maximum line length.
        """
        lines, line = [], f"{self.name}:"
        for place, piece in enumerate(self.pieces):
            if place and len(line) + 1 + len(piece) > _LINE:
                lines.append(line)
                line = ""
            line += f" {piece}"
        lines.append(line)
        if max(map(len, lines)) > _LONGEST_LINE:
            raise UnsafeMessageError(f"{self.name} exceeds the maximum line length")
        return "\r\n".join(lines) + "\r\n"


@dataclass(frozen=True, slots=True)
class Entity:
    """A message or a part of one. body: the encoded content, or the parts."""

    headers: tuple[Header, ...]
    body: "bytes | tuple[Entity, ...]"
    boundary: str = ""

    def walk(self) -> Iterator["Entity"]:
        """This entity and all its parts, in order."""
        yield self
        if not isinstance(self.body, bytes):
            for part in self.body:
                yield from part.walk()

    def names(self) -> list[str]:
        """The names of the headers."""
        return [header.name for header in self.headers]

    def write(self) -> bytes:
        """The bytes, with CRLF line ends, also on the last line."""
        head = "".join(header.lines() for header in self.headers).encode() + b"\r\n"
        if isinstance(self.body, bytes):
            return head + self.body
        edge = b"--" + self.boundary.encode()
        parts = b"".join(edge + b"\r\n" + part.write() + b"\r\n" for part in self.body)
        return head + parts + edge + b"--\r\n"


# ── headers ───────────────────────────────────────────────────────────────────────────────────────


def text_header(name: str, text: str) -> Header:
    """A header of free text, such as Subject. Any text survives being parsed again."""
    clean = clean_line(text, _LONGEST_TEXT)
    words = clean.split(" ")
    plain = _PRINTABLE.fullmatch(clean) and max(map(len, words)) <= _LONGEST_WORD
    return Header(name, tuple(words if plain and "=?" not in clean else _encoded_words(clean)))


def address_header(name: str, address: EmailAddress) -> Header:
    """A header with one address, such as From and To."""
    phrase = _phrase(address.display_name)
    spec = f"<{address.addr_spec}>" if phrase else address.addr_spec
    return Header(name, (*phrase, spec))


def literal_header(name: str, value: str) -> Header:
    """A header with a generated value that is neither folded nor encoded, such as links: mail
    clients do not decode them.

    Raises:
        UnsafeMessageError: it has characters other than visible ASCII, or more than 900.
    """
    if not _LITERAL.fullmatch(value):
        raise UnsafeMessageError(
            f"{name}: {clean_line(value, 60)!r} cannot be written without encoding"
        )
    return Header(name, (value,))


def value_header(name: str, value: str, **parameters: str) -> Header:
    """A header with a generated value and parameters of any text, such as Content-Type."""
    pairs = [pair for key, text in parameters.items() for pair in _parameter(key, text)]
    *firsts, last = [value, *pairs]
    return Header(name, (*(f"{piece};" for piece in firsts), last))


def _phrase(name: str) -> list[str]:
    clean = clean_line(name)
    words = clean.split(" ") if clean else []
    if (
        all(_ATOM.fullmatch(word) and len(word) <= _LONGEST_WORD for word in words)
        and "=?" not in clean
    ):
        return words
    if _PRINTABLE.fullmatch(clean) and "=?" not in clean and max(map(len, words)) <= _LONGEST_WORD:
        escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'.split(" ")
    return _encoded_words(clean)


def _encoded_words(text: str) -> list[str]:
    """RFC 2047 encoded words, in Q or B, whichever is shorter. No character is split."""
    in_q = ["".join(_q(byte) for byte in char.encode()) for char in text]
    in_b = [char.encode() for char in text]
    kind, room = (
        ("q", _ENCODED - 12) if sum(map(len, in_q)) <= len(b"".join(in_b)) * 4 / 3 else ("b", 36)
    )
    words: list[list[int]] = [[]]
    used = 0
    for place, piece in enumerate(in_q if kind == "q" else in_b):
        if used + len(piece) > room:
            words.append([])
            used = 0
        words[-1].append(place)
        used += len(piece)
    if kind == "q":
        bodies = ["".join(in_q[place] for place in word) for word in words]
    else:
        bodies = [b64encode(b"".join(in_b[place] for place in word)).decode() for word in words]
    return [f"=?utf-8?{kind}?{body}?=" for body in bodies]


def _q(byte: int) -> str:
    char = chr(byte)
    return "_" if char == " " else char if _PLAIN_IN_WORD.fullmatch(char) else f"={byte:02X}"


def _parameter(name: str, text: str) -> list[str]:
    """`name=value` by RFC 2045, or by RFC 2231 if the value is long or not plain."""
    clean = clean_line(text)
    if _TOKEN.fullmatch(clean) and len(clean) <= _LONGEST_WORD and "=?" not in clean:
        return [f"{name}={clean}"]
    if (
        _PRINTABLE.fullmatch(clean)
        and len(clean) <= _LONGEST_WORD
        and not re.search(r'"|\\|=\?', clean)
    ):
        return [f'{name}="{clean}"']
    rows = ["utf-8''"]
    for char in clean:
        quoted = quote(char, safe="")
        if len(rows[-1]) + len(quoted) > _LONGEST_WORD - 10:
            rows.append("")
        rows[-1] += quoted
    if len(rows) == 1:
        return [f"{name}*={rows[0]}"]
    return [f"{name}*{number}*={row}" for number, row in enumerate(rows)]


# ── bodies ────────────────────────────────────────────────────────────────────────────────────────


def text_part(text: str, subtype: str = "plain", *more: Header, **parameters: str) -> Entity:
    """A text in quoted-printable: ASCII, lines of at most 76 characters, no bare CR."""
    lines = "\n".join(re.split(r"\r\n|\r|\n", text)).encode("utf-8", "replace")
    body = binascii.b2a_qp(lines, istext=True).replace(b"\n", b"\r\n")
    headers = (
        value_header("Content-Type", f"text/{subtype}", charset="utf-8", **parameters),
        Header("Content-Transfer-Encoding", ("quoted-printable",)),
        *more,
    )
    return Entity(headers, body if body.endswith(b"\r\n") else body + b"\r\n")


def attachment(content: bytes, media_type: str, file_name: str) -> Entity:
    """A file in base64. Characters that file systems reject become `_` in its name. This also
    breaks encoded words, which some mail clients decode in parameters."""
    headers = (
        Header("Content-Type", (media_type,)),
        Header("Content-Transfer-Encoding", ("base64",)),
        value_header(
            "Content-Disposition", "attachment", filename=_UNFIT.sub("_", clean_line(file_name))
        ),
    )
    return Entity(headers, _in_lines(b64encode(content)))


def related(
    boundary: str, root: Entity, content: bytes, media_type: str, content_id: str, file_name: str
) -> Entity:
    """A part and a file that it references by `cid:` (RFC 2387)."""
    headers = (
        Header("Content-Type", (media_type,)),
        Header("Content-Transfer-Encoding", ("base64",)),
        Header("Content-ID", (f"<{content_id}>",)),
        value_header("Content-Disposition", "inline", filename=file_name),
    )
    edge = f"=_{boundary}"
    own = Header("Content-Type", ("multipart/related;", 'type="text/html";', f'boundary="{edge}"'))
    return Entity((own,), (root, Entity(headers, _in_lines(b64encode(content)))), edge)


def multipart(kind: str, boundary: str, parts: list[Entity], *headers: Header) -> Entity:
    """Several parts. The boundary starts with `=_`, which no encoded body can contain."""
    edge = f"=_{boundary}"
    own = Header("Content-Type", (f"multipart/{kind};", f'boundary="{edge}"'))
    return Entity((*headers, own), tuple(parts), edge)


def _in_lines(base64: bytes) -> bytes:
    rows = [base64[place : place + _LINE] for place in range(0, len(base64), _LINE)]
    return b"".join(row + b"\r\n" for row in rows) or b"\r\n"


# ── the check ─────────────────────────────────────────────────────────────────────────────────────

_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9-]*): *\S")
_WORD = re.compile(rb"=\?[^?\s]*\?([bBqQ])\?([^?\s]*)\?=")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def check_bytes(raw: bytes, meant: Entity, sender: EmailAddress, recipient: EmailAddress) -> None:
    """Parse a message again, in two ways that share no code with the writer.

    Raises:
        UnsafeMessageError: its headers, parts or addresses differ from `meant`.
    """
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", raw) or not (raw.isascii() or recipient.needs_smtputf8):
        raise UnsafeMessageError("the message has a bare CR, LF or NUL, or a non-ASCII byte")
    if max(map(len, raw.split(b"\r\n"))) > _LONGEST_LINE:
        raise UnsafeMessageError(f"a line is longer than {_LONGEST_LINE} octets")
    head, empty, _ = raw.partition(b"\r\n\r\n")
    names = [_field_name(line) for line in re.split(rb"\r\n(?![ \t])", head)]
    if not empty or names != meant.names():
        raise UnsafeMessageError("the headers differ from those that were set")
    read = email.message_from_bytes(raw)
    parts = list(read.walk())
    if [part.keys() for part in parts] != [entity.names() for entity in meant.walk()]:
        raise UnsafeMessageError(
            "the headers or parts are parsed as others than those that were set"
        )
    if any(part.defects for part in parts):
        raise UnsafeMessageError("the message is parsed with defects")
    for name, address in (("From", sender), ("To", recipient)):
        if _specs(read, name) != [address.addr_spec]:
            raise UnsafeMessageError(f"{name} is parsed as another address")


def _field_name(line: bytes) -> str | None:
    """The name of a header line; null: it is not one, or encodes a control character."""
    found = _FIELD.match(line)
    for kind, body in _WORD.findall(line):
        try:
            text = (
                b64decode(body, validate=True) if kind in b"bB" else decodestring(body, header=True)
            )
        except binascii.Error:
            return None
        if _CONTROL.search(text):
            return None
    return found[1].decode() if found else None


def _specs(read: Message, name: str) -> list[str]:
    """The addresses in the headers of this name, without display names."""
    raw = [value for key, value in read.raw_items() if key.lower() == name.lower()]
    values = [value.encode("ascii", "surrogateescape").decode("utf-8", "replace") for value in raw]
    return [
        spec for _, spec in getaddresses([re.sub(r"\r\n(?=[ \t])", "", value) for value in values])
    ]
