"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole(path: Path, before: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of ``path`` at the end, when all of it is on the disk.

    Its name until then is hidden and ends in ``.partial``; after an error it is removed.

    Args:
        path: of the file.
        before: what becomes of the file that had this path, in the same folder; it is replaced when left out.

    Raises:
        OSError: naming ``path``, when the system refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before and path.is_file():
            path.replace(before)
        partial.replace(path)
        _keep_name(path.parent)
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(cause, OSError):
            raise
        cause.filename = cause.filename or str(path)
        raise cause from None  # PyTorch's own error says nothing of the disk
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, in UTF-8."""
    with whole(path) as file:
        file.write(text.encode())


def _keep_name(folder: Path) -> None:
    """Has the system write down what the folder's files are called, where it can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
