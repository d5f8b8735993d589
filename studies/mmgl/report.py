"""Tables and plots of the study of MMGL, from the run folders that are there."""

from __future__ import annotations

import logging
import re
import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

STARTS = {
    "random": "random values",
    "visible": "classifier of others, visible",
    "simclr": "SimCLR",
    "mmgl": "MMGL",
}
PRETEXTS = {
    "ResNet-18, one stream": "*/resnet18/mmgl",
    "ResNet-18, two streams": "*/resnet18/mmgl_two_streams",
    "OSNet ×0.25, one stream": "*/osnet_x0_25/mmgl",
    "ResNet-18, permutation alone": "*/resnet18/mmgl_permutation",
    "ResNet-18, cycle contrast alone": "*/resnet18/mmgl_cycle",
    "ResNet-18, 50% of the identities": "*/resnet18/mmgl_50",
    "ResNet-18, 25% of the identities": "*/resnet18/mmgl_25",
}
STREAMS = {"one": "mmgl", "two": "mmgl_two_streams"}
SHARES = {"none": "random", "25%": "mmgl_25", "50%": "mmgl_50", "100%": "mmgl"}
ABLATION = {
    "nothing": "random",
    "permutation": "mmgl_permutation",
    "cycle contrast": "mmgl_cycle",
    "both": "mmgl",
}
AUGMENTED = {"crops and flips": "mmgl", "MAA and erasing too": "mmgl_augmented"}
READINGS = {
    "pair": "mmgl",
    "part": "mmgl_part",
    "batch": "mmgl_batch",
    "batch_other_parts": "mmgl_batch_other_parts",
    "walk": "mmgl_walk",
}
BACKBONES = {"resnet18": "ResNet-18", "osnet_x0_25": "OSNet ×0.25"}
METHODS = {"base": "Base", "mcja": "MCJA"}
log = logging.getLogger("torchreid_vi")
_AGAIN = "remove that run's folder, and start the study again"
Figures = Callable[[str], list[float]]  # of every seed that ran, for a run's name with * as its seed


def reader(out: Path, figure: str, protocol: int = 0) -> Figures:
    """Look a metric up in all seeds of a run: the mean over trials of ``R1`` or ``mAP``."""

    from torchreid_vi import InputError
    from torchreid_vi.files import read_json

    def read(name: str) -> list[float]:
        found = []
        for path in sorted(out.glob(f"{name}/run/results.json")):
            try:
                result = read_json(path, _AGAIN)["results"][protocol]
                found.append(float((result["mean"] if "mean" in result else result["pretext"])[figure]))
            except (KeyError, IndexError, TypeError) as error:
                raise InputError(f"{path} holds no results of the study: {_AGAIN}") from error
        return found

    return read


def spread(values: list[float]) -> str:
    """Return ``mean ± standard deviation``, or a dash for nothing."""
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def each(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) or "–"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def report(out: Path) -> str:
    """Return all tables as Markdown."""
    r1, mean_ap = reader(out, "R1"), reader(out, "mAP")
    stripes, exact = reader(out, "stripe_accuracy"), reader(out, "exact_match")
    osnet = "*/osnet_x0_25"

    def figures(run: str) -> list[str]:
        return [each(r1(run)), spread(r1(run)), spread(mean_ap(run))]

    accuracy = [
        [n, each(stripes(run)), spread(stripes(run)), spread(exact(run))] for n, run in PRETEXTS.items()
    ]
    rivals = []
    for (backbone, called), (method, titled) in product(BACKBONES.items(), METHODS.items()):
        runs = {start: f"*/{backbone}/{start}/{method}" for start in STARTS}
        rivals += [[called, titled, STARTS[start], *figures(run)] for start, run in runs.items()]
        means = {start: statistics.mean(r1(run)) for start, run in runs.items() if r1(run)}
        same_seeds = len({len(r1(run)) for run in runs.values()}) == 1
        if same_seeds and means:
            best = max(means.keys() - {"mmgl"}, key=lambda start: means[start])
            gain = f"{means['mmgl'] - means[best]:+.2f}"
            rivals.append([called, titled, f"MMGL over {STARTS[best]}", "", gain, ""])
    regdb = [
        [STARTS[start]]
        + [spread(reader(out, f, p)(f"{osnet}/{start}/base_regdb")) for p in (0, 1) for f in ("R1", "mAP")]
        for start in STARTS
    ]
    head = ["R1, each seed", "R1", "mAP"]
    sections = {
        "Permutation accuracy on held-out training images, %": table(
            ["pre-training", "stripes, each seed", "stripes", "exact order"], accuracy
        ),
        "Fine-tuning from MMGL and from its rivals": table(["backbone", "method", "start", *head], rivals),
        "One stream or two in pre-training: ResNet-18, Base": table(
            ["pre-trained with", *head],
            [[n, *figures(f"*/resnet18/{run}/base")] for n, run in STREAMS.items()],
        ),
        "Data efficiency: ResNet-18, Base": table(
            ["identities pre-trained on", *head],
            [[n, *figures(f"*/resnet18/{run}/base")] for n, run in SHARES.items()],
        ),
        "Ablation: ResNet-18, Base": table(
            ["pre-trained by", *head],
            [[n, *figures(f"*/resnet18/{run}/base")] for n, run in ABLATION.items()],
        ),
        "MCJA's augmentation and erasing in pre-training: ResNet-18": table(
            ["method", "pre-trained", "stripes", *head],
            [
                [titled, called, spread(stripes(f"*/resnet18/{run}")), *figures(f"*/resnet18/{run}/{method}")]
                for (method, titled), (called, run) in product(METHODS.items(), AUGMENTED.items())
            ],
        ),
        "Readings of the cycle contrast, beside permutation recovery: ResNet-18, Base": table(
            ["reading", "stripes", *head],
            [
                [n, spread(stripes(f"*/resnet18/{run}")), *figures(f"*/resnet18/{run}/base")]
                for n, run in READINGS.items()
            ],
        ),
        "Transfer to RegDB's layout, other people and cameras: OSNet ×0.25, Base": table(
            ["start", *(f"{way} {f}" for way in ("V→T", "T→V") for f in ("R1", "mAP"))], regdb
        ),
    }
    return "\n".join(f"### {title}\n\n{text}" for title, text in sections.items())


