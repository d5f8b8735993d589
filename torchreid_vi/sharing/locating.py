"""Find the files of a model from any name of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torchreid_vi.engine import CHECKPOINTS, LAST
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.sharing.fetching import HUB, fetch, fetch_from_hub
from torchreid_vi.sharing.package import MANIFEST, SETTINGS, WEIGHTS, verify


class Located(NamedTuple):
    """The files of a model.

    Attributes:
        weights: A checkpoint, a ``backbone.pth``, or a package's weights.
        settings: The ``config.yaml`` of the run or the package; None where there is none.
    """

    weights: Path
    settings: Path | None


def is_remote(named: str | Path) -> bool:
    """Return whether weights have to be fetched from an address."""
    return "://" in str(named)


def locate(named: str | Path) -> Located:
    """Return the files of a model, fetched if they are remote; a package is compared with its checksums.

    Args:
        named: A run's folder; a checkpoint or another file of weights; a package's folder, or the weights in it;
            ``https://`` of a file, or a link to one on Google Drive; ``hf://OWNER/NAME`` of a package, with or
            without ``@REVISION``.

    Raises:
        InputError: For a model that is missing or cannot be fetched, or a package that is damaged.
    """
    if is_remote(named) and not str(named).startswith(HUB):
        return Located(fetch(str(named)), None)
    path = fetch_from_hub(str(named)) if is_remote(named) else expanded(named)
    package = path.parent if path.name == WEIGHTS else path
    if (package / MANIFEST).is_file():
        verify(package)
        return Located(package / WEIGHTS, package / SETTINGS)
    weights = path / CHECKPOINTS / LAST if path.is_dir() else path
    if not weights.is_file():
        lacks = f"holds no {CHECKPOINTS}/{LAST} and no package" if path.is_dir() else "not found"
        raise InputError(f"{named} {lacks}: name a run's folder, a checkpoint, a package, or an address")
    folder = weights.absolute().parent
    settings = (folder.parent if folder.name == CHECKPOINTS else folder) / SETTINGS
    return Located(weights, settings if settings.is_file() else None)
