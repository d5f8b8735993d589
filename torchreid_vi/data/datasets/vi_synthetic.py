"""The package's own dataset, rendered when it is first used: no licence, no download."""

from __future__ import annotations

from pathlib import Path

from torchreid_vi.data.datasets.sysu_mm01 import SYSUMM01
from torchreid_vi.data.synthetic import draw_dataset
from torchreid_vi.errors import InputError


class VISynthetic(SYSUMM01):
    """Procedural people in SYSU-MM01's layout and under its protocols, in ``<root>/vi_synthetic``.

    When that folder is not there it is drawn with the defaults of
    :func:`torchreid_vi.data.synthetic.draw_dataset`: 180 identities, 6 images under each of 6 cameras.
    """

    folders = ("vi_synthetic",)

    def find(self, root: str) -> Path:
        try:
            return super().find(root)
        except InputError:
            return draw_dataset(root, folder=self.folders[0])
