"""Draws the pictures of these pages from the package's own functions: python docs/figures.py.

Diagrams are SVG on a white ground, pictures of people are JPEG. They come out the same every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from torchreid_vi import Modality
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.data.images import read_image
from torchreid_vi.data.synthetic import draw_dataset
from torchreid_vi.engine.evaluator import describe
from torchreid_vi.evaluation import PROTOCOLS, trials
from torchreid_vi.losses import soft_rank
from torchreid_vi.methods.mmgl import shuffle_stripes, sinkhorn

OUT = Path(__file__).parent / "figures"
INK, MUTED, LINE = "#1f2430", "#5b6472", "#9aa3af"
VISIBLE, INFRARED, ACCENT, PLAIN = "#fde2c0", "#d5dbe6", "#cfe6d4", "#f2f4f7"
RED = "#b3261e"


class Svg:
    """A diagram: what is drawn on it, in pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.parts = (
            width,
            height,
            [f'<rect {_at(0, 0, width, height)} fill="#fff"/>'],
        )

    def text(
        self, x: float, y: float, text: str, size: int = 14, colour: str = INK, anchor: str = "middle"
    ) -> None:
        style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        lines: Sequence[str] = (),
        size: int = 14,
    ) -> None:
        """A box with lines of text in its middle, the first one the largest."""
        self.parts.append(f'<rect {_at(x, y, width, height)} rx="5" fill="{fill}" stroke="{LINE}"/>')
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * i, line, size if i == 0 else size - 2, MUTED if i else INK)

    def cell(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self.parts.append(f'<rect {_at(x, y, width, height)} fill="{fill}" stroke="#fff"/>')

    def line(
        self, points: Sequence[tuple[float, float]], colour: str = INK, arrow: bool = True, dash: str = ""
    ) -> None:
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        style = f' stroke-dasharray="{dash}"' if dash else ""
        end = ' marker-end="url(#tip)"' if arrow else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{style}{end}/>'
        )

    def save(self, name: str) -> None:
        tip = '<path d="M0,0 L8,4 L0,8 z" fill="#1f2430"/>'
        marker = f'<marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">{tip}</marker>'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="Helvetica, Arial, sans-serif">'
        )
        (OUT / name).write_text("\n".join([head, f"<defs>{marker}</defs>", *self.parts, "</svg>", ""]))


