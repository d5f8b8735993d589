"""From whatever names a model to files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torchreid_vi.engine import CHECKPOINTS, LAST
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.sharing.fetching import HUB, fetch, fetch_from_hub
from torchreid_vi.sharing.package import MANIFEST, SETTINGS, WEIGHTS, verify


class Located(NamedTuple):
    """Files of a model.

    Attributes:
        weights: A checkpoint, a ``backbone.pth``, or a package's weights.
        settings: The ``config.yaml`` of the run or the package; None where there is none.
    """

    weights: Path
    settings: Path | None


def is_remote(named: str | Path) -> bool:
    """Return whether weights lie elsewhere and are to be fetched."""
    return isinstance(named, str) and "://" in named


def package_folder(named: str | Path) -> Path | None:
    """Return the folder of the package that is named by it or by its weights; None for anything else."""
    path = expanded(named)
    folder = path.parent if path.name == WEIGHTS else path
    return folder if (folder / MANIFEST).is_file() else None


def settings_of_run(named: Path) -> Path | None:
    """Return the settings of the run that is named by its folder or a file that it left; None for others."""
    named = named.absolute()
    folder = named if named.is_dir() else named.parent
    file = (folder.parent if folder.name == CHECKPOINTS else folder) / SETTINGS
    return file if file.is_file() else None


def locate(named: str | Path) -> Located:
    """Return the files of a model, fetched if they lie elsewhere; a package is compared with its checksums.

    Args:
        named: A run's folder; a checkpoint or another file of weights; a package's folder, or the weights in it;
            ``https://`` of a file, or a link to one on Google Drive; ``hf://OWNER/NAME`` of a package, with or
            without ``@REVISION``.

    Raises:
        InputError: For a model that is not there or cannot be fetched, or a package that is not what it should be.
    """
    if is_remote(named) and not str(named).startswith(HUB):
        return Located(fetch(str(named)), None)
    if folder := fetch_from_hub(str(named)) if is_remote(named) else package_folder(named):
        verify(folder)
        return Located(folder / WEIGHTS, folder / SETTINGS)
    path = expanded(named)
    weights = path / CHECKPOINTS / LAST if path.is_dir() else path
    if not weights.is_file():
        where = (
            f"{named} holds no {CHECKPOINTS}/{LAST} and no package" if path.is_dir() else f"{named} not found"
        )
        raise InputError(f"{where}: name a run's folder, a checkpoint, a package, or an address of one")
    return Located(weights, settings_of_run(weights))
