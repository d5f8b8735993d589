"""From whatever names weights to files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torchreid_vi.folders import expanded
from torchreid_vi.sharing.fetching import HUB, fetch, fetch_from_hub
from torchreid_vi.sharing.package import MANIFEST, SETTINGS, WEIGHTS, verify


class Located(NamedTuple):
    """Files of a model.

    Attributes:
        weights: A checkpoint, a ``backbone.pth``, or a package's weights.
        settings: Of a package; None for other files.
    """

    weights: Path
    settings: Path | None


def is_remote(named: str | Path) -> bool:
    """Return whether weights lie elsewhere and are to be fetched."""
    return isinstance(named, str) and "://" in named


def package_folder(named: str | Path) -> Path | None:
    """Return the folder of the package that is named by it or by its weights; None for anything else."""
    path = expanded(named)
    if path.is_dir():
        return path
    return path.parent if path.name == WEIGHTS and (path.parent / MANIFEST).is_file() else None


def locate(named: str | Path) -> Located:
    """Return the files of weights, fetched if they lie elsewhere; a package is compared with its checksums.

    Args:
        named: A file; a package's folder, or the weights in it; ``https://`` of a file, or a link to one on Google
            Drive; ``hf://OWNER/NAME`` of a package, with or without ``@REVISION``.

    Raises:
        InputError: For weights that cannot be fetched, or a package that is not what it should be.
    """
    if is_remote(named) and not str(named).startswith(HUB):
        return Located(fetch(str(named)), None)
    folder = fetch_from_hub(str(named)) if is_remote(named) else package_folder(named)
    if folder is None:
        return Located(expanded(named), None)
    verify(folder)
    return Located(folder / WEIGHTS, folder / SETTINGS)
