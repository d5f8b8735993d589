"""Make the pictures of these pages.

python docs/figures.py
python docs/figures.py log/mcja_synthetic

Diagrams are SVG, pictures of people JPEG. The same versions give the same files. With the folder of a finished run,
the picture of what it finds is made instead.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from drawing import found, methods, people, protocols

from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.data.synthetic import render_dataset
from torchreid_vi.report.finished import FinishedRun

OUT = Path(__file__).parent / "figures"


def main(out: Path = OUT) -> None:
    """Write all pictures into a folder."""
    out.mkdir(exist_ok=True)
    for diagram in (
        protocols.location,
        protocols.variants,
        methods.mcja,
        methods.soft_ranks,
        methods.matrices,
        methods.cycle,
    ):
        diagram(out)
    with TemporaryDirectory() as root:
        render_dataset(root, ids=18, folder="vi_synthetic")
        dataset = VISynthetic(root=root, verbose=False)
        protocols.two_draws(out, root)
        people.augmentation(out, dataset)
        people.stripes(out, dataset)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        found.ranked(OUT.parent, FinishedRun(sys.argv[1]))
    else:
        main()
