"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from torchreid_vi.evaluation.evaluate import RANKS, Result

_FIGURES = (*(f"R{k}" for k in RANKS), "mAP", "mINP")


def format_table(results: Sequence[Result]) -> str:
    """A table of results in percent, mean ± standard deviation over the trials, with what it shows."""
    lines = []
    width = max(len(result.label) for result in results)
    for dataset in {str(result.dataset): result.dataset for result in results}.values():
        shown = [result for result in results if result.dataset == dataset]
        kind = "synthetic, " if dataset.get("synthetic") else ""
        lines.append(f"{dataset['name']} ({kind}split {dataset['split']}); {_settings(shown[0])}")
        lines.append(
            f"{'protocol':<{width}}  " + "".join(f"{figure:>15}" for figure in _FIGURES) + "  trials"
        )
        for result in shown:
            cells = "".join(f"{f'{result.mean(f):.2f} ±{result.std(f):5.2f}':>15}" for f in _FIGURES)
            lines.append(f"{result.label:<{width}}  {cells}  {len(result.trials):>6}")
        lines += [f"  {result.label}: {_explain(result)}" for result in shown]
    return "\n".join(lines)


def _settings(result: Result) -> str:
    said = result.settings
    flip = "flip-averaged" if said.get("flip") else "no flip averaging"
    normalised = "L2-normalised" if said["normalised"] else "unnormalised"
    return f"{said['metric']} distance of {normalised} features, {flip}, re-ranking {said['reranking']}"


def _explain(result: Result) -> str:
    if result.settings["reranking"] != "none":
        how = result.settings["reranking"]
        return f"{how}: every query draws on all the others, so not to be compared with plain figures"
    protocol, trial = result.protocol, result.trials[0]
    drawn = {"everything": "every image", "official": "official draw", "seeded": "seeded draw"}[protocol.draw]
    if protocol.draw != "everything":
        drawn += f" of the {protocol.drawn}, {protocol.shots} per identity and camera"
    return (
        f"{protocol.direction}, {protocol.mode}, {drawn}; {trial['queries']:,} queries, "
        f"{trial['gallery']:,} gallery images; CMC counts {'identities' if protocol.unique_ids else 'images'}"
    )
