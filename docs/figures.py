"""Make the pictures of these pages: python docs/figures.py.

Diagrams are SVG, pictures of people JPEG. The same versions give the same files.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from drawing import methods, people, protocols

from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.data.synthetic import draw_dataset

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
        draw_dataset(root, ids=18, folder="vi_synthetic")
        dataset = VISynthetic(root=root, verbose=False)
        protocols.two_draws(out, root)
        people.augmentation(out, dataset)
        people.stripes(out, dataset)


if __name__ == "__main__":
    main()
