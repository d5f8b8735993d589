"""The report of one run: a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from torchreid_vi import files
from torchreid_vi.config.defaults import default_config, flat
from torchreid_vi.data.heads import PEOPLE
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.extras import require
from torchreid_vi.folders import expanded
from torchreid_vi.report import pictures, plots
from torchreid_vi.report.collect import OF_A_SERIES
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.page import data_uri, render

_SHOWN = 5  # best and worst queries, pairs of people
Rows = list[list[str]]


def write_report(folder: str | Path, out: str | Path = "", root: str = "", people: str = "shown") -> Path:
    """Write the report of a finished run and return where it is.

    Args:
        folder: The run's folder.
        out: File to write; ``report.html`` in the run's folder when left out.
        root: Folder of the datasets, if they have moved.
        people: How pictures of them are shown: as they are (``shown``), with the top of every crop, where the head
            is, reduced to a few cells (``blurred``), or not at all (``none``).

    Raises:
        InputError: For a folder that is no finished run, data that are not there, or another ``people``.
    """
    if people not in PEOPLE:
        raise unknown_name("way to show people", people, PEOPLE)
    require("report", "a report")
    run = FinishedRun(folder, root)

    def shown(draw: Callable[..., Image.Image], *args: Any) -> str:
        """Return a picture of people if it may be shown: every one of the page goes through here."""
        return "" if people == "none" else data_uri(draw(run, *args, blurred=people == "blurred"))

    home = run.folder.absolute()
    text = render(
        "run.html",
        title=f"{home.parent.name}, {home.name}" if OF_A_SERIES.fullmatch(home.name) else home.name,
        results=_results(run),
        facts=_facts(run),
        changed=_changed(run),
        curves=plots.curves(run),
        retrieval=None if run.pretraining else _retrieval(run, shown),
        augmentations=shown(pictures.augmentations),
        batch=shown(pictures.batch),
    )
    path = expanded(out) if out else run.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
    return path


def _results(run: FinishedRun) -> Rows:
    """Return the metrics of every protocol, or of the pretext task."""
    results = run.content["results"]
    if run.pretraining:
        scores = results[0]["pretext"]
        return [list(scores), [f"{value:.2f}" for value in scores.values()]]
    metrics = list(results[0]["mean"])
    rows = [["protocol", *metrics, "trials"]]
    for result in results:
        cells = [f"{result['mean'][key]:.2f} ± {result['std'][key]:.2f}" for key in metrics]
        rows.append([f"{result['dataset']['name']}: {result['label']}", *cells, str(len(result["trials"]))])
    return rows


def _facts(run: FinishedRun) -> Rows:
    """Return what the training cost and where it ran."""
    cost = run.content["training"]
    rows = [
        ["what", "value"],
        ["epochs of training", str(run.content["epoch"])],
        ["parameters", f"{cost['parameters'] / 1e6:.2f} M"],
        ["training", f"{cost['seconds'] / 60:.1f} min, {cost['images']:,} images"],
    ]
    environment = run.folder / "environment.json"
    if environment.is_file():
        about = files.read_json(environment, "remove it")
        try:
            rows.append(["machine", f"{about['platform']}, {about['gpu'] or str(about['cpus']) + ' CPUs'}"])
            rows.append(
                ["packages", ", ".join(f"{name} {version}" for name, version in about["packages"].items())]
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{environment} is damaged: remove it") from error
    return rows


def _changed(run: FinishedRun) -> Rows:
    """Return the settings that differ from the defaults."""
    now, before = flat(run.cfg), flat(default_config())
    return [["setting", "value"], *([key, str(value)] for key, value in now.items() if value != before[key])]


def _retrieval(run: FinishedRun, shown: Callable[..., str]) -> dict[str, Any]:
    """Return what the page says of retrieval."""
    ranked = run.ranked
    best, worst = pictures.best_and_worst(ranked.ranking, run.test_set.pids[ranked.trial.query], _SHOWN)
    found = pictures.confused(run, _SHOWN)
    backbone = hasattr(run.engine.model, "backbone")
    return {
        "cmc": plots.cmc_curves(run),
        "distances": plots.distances(run),
        "map": plots.feature_map(run),
        "protocol": f"{ranked.protocol.direction}, {ranked.protocol.mode}, first trial, cosine",
        "best": shown(pictures.galleries, best),
        "worst": shown(pictures.galleries, worst),
        "confused": [["person", "taken for", "queries"], *([*map(str, each[:3])] for each in found)],
        "confusions": shown(pictures.galleries, [row for *_, row in found]) if found else "",
        "backbone": backbone,
        "activations": shown(pictures.activations) if backbone else "",
    }
