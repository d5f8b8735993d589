"""Tables and plots of the study of MMGL, from the run folders that are there."""

from __future__ import annotations

import logging
import re
import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path

from plan import MOBILENET, OSNET, RESNET

STARTS = {
    "random": "random values",
    "imagenet": "ImageNet",
    "visible": "classifier of others, visible",
    "simclr": "SimCLR",
    "mmgl": "MMGL",
    "mmgl_plus": "MMGL plus",
}
OURS = ("mmgl", "mmgl_plus")
PRETEXTS = {
    "ResNet-18, one stream": "*/resnet18/mmgl",
    "ResNet-18, two streams": "*/resnet18/mmgl_two_streams",
    "ResNet-18, MMGL plus": "*/resnet18/mmgl_plus",
    "OSNet ×0.25, one stream": "*/osnet_x0_25/mmgl",
    "MobileNetV2, one stream": "*/mobilenetv2/mmgl",
    "MobileNetV2, MMGL plus": "*/mobilenetv2/mmgl_plus",
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
BACKBONES = {RESNET: "ResNet-18", MOBILENET: "MobileNetV2", OSNET: "OSNet ×0.25"}
#: What is plotted.
CURVES = ["ResNet-18, one stream", "ResNet-18, permutation alone", "ResNet-18, cycle contrast alone"]
BARS = {"random values": "random", "cycle contrast": "mmgl_cycle", "classifier of others": "visible"} | {
    "permutation": "mmgl_permutation",
    "MMGL": "mmgl",
    "SimCLR": "simclr",
    "MMGL plus": "mmgl_plus",
}
HEAD = ["R1, each seed", "R1", "mAP"]
METHODS = {"base": "Base", "mcja": "MCJA"}
log = logging.getLogger("torchreid_vi")
_AGAIN = "remove that run's folder, and start the study again"
Metrics = Callable[[str], list[float]]  # of every seed that ran, for a run's name with * as its seed


def reader(out: Path, figure: str, protocol: int = 0) -> Metrics:
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
    """Return a Markdown table of the rows that have values, "" without any."""
    known = [row for row in rows if "–" not in row]
    lines = [head, ["---"] * len(head), *known]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" if known else ""


def rivals(r1: Metrics, metrics: Callable[[str], list[str]]) -> list[list[str]]:
    """Return the rows of fine-tunings by backbone, method and start, with the gain over the best rival."""
    rows = []
    for (backbone, called), (method, titled) in product(BACKBONES.items(), METHODS.items()):
        runs = {start: f"*/{backbone}/{start}/{method}" for start in STARTS}
        rows += [[called, titled, STARTS[start], *metrics(run)] for start, run in runs.items()]
        means = {start: statistics.mean(r1(run)) for start, run in runs.items() if r1(run)}
        if means.keys() > {*OURS} and len({len(r1(run)) for run in runs.values() if r1(run)}) == 1:
            best = max(means.keys() - {*OURS}, key=lambda start: means[start])
            rows += [
                [
                    called,
                    titled,
                    f"{STARTS[own]} over {STARTS[best]}",
                    "",
                    f"{means[own] - means[best]:+.2f}",
                    "",
                ]
                for own in OURS
            ]
    return rows


def report(out: Path) -> str:
    """Return the tables of what has run as Markdown."""
    r1, mean_ap = reader(out, "R1"), reader(out, "mAP")
    stripes, exact = reader(out, "stripe_accuracy"), reader(out, "exact_match")

    def metrics(run: str) -> list[str]:
        return [each(r1(run)), spread(r1(run)), spread(mean_ap(run))]

    def tuned(title: str, runs: dict[str, str]) -> str:
        """Return a table of Base on ResNet-18 from several pre-trainings."""
        rows = [
            [n, spread(stripes(f"*/{RESNET}/{run}")), *metrics(f"*/{RESNET}/{run}/base")]
            for n, run in runs.items()
        ]
        return table(
            [title, "stripes", *HEAD],
            [["" if cell == "–" and i == 1 else cell for i, cell in enumerate(row)] for row in rows],
        )

    transfer = [
        [STARTS[start]]
        + [spread(reader(out, m, p)(f"*/{OSNET}/{start}/base_regdb")) for p in (0, 1) for m in ("R1", "mAP")]
        for start in STARTS
    ]
    sections = {
        "Permutation accuracy on held-out training images, %": table(
            ["pre-training", "stripes, each seed", "stripes", "exact order"],
            [
                [n, each(stripes(run)), spread(stripes(run)), spread(exact(run))]
                for n, run in PRETEXTS.items()
            ],
        ),
        "Fine-tuning from MMGL and from its rivals": table(
            ["backbone", "method", "start", *HEAD], rivals(r1, metrics)
        ),
        "One stream or two in pre-training": tuned("pre-trained with", STREAMS),
        "Data efficiency": tuned("identities pre-trained on", SHARES),
        "Ablation": tuned("pre-trained by", ABLATION),
        "Readings of the cycle contrast, beside permutation recovery": tuned("reading", READINGS),
        "MCJA's augmentation and erasing in pre-training": tuned("pre-trained with", AUGMENTED),
        "Transfer to RegDB's layout, other people and cameras: OSNet ×0.25, Base": table(
            ["start", *(f"{way} {m}" for way in ("V→T", "T→V") for m in ("R1", "mAP"))], transfer
        ),
    }
    return "\n".join(f"### {title}\n\n{text}" for title, text in sections.items() if text)


def draw(out: Path, path: Path) -> None:
    """Plot how the pretext is learnt, and Rank-1 of Base on ResNet-18 from every start that has run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (curves, bars) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    for colour, name in zip(("tab:blue", "tab:orange", "tab:red"), CURVES, strict=True):
        for i, log in enumerate(sorted(out.glob(f"{PRETEXTS[name]}/run/train.log"))):
            values = [float(v) for v in re.findall(r"stripe_accuracy ([\d.]+)", log.read_text())]
            values = values[:-1]  # the last one is of the final test
            curves.plot(range(1, len(values) + 1), values, color=colour, label=None if i else name)
    curves.axhline(100 / 6, color="grey", linestyle=":", label="chance")
    curves.set(title="Stripes put back, held-out images", xlabel="epoch", ylabel="%", ylim=(0, 100))
    curves.legend(loc="center right")
    r1 = reader(out, "R1")
    known = {name: found for name, run in BARS.items() if (found := r1(f"*/{RESNET}/{run}/base"))}
    for place, seeds in enumerate(known.values()):
        bars.bar(place, statistics.mean(seeds), 0.6, color="tab:blue", alpha=0.75)
        bars.plot([place] * len(seeds), seeds, "k.", markersize=5)
    bars.set_xticks(range(len(known)), [name.replace(" ", "\n") for name in known], fontsize=8)
    bars.set(title="Base on ResNet-18, fine-tuned from", ylabel="Rank-1, %")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(out: Path) -> None:
    """Write ``report.md`` and ``figure.png`` into the study's folder."""

    (out / "report.md").write_text(report(out))
    draw(out, out / "figure.png")
    log.info(f"Written: {out / 'report.md'}, {out / 'figure.png'}")
