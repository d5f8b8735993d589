"""Diagrams of docs/mcja.md and docs/mmgl.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from torchreid_vi.losses import soft_rank
from torchreid_vi.methods.mmgl import sinkhorn

from .svg import ACCENT, INFRARED, INK, MUTED, PLAIN, RED, VISIBLE, Svg


def mcja(out: Path) -> None:
    """Show how a batch goes through MCJA."""
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
    svg.save(out / "mcja.svg")


def soft_ranks(out: Path) -> None:
    """Plot soft ranks of eight distances as ε falls."""
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
    svg.save(out / "soft_ranks.svg")


def matrices(out: Path) -> None:
    """Show Sinkhorn's rounds on a matrix of scores, and the permutation matrix that is the target."""
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
    svg.save(out / "sinkhorn.svg")


def cycle(out: Path) -> None:
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
    svg.save(out / "cycle.svg")
