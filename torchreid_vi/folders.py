"""Where the package keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """The package's folder under the user's cache, ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torchreid_vi"
