"""The plots of a run's report, as SVG on white."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchreid_vi.evaluation import Ranking
from torchreid_vi.modality import Modality
from torchreid_vi.report.collect import Method, scalars
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.page import svg

_SOME = 2000  # images whose distances and places are drawn, at most


def _figure(rows: int, columns: int, width: float = 11, height: float = 3.2) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height * rows), layout="constrained", squeeze=False
    )
    return figure, axes.ravel()


def curves(run: FinishedRun) -> str:
    """Everything that was logged while training, a panel each: losses, accuracies, learning rate."""
    logged = {name: found for name, found in scalars(run.folder).items() if len(found[0]) > 1}
    if not logged:
        return ""
    columns = 3
    figure, axes = _figure(-(-len(logged) // columns), columns, height=2.4)
    for panel, (name, (epochs, values)) in zip(axes, logged.items(), strict=False):
        panel.plot(epochs + 1, values, color="tab:blue", linewidth=1)
        panel.set(title=name, xlabel="epoch")
        panel.grid(alpha=0.3)
    for panel in axes[len(logged) :]:
        panel.set_visible(False)
    return svg(figure)


def cmc_curves(run: FinishedRun) -> str:
    """Share of queries found at each rank or before, by protocol."""
    method = Method("", [run.folder], [run.content])
    figure, (panel,) = _figure(1, 1, width=6)
    for label in method.labels:
        panel.plot(range(1, 21), 100 * method.cmc(label), label=label, marker="o", markersize=3)
    panel.set(xlabel="rank", ylabel="%", xlim=(0.5, 20.5), xticks=(1, 5, 10, 15, 20), ylim=(0, 101))
    panel.legend()
    panel.grid(alpha=0.3)
    return svg(figure)


def distances(run: FinishedRun) -> str:
    """Histograms of cosine distances of same and different people, within and across modalities."""
    chosen = _some(run, _SOME)
    features, pids = run.features[chosen], run.test_set.pids[chosen]
    modality = run.test_set.of("modality")[chosen]
    figure, axes = _figure(1, 3)
    pairs = [(side, side) for side in Modality] + [(Modality.INFRARED, Modality.VISIBLE)]
    for panel, (one, other) in zip(axes, pairs, strict=True):
        rows, columns = modality == one, modality == other
        found = 1 - features[rows] @ features[columns].T
        same = pids[rows][:, None] == pids[columns][None, :]
        counted = np.ones(found.shape, bool) if one is not other else np.triu(np.ones(found.shape, bool), 1)
        bins = np.linspace(0, max(float(found.max()), 1e-3), 60)
        for which, name, colour in ((same, "same person", "tab:green"), (~same, "different", "tab:red")):
            values = found[which & counted]
            if len(values):
                panel.hist(values, bins, density=True, alpha=0.55, color=colour, label=name)
        where = "within" if one is other else "across"
        names = one.name.lower() if one is other else "infrared and visible"
        panel.set(title=f"{where} {names}", xlabel="cosine distance", yticks=[])
        panel.legend()
    return svg(figure)


def feature_map(run: FinishedRun, people: int = 12) -> str:
    """Features of some people on their two principal components, by person and by modality."""
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
    markers = {Modality.VISIBLE: "o", Modality.INFRARED: "^"}
    person = np.searchsorted(np.sort(held), pids[chosen])
    for side, marker in markers.items():
        here = modality == side
        by_person.scatter(*place[here].T, c=person[here], cmap="tab20", marker=marker, s=22, vmin=0, vmax=19)
        colour = "tab:orange" if side is Modality.VISIBLE else "tab:purple"
        by_modality.scatter(*place[here].T, c=colour, marker=marker, s=22, label=side.name.lower(), alpha=0.7)
    by_person.set(title=f"colour: one of {len(held)} people; triangles: infrared")
    by_modality.set(title=f"colour: modality; {share:.0f}% of the spread is on these two axes")
    by_modality.legend()
    for panel in (by_person, by_modality):
        panel.set(xticks=[], yticks=[])
    return svg(figure)


def _some(run: FinishedRun, number: int) -> np.ndarray:
    every = np.arange(len(run.items))
    return every if len(every) <= number else np.sort(np.random.default_rng(0).permutation(every)[:number])


def best_and_worst(ranking: Ranking, pids: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the queries with the highest and the lowest average precision, each of another person.

    Args:
        ranking: of a trial.
        pids: of its queries (Q,).
        number: how many of either.
    """
    order = np.argsort(-ranking.ap, kind="stable")

    def of_each_person(order: np.ndarray) -> np.ndarray:
        rows = ranking.query[order]
        return rows[np.sort(np.unique(pids[rows], return_index=True)[1])[:number]]

    return of_each_person(order), of_each_person(order[::-1])
