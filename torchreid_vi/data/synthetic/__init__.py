"""Procedural people seen by visible and infrared cameras, written in the layouts of real datasets."""

from torchreid_vi.data.synthetic.layouts import (
    LAYOUTS,
    published_sysu_layout,
)
from torchreid_vi.data.synthetic.writer import render_dataset

__all__ = ["LAYOUTS", "published_sysu_layout", "render_dataset"]
