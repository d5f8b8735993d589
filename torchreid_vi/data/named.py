"""Visible-infrared datasets by name, those of a user among them."""

from __future__ import annotations

from torchreid_vi import host
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.errors import unknown_name


def dataset_named(name: str) -> type[VIDataset]:
    """Return the visible-infrared dataset that is registered under a name.

    Raises:
        InputError: For a name that none is registered under.
    """
    known = {
        each: cls
        for each, cls in host.IMAGE_DATASETS.items()
        if isinstance(cls, type) and issubclass(cls, VIDataset)
    }
    if name not in known:
        raise unknown_name("dataset", name, known)
    return known[name]
