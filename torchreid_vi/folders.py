"""Folders that a person names, and the one where the package keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

from torchreid_vi.errors import InputError


def expanded(path: str | Path) -> Path:
    """A path with the home folder that it may begin with.

    Raises:
        InputError: for that of somebody who is not known.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise InputError(f"{path} begins with a home folder that is not known: write the whole path")
    return Path(found)


def in_text(path: Path) -> Path:
    """A path for libraries that take names in UTF-8 alone.

    Raises:
        InputError: for a name that is not.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path} is no text in UTF-8: name another") from error
    return path


def user_cache() -> Path:
    """The package's folder under the user's cache, ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        InputError: for a user without a home.
    """
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torchreid_vi"
    except InputError as error:
        raise InputError(f"{error}; XDG_CACHE_HOME names the folder for what can be made again") from error
