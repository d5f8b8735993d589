"""Pictures of synthetic people for docs/mcja.md and docs/mmgl.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from torchreid_vi import Modality
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.data.images import read_image
from torchreid_vi.methods.mmgl import shuffle_stripes

from .svg import INK

Row = Sequence[Image.Image]


def augmentation(out: Path, dataset: VISynthetic) -> None:
    """Show MAA's branches on synthetic people, two samples of each, and the same people in infrared."""
    people = sorted({item[1] for item in dataset.train})[1:4]
    branches = {
        "hue": "hue jitter",
        "wg": "weighted greyscale",
        "cc": "cross-channel cutmix",
        "sj": "spectrum jitter",
    }
    rows: list[Row] = []
    for pid in people:
        image, infrared = _of(dataset, pid)
        rows.append([image, *(each for name in branches for each in _changed(image, name, pid)), infrared])
    titles = [("visible", 1), *((title, 2) for title in branches.values()), ("infrared", 1)]
    _sheet(rows, titles).save(out / "maa.jpg", quality=85)


def _changed(image: Image.Image, branch: str, seed: int) -> Row:
    """Return an image that a branch of MAA changed, twice."""
    pixels = pil_to_tensor(image)
    settings = Settings(image.height, image.width, (0, 0, 0), (1, 1, 1), maa=[branch])
    made = Augmentation(["maa"], settings).augment(pixels.repeat(100, 1, 1, 1), [0] * 100, seed)
    levels = (255 * made).round().to(torch.uint8)  # most of them as they were
    return [to_pil_image(each) for each in levels if not torch.equal(each, pixels)][:2]


def stripes(out: Path, dataset: VISynthetic) -> None:
    """Show a pair of images, cut in six stripes and each shuffled by an order of its own."""
    first, second, *_ = sorted({item[1] for item in dataset.train})
    pair = [_of(dataset, first)[0], _of(dataset, second)[1]]
    orders = torch.tensor([[3, 0, 5, 1, 4, 2], [1, 4, 0, 5, 2, 3]])
    batch = torch.stack([pil_to_tensor(image.resize((72, 162))) for image in pair])
    shuffled = [to_pil_image(image) for image in shuffle_stripes(batch, orders)]
    numbered = [_numbered(to_pil_image(image), range(6)) for image in batch]
    moved = [_numbered(image, order.tolist()) for image, order in zip(shuffled, orders, strict=True)]
    row = [numbered[0], moved[0], numbered[1], moved[1]]
    _sheet([row], [("visible, and shuffled", 2), ("infrared, somebody else", 2)]).save(
        out / "stripes.jpg", quality=88
    )


def _of(dataset: VISynthetic, pid: int) -> tuple[Image.Image, Image.Image]:
    """Return an identity's first visible and first infrared training image."""
    found = {
        side: next(i[0] for i in dataset.train if i[1] == pid and dataset.modality(i) is side)
        for side in Modality
    }
    return read_image(found[Modality.VISIBLE]), read_image(found[Modality.INFRARED])


def _numbered(image: Image.Image, numbers: Sequence[int]) -> Image.Image:
    draw, height = ImageDraw.Draw(image), image.height // len(numbers)
    for place, number in enumerate(numbers):
        draw.line((0, place * height, image.width, place * height), "white", 2)
        draw.text(
            (4, place * height + 3), str(number), "white", _font(14), stroke_width=2, stroke_fill="black"
        )
    return image


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _sheet(rows: Sequence[Row], titles: Sequence[tuple[str, int]]) -> Image.Image:
    """Return rows of pictures under titles, each with its number of columns."""
    width, height, gap, head = 80, 180, 12, 26
    columns = sum(number for _, number in titles)
    sheet = Image.new(
        "RGB", (columns * width + (len(titles) + 1) * gap, head + len(rows) * (height + 4) + 8), "white"
    )
    draw, left, column = ImageDraw.Draw(sheet), gap, 0
    for title, number in titles:
        draw.text((left + number * width // 2, head // 2), title, INK, _font(13), "mm")
        for _ in range(number):
            for i, row in enumerate(rows):
                picture = row[column].resize((width - 4, height))
                sheet.paste(picture, (left + 2, head + i * (height + 4)))
            left, column = left + width, column + 1
        left += gap
    return sheet
