"""The package's own dataset, rendered when it is first used: no licence, no download."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from torchreid_vi.data.datasets.sysu_mm01 import SYSUMM01
from torchreid_vi.data.synthetic import render_dataset
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.locking import locked


class VISynthetic(SYSUMM01):
    """Procedural people in SYSU-MM01's layout and under its protocols, in ``<root>/vi_synthetic``.

    When that folder is not there it is rendered with the defaults of
    :func:`torchreid_vi.data.synthetic.render_dataset`: 180 identities, 6 images under each of 6 cameras.
    """

    folders = ("vi_synthetic",)

    def find(self, root: str) -> Path:
        with suppress(InputError):
            return super().find(root)
        above = expanded(root)
        try:
            above.mkdir(parents=True, exist_ok=True)
            with locked(above / f".{self.folders[0]}.lock"):
                with suppress(InputError):  # another process has just rendered it
                    return super().find(root)
                return render_dataset(root, folder=self.folders[0])
        except OSError as error:
            raise InputError(f"cannot render a dataset into {root}: {error.strerror or error}") from error
