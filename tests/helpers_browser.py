"""A real Chromium for tests that need one, and web SDKs bundled as a platform bundles them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from helpers_node import need_packages, run_node

CHROMIUM = (
    os.environ.get("EVERAFTER_TEST_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
SDKS = Path(__file__).parent / "sdks"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that talks to nobody by itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def bundle_sdks(folder: Path) -> dict[str, bytes]:
    """The sources of tests/sdks by name, each as one module with its SDK in it."""
    packages = need_packages()
    for source in SDKS.glob("*.js"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(packages, target_is_directory=True)
    names = sorted(source.name for source in SDKS.glob("*.js"))
    run_node(
        folder,
        "node_modules/.bin/esbuild",
        *names,
        "--bundle",
        "--format=esm",
        "--outdir=out",
        "--log-level=error",
    )
    return {name.removesuffix(".js"): (folder / "out" / name).read_bytes() for name in names}