def _at(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'


def two_draws(root: str) -> None:
    """Which image of each test identity and camera either draw takes in its first trial."""
    test_set = describe([VISynthetic(root=root, mode=mode, verbose=False) for mode in ("query", "gallery")])
    chosen = {}
    for draw in ("official", "seeded"):
        gallery = next(iter(trials(PROTOCOLS["sysu_mm01"][f"all/1-shot/{draw}"], test_set))).gallery
        chosen[draw] = {
            (int(test_set.pids[i]), int(test_set.of("number")[i])): int(test_set.numbers[i]) for i in gallery
        }
    people, cameras = sorted({pid for pid, _ in chosen["official"]}), (1, 2, 4, 5)
    svg = Svg(760, 104 + 42 * len(people))
    for half, (draw, by) in enumerate(
        (
            ("official", "first of the permutation in rand_perm_cam.mat"),
            ("seeded", "Python's Random(0).choice, in turn"),
        )
    ):
        left = 88 + 350 * half
        svg.text(left + 140, 26, f"{draw} draw, trial 1", 16)
        svg.text(left + 140, 46, by, 12, MUTED)
        for column, camera in enumerate(cameras):
            svg.text(left + 35 + 70 * column, 74, f"cam{camera}", 13)
            for row, pid in enumerate(people):
                number = chosen[draw][pid, camera]
                same = number == chosen["official"][pid, camera] and half
                fill = PLAIN if same else (VISIBLE if half == 0 else INFRARED)
                svg.box(left + 70 * column + 3, 84 + 42 * row, 64, 36, fill, [f"{number:04d}.jpg"], 12)
    for row, pid in enumerate(people):
        svg.text(76, 107 + 42 * row, f"identity {pid}", 13, anchor="end")
    svg.save("two_draws.svg")


def location() -> None:
    """Which gallery camera is shown to the queries of which infrared camera."""
    svg = Svg(760, 270)
    places = {1: "a room", 2: "another room", 4: "outdoors", 5: "outdoors"}
    svg.text(450, 24, "gallery: visible cameras", 15)
    for column, (camera, place) in enumerate(places.items()):
        svg.box(200 + 130 * column, 38, 118, 48, VISIBLE, [f"cam{camera}", place])
    for row, (camera, place) in enumerate(((3, "where cam2 stands"), (6, "outdoors"))):
        top = 100 + 62 * row
        svg.box(24, top, 160, 50, INFRARED, [f"cam{camera}", place])
        for column, other in enumerate(places):
            hidden = camera == 3 and other == 2
            svg.box(
                200 + 130 * column,
                top,
                118,
                50,
                "#f6d5d2" if hidden else ACCENT,
                ["not shown" if hidden else "compared"],
            )
    svg.text(24, 64, "queries: infrared", 15, anchor="start")
    for top, right, name in ((228, 448, "indoor search"), (252, 708, "all search")):
        svg.text(184, top + 5, name, 13, MUTED, anchor="end")
        svg.line([(200, top), (right, top)], MUTED, arrow=False)
    svg.save("location.svg")


def variants() -> None:
    """What queries and gallery are in the three variants of LLCM's evaluation."""
    svg = Svg(760, 300)
    sides: dict[str, list[tuple[str, str, str, str]]] = {
        "A: both directions": [
            ("every infrared image", INFRARED, "drawn visible images", VISIBLE),
            ("every visible image", VISIBLE, "drawn infrared images", INFRARED),
        ],
        "B: visible to infrared, since June 2023": [
            ("drawn infrared images", INFRARED, "every visible image", VISIBLE)
        ],
        "C: all against all, not offered here": [
            ("every image of one", PLAIN, "every image of the other", PLAIN)
        ],
    }
    svg.text(370, 24, "queries", 14, MUTED)
    svg.text(630, 24, "gallery", 14, MUTED)
    top = 38
    for name, rows in sides.items():
        svg.text(20, top + 26 * len(rows) + 2, name.split(":")[0], 22, anchor="start")
        for i, line in enumerate(name.split(": ")[1].split(", ")):
            svg.text(52, top + 26 * len(rows) - 6 + 16 * i, line, 13, MUTED, anchor="start")
        for query, one, gallery, other in rows:
            svg.box(270, top, 200, 40, one, [query], 13)
            svg.line([(470, top + 20), (526, top + 20)])
            svg.box(530, top, 200, 40, other, [gallery], 13)
            top += 52
        top += 16
    svg.save("llcm_variants.svg")


def mcja() -> None:
    """The way of a batch through MCJA."""
    svg = Svg(760, 230)
    svg.box(16, 30, 108, 54, VISIBLE, ["visible", "images"])
    svg.box(16, 140, 108, 54, INFRARED, ["infrared", "images"])
    svg.box(148, 30, 84, 54, ACCENT, ["MAA"])
    svg.box(256, 84, 96, 58, PLAIN, ["flip", "crop, erase"], 13)
    svg.box(376, 84, 84, 58, PLAIN, ["backbone"], 13)
    svg.box(484, 84, 54, 58, PLAIN, ["GeM"], 13)
    svg.box(562, 84, 66, 58, PLAIN, ["BN neck"], 13)
    svg.box(652, 26, 96, 58, ACCENT, ["identity", "cross-entropy"], 13)
    svg.box(652, 142, 96, 58, ACCENT, ["CMR", "soft ranks"], 13)
    for points in (
        [(124, 57), (146, 57)],
        [(232, 57), (244, 57), (244, 104), (254, 104)],
        [(124, 167), (244, 167), (244, 122), (254, 122)],
        [(352, 113), (374, 113)],
        [(460, 113), (482, 113)],
        [(538, 113), (560, 113)],
        [(628, 106), (640, 106), (640, 55), (650, 55)],
        [(628, 120), (640, 120), (640, 171), (650, 171)],
    ):
        svg.line(points)
    svg.text(595, 216, "cosine of this feature at test", 12, MUTED)
    svg.line([(595, 202), (595, 146)], MUTED, dash="4 3")
    svg.save("mcja.svg")


def soft_ranks() -> None:
    """Soft ranks of eight distances as ε falls."""
    distances = torch.tensor([[0.08, 0.14, 0.19, 0.27, 0.35, 0.38, 0.52, 0.61]], dtype=torch.float64)
    epsilons = np.geomspace(1.0, 0.005, 60)
    ranks = np.array([soft_rank(distances, float(epsilon))[0].numpy() for epsilon in epsilons])
    svg = Svg(760, 330)

    def place(epsilon: float, rank: float) -> tuple[float, float]:
        return 80 + 560 * float(np.log(epsilon / 1.0) / np.log(0.005)), 290 - 34 * (rank - 1)

    for rank in range(1, 9):
        svg.line([place(1.0, rank), place(0.005, rank)], "#e3e6ea", arrow=False)
        svg.text(66, place(1.0, rank)[1] + 5, str(rank), 12, MUTED)
    for epsilon in (1.0, 0.5, 0.1, 0.05, 0.01, 0.005):
        svg.text(place(epsilon, 1)[0], 312, f"{epsilon:g}", 12, MUTED)
    svg.text(700, 312, "ε", 14)
    svg.text(14, 66, "soft", 13, anchor="start")
    svg.text(14, 82, "rank", 13, anchor="start")
    bound = place(2 * float(distances.max() - distances.min()) / 8, 1)[0]
    svg.line([(bound, 40), (bound, 296)], RED, arrow=False, dash="5 4")
    svg.text(bound - 6, 30, "certainly one block: affine in the distances", 12, RED, anchor="end")
    svg.text(bound + 8, 30, "smaller blocks, then ranks proper", 12, RED, anchor="start")
    for i in range(8):
        svg.line([place(e, r) for e, r in zip(epsilons, ranks[:, i], strict=True)], INK, arrow=False)
        svg.text(650, place(0.005, ranks[-1, i])[1] + 4, f"d = {distances[0, i]:.2f}", 12, anchor="start")
    svg.save("soft_ranks.svg")


def matrices() -> None:
    """Scores on their way to a doubly stochastic matrix, and the permutation matrix that is the target."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    target = torch.nn.functional.one_hot(order, 6).double()
    scores = 4 * target + 1.2 * torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).double()
    shown = {
        "exp(scores), scaled": scores.exp() / scores.exp().max(),
        "1 round": sinkhorn(scores, 1),
        "20 rounds: P̂": sinkhorn(scores, 20),
        "target: P": target,
    }
    svg = Svg(760, 236)
    for number, (name, matrix) in enumerate(shown.items()):
        left = 30 + 184 * number
        svg.text(left + 72, 24, name, 14)
        for row in range(6):
            for column in range(6):
                level = round(255 - 215 * float(matrix[row, column]))
                svg.cell(
                    left + 24 * column,
                    38 + 24 * row,
                    24,
                    24,
                    f"#{level:02x}{level:02x}{min(255, level + 20):02x}",
                )
        sums = matrix.sum(1)
        said = f"rows sum to {sums.min():.2f} – {sums.max():.2f}" if number else "rows: shuffled stripes"
        svg.text(left + 72, 202, said, 12, MUTED)
    svg.text(102, 220, "columns: their origins", 12, MUTED)
    svg.save("sinkhorn.svg")


def cycle() -> None:
    """Show what a stripe of a visible image is compared with."""
    svg = Svg(760, 270)
    svg.box(12, 104, 136, 60, VISIBLE, ["stripe u", "of a visible image"], 15)
    svg.box(228, 24, 190, 64, VISIBLE, ["the six stripes", "of this image"])
    svg.box(228, 180, 190, 64, INFRARED, ["the six stripes of the", "pair's infrared image"])
    svg.box(494, 28, 90, 56, VISIBLE, ["q̂ own"], 15)
    svg.box(494, 184, 90, 56, INFRARED, ["q̂ other"], 15)
    svg.box(622, 96, 132, 76, ACCENT, ["InfoNCE", "tell its own q̂", "from the other five"], 15)
    svg.line([(148, 124), (180, 124), (180, 56), (226, 56)])
    svg.line([(148, 144), (180, 144), (180, 212), (226, 212)])
    svg.line([(418, 56), (492, 56)])
    svg.line([(418, 212), (492, 212)])
    svg.line([(584, 56), (688, 56), (688, 94)])
    svg.line([(584, 212), (688, 212), (688, 174)])
    svg.text(455, 46, "softmax", 12, MUTED)
    svg.text(455, 202, "softmax", 12, MUTED)
    svg.text(323, 140, "soft nearest neighbours, τ = 0.07", 13, MUTED)
    svg.save("cycle.svg")


Row = Sequence[Image.Image]


def augmentation(dataset: VISynthetic) -> None:
    """MAA's branches on synthetic people, several draws of each; the same people in infrared at the end."""
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
    _sheet(rows, titles).save(OUT / "maa.jpg", quality=85)


def _changed(image: Image.Image, branch: str, seed: int) -> Row:
    """An image, changed by a branch of MAA twice."""
    pixels = pil_to_tensor(image)
    settings = Settings(image.height, image.width, (0, 0, 0), (1, 1, 1), maa=[branch])
    made = Augmentation(["maa"], settings).augment(pixels.repeat(100, 1, 1, 1), [0] * 100, seed)
    levels = (255 * made).round().to(torch.uint8)  # most of them as they were
    return [to_pil_image(each) for each in levels if not torch.equal(each, pixels)][:2]


def stripes(dataset: VISynthetic) -> None:
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
        OUT / "stripes.jpg", quality=88
    )


def _of(dataset: VISynthetic, pid: int) -> tuple[Image.Image, Image.Image]:
    """An identity's first visible and first infrared training image."""
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
    """Rows of pictures under titles, each of which has as many columns as it says."""
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


def main() -> None:
    """Draws all of them."""
    OUT.mkdir(exist_ok=True)
    diagrams: tuple[Callable[[], None], ...] = (location, variants, mcja, soft_ranks, matrices, cycle)
    for diagram in diagrams:
        diagram()
    with TemporaryDirectory() as root:
        draw_dataset(root, ids=18, folder="vi_synthetic")
        dataset = VISynthetic(root=root, verbose=False)
        two_draws(root)
        augmentation(dataset)
        stripes(dataset)


if __name__ == "__main__":
    main()
