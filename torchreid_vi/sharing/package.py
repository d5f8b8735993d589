"""What a package of weights is: its files, and whether they are what its list says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torchreid_vi.config.importing import MANIFEST
from torchreid_vi.errors import InputError
from torchreid_vi.files import parse_yaml, sha256_of

WEIGHTS, SETTINGS, CARD = "model.safetensors", "config.yaml", "README.md"
__all__ = ["CARD", "MANIFEST", "SETTINGS", "WEIGHTS"]
NEEDED = (SETTINGS, WEIGHTS)  # to compute with; the card is for people, who may edit it
FORMAT = 1

LARGEST = 4 * 2**30  # bytes of weights, or of an archive
LARGEST_TEXT = 2**18  # bytes of settings, or of a list of files


def mark(path: Path) -> dict[str, Any]:
    """What the list of files says of one."""
    return {"sha256": sha256_of(path), "size": path.stat().st_size}


def read_manifest(folder: Path, named: str) -> dict[str, Any]:
    """The content of a package's list of files, without a look at the files.

    Args:
        folder: of the package.
        named: what the user calls it.

    Raises:
        InputError: when it is missing, damaged, or of a later version of this package.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{named} is a folder without {MANIFEST}: name a run's checkpoints/last.pth, or a folder that "
            "tools/package_weights.py wrote"
        )
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise ValueError("too long")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = content["format"]
        marks = [(content["files"][name]["sha256"], content["files"][name]["size"]) for name in NEEDED]
        sound = isinstance(version, int) and all(isinstance(a, str) and isinstance(b, int) for a, b in marks)
        sound &= all(isinstance(name, str) for name in content.get("trained_on", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{MANIFEST} of {named} is damaged: get the package again") from error
    if not sound:
        raise InputError(f"{MANIFEST} of {named} is damaged: get the package again")
    if version > FORMAT:
        raise InputError(
            f"{named} is a package of format {version}, of which this version knows {FORMAT}: install a newer "
            "torchreid_vi"
        )
    return content


def verify(folder: Path, named: str = "") -> dict[str, Any]:
    """Compares what a package computes with to its list of files, whose content it returns.

    Args:
        folder: of the package.
        named: what the user calls it, if not by its folder.

    Raises:
        InputError: naming the first file that is not as listed.
    """
    named = named or str(folder)
    content = read_manifest(folder, named)
    for name, most in zip(NEEDED, (LARGEST_TEXT, LARGEST), strict=True):
        path, listed = folder / name, content["files"][name]
        if not path.is_file():
            raise InputError(f"{named} lacks {name}: get the package again")
        size = path.stat().st_size
        if size > most or size != listed["size"] or sha256_of(path) != listed["sha256"]:
            raise InputError(f"{name} of {named} is not what {MANIFEST} says: get the package again")
    try:
        settings = parse_yaml((folder / SETTINGS).read_text(encoding="utf-8"))
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{SETTINGS} of {named} is damaged: get the package again") from error
    if not isinstance(settings, dict) or "_BASE_" in settings:
        raise InputError(f"{SETTINGS} of {named} reads a file outside of the package: it was refused")
    return content
