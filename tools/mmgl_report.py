"""The tables and the figure of tools/mmgl_study.py, from the run folders that are there.

python tools/mmgl_report.py reports/mmgl
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

STARTS = {
    "random": "random values",
    "visible": "classifier of others, visible",
    "simclr": "SimCLR",
    "mmgl": "**MMGL**",
}
BACKBONES = {"resnet18": "ResNet-18", "osnet_x0_25": "OSNet ×0.25"}
METHODS = {"base": "Base", "mcja": "MCJA"}
Figures = Callable[[str], list[float]]  # of every seed that ran, for a run's name with * as its seed


def reader(out: Path, figure: str, protocol: int = 0) -> Figures:
    """Looks a figure up in all seeds of a run: the mean over trials of ``R1`` or ``mAP``."""

    def read(name: str) -> list[float]:
        found = []
        for path in sorted(out.glob(f"{name}/run/results.json")):
            result = json.loads(path.read_text())["results"][protocol]
            found.append(result["mean"][figure] if "mean" in result else result["pretext"][figure])
        return found

    return read


def spread(values: list[float]) -> str:
    """``mean ± standard deviation``, or a dash for nothing."""
    if not values:
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


def each(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) or "–"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def report(out: Path) -> str:
    """All tables as Markdown."""
    r1, mean_ap = reader(out, "R1"), reader(out, "mAP")
    stripes, exact = reader(out, "stripe_accuracy"), reader(out, "exact_match")
    pretexts = {
        "ResNet-18, two streams": "*/resnet18/mmgl",
        "ResNet-18, one stream": "*/resnet18/mmgl_one_stream",
        "OSNet ×0.25, two streams": "*/osnet_x0_25/mmgl",
        "OSNet ×0.25, permutation alone": "*/osnet_x0_25/mmgl_permutation",
        "OSNet ×0.25, cycle contrast alone": "*/osnet_x0_25/mmgl_cycle",
        "OSNet ×0.25, 50% of the identities": "*/osnet_x0_25/mmgl_50",
        "OSNet ×0.25, 25% of the identities": "*/osnet_x0_25/mmgl_25",
    }
    parts = [
        "### Permutation accuracy on held-out training images, %\n\n"
        + table(
            ["pre-training", "stripes, each seed", "stripes", "exact order"],
            [[name, each(stripes(run)), spread(stripes(run)), spread(exact(run))] for name, run in pretexts.items()],
        )
    ]
    rows = []
    for backbone, called in BACKBONES.items():
        for method, titled in METHODS.items():
            for start, described in STARTS.items():
                run = f"*/{backbone}/{start}/{method}"
                rows.append([called, titled, described, each(r1(run)), spread(r1(run)), spread(mean_ap(run))])
            best = max((statistics.mean(v), s) for s in STARTS if s != "mmgl" and (v := r1(f"*/{backbone}/{s}/{method}")))
            gain = statistics.mean(r1(f"*/{backbone}/mmgl/{method}")) - best[0]
            rows.append([called, titled, "MMGL over the best rival", "", f"**{gain:+.2f}**", f"({STARTS[best[1]]})"])
    head = ["backbone", "method", "start", "R1, each seed", "R1", "mAP"]
    parts.append("### Fine-tuning from MMGL and from its rivals\n\n" + table(head, rows))
    osnet = "*/osnet_x0_25"
    shares = {"none (random values)": "random", "25%": "mmgl_25", "50%": "mmgl_50", "100%": "mmgl"}
    ablation = {
        "none (random values)": "random",
        "permutation": "mmgl_permutation",
        "cycle contrast": "mmgl_cycle",
        "both": "mmgl",
    }
    for title, first, runs in (
        ("Data efficiency: OSNet ×0.25, Base", "identities pre-trained on", shares),
        ("Ablation: OSNet ×0.25, Base", "pre-trained by", ablation),
    ):
        rows = [
            [name, each(r1(f"{osnet}/{run}/base")), spread(r1(f"{osnet}/{run}/base")), spread(mean_ap(f"{osnet}/{run}/base"))]
            for name, run in runs.items()
        ]
        parts.append(f"### {title}\n\n" + table([first, "R1, each seed", "R1", "mAP"], rows))
    rows = []
    for start, described in STARTS.items():
        run = f"{osnet}/{start}/base_regdb"
        both = [spread(reader(out, f, p)(run)) for p in (0, 1) for f in ("R1", "mAP")]
        rows.append([described, *both])
    parts.append(
        "### Transfer to RegDB's layout, other people and cameras: OSNet ×0.25, Base\n\n"
        + table(["start", *(f"{d} {f}" for d in ("V→T", "T→V") for f in ("R1", "mAP"))], rows)
    )
    return "\n".join(parts)


def draw(out: Path, path: Path) -> None:
    """The figure: how the pretext is learnt, and Rank-1 after fine-tuning in every part of the study."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    r1 = reader(out, "R1")
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.2), layout="constrained")
    curves, bars, shares, ablation = axes.flat
    pretexts = {
        "ResNet-18, two streams": "*/resnet18/mmgl",
        "ResNet-18, one stream": "*/resnet18/mmgl_one_stream",
        "OSNet ×0.25, two streams": "*/osnet_x0_25/mmgl",
    }
    for colour, (name, run) in zip(("tab:blue", "tab:cyan", "tab:orange"), pretexts.items(), strict=True):
        for i, log in enumerate(sorted(out.glob(f"{run}/run/train.log"))):
            values = [float(v) for v in re.findall(r"Epoch \d+: stripe_accuracy ([\d.]+)", log.read_text())]
            curves.plot(range(1, len(values) + 1), values, color=colour, label=None if i else name)
    curves.axhline(100 / 6, color="grey", linestyle=":", label="chance")
    curves.set(title="Stripes put back, held-out images", xlabel="epoch", ylabel="%", ylim=(0, 100))
    curves.legend()
    groups = [(b, m) for b in BACKBONES for m in METHODS]
    for i, (start, described) in enumerate(STARTS.items()):
        values = [r1(f"*/{b}/{start}/{m}") for b, m in groups]
        _bars(bars, [g + 0.2 * (i - 1.5) for g in range(len(groups))], values, described.strip("*"), 0.2)
    bars.set_xticks(range(len(groups)), [f"{BACKBONES[b]}\n{METHODS[m]}" for b, m in groups])
    bars.set(title="Fine-tuned from MMGL and from rivals", ylabel="Rank-1, %")
    bars.legend(fontsize=8)
    for axis, title, runs in (
        (shares, "Identities pre-trained on (OSNet, Base)", {"none": "random", "25%": "mmgl_25", "50%": "mmgl_50", "100%": "mmgl"}),
        (ablation, "Pre-trained by (OSNet, Base)", {"none": "random", "permutation": "mmgl_permutation", "cycle\ncontrast": "mmgl_cycle", "both": "mmgl"}),
    ):
        values = [r1(f"*/osnet_x0_25/{run}/base") for run in runs.values()]
        _bars(axis, list(range(len(runs))), values, None, 0.6)
        axis.set_xticks(range(len(runs)), list(runs))
        axis.set(title=title, ylabel="Rank-1, %")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axis, places: list[float], values: list[list[float]], label: str | None, width: float) -> None:  # type: ignore[no-untyped-def]
    """A bar at the mean and a dot for each seed."""
    axis.bar(places, [statistics.mean(v) if v else 0 for v in values], width, label=label, alpha=0.75)
    for place, seeds in zip(places, values, strict=True):
        axis.plot([place] * len(seeds), seeds, "k.", markersize=4)


def write(out: Path) -> None:
    """Writes ``report.md`` and ``figure.png`` into the study's folder."""
    (out / "report.md").write_text(report(out))
    draw(out, out / "figure.png")
    print(f"written: {out / 'report.md'}, {out / 'figure.png'}")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
