"""What a package of weights is: a folder with weights, settings, a card, and a manifest with their checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from torchreid_vi.config.importing import MANIFEST
from torchreid_vi.errors import InputError
from torchreid_vi.files import sha256_of

WEIGHTS, SETTINGS, CARD = "model.safetensors", "config.yaml", "README.md"
__all__ = ["CARD", "MANIFEST", "SETTINGS", "WEIGHTS"]
FORMAT = 1


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of a package's manifest.

    Raises:
        InputError: When it is missing, damaged, or of a later version of this package.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} is a folder without {MANIFEST}: name one that tools/package_weights.py wrote"
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        texts = [content["files"][name]["sha256"] for name in (WEIGHTS, SETTINGS)]
        if not all(isinstance(text, str) for text in texts + content.get("trained_on", [])):
            raise TypeError
        known = content["format"] <= FORMAT
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{path} is damaged: get the package again") from error
    if not known:
        raise InputError(
            f"{folder} is a package of format {content['format']}, of which this version knows {FORMAT}: install "
            "a newer torchreid_vi"
        )
    return content


def verify(folder: Path) -> None:
    """Compare what a package computes with to its manifest. The card is for people, who may edit it.

    Raises:
        InputError: Naming the first file that is not as listed.
    """
    listed = read_manifest(folder)["files"]
    for name in (WEIGHTS, SETTINGS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}: get the package again")
        if sha256_of(folder / name) != listed[name]["sha256"]:
            raise InputError(f"{folder / name} is not what {MANIFEST} says: get the package again")
    try:
        settings = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{folder / SETTINGS} is damaged: get the package again") from error
    if not isinstance(settings, dict) or "_BASE_" in settings:
        raise InputError(f"{folder / SETTINGS} reads a file outside of the package: it was refused")
