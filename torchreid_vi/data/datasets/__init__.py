"""The visible-infrared datasets, by the names that torchreid's registry gets."""

from collections.abc import Collection
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from torchreid_vi import host
from torchreid_vi.data.datasets.base import Splits, VIDataset
from torchreid_vi.data.datasets.llcm import LLCM
from torchreid_vi.data.datasets.regdb import RegDB
from torchreid_vi.data.datasets.sysu_mm01 import SYSUMM01
from torchreid_vi.data.datasets.vi_folder import VIFolder
from torchreid_vi.data.datasets.vi_labelled import VILabelled
from torchreid_vi.data.datasets.vi_synthetic import VISynthetic
from torchreid_vi.errors import InputError, unknown_name

__all__ = [
    "DATASETS",
    "LLCM",
    "SYSUMM01",
    "RegDB",
    "Splits",
    "VIDataset",
    "VIFolder",
    "VILabelled",
    "VISynthetic",
    "dataset_named",
    "open_dataset",
    "require_split",
]

#: Our datasets by the names that ``data.sources`` and ``data.targets`` use.
DATASETS: dict[str, type[VIDataset]] = {
    "sysu_mm01": SYSUMM01,
    "regdb": RegDB,
    "llcm": LLCM,
    "vi_synthetic": VISynthetic,
    "vi_folder": VIFolder,
    "vi_labelled": VILabelled,
}


def require_split(names: Collection[str], split_id: int) -> None:
    """Check that one of a run's datasets at least has this split.

    Args:
        names: Names of the datasets; those that are not in :data:`DATASETS` look themselves.
        split_id: Number of the split, from 0.

    Raises:
        InputError: When all are ours and none has that split.
    """
    if not names or not all(name in DATASETS for name in names):
        return
    most = max(DATASETS[name].splits for name in names)
    if not 0 <= split_id < most:
        has = f"the splits 0 to {most - 1}" if most > 1 else "one split, 0"
        raise InputError(f"data.split_id is {split_id}: {' and '.join(dict.fromkeys(names))} has {has}")


def dataset_named(name: str) -> type[VIDataset]:
    """Return the visible-infrared dataset that is registered under a name.

    Raises:
        InputError: For a name that none is registered under.
    """
    known = {each: cls for each, cls in host.IMAGE_DATASETS.items() if hasattr(cls, "cameras")}
    if name not in known:
        raise unknown_name("dataset", name, known)
    return known[name]


def open_dataset(name: str, mode: str, own: dict[str, dict[str, Any]], **options: Any) -> Any:
    """Return a part of a dataset: ``train``, ``query`` or ``gallery``.

    Args:
        name: Name that the dataset is registered under.
        mode: Which part.
        own: Options of single datasets by their names.
        **options: Options of every dataset.

    Raises:
        InputError: When it cannot be read.
    """
    try:
        with redirect_stdout(StringIO()):  # torchreid's own print
            return host.IMAGE_DATASETS[name](mode=mode, **options, **own.get(name, {}))
    except (RuntimeError, OSError) as error:  # from torchreid's own
        raise InputError(
            f"dataset {name} cannot be loaded ({error}): check --root, or prepare it by hand"
        ) from error
