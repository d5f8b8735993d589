"""Draw the pictures of a run's report: ranked galleries, confusions, activations, and the network's input.

All of them show people, and each can be drawn with their heads hidden (``blurred``).
"""

from __future__ import annotations

from collections import Counter
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
from torchreid_vi.report.ranked import Shown, hide_head, ranked_picture
from torchreid_vi.seeds import seed_everything

Rows = list[tuple[Shown, list[Shown]]]


def best_and_worst(ranking: Ranking, pids: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the queries with the highest and the lowest average precision, each of another person.

    Args:
        ranking: Ranking of a gallery draw.
        pids: Identities of its queries (Q,).
        number: Number of either.
    """
    rows = ranking.query[np.argsort(-ranking.ap, kind="stable")]
    best, worst = (
        order[np.sort(np.unique(pids[order], return_index=True)[1])[:number]] for order in (rows, rows[::-1])
    )
    return best, worst


def galleries(run: FinishedRun, rows: Sequence[int], top: int = 10, blurred: bool = False) -> Image.Image:
    """Draw the first ranks of some queries, by their row of the first gallery draw."""
    ranked, pids = run.ranked, run.test_set.pids
    pictures: Rows = []
    for row in rows:
        query = ranked.trial.query[row]
        answers = ranked.trial.gallery[ranked.order[row, : min(top, ranked.shown[row])]]
        shown = [Shown(run.image(i), f"{pids[i]}", bool(pids[i] == pids[query])) for i in answers]
        pictures.append((Shown(run.image(query), f"{pids[query]}"), shown))
    return ranked_picture(pictures, blurred=blurred)


def confused(run: FinishedRun, number: int = 5) -> list[tuple[int, int, int, int]]:
    """Return the pairs of people that are most often confused at rank 1.

    Returns:
        For each the identity of the query, the identity found, how often, and the row of the first such query.
    """
    ranked, pids = run.ranked, run.test_set.pids
    times: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], int] = {}
    for row in ranked.ranking.query.tolist():
        images = ranked.trial.query[row], ranked.trial.gallery[ranked.order[row, 0]]
        pair = int(pids[images[0]]), int(pids[images[1]])
        if pair[0] != pair[1]:
            times[pair] += 1
            first.setdefault(pair, row)
    return [(*pair, count, first[pair]) for pair, count in times.most_common(number)]


def activations(run: FinishedRun, people: int = 5, blurred: bool = False) -> Image.Image:
    """Draw where the backbone responds to a visible and an infrared image of some people, heads included."""
    pids, modality = run.test_set.pids, run.test_set.of("modality")
    rows: Rows = []
    for pid in np.unique(pids):
        sides = [np.nonzero((pids == pid) & (modality == side))[0] for side in Modality]
        if len(rows) < people and all(map(len, sides)):
            numbers, shown = [int(side[0]) for side in sides], []
            for side, number, response in zip(Modality, numbers, run.activations(numbers), strict=True):
                image = run.image(number).resize((64, 160))
                shown += [Shown(image, side.name.lower()), Shown(_overlaid(image, response), "response")]
            rows.append((shown[0], shown[1:]))
    return ranked_picture(rows, blurred=blurred)


def _overlaid(image: Image.Image, response: Tensor) -> Image.Image:
    """Return an image under its response (H′, W′), red where it is strong, blue where it is weak."""
    import matplotlib

    low, high = float(response.min()), float(response.max())
    scaled = ((response - low) / max(high - low, 1e-12)).numpy()
    heat = Image.fromarray((255 * scaled).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    colours = matplotlib.colormaps["turbo"](np.asarray(heat))[..., :3]
    return Image.blend(image.convert("RGB"), Image.fromarray((255 * colours).astype(np.uint8)), 0.5)


def augmentations(run: FinishedRun, times: int = 8, blurred: bool = False) -> Image.Image:
    """Draw a training image of each modality, augmented several times."""
    loader = run.engine.datamanager.train_loader
    read = _headless(loader.source.read) if blurred else loader.source.read
    rows: Rows = []
    for side in Modality:
        item = next((item for item in loader.dataset.train if loader.dataset.modality(item) is side), None)
        if item:
            image = torch.from_numpy(np.array(read(item[0])))
            copies = image.repeat(times, 1, 1, 1)
            augmented = loader.augmentation.augment(copies, [side] * times, run.cfg.train.seed)
            shown = [Shown(_picture(run, each)) for each in augmented]
            rows.append((Shown(to_pil_image(image), side.name.lower()), shown))
    return ranked_picture(rows, blurred=blurred)


def batch(run: FinishedRun, most: int = 32, blurred: bool = False) -> Image.Image:
    """Draw the first images of the first batch of the second epoch, as the network gets them."""
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
    shown = []
    for image, side, pid in zip(images, modality.tolist(), content["pid"].tolist(), strict=False):
        shown.append(Shown(_picture(run, image), f"{Modality(side).name.lower()[:3]} {pid}"))
    rows = [(shown[i], shown[i + 1 : i + 8]) for i in range(0, len(shown), 8)]
    return ranked_picture(rows, blurred=blurred)


def _headless(read: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
    """Return a reader of images (3, H, W) by path that hides their heads."""
    return lambda path: planes(hide_head(Image.fromarray(read(path).transpose(1, 2, 0))))


def _picture(run: FinishedRun, image: Tensor) -> Image.Image:
    """Return a normalised image (3, H, W) as a picture."""
    return to_pil_image(run.engine.datamanager.normalise.undo(image).cpu())
