"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchreid_vi.evaluation.result import RANKS, Result

#: Metrics of a table.
METRICS = (*(f"R{k}" for k in RANKS), "mAP", "mINP")


def format_table(results: Sequence[Result]) -> str:
    """Format results in percent, mean ± standard deviation over the trials, with what it shows."""
    lines = []
    width = max(len(result.label) for result in results)
    for dataset in {str(result.dataset): result.dataset for result in results}.values():
        shown = [result for result in results if result.dataset == dataset]
        kind = "synthetic, " if dataset.get("synthetic") else ""
        lines.append(
            f"{dataset['name']} ({kind}split {dataset['split']}); {explain_settings(shown[0].as_dict())}"
        )
        lines.append(f"{'protocol':<{width}}  " + "".join(f"{figure:>15}" for figure in METRICS) + "  trials")
        for result in shown:
            cells = "".join(f"{f'{result.mean(f):.2f} ±{result.std(f):5.2f}':>15}" for f in METRICS)
            lines.append(f"{result.label:<{width}}  {cells}  {len(result.trials):>6}")
        lines += [f"  {result.label}: {explain(result.as_dict())}" for result in shown]
    return "\n".join(lines)


def explain_settings(result: dict[str, Any]) -> str:
    """Say how features were compared, from a result as ``results.json`` holds it."""
    said = result["settings"]
    flip = "flip-averaged" if said.get("flip") else "no flip averaging"
    normalised = "L2-normalised" if said["normalised"] else "unnormalised"
    return f"{said['metric']} distance of {normalised} features, {flip}, re-ranking {said['reranking']}"


def explain(result: dict[str, Any]) -> str:
    """Say who was compared with whom, from a result as ``results.json`` holds it."""
    if (how := result["settings"]["reranking"]) != "none":
        return f"{how}: every query draws on all the others, so not to be compared with plain figures"
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
