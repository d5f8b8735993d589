"""Render a plan to disk from seeds alone: all of it or nothing."""

from __future__ import annotations

import json
import logging
import os
from itertools import groupby
from pathlib import Path

import numpy as np

from torchreid_vi import console
from torchreid_vi.data.synthetic.layouts import LAYOUTS, Layout, published_sysu_layout
from torchreid_vi.data.synthetic.person import random_person
from torchreid_vi.data.synthetic.render import render
from torchreid_vi.data.synthetic.scene import random_scene
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.files import atomic_path
from torchreid_vi.folders import expanded

log = logging.getLogger(__name__)

MARKER = "synthetic.json"  # what every finished synthetic tree holds, and no real one
Size = tuple[int, int]


def render_dataset(
    root: str | Path,
    layout: str = "sysu",
    ids: int = 180,
    images: int = 6,
    seed: int = 0,
    size: Size = (64, 160),
    folder: str = "",
    published: bool = False,
) -> Path:
    """Render a synthetic dataset and return its folder.

    The same arguments give the same bytes. The folder gets its name when every file is written, so an
    interrupted rendering leaves nothing that looks like a dataset.

    Args:
        root: Folder that gets the dataset's folder.
        layout: ``sysu``, ``regdb`` or ``llcm``.
        ids: Number of identities; the layouts divide them into train and test.
        images: Pictures of each identity under each camera.
        seed: Random seed, from 0.
        size: Size of the pictures, (width, height) in pixels.
        folder: Name of the dataset's folder; by default the layout's own (``sysu_mm01``, …).
        published: Render SYSU-MM01's published structure instead of ``ids`` × ``images``.

    Raises:
        InputError: For arguments that give no dataset, or a folder that exists or cannot be written.
    """
    if layout not in LAYOUTS:
        raise unknown_name("layout", layout, LAYOUTS)
    if published and layout != "sysu":
        raise InputError(f"the published structure is known for the layout sysu alone, not for {layout}")
    if seed < 0 or images < 1 or min(size) < 8:
        raise InputError("a synthetic dataset needs seed ≥ 0, at least 1 image and 8 × 8 pixels")
    plan = published_sysu_layout(seed) if published else LAYOUTS[layout](ids, images, seed)
    target = expanded(root) / (folder or plan.folder)
    if target.exists():
        raise InputError(f"{target} exists already: remove it or choose another root")
    about = {"layout": layout, "ids": len({p.person for p in plan.pictures}), "seed": seed, "size": size}
    about |= {"shape": "published"} if published else {"images": images}
    try:
        _write(plan, target, seed, size, about)
    except OSError as error:
        raise InputError(f"cannot render a dataset into {root}: {error.strerror or error}") from error
    log.info(f"Rendered {len(plan.pictures):,} images of {about['ids']} synthetic people: {target}")
    return target


def _write(plan: Layout, target: Path, seed: int, size: Size, about: dict) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as partial:
        for folder in sorted({Path(path).parent for path in (*plan.lists, *(p.path for p in plan.pictures))}):
            (partial / folder).mkdir(parents=True, exist_ok=True)
        for path, content in plan.lists.items():
            (partial / path).write_bytes(content)
        _draw_all(plan, partial, seed, size)
        (partial / MARKER).write_text(json.dumps(about, indent=1) + "\n")
        if hasattr(os, "sync"):  # a power cut leaves no tree of half files
            os.sync()
        partial.rename(target)


def _draw_all(plan: Layout, folder: Path, seed: int, size: Size) -> None:
    scenes = [
        random_scene(np.random.default_rng([seed, 1, number]), modality, *size)
        for number, modality in enumerate(plan.cameras)
    ]
    people = groupby(plan.pictures, key=lambda picture: picture.person)
    with console.progress(what=f"rendering {plan.folder}", total=len(plan.pictures)) as bar:
        for number, pictures in people:
            person = random_person(np.random.default_rng([seed, 0, number]))
            for picture in pictures:
                rng = np.random.default_rng([seed, 2, picture.person, picture.camera, picture.take])
                render(person, scenes[picture.camera], rng, *size).save(folder / picture.path, quality=88)
                bar.update()
