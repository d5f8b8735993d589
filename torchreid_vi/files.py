"""Reading files that anybody may have made: regular ones alone, and no more of them than there should be."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from torchreid_vi.errors import InputError

LARGEST_TEXT = 2**28  # bytes of a list, or of JSON


def read_bytes(path: str | Path, most: int) -> bytes:
    """The content of a regular file; a pipe or a device is never waited for.

    Args:
        path: of the file.
        most: bytes it may have.

    Raises:
        OSError: with a reason in words, when it cannot be read or is none of these.
    """
    if "\0" in str(path):
        raise FileNotFoundError(None, "no file has such a name", str(path))

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=opener) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(None, "it is no regular file", str(path))
        if found.st_size > most:
            raise OSError(None, f"it has {found.st_size:,} bytes, more than {most:,}", str(path))
        return file.read(most)


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
