"""The pictures of a run's report: ranked galleries, confusions, activations, what the network was shown.

All of them are of people, and each can be had without their heads (``blurred``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from torchreid_vi.data.heads import hide_head
from torchreid_vi.data.images import planes
from torchreid_vi.methods.mmgl import paired_orders, shuffle_stripes
from torchreid_vi.modality import Modality
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.ranked import Shown, ranked_picture
from torchreid_vi.seeds import seed_everything


def galleries(run: FinishedRun, rows: np.ndarray, top: int = 10, blurred: bool = False) -> Image.Image:
    """What some queries, by row of the first trial, found first."""
    ranked, pids = run.ranked, run.test_set.pids
    pictures = []
    for row in rows:
        query = ranked.trial.query[row]
        answers = ranked.trial.gallery[ranked.order[row, : min(top, ranked.shown[row])]]
        right = pids[answers] == pids[query]
        shown = [
            Shown(run.image(i), f"{pids[i]}", bool(same)) for i, same in zip(answers, right, strict=True)
        ]
        pictures.append((Shown(run.image(query), f"{pids[query]}"), shown))
    return ranked_picture(pictures, blurred=blurred)


class Confusion(NamedTuple):
    """Two people of whom one is taken for the other at rank 1.

    Attributes:
        query, answer: the identity that was looked for, and the one that was found.
        times: how often.
        images: of the first of these queries, and of its wrong answer.
    """

    query: int
    answer: int
    times: int
    images: tuple[int, int]


def confused(run: FinishedRun, number: int = 5) -> list[Confusion]:
    """The pairs of people that are most often taken for each other."""
    ranked, pids = run.ranked, run.test_set.pids
    counts: Counter[tuple[int, int]] = Counter()
    example: dict[tuple[int, int], tuple[int, int]] = {}
    for row in ranked.ranking.query:
        query, answer = ranked.trial.query[row], ranked.trial.gallery[ranked.order[row, 0]]
        if pids[query] != pids[answer]:
            pair = int(pids[query]), int(pids[answer])
            counts[pair] += 1
            example.setdefault(pair, (int(query), int(answer)))
    return [Confusion(*pair, times, example[pair]) for pair, times in counts.most_common(number)]


def confusions(run: FinishedRun, found: Sequence[Confusion], blurred: bool = False) -> Image.Image:
    """Of each a query, an image of its own person from the gallery, and the wrong answer."""
    pids = run.test_set.pids
    rows = []
    for each in found:
        query, answer = map(run.image, each.images)
        own = next(i for i in run.ranked.trial.gallery if pids[i] == each.query)
        answers = [Shown(run.image(own), f"{each.query}", True), Shown(answer, f"{each.answer}", False)]
        rows.append((Shown(query, f"{each.query}"), answers))
    return ranked_picture(rows, blurred=blurred)


def activations(run: FinishedRun, people: int = 5, blurred: bool = False) -> Image.Image:
    """Where the backbone responds, on a visible and an infrared image of some people; it sees their heads."""
    pids, modality = run.test_set.pids, run.test_set.of("modality")
    rows: list[tuple[Shown, list[Shown]]] = []
    for pid in np.unique(pids):
        sides = [np.nonzero((pids == pid) & (modality == side))[0] for side in Modality]
        if len(rows) < people and all(map(len, sides)):
            numbers = [int(side[0]) for side in sides]
            shown = []
            for number, response in zip(numbers, run.activations(numbers), strict=True):
                image = run.image(number).resize((64, 160))
                name = Modality(int(modality[number])).name.lower()
                shown += [Shown(image, name), Shown(_overlaid(image, response), "response")]
            rows.append((shown[0], shown[1:]))
    return ranked_picture(rows, blurred=blurred)


def _overlaid(image: Image.Image, response: Tensor) -> Image.Image:
    """An image under its response (H′, W′): red where it is strong, blue where it is weak."""
    import matplotlib

    low, high = float(response.min()), float(response.max())
    scaled = ((response - low) / max(high - low, 1e-12)).numpy()
    heat = Image.fromarray((255 * scaled).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    colours = matplotlib.colormaps["turbo"](np.asarray(heat))[..., :3]
    return Image.blend(image.convert("RGB"), Image.fromarray((255 * colours).astype(np.uint8)), 0.5)


def augmentations(run: FinishedRun, times: int = 8, blurred: bool = False) -> Image.Image:
    """A training image of each modality, and what the training transforms make of it, several times."""
    loader = run.engine.datamanager.train_loader
    read = _headless(loader.source.read) if blurred else loader.source.read
    rows: list[tuple[Shown, list[Shown]]] = []
    for side in Modality:
        item = next((item for item in loader.dataset.train if loader.dataset.modality(item) is side), None)
        if item:
            image = torch.from_numpy(np.array(read(item[0])))
            made = loader.augmentation.augment(
                image.repeat(times, 1, 1, 1), [side] * times, run.cfg.train.seed
            )
            shown = [Shown(_picture(run, each)) for each in made]
            rows.append((Shown(to_pil_image(image), side.name.lower()), shown))
    return ranked_picture(rows, blurred=blurred)


def batch(run: FinishedRun, most: int = 32, blurred: bool = False) -> Image.Image:
    """The first images of the first batch of the second epoch, as the network gets them."""
    loader = run.engine.datamanager.train_loader
    loader.set_epoch(1)
    read = loader.source.read
    if blurred:  # before transforms and stripes, which would carry heads elsewhere
        loader.source.read = _headless(read)
    try:
        content: dict[str, Any] = next(iter(loader))
    finally:
        loader.source.read = read
    images = content["img"][0] if isinstance(content["img"], list) else content["img"]
    images, modality = images[:most], content["modality"][:most]
    if stripes := getattr(run.engine.model, "stripes", 0):
        seed_everything(run.cfg.train.seed, 1)
        images = shuffle_stripes(images, paired_orders(modality, stripes).to(images.device))
    names = [
        f"{Modality(int(side)).name.lower()[:3]} {int(pid)}"
        for side, pid in zip(modality, content["pid"], strict=False)
    ]
    shown = [Shown(_picture(run, image), name) for image, name in zip(images, names, strict=False)]
    rows = [(shown[i], shown[i + 1 : i + 8]) for i in range(0, len(shown), 8)]
    return ranked_picture(rows, blurred=blurred)


def _headless(read: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
    """Return what reads an image (3, H, W) of a path, without its head."""
    return lambda path: planes(hide_head(Image.fromarray(read(path).transpose(1, 2, 0))))


def _picture(run: FinishedRun, image: Tensor) -> Image.Image:
    """A normalised image (3, H, W) as a picture."""
    return to_pil_image(run.engine.datamanager.normalise.undo(image).cpu())
