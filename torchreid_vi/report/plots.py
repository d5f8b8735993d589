"""Plot runs and methods, as SVG on white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchreid_vi.modality import Modality
from torchreid_vi.report.collect import Method, labels, scalars
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.page import svg

_SOME = 2000  # images whose distances and features are plotted, at most


def _figure(rows: int, columns: int, width: float = 11, height: float = 3.2, **grid: Any) -> tuple[Any, Any]:
    """Return a figure of matplotlib and its panels; ``height`` is a row's."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    options: dict[str, Any] = {"layout": "constrained", "squeeze": False, "gridspec_kw": grid}
    figure, axes = plt.subplots(rows, columns, figsize=(width, height * rows), **options)
    return figure, axes.ravel()


def curves(run: FinishedRun) -> str:
    """Plot everything that was logged in training, a panel each; return an empty text where nothing was."""
    logged = {name: found for name, found in scalars(run.folder).items() if len(found[0]) > 1}
    if not logged:
        return ""
    figure, axes = _figure(-(-len(logged) // 3), 3, height=2.4)
    for panel, (name, (epochs, values)) in zip(axes, logged.items(), strict=False):
        panel.plot(epochs + 1, values, color="tab:blue", linewidth=1)
        panel.set(title=name, xlabel="epoch")
        panel.grid(alpha=0.3)
    for panel in axes[len(logged) :]:
        panel.set_visible(False)
    return svg(figure)


def cmc_curves(run: FinishedRun) -> str:
    """Plot the share of queries found at each rank or before, by protocol."""
    method = Method("", [run.folder], [run.content])
    figure, (panel,) = _figure(1, 1, width=6)
    for label in method.labels:
        panel.plot(range(1, 21), 100 * method.cmc(label), label=label, marker="o", markersize=3)
    panel.set(xlabel="rank", ylabel="%", xlim=(0.5, 20.5), xticks=(1, 5, 10, 15, 20), ylim=(0, 101))
    panel.legend()
    panel.grid(alpha=0.3)
    return svg(figure)


def distances(run: FinishedRun) -> str:
    """Plot histograms of cosine distances of same and different people, within and across modalities."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(run.items))[:_SOME])
    features, pids = run.features[chosen], run.test_set.pids[chosen]
    modality = run.test_set.of("modality")[chosen]
    figure, axes = _figure(1, 3)
    pairs = [(side, side) for side in Modality] + [(Modality.INFRARED, Modality.VISIBLE)]
    for panel, (one, other) in zip(axes, pairs, strict=True):
        rows, columns = modality == one, modality == other
        found = 1 - features[rows] @ features[columns].T
        same = pids[rows][:, None] == pids[columns][None, :]
        counted = np.triu(np.ones(found.shape, bool), 1) if one is other else True
        bins = np.linspace(0, max(float(found.max()), 1e-3), 60)
        for which, name, colour in ((same, "same person", "tab:green"), (~same, "different", "tab:red")):
            values = found[which & counted]
            if len(values):
                panel.hist(values, bins, density=True, alpha=0.55, color=colour, label=name)
        title = f"within {one.name.lower()}" if one is other else "across infrared and visible"
        panel.set(title=title, xlabel="cosine distance", yticks=[])
        panel.legend()
    return svg(figure)


def feature_map(run: FinishedRun, people: int = 12) -> str:
    """Plot features of some people on their two principal components, by person and by modality."""
    pids = run.test_set.pids
    both = [pid for pid in np.unique(pids) if len(np.unique(run.test_set.of("modality")[pids == pid])) == 2]
    held = np.random.default_rng(0).permutation(both)[:people]
    chosen = np.nonzero(np.isin(pids, held))[0][:_SOME]
    centred = run.features[chosen] - run.features[chosen].mean(0)
    _, size, axes_of = np.linalg.svd(centred, full_matrices=False)
    place = centred @ axes_of[:2].T
    share = 100 * (size[:2] ** 2).sum() / max((size**2).sum(), 1e-12)
    figure, (by_person, by_modality) = _figure(1, 2, height=4.2)
    modality = run.test_set.of("modality")[chosen]
    person = np.searchsorted(np.sort(held), pids[chosen])
    for side, marker, colour in zip(Modality, "o^", ("tab:orange", "tab:purple"), strict=True):
        here = modality == side
        by_person.scatter(*place[here].T, c=person[here], cmap="tab20", marker=marker, s=22, vmin=0, vmax=19)
        by_modality.scatter(*place[here].T, c=colour, marker=marker, s=22, label=side.name.lower(), alpha=0.7)
    by_person.set(title=f"colour: one of {len(held)} people; triangles: infrared")
    by_modality.set(title=f"colour: modality; {share:.0f}% of the spread is on these two axes")
    by_modality.legend()
    for panel in (by_person, by_modality):
        panel.set(xticks=[], yticks=[])
    return svg(figure)


def comparison(methods: Sequence[Method]) -> str:
    """Plot the first result of methods: Rank-1 and mAP of every run, CMC curves, training losses."""
    from matplotlib import colormaps

    label = labels(methods)[0]
    shown = [method for method in methods if label in method.labels]
    tall = 0.8 + 0.28 * len(shown)
    figure, (r1, mean_ap, cmc, loss) = _figure(2, 2, height=tall / 2 + 2, height_ratios=[tall, 4])
    places = np.linspace(0, 1, len(shown))
    colours = [f"C{i}" for i in range(len(shown))] if len(shown) <= 10 else colormaps["turbo"](places)
    for row, (method, colour) in enumerate(zip(shown, colours, strict=True)):
        for metric, panel in (("R1", r1), ("mAP", mean_ap)):
            values = method.values(label, metric)
            panel.plot(values, [row] * len(values), "o", color=colour, alpha=0.5)
            panel.plot(np.mean(values), row, "|", color=colour, markersize=16, markeredgewidth=3)
        cmc.plot(range(1, 21), 100 * method.cmc(label), color=colour)
        if found := method.losses():
            epochs = min(map(len, found))
            mean = np.mean([each[:epochs] for each in found], axis=0)
            loss.plot(range(1, 1 + epochs), mean, "o-", color=colour, markersize=3)
    for metric, panel in (("R1", r1), ("mAP", mean_ap)):
        panel.set(
            title=f"{metric}: runs and their mean", xlabel="%", ylim=(len(shown) - 0.5, -0.5), yticks=[]
        )
        panel.grid(axis="x", alpha=0.3)
    r1.set_yticks(range(len(shown)), [method.name for method in shown])
    cmc.set(title="CMC", xlabel="rank", ylabel="%", xlim=(1, 20), xticks=(1, 5, 10, 15, 20))
    loss.set(title="training loss", xlabel="epoch", yscale="log")
    return svg(figure)
