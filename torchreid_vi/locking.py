"""Locks between processes, and none on disks that have no locks."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

log = logging.getLogger(__name__)


try:
    import fcntl
except ImportError:  # Windows, whose locks are of another kind
    fcntl = None  # type: ignore[assignment]

_WITHOUT = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_told = False


@contextmanager
def locked(path: str | Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock until the block exits; where the disk has no locks, as some network disks, go on without.

    Args:
        path: The lock's file, made when it is not there.
        timeout: Seconds to wait while another process holds it; no limit if negative.

    Raises:
        filelock.Timeout: When another process still holds it.
        OSError: When the file cannot be made.
    """
    global _told
    missing = _missing(path)
    if missing and not _told:
        _told = True
        log.info(
            f"{Path(path).parent} is on a disk without locks ({missing}): run one process at a time in this folder"
        )
    with nullcontext() if missing else FileLock(path, timeout=timeout):
        yield


def _missing(path: str | Path) -> str:
    """Why a file cannot be locked, empty when it can: filelock's versions wait for ever, raise, or say nothing."""
    if fcntl is None:
        return ""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _WITHOUT else ""
    finally:
        os.close(file)
    return ""
