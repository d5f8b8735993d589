"""Files: written whole or not at all."""

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
def making(path: Path) -> Iterator[Path]:
    """The hidden path, beside ``path``, of a file or folder that is being made and moved there when it is whole.

    It is of this process alone, so two processes that make the same do not meet; its suffix is that of ``path``.
    What is still there in the end is removed, and so is what others that were killed have left.

    Raises:
        OSError: naming ``path`` and not the hidden one, when the system refuses.
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
    """Whether a path is one of :func:`making`."""
    return path.name.startswith(".") and ".partial." in path.name


@functools.cache
def _machine() -> str:
    """Eight digits for this machine, and for the container on it, whose processes have numbers of their own."""
    named = platform.node()
    with contextlib.suppress(OSError):
        named += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(os.fsencode(named)).hexdigest()[:8]


def _is_abandoned(partial: Path, maker: str) -> bool:
    """Whether the process that makes something has ended; of one on another machine, whether it is silent."""
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
    """A file or a folder, if it is there and can be removed."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def whole(path: Path, before: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` at the end, when all of it is on the disk.

    Args:
        path: of the file.
        before: what becomes of the file that had this path, in the same folder; it is replaced when left out.

    Raises:
        OSError: naming ``path``, when the system refuses.
    """
    with making(path) as partial:
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
    """Writes a whole text file, in UTF-8; what is no text in a file's name is escaped."""
    with whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def _keep_name(folder: Path) -> None:
    """Has the system write down what the folder's files are called, where it can."""
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
