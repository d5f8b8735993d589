"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from torchreid_vi.evaluation.result import RANKS, Result

_COLUMNS = 100  # of a line
#: Metrics of a table.
METRICS = (*(f"R{k}" for k in RANKS), "mAP", "mINP")


def format_table(results: Sequence[Result]) -> str:
    """Return a table of results in percent, mean and standard deviation over the trials, with what it shows."""
    lines = []
    for dataset in {str(result.dataset): result.dataset for result in results}.values():
        shown = [result for result in results if result.dataset == dataset]
        kind = "synthetic, " if dataset.get("synthetic") else ""
        how = explain_settings(shown[0].as_dict())
        lines += [f"{dataset['name']} ({kind}split {dataset['split']})", how]
        rows = [
            Row(
                result.label,
                {metric: result.mean(metric) for metric in METRICS},
                {metric: result.std(metric) for metric in METRICS},
                len(result.trials),
            )
            for result in shown
        ]
        lines += spread(rows, "trials")
        for result in shown:
            said = f"{result.label}: {explain(result.as_dict())}"
            lines += wrap(said, _COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


class Row(NamedTuple):
    """Metrics over several trials or runs: their mean and deviation by name, and how many there are."""

    name: str
    mean: dict[str, float]
    std: dict[str, float]
    number: int


def spread(rows: Sequence[Row], counted: str) -> list[str]:
    """Return the lines of a table: means, and under them, where there are several values, deviations.

    >>> row = Row("all", {"R1": 26.3, "mAP": 29.7}, {"R1": 2.0, "mAP": 0.7}, 3)
    >>> for line in spread([row], "runs"):
    ...     print(line)
             R1     mAP    runs
    all   26.30   29.70       3
      ±    2.00    0.70
    """
    name = max(len(row.name) for row in rows)
    widths = {metric: max(8, len(metric) + 2) for metric in rows[0].mean}
    lines = [" " * name + "".join(f"{metric:>{width}}" for metric, width in widths.items()) + f"{counted:>8}"]
    for row in rows:
        means = "".join(f"{row.mean[metric]:{width}.2f}" for metric, width in widths.items())
        lines.append(f"{row.name:<{name}}{means}{row.number:>8}")
        if row.number > 1:
            stds = "".join(f"{row.std[metric]:{width}.2f}" for metric, width in widths.items())
            lines.append(f"{'±':>{name}}{stds}")
    return lines


def explain_settings(result: dict[str, Any]) -> str:
    """Say how features were compared, from a result as ``results.json`` holds it."""
    said = result["settings"]
    flip = "flip-averaged" if said.get("flip") else "no flip averaging"
    normalised = "L2-normalised" if said["normalised"] else "unnormalised"
    return f"{said['metric']} distance of {normalised} features, {flip}, re-ranking {said['reranking']}"


def explain(result: dict[str, Any]) -> str:
    """Say who was compared with whom, from a result as ``results.json`` holds it."""
    if (how := result["settings"]["reranking"]) != "none":
        return f"{how}: uses all queries together; do not compare with results without re-ranking"
    protocol, trial = result["protocol"], result["trials"][0]
    drawn = {"everything": "every image", "official": "official draw", "seeded": "seeded draw"}[
        protocol["draw"]
    ]
    if protocol["draw"] != "everything":
        drawn += f" of the {protocol['drawn']}, {protocol['shots']} per identity and camera"
    return (
        f"{protocol['direction']}, {protocol['mode']}, {drawn}; {trial['queries']:,} queries, "
        f"{trial['gallery']:,} gallery images; CMC counts {protocol['cmc_counts']}"
    )
