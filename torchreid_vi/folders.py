"""Paths that a user names, and the folder for files that can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

from torchreid_vi.errors import InputError


def expanded(path: str | Path) -> Path:
    """Expand the home folder that a path may begin with.

    Raises:
        InputError: For the home of an unknown user.
    """
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise InputError(f"{path} begins with a home folder that is not known: write the whole path")
    return Path(found)


def in_text(path: Path) -> Path:
    """Check a path for libraries that take names in UTF-8 alone.

    Raises:
        InputError: For a name that is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path} is no text in UTF-8: name another") from error
    return path


def user_cache() -> Path:
    """Return the package's folder under the user's cache, ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        InputError: For a user without a home.
    """
    try:
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torchreid_vi"
    except InputError as error:
        raise InputError(f"{error}; XDG_CACHE_HOME names the folder for what can be made again") from error
