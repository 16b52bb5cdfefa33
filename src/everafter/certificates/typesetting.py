"""Sheets into PDF and PNG, by typst.

What is said goes in as data and never as markup, and the compiler's root is an empty folder: a
sheet can read nothing. Measured: a PDF takes about 20 ms, a picture 40."""

import tempfile
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

import typst

from everafter.certificates.typefaces import choose_families, choose_first, fonts, why_not
from everafter.core.errors import EverafterError

Sheet = Literal["sheet", "picture"]
_FOLDER = Path(str(resources.files("everafter.certificates") / "sheets"))
_PICTURE_DOTS_PER_INCH = 96


class UnprintableError(EverafterError):
    """A certificate has signs that no typeface here has; the message names them."""


def typeset(
    sheet: Sheet, words: Mapping[str, str], look: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """The sheet for the wall as PDF, or the picture to share as PNG (1200 × 630); the latest few
    are kept. Blocks.

    Args:
        look: the platform's accent and logo, from `look_of`.

    Raises:
        UnprintableError: it would show boxes in place of signs.
    """
    if reason := why_not(words):
        raise UnprintableError(reason)
    return _typeset(sheet, tuple(sorted(words.items())), look)


def compile_sheet(
    sheet: Sheet,
    words: Mapping[str, str],
    media: Literal["pdf", "png"],
    dots: int = _PICTURE_DOTS_PER_INCH,
    look: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A sheet as PDF or as a picture of so many dots an inch, whatever signs the typefaces have."""
    families = choose_families("".join(words.values()))[0]
    inputs = {
        **words,
        **dict(look),
        "typefaces": "\n".join(families),
        "name_typefaces": "\n".join(choose_first(words["name"])),
    }
    compiler = typst.Compiler(
        _source(sheet), root=_empty_folder(), font_paths=fonts(), sys_inputs=inputs
    )
    made = compiler.compile(format=media, ppi=dots)
    assert isinstance(made, bytes)  # noqa: S101 one page without an output path is bytes
    return made


@lru_cache(maxsize=32)
def _typeset(
    sheet: Sheet, words: tuple[tuple[str, str], ...], look: tuple[tuple[str, str], ...]
) -> bytes:
    return compile_sheet(sheet, dict(words), "pdf" if sheet == "sheet" else "png", look=look)


@cache
def _source(sheet: Sheet) -> bytes:
    return b"\n".join((_FOLDER / f"{name}.typ").read_bytes() for name in ("parts", sheet))


@cache
def _empty_folder() -> str:
    return tempfile.mkdtemp(prefix="everafter-typst-")
