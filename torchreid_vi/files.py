"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from torchreid_vi.errors import InputError

_SILENCE = 24 * 3600  # seconds after which what another machine began to make counts as abandoned
_LONGEST_NAME = 180  # bytes of a name that the hidden one ends in; file systems allow 255


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a hidden path beside ``path`` to write a file or folder to, which the caller then moves to ``path``.

    It belongs to this process, so two processes that write the same do not meet; its suffix is that of ``path``.
    What is left there is removed when the block exits, and so is what processes that were killed have left.

    Raises:
        OSError: When the system refuses, naming ``path`` and not the hidden one.
    """
    mark = f".partial.{os.fsdecode(os.fsencode(path.name)[-_LONGEST_NAME:])}"
    mine = path.with_name(f".{os.getpid()}@{_machine()}{mark}")
    for other in path.parent.glob(f".*{glob.escape(mark)}"):
        if other == mine or _is_abandoned(other, other.name[1 : -len(mark)]):
            _remove(other)
    try:
        yield mine
    except OSError as error:
        if error.errno is not None and error.filename in (None, mine, str(mine)):
            error.filename = str(path)
        raise
    finally:
        _remove(mine)


def is_partial(path: Path) -> bool:
    """Return whether a path is one of :func:`atomic_path`."""
    return path.name.startswith(".") and ".partial." in path.name


@functools.cache
def _machine() -> str:
    """Return eight digits for this machine, and the container on it with processes of its own."""
    named = platform.node()
    with contextlib.suppress(OSError):
        named += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(os.fsencode(named)).hexdigest()[:8]


def _is_abandoned(partial: Path, maker: str) -> bool:
    """Return whether the process that writes a path has ended; on another machine, whether it is silent."""
    number, _, machine = maker.partition("@")
    try:
        if machine != _machine():
            newest = max(each.lstat().st_mtime for each in (partial, *partial.rglob("*")))
            return time.time() - newest > _SILENCE
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):  # it is another user's, or no maker's name
        return False
    return False


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: Path, before: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to write, which replaces ``path`` when the block exits and all of it is on the disk.

    Args:
        path: Output file.
        before: New path of the file that ``path`` names now, in the same folder; it is overwritten when left out.

    Raises:
        OSError: When the system refuses, naming ``path``.
    """
    with atomic_path(path) as partial:
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:
            if not isinstance(error.__context__, (OSError, KeyboardInterrupt)):
                raise
            raise error.__context__ from None  # PyTorch's own error says nothing of the disk, or of a signal
        if before and path.is_file():
            path.replace(before)
        partial.replace(path)
        _keep_name(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; bytes of a path that are no text are escaped."""
    with atomic_write(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def _keep_name(folder: Path) -> None:
    """Flush a folder's list of files to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: str | Path) -> str:
    """Return a file's SHA-256 as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: str | Path, remedy: str) -> Any:
    """Return the content of a JSON file.

    Args:
        path: Input file.
        remedy: Ends the sentence on what is wrong.

    Raises:
        InputError: When it cannot be read, or is no JSON, or nested beyond reason.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {remedy}") from error
