"""Files: written whole or not at all, and read, whoever made them, no further than they should be."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import json
import os
import platform
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

from torchreid_vi.errors import InputError

LARGEST_TEXT = 2**28  # bytes of a list, or of JSON

#: How members of zip archives may be compressed: the others ask for as much memory as they say.
COMPRESSED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


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


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[FileIO, int]]:
    """A regular file and its size; a pipe or a device is never waited for."""
    if "\0" in str(path):
        raise FileNotFoundError(errno.ENOENT, "no file has such a name", str(path))

    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        yield file, found.st_size


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: str | Path, most: int) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        most: bytes it may have.

    Raises:
        OSError: with a reason in words, when it cannot be read, is no regular file, or has more.
    """
    with _opened(path) as (file, size):
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than {most:,}", str(path))
        return file.readall()


def read_lines(path: Path, longest: int) -> Iterator[bytes]:
    """The lines of a regular file, one after the other.

    Args:
        path: of the file.
        longest: bytes that a line may have.

    Raises:
        OSError: when it cannot be read, is no regular file, or has a longer line.
    """
    with _opened(path) as (raw, _), BufferedReader(raw) as file:
        while line := file.readline(longest + 1):
            if len(line) > longest:
                raise OSError(errno.EFBIG, f"a line has more than {longest:,} bytes", str(path))
            yield line


def sha256_of(path: str | Path) -> str:
    """Of a regular file's content, in hexadecimal digits.

    Raises:
        OSError: when it cannot be read, or is no regular file.
    """
    digest = hashlib.sha256()
    with _opened(path) as (file, _):
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """The arrays of a file that ``np.savez`` wrote; objects in it, which could run code, are refused.

    Args:
        path: of the file.
        most: bytes that all of them may have.

    Raises:
        Exception: whatever a damaged file makes the reader raise.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if sum(member.file_size for member in members) > most:
        raise ValueError(f"more than {most:,} bytes")
    if any(member.compress_type not in COMPRESSED for member in members):
        raise ValueError("compressed in another way")
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


class _Plain(yaml.SafeLoader):
    """YAML's safe reader, without references: a few lines of these ask for more work than can be done."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"*{self.peek_event().anchor} repeats something: write it out")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """What YAML a text holds: plain data alone, of which nothing refers to something else.

    Raises:
        Exception: whatever a damaged text makes the reader raise.
    """
    return yaml.load(text, _Plain)  # noqa: S506 - it makes no objects


def read_json(path: str | Path, remedy: str) -> Any:
    """What JSON a file holds.

    Args:
        path: of the file.
        remedy: ends the sentence on what is wrong.

    Raises:
        InputError: when it cannot be read, or is no JSON, or nested beyond reason.
    """
    try:
        return json.loads(read_bytes(path, LARGEST_TEXT))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {remedy}") from error
