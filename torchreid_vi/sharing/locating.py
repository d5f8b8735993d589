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
        weights: a checkpoint, a ``backbone.pth``, or a package's weights.
        settings: of a package; None for other files.
    """

    weights: Path
    settings: Path | None


def is_remote(named: str | Path) -> bool:
    """Whether weights lie elsewhere and are to be fetched."""
    return isinstance(named, str) and "://" in named


def package_folder(named: str | Path) -> Path | None:
    """The folder of the package on this machine that is named by it, or by its weights; None for anything else."""
    path = expanded(named)
    if path.is_dir():
        return path
    return path.parent if path.name == WEIGHTS and (path.parent / MANIFEST).is_file() else None


def locate(named: str | Path) -> Located:
    """The files of weights, fetched if they lie elsewhere, a package compared with its list of files.

    Args:
        named: a file; a package's folder, or the weights in it; ``https://`` of a package's archive, or a link to
            one on Google Drive; ``hf://OWNER/NAME``, with or without ``@REVISION``.

    Raises:
        InputError: for a package that cannot be fetched or is not what it should be.
    """
    if is_remote(named):
        folder = fetch_from_hub(str(named)) if str(named).startswith(HUB) else fetch(str(named))
    elif (found := package_folder(named)) is not None:
        verify(folder := found)
    else:
        return Located(expanded(named), None)
    return Located(folder / WEIGHTS, folder / SETTINGS)
