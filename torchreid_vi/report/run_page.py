"""Write the report of one run, a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from torchreid_vi import files
from torchreid_vi.config.defaults import default_config, flat
from torchreid_vi.errors import unknown_name
from torchreid_vi.folders import expanded
from torchreid_vi.report import pictures, plots
from torchreid_vi.report.collect import OF_A_SERIES
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.page import data_uri, render

PEOPLE = ("shown", "blurred", "none")
_SHOWN = 5  # best and worst queries, pairs of people


def write_report(folder: str | Path, out: str | Path = "", root: str = "", people: str = "shown") -> Path:
    """Write the report of a finished run and return where it is.

    Args:
        folder: Folder of the run.
        out: Output file; ``report.html`` in the run's folder when left out.
        root: Folder of the datasets, if they have moved.
        people: How pictures of them are shown: as they are (``shown``), with the top of every crop, where the head
            is, reduced to a few cells (``blurred``), or not at all (``none``).

    Raises:
        InputError: For a folder that is no finished run, data that are missing, or another ``people``.
    """
    if people not in PEOPLE:
        raise unknown_name("way to show people", people, PEOPLE)
    run = FinishedRun(folder, root)

    def shown(draw: Callable[..., Image.Image], *args: Any) -> str:
        """Return a picture of people as ``people`` says; every picture of the page goes through here."""
        return "" if people == "none" else data_uri(draw(run, *args, blurred=people == "blurred"))

    home, environment = run.folder.absolute(), run.folder / "environment.json"
    now, before = flat(run.cfg), flat(default_config())
    losses = ", ".join(f"{weight:g} × {name}" for name, (_, weight) in run.engine.method.losses.items())
    text = render(
        "run.html",
        title=f"{home.parent.name}, {home.name}" if OF_A_SERIES.fullmatch(home.name) else home.name,
        summary={
            "backbone": run.cfg.model.name,
            "image size": f"{run.cfg.data.height} × {run.cfg.data.width}",
            "loss": f"{run.cfg.loss.name}: {losses}",
            "seed": run.cfg.train.seed,
        },
        results=run.content["results"],
        epoch=run.content["epoch"],
        cost=run.content["training"],
        environment=files.read_json(environment, "remove it") if environment.is_file() else {},
        changed={key: value for key, value in now.items() if value != before[key]},
        curves=plots.curves(run),
        retrieval=None if run.engine.method.self_supervised else _retrieval(run, shown),
        augmentations=shown(pictures.augmentations),
        batch=shown(pictures.batch),
    )
    path = expanded(out) if out else run.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
    return path


def _retrieval(run: FinishedRun, shown: Callable[..., str]) -> dict[str, Any]:
    """Return the part of the page on retrieval."""
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
        "confused": found,
        "confusions": shown(pictures.galleries, [row for *_, row in found]) if found else "",
        "backbone": backbone,
        "activations": shown(pictures.activations) if backbone else "",
    }
