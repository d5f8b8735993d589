"""A disk that can be full or read-only for a while."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Disk:
    """A folder with a file system of its own, if it is mounted, which can be full or read-only for a while."""

    folder: Path
    mounted: bool

    @contextlib.contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Leave room for so many KiB until the block exits."""
        junk = self.folder / "junk"
        found = os.statvfs(self.folder)
        with contextlib.suppress(OSError):
            junk.write_bytes(b"\0" * max(0, found.f_bavail * found.f_frsize - left * 1024))
        yield
        junk.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nothing be written until the block exits."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)


@contextlib.contextmanager
def disk_at(folder: Path) -> Iterator[Disk]:
    """Make a folder, with a disk of its own where the system allows one; remove it at the end."""
    folder.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder]
    mounted = os.geteuid() == 0 and not subprocess.run(tmpfs, capture_output=True).returncode
    try:
        yield Disk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder)