def draw(out: Path, path: Path) -> None:
    """Plot how the pretext is learnt, and Rank-1 after fine-tuning in every part of the study."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    r1 = reader(out, "R1")
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.2), layout="constrained")
    curves, bars, shares, ablation = axes.flat
    for colour, name in zip(("tab:blue", "tab:cyan", "tab:orange"), PRETEXTS, strict=False):
        for i, log in enumerate(sorted(out.glob(f"{PRETEXTS[name]}/run/train.log"))):
            found = re.findall(r"Epoch \d+ of [^:]*:[^:]*stripe_accuracy\s+([\d.]+)", log.read_text())
            values = [float(value) for value in found]
            curves.plot(range(1, len(values) + 1), values, color=colour, label=None if i else name)
    curves.axhline(100 / 6, color="grey", linestyle=":", label="chance")
    curves.set(title="Stripes put back, held-out images", xlabel="epoch", ylabel="%", ylim=(0, 100))
    curves.legend()
    groups = list(product(BACKBONES, METHODS))
    for i, (start, described) in enumerate(STARTS.items()):
        values = [r1(f"*/{backbone}/{start}/{method}") for backbone, method in groups]
        _bars(bars, [g + 0.2 * (i - 1.5) for g in range(len(groups))], values, described, 0.2)
    bars.set_xticks(range(len(groups)), [f"{BACKBONES[b]}\n{METHODS[m]}" for b, m in groups])
    bars.set(title="Fine-tuned from MMGL and from rivals", ylabel="Rank-1, %")
    bars.legend(fontsize=8, ncols=2)
    bars.margins(y=0.25)
    for axis, title, runs in (
        (shares, "Share of the identities pre-trained on (ResNet-18, Base)", SHARES),
        (ablation, "Pre-trained by (ResNet-18, Base)", ABLATION),
    ):
        values = [r1(f"*/resnet18/{run}/base") for run in runs.values()]
        _bars(axis, list(range(len(runs))), values, None, 0.6)
        axis.set_xticks(range(len(runs)), [name.replace(" ", "\n") for name in runs])
        axis.set(title=title, ylabel="Rank-1, %")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis: Any, places: list[float], values: list[list[float]], label: str | None, width: float) -> None:
    """Plot a bar at the mean and a dot for each seed."""
    axis.bar(places, [statistics.mean(v) if v else 0 for v in values], width, label=label, alpha=0.75)
    for place, seeds in zip(places, values, strict=True):
        axis.plot([place] * len(seeds), seeds, "k.", markersize=4)


def write(out: Path) -> None:
    """Write ``report.md`` and ``figure.png`` into the study's folder."""

    (out / "report.md").write_text(report(out))
    draw(out, out / "figure.png")
    log.info(f"Written: {out / 'report.md'}, {out / 'figure.png'}")
