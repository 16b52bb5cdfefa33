"""Sheets into PDF and PNG, by typst.

What is said goes in as data and never as markup, and the compiler's root is an empty folder: a sheet can read nothing. Measured: a
PDF takes about 20 ms, a picture 40.
"""

import tempfile
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal

import typst

Sheet = Literal["sheet", "picture"]
_FOLDER = Path(str(resources.files("everafter.certificates") / "sheets"))
_PICTURE_DOTS_PER_INCH = 96


def typeset(sheet: Sheet, words: Mapping[str, str]) -> bytes:
    """The sheet for the wall as PDF, or the picture to share as PNG (1200 × 630); the latest few are kept. Blocks."""
    return _typeset(sheet, tuple(sorted(words.items())))


@lru_cache(maxsize=32)
def _typeset(sheet: Sheet, words: tuple[tuple[str, str], ...]) -> bytes:
    compiler = typst.Compiler(_source(sheet), root=_empty_folder(), font_paths=_fonts(), sys_inputs=dict(words))
    made = compiler.compile(format="pdf" if sheet == "sheet" else "png", ppi=_PICTURE_DOTS_PER_INCH)
    assert isinstance(made, bytes)  # noqa: S101 one page without an output path is bytes
    return made


@cache
def _fonts() -> typst.Fonts:
    """Ours, typst's own, and the machine's for scripts that neither has."""
    return typst.Fonts(font_paths=[str(_FOLDER)])


@cache
def _source(sheet: Sheet) -> bytes:
    return b"\n".join((_FOLDER / f"{name}.typ").read_bytes() for name in ("parts", sheet))


@cache
def _empty_folder() -> str:
    return tempfile.mkdtemp(prefix="everafter-typst-")
