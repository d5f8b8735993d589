"""The picture of a comparison: figures of every run, CMC curves, training losses."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from torchreid_vi.report.collect import Method, labels
from torchreid_vi.report.page import svg


def draw(methods: Sequence[Method]) -> str:
    """An SVG of the first result: Rank-1 and mAP of every run, CMC curves, training losses."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    label = labels(methods)[0]
    shown = [method for method in methods if label in method.labels]
    tall = 0.8 + 0.28 * len(shown)
    figure = plt.figure(figsize=(11, tall + 4), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[tall, 4])
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    dots = dict(zip(("R1", "mAP"), above.subplots(1, 2, sharey=True), strict=True))
    cmc, loss = below.subplots(1, 2)
    many = len(shown)
    colours = (
        plt.get_cmap("tab10")(range(many)) if many <= 10 else plt.get_cmap("turbo")(np.linspace(0, 1, many))
    )
    for figure_name, axes in dots.items():
        for row, (method, colour) in enumerate(zip(shown, colours, strict=True)):
            values = method.figures(label, figure_name)
            axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.5)
            axes.plot(statistics.mean(values), row, "|", color=colour, markersize=16, markeredgewidth=3)
        axes.set(title=f"{figure_name}: runs and their mean", xlabel="%", ylim=(many - 0.5, -0.5))
        axes.grid(axis="x", alpha=0.3)
    dots["R1"].set_yticks(range(many), [method.name for method in shown])
    for method, colour in zip(shown, colours, strict=True):
        cmc.plot(range(1, 21), 100 * method.cmc(label), color=colour)
        if found := method.losses():
            epochs = range(1, 1 + min(map(len, found)))
            loss.plot(
                epochs,
                np.mean([each[: len(epochs)] for each in found], axis=0),
                "o-",
                color=colour,
                markersize=3,
            )
    cmc.set(title="CMC", xlabel="rank", ylabel="%", xlim=(1, 20), xticks=(1, 5, 10, 15, 20))
    loss.set(title="training loss", xlabel="epoch", yscale="log")
    return svg(figure)
