"""Packages of weights: folders with weights, settings, a card, and a manifest with their checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from torchreid_vi.config.importing import MANIFEST
from torchreid_vi.errors import InputError
from torchreid_vi.files import read_json, sha256_of

WEIGHTS, SETTINGS, CARD = "model.safetensors", "config.yaml", "README.md"
__all__ = ["CARD", "MANIFEST", "SETTINGS", "WEIGHTS"]
FORMAT = 1


def verify(folder: Path) -> None:
    """Compare the weights and settings of a package with its manifest; its author may edit the card.

    Raises:
        InputError: When the manifest is damaged or of a later version, or naming the first file that differs.
    """
    listed = _read_manifest(folder / MANIFEST)["files"]
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


def _read_manifest(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, "get the package again")
    try:
        texts = [content["files"][name]["sha256"] for name in (WEIGHTS, SETTINGS)]
        if not all(isinstance(text, str) for text in texts + content.get("trained_on", [])):
            raise TypeError
        newer = content["format"] > FORMAT
    except Exception as error:  # whatever is missing or of another type
        raise InputError(f"{path} is damaged: get the package again") from error
    if newer:
        raise InputError(f"{path.parent} has format {content['format']}: install a newer torchreid_vi")
    return content
