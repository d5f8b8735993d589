"""The report of one run: a page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from torchreid_vi import files
from torchreid_vi.config.defaults import default_config, flat
from torchreid_vi.data.heads import PEOPLE
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.extras import require
from torchreid_vi.folders import expanded
from torchreid_vi.report import run_pictures as pictures
from torchreid_vi.report import run_plots as plots
from torchreid_vi.report.collect import OF_A_SERIES
from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.page import data_uri, page, table

_SHOWN = 5  # best and worst queries, pairs of people
_LEFT_OUT = "<p>Pictures of people were left out.</p>"


def write_report(folder: str | Path, out: str | Path = "", root: str = "", people: str = "shown") -> Path:
    """Writes the report of a finished run and returns where it is.

    Args:
        folder: of the run.
        out: file to write; ``report.html`` in the run's folder when left out.
        root: of the datasets, if they have moved.
        people: how pictures of them are shown: as they are (``shown``), with the top of every crop, where the head
            is, reduced to a few cells (``blurred``), or not at all (``none``).

    Raises:
        InputError: for a folder that is no finished run, data that are not there, or another ``people``.
    """
    if people not in PEOPLE:
        raise unknown_name("way to show people", people, PEOPLE)
    require("report", "a report")
    run = FinishedRun(folder, root)
    retrieval = [] if run.pretraining else _retrieval(run, people)
    parts = [*_overview(run), *_training(run), *retrieval, *_input(run, people)]
    home = run.folder.absolute()
    name = f"{home.parent.name}, {home.name}" if OF_A_SERIES.fullmatch(home.name) else home.name
    path = expanded(out) if out else run.folder / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page(name, parts))
    return path


def _overview(run: FinishedRun) -> list[str]:
    """Figures, what was changed from the defaults, and where it ran."""
    parts = []
    if run.pretraining:
        scores = run.content["results"][0]["pretext"]
        parts.append(table([list(scores), [f"{value:.2f}" for value in scores.values()]], "figures"))
    else:
        figures = list(run.content["results"][0]["mean"])
        rows = [["protocol", *figures, "trials"]]
        for result in run.content["results"]:
            cells = [f"{result['mean'][key]:.2f} ± {result['std'][key]:.2f}" for key in figures]
            rows.append(
                [f"{result['dataset']['name']}: {result['label']}", *cells, str(len(result["trials"]))]
            )
        parts.append(table(rows, "figures"))
        parts.append("<p>Percent, mean ± standard deviation over the trials of the protocol.</p>")
    now, before = flat(run.cfg), flat(default_config())
    changed = [[key, str(value)] for key, value in now.items() if value != before[key]]
    cost = run.content["training"]
    rows = [
        ["epochs of training", str(run.content["epoch"])],
        ["parameters", f"{cost['parameters'] / 1e6:.2f} M"],
        ["training", f"{cost['seconds'] / 60:.1f} min, {cost['images']:,} images"],
    ]
    environment = run.folder / "environment.json"
    if environment.is_file():
        about: dict[str, Any] = files.read_json(environment, "remove it")
        try:
            rows.append(["machine", f"{about['platform']}, {about['gpu'] or str(about['cpus']) + ' CPUs'}"])
            rows.append(["packages", ", ".join(f"{k} {v}" for k, v in about["packages"].items())])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{environment} is damaged: remove it") from error
    parts += ["<h2>Run</h2>", table([["what", "value"], *rows], "plain")]
    parts += ["<details><summary>Settings that differ from the defaults</summary>"]
    return [*parts, table([["setting", "value"], *changed], "plain"), "</details>"]


def _training(run: FinishedRun) -> list[str]:
    drawn = plots.curves(run)
    return (
        ["<h2>Training</h2>", _plot(drawn, "Losses, accuracies and learning rate by step")] if drawn else []
    )


def _retrieval(run: FinishedRun, people: str) -> list[str]:
    ranked = run.ranked
    best, worst = plots.best_and_worst(ranked.ranking, run.test_set.pids[ranked.trial.query], _SHOWN)
    found = pictures.confused(run, _SHOWN)
    what = f"{ranked.protocol.direction}, {ranked.protocol.mode}, first trial, cosine"
    parts = [
        "<h2>Retrieval</h2>",
        _plot(plots.cmc_curves(run), "CMC curves by protocol"),
        "<h2>Distances</h2>",
        _plot(plots.distances(run), "Histograms of distances of same and different people"),
        "<p>What is green should lie left of what is red; across modalities it is harder.</p>",
        "<h2>Map of features</h2>",
        _plot(plots.feature_map(run), "Two principal components of features by person and by modality"),
        "<p>A person's dots and triangles should lie together, and the two modalities should mix.</p>",
        f"<h2>Ranked galleries</h2><p>{html.escape(what)}; the query is on the left, then its nearest, in "
        "green its own person. Numbers are identities.</p><h3>Best queries</h3>",
        _image(
            partial(pictures.galleries, run, best),
            people,
            "The queries with the highest average precision and their answers",
        ),
        "<h3>Worst queries</h3>",
        _image(
            partial(pictures.galleries, run, worst),
            people,
            "The queries with the lowest average precision and their answers",
        ),
    ]
    if found:
        rows = [["person", "taken for", "queries"]]
        rows += [[str(each.query), str(each.answer), str(each.times)] for each in found]
        parts += [
            "<h2>Who is taken for whom</h2><p>At rank 1. A query, its own person in the gallery, and the wrong "
            "answer.</p>",
            table(rows, "figures"),
            _image(
                partial(pictures.confusions, run, found),
                people,
                "Queries of confused people, the right person, and the wrong answer",
            ),
        ]
    if hasattr(run.engine.model, "backbone"):
        parts += [
            "<h2>Activations</h2><p>Strength of the last feature maps: red is strong.</p>",
            _image(
                partial(pictures.activations, run),
                people,
                "Images of both modalities and where the network responds",
            ),
        ]
    return parts


def _input(run: FinishedRun, people: str) -> list[str]:
    return [
        "<h2>What the network was shown</h2><h3>One image, augmented again and again</h3>",
        _image(
            partial(pictures.augmentations, run),
            people,
            "A visible and an infrared image and their augmentations",
        ),
        "<h3>A batch</h3>",
        _image(
            partial(pictures.batch, run),
            people,
            "The images of one training batch with their modality and identity",
        ),
    ]


def _image(draw: Callable[..., Image.Image], people: str, alt: str) -> str:
    """A picture of people, which is drawn if it may be shown: every one of a page goes through here."""
    if people == "none":
        return _LEFT_OUT
    picture = draw(blurred=people == "blurred")
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<div class="wide"><img src="{data_uri(picture)}" alt="{html.escape(alt)}" {size}></div>'


def _plot(svg: str, title: str) -> str:
    return f'<figure role="img" aria-label="{html.escape(title)}">{svg[svg.index("<svg") :]}</figure>'
