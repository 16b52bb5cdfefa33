"""Check logo files, and convert them for emails and certificates."""

import base64
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from everafter.branding.model import Logo

MOST_LOGO_BYTES = 200_000
_LARGEST_SIDE = 4000
_SMALLEST_SIDE = 16
_SHOWN_HEIGHT, _SHOWN_WIDTH = 40, 240
_DOTS_PER_INCH = 216  # three times 72, so that an SVG is sharp on dense screens
_PNG = b"\x89PNG\r\n\x1a\n"
_MEDIA = {"png": "image/png", "jpg": "image/jpeg", "svg": "image/svg+xml"}
_FORBIDDEN = frozenset({
    "script", "foreignobject", "iframe", "embed", "object", "audio", "video", "handler",
    "listener", "set",
})  # fmt: skip
_INSIDE = re.compile(r"#[\w.:-]+|data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*")
_FETCHES = re.compile(r"@import|url\(\s*['\"]?(?!#)|expression\(|javascript:", re.IGNORECASE)


_NUMERIC = frozenset({
    "cx", "cy", "d", "dx", "dy", "fill-opacity", "font-size", "fr", "fx", "fy", "gradienttransform",
    "height", "offset", "opacity", "patterntransform", "points", "r", "rx", "ry", "stroke-width",
    "transform", "width", "x", "x1", "x2", "y", "y1", "y2",
})  # fmt: skip
"""Attributes of numbers, in lower case."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NOT_FINITE = re.compile(r"\b(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_LARGEST_NUMBER = 3.4e38


class LogoError(ValueError):
    """A file cannot be used as a logo. hint: how to fix it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def read_logo(content: bytes) -> Logo:
    """Read and check a logo file. Blocks for about 50 ms.

    Raises:
        LogoError: the file is too large, too small, damaged, not an image of a supported type, or
            an SVG that runs or loads something.
    """
    if len(content) > MOST_LOGO_BYTES:
        raise LogoError(
            f"the logo has {len(content):,} bytes; the limit is {MOST_LOGO_BYTES:,}",
            "export it smaller; it is attached to every email",
        )
    kind = _kind(content)
    if kind == "svg":
        _check_svg(content)
    else:
        _check_size(*_pixels(kind, content))
    picture = _draw(kind, content)
    width, height = struct.unpack(">II", picture[16:24])
    share = min(1.0, _SHOWN_WIDTH * height / (width * _SHOWN_HEIGHT))
    media_type = _MEDIA[kind]
    return Logo(
        content=content,
        media_type=media_type,
        inline=picture if kind == "svg" else content,
        inline_type="image/png" if kind == "svg" else media_type,
        svg=content.decode("utf-8-sig")
        if kind == "svg"
        else _wrap(content, media_type, width, height),
        width=max(1, round(_SHOWN_HEIGHT * share * width / height)),
        height=max(1, round(_SHOWN_HEIGHT * share)),
    )


def _kind(content: bytes) -> str:
    if content.startswith(_PNG):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if re.match(rb"(\xef\xbb\xbf)?\s*(<\?xml|<!--|<svg)", content):
        return "svg"
    raise LogoError("the logo is not a PNG, JPEG or SVG file", "export it as one of these")


def _pixels(kind: str, content: bytes) -> tuple[int, int]:
    if kind == "png" and len(content) >= 24:
        return struct.unpack(">II", content[16:24])
    at = 2
    while kind == "jpg" and at + 9 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return width, height
        at += 2 + length
    raise LogoError("the logo is damaged: its size cannot be read", "export it again")


def _check_size(width: int, height: int) -> None:
    if max(width, height) > _LARGEST_SIDE or min(width, height) < _SMALLEST_SIDE:
        message = f"the logo has {width} × {height} pixels;"
        message += f" each side must have {_SMALLEST_SIDE} to {_LARGEST_SIDE}"
        hint = f"it is shown {_SHOWN_HEIGHT} pixels high; {3 * _SHOWN_HEIGHT} are enough"
        raise LogoError(message, hint)


