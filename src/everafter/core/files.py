"""Files that hold suppliers' data or secrets: readable by their owner only, whatever the umask."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO, Any

OURS = frozenset({"secret", "postgres", "rejects"})
"""What the program itself puts into EVERAFTER_DATA."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# The embedded server's own system user (where we are root) passes through the folder it lives in;
# it sees nothing of it.
_PASS = stat.S_IXGRP | stat.S_IXOTH


def make_private(folder: Path) -> Path:
    """Make the folder, closed to others (0700), unless it exists; an existing one is left as it is.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return folder


def make_ours(folder: Path) -> Path:
    """The same for a folder of our own, such as EVERAFTER_DATA; an existing one is closed to
    others.

    Only if nothing else is in it, since that may be meant for others; then it is left as it is
    (`doctor` reports it).

    Raises:
        OSError: it cannot be made.
    """
    make_private(folder)
    if is_open(folder):
        with contextlib.suppress(OSError):
            if all(one.name in OURS or one.name.startswith(".secret-") for one in folder.iterdir()):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_OTHERS | _kept(folder))
    return folder


def open_private(
    path: Path, mode: str = "w", *, encoding: str | None = None, newline: str | None = None
) -> IO[Any]:
    """Open a file for writing that only its owner can read (0600), also if it existed before.

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
    """Remove the permissions of everybody but the owner from an existing file, if we may."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)


def is_open(path: Path) -> bool:
    """Whether others can read, list or change it; false if they can only pass through it."""
    mode = path.stat().st_mode
    return bool(mode & _OTHERS & ~_kept(path))


def _kept(path: Path) -> int:
    """The bits of the folder's mode that let the embedded server's own user reach its folder
    inside.

    That folder is there before it belongs to that user: another process may be making it just now.
    """
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 and (path / "postgres").exists():
            return path.stat().st_mode & _PASS
    return 0
