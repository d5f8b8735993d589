"""The pictures of a run's report: ranked galleries, confusions, activations, what the network was shown.

All of them are of people, and each can be had without their heads (``blurred``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from torchreid_vi.data.images import planes
from torchreid_vi.evaluation import Ranking
from torchreid_vi.methods.mmgl import batch_orders, shuffle_stripes
from torchreid_vi.modality import Modality
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.heads import hide_head
from torchreid_vi.report.ranked import Shown, ranked_picture
from torchreid_vi.seeds import seed_everything


def best_and_worst(ranking: Ranking, pids: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the queries with the highest and the lowest average precision, each of another person.

    Args:
        ranking: A trial's.
        pids: Identities of its queries (Q,).
        number: How many of either.
    """
    rows = ranking.query[np.argsort(-ranking.ap, kind="stable")]
    best, worst = (
        order[np.sort(np.unique(pids[order], return_index=True)[1])[:number]] for order in (rows, rows[::-1])
    )
    return best, worst


def galleries(run: FinishedRun, rows: Sequence[int], top: int = 10, blurred: bool = False) -> Image.Image:
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


def confused(run: FinishedRun, number: int = 5) -> list[tuple[int, int, int, int]]:
    """Return the pairs of people that are most often taken for each other at rank 1.

    Returns:
        For each who was looked for, who was found, how often, and the row of the first such query.
    """
    ranked, pids = run.ranked, run.test_set.pids
    rows = ranked.ranking.query
    pairs = np.stack(
        [pids[ranked.trial.query[rows]], pids[ranked.trial.gallery[ranked.order[rows, 0]]]], axis=1
    )
    wrong = np.nonzero(pairs[:, 0] != pairs[:, 1])[0]
    known, first, times = np.unique(pairs[wrong], axis=0, return_index=True, return_counts=True)
    return [
        (int(known[i, 0]), int(known[i, 1]), int(times[i]), int(rows[wrong[first[i]]]))
        for i in np.argsort(-times, kind="stable")[:number]
    ]


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
        images = shuffle_stripes(images, batch_orders(modality, stripes).to(images.device))
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
