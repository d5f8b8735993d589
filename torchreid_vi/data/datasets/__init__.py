"""The visible-infrared datasets, by the names that torchreid's registry gets."""

from torchreid_vi.data.datasets.base import Splits, VIDataset
from torchreid_vi.data.datasets.llcm import LLCM
from torchreid_vi.data.datasets.regdb import RegDB
from torchreid_vi.data.datasets.sysu_mm01 import SYSUMM01
from torchreid_vi.data.datasets.vi_folder import VIFolder
from torchreid_vi.data.datasets.vi_synthetic import VISynthetic

__all__ = ["DATASETS", "LLCM", "SYSUMM01", "RegDB", "Splits", "VIDataset", "VIFolder", "VISynthetic"]

#: Our datasets by the names that ``data.sources`` and ``data.targets`` use.
DATASETS: dict[str, type[VIDataset]] = {
    "sysu_mm01": SYSUMM01,
    "regdb": RegDB,
    "llcm": LLCM,
    "vi_synthetic": VISynthetic,
    "vi_folder": VIFolder,
}
