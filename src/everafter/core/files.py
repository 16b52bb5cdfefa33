"""Files with suppliers' data or secrets: readable by their owner only, whatever the umask."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import IO, Any

OURS = frozenset({"secret", "postgres", "rejects"})
"""What the program creates in EVERAFTER_DATA."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# The embedded server's system user (used when we are root) must be able to enter the folder, but
# not to list it.
_PASS = stat.S_IXGRP | stat.S_IXOTH


def make_private(folder: Path) -> Path:
    """Create a folder that only its owner can access (0700); an existing one is not changed.

    Raises:
        OSError: it cannot be created.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return folder


def make_ours(folder: Path) -> Path:
    """The same for our own folder, such as EVERAFTER_DATA; an existing one is closed to others.

    A folder with other files in it is not changed, since they may be meant for others (`doctor`
    reports it).

    Raises:
        OSError: it cannot be created.
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
    """Open a file for writing that only its owner can read (0600), even if it existed before.

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
    """Remove the permissions of everybody but the owner from a file, if we are allowed to."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)


def is_open(path: Path) -> bool:
    """Whether others can read, list or change it; false if they can only enter it."""
    mode = path.stat().st_mode
    return bool(mode & _OTHERS & ~_kept(path))


def _kept(path: Path) -> int:
    """The permission bits that let the embedded server's system user reach its folder inside.

    Checked by the folder's existence and not its owner: another process may be creating it.
    """
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 and (path / "postgres").exists():
            return path.stat().st_mode & _PASS
    return 0
