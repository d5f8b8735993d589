"""Reading files that anybody may have made: regular ones alone, and no more of them than there should be."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from torchreid_vi.errors import InputError

LARGEST_TEXT = 2**28  # bytes of a list, or of JSON


@contextmanager
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