def _check_svg(content: bytes) -> None:
    """Reject files that could run or load something, and entities, which can expand a small file to
    a huge one."""
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise LogoError("the SVG logo has a DOCTYPE or entities", "remove them")
    try:
        text = content.decode("utf-8-sig")
        root = ElementTree.fromstring(text)  # noqa: S314 without a DTD there are no entities
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError) as error:
        raise LogoError(
            f"the SVG logo cannot be read: {error}", "export it again, as UTF-8"
        ) from error
    if _name(root.tag) != "svg":
        raise LogoError("the logo is XML but not SVG", "the root element must be <svg>")
    if problem := _wrong_number(root):
        raise LogoError(
            f"the SVG logo has {problem}", "export it again, with a viewBox of 4 numbers"
        )
    for problem in _dangers(root):
        raise LogoError(
            f"the SVG logo has {problem}",
            "export it as plain SVG with embedded images and text converted to paths",
        )


def _wrong_number(root: ElementTree.Element) -> str:
    """The first number that is not finite, or size without an area; empty: none."""
    for element in root.iter():
        for key, value in element.attrib.items():
            attribute = _name(key)
            if attribute in _NUMERIC and not _is_finite(value):
                return f"{attribute}={value[:60]!r} that is not a finite number"
            if attribute == "viewbox" and not _is_view_box(value):
                return f"viewBox={value[:60]!r} that is not a position and a size"
    return ""


def _is_finite(text: str) -> bool:
    """Whether all numbers in an attribute are, as single-precision numbers."""
    return not _NOT_FINITE.search(text) and all(
        abs(float(found[0])) <= _LARGEST_NUMBER for found in _NUMBER.finditer(text)
    )


def _is_view_box(text: str) -> bool:
    parts = re.split(r"\s*,\s*|\s+", text.strip())
    if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return False
    return _is_finite(text) and float(parts[2]) > 0 and float(parts[3]) > 0


def _dangers(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        name = _name(element.tag)
        if name in _FORBIDDEN:
            yield f"a <{name}> element"
        if name == "style" and _FETCHES.search("".join(element.itertext())):
            yield "a style sheet that loads something"
        for key, value in element.attrib.items():
            attribute = _name(key)
            if attribute.startswith("on"):
                yield f"an {attribute}= attribute"
            elif attribute in {"href", "src"} and not _INSIDE.fullmatch(value):
                yield f"a link to {value[:60]!r}"
            elif _FETCHES.search(value):
                yield f"a {attribute}= attribute that loads something"


def _name(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower()


def _draw(kind: str, content: bytes) -> bytes:
    """Render the image as PNG, which also proves that the file is intact."""
    import typst  # large, and only needed by platforms with a logo

    with tempfile.TemporaryDirectory(prefix="everafter-logo-") as folder:
        (Path(folder) / f"logo.{kind}").write_bytes(content)
        size = f"height: {_SHOWN_HEIGHT}pt" if kind == "svg" else ""
        source = "#set page(width: auto, height: auto, margin: 0pt, fill: none)\n"
        source += f'#image("logo.{kind}", {size})'
        try:
            png = typst.Compiler(source.encode(), root=folder).compile(
                format="png", ppi=_DOTS_PER_INCH if kind == "svg" else 72
            )
        except (typst.TypstError, RuntimeError) as error:
            raise LogoError(
                "the logo cannot be rendered: the file is damaged", "export it again"
            ) from error
    assert isinstance(png, bytes)  # noqa: S101 one page without an output path
    return png


def _wrap(content: bytes, media_type: str, width: int, height: int) -> str:
    """Wrap a bitmap into an SVG document."""
    data = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    size = f'width="{width}" height="{height}"'
    root = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>'
    return f'{root}<image {size} href="{data}"/></svg>'
