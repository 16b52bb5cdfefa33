"""Files that hold suppliers' data or secrets: for their owner's eyes only, whatever the umask says."""

import contextlib
import os
import stat
from pathlib import Path
from typing import IO, Any

OURS = frozenset({"secret", "postgres", "rejects"})
"""What the program itself puts into EVERAFTER_DATA."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# The embedded server's own system user (where we are root) passes through the folder it lives in; it sees nothing of it.
_PASS = stat.S_IXGRP | stat.S_IXOTH


def make_private(folder: Path) -> Path:
    """Make the folder where it is not there, closed to others (0700). One that is there stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(folder))
    return folder


def make_ours(folder: Path) -> Path:
    """The same for a folder of our own, such as EVERAFTER_DATA: one that is open to others is closed.

    Only where it is ours alone: what else lies in it may be meant for others, so then it stays (`doctor` names it).

    Raises:
        OSError: it cannot be made.
    """
    make_private(folder)
    if is_open(folder):
        with contextlib.suppress(OSError):
            if all(one.name in OURS or one.name.startswith(".secret-") for one in folder.iterdir()):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_OTHERS | _kept(folder))
    return folder


def open_private(path: Path, mode: str = "w", *, encoding: str | None = None, newline: str | None = None) -> IO[Any]:
    """Open for writing a file that only its owner can read (0600), one that was there included.

    Args:
        mode: "w" or "wb".

    Raises:
        OSError: it cannot be written.
    """

    def opener(name: str, flags: int) -> int:
        handle = os.open(name, flags, 0o600)
        try:
            os.fchmod(handle, 0o600)
        except OSError:
            os.close(handle)
            raise
        return handle

    return open(path, mode, encoding=encoding, newline=newline, opener=opener)


def close_to_others(path: Path) -> None:
    """Take a file that is there away from all but its owner, where that is ours to do."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)


def is_open(path: Path) -> bool:
    """Whether others can read, list or change it; not when they can only pass through to what they own."""
    mode = path.stat().st_mode
    return bool(mode & _OTHERS & ~_kept(path))


def _kept(path: Path) -> int:
    """What of the folder's mode lets the embedded server, which has an owner of its own, into its folder there."""
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 and (path / "postgres").stat().st_uid != 0:
            return path.stat().st_mode & _PASS
    return 0
