"""From a run to a package: what is read of the run, and the folder that is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor
from yacs.config import CfgNode

from torchreid_vi import build, config
from torchreid_vi.engine import CHECKPOINTS
from torchreid_vi.engine.pretraining import BACKBONE
from torchreid_vi.errors import InputError
from torchreid_vi.models import MMGLModel, identities, load_weights, read_checkpoint, save_safetensors
from torchreid_vi.sharing.card import write_card
from torchreid_vi.sharing.fetching import HUB
from torchreid_vi.sharing.locating import is_remote, package_folder
from torchreid_vi.sharing.package import CARD, FORMAT, MANIFEST, SETTINGS, WEIGHTS, mark, read_manifest

# What only the machine of a run needs: no package holds it.
_PLACES = {
    "data": ("root", "save_dir", "cache", "workers"),
    "model": ("load_weights", "resume"),
    "test": ("evaluate",),
}


@dataclass(frozen=True)
class Run:
    """What a package tells of a run.

    Attributes:
        cfg: how it was trained, and how its figures came to be.
        weights: the file to share.
        results: of ``results.json``; none when they are not those of the weights.
        packages: versions of what it was trained with, by name; none where it did not record them.
        epochs: that ``results.json`` speaks of, if it is the run that trained.
    """

    cfg: CfgNode
    weights: Path
    results: list[dict[str, Any]]
    packages: dict[str, str]
    epochs: int | None


def write_package(
    run: str | Path, out: str | Path, weights: str | Path = "", licence: str = ""
) -> dict[str, Any]:
    """Writes the weights of a run as a folder to share, whole or not at all; returns what its list of files says.

    The same run gives the same bytes. No path of this machine is in them.

    Args:
        run: folder of a finished run, trained or only evaluated.
        out: folder to write, new or empty.
        weights: a file of the run to share in place of that which the run's figures are of; figures that are not of
            it are left out.
        licence: of the weights, such as ``mit``.

    Raises:
        InputError: for a folder that is no finished run, weights that do not fit its settings, or a folder that
            holds something.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there and not empty: name another folder, or remove it")
    source = _read_run(Path(run).expanduser(), weights)
    content = read_checkpoint(source.weights)
    about = _about(source, content, licence)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a call that was cut off
        partial.mkdir(parents=True)
        told = {"epoch": about["model"]["epoch"]} | {k: v for k, v in content.items() if k == "about"}
        save_safetensors(_tensors(content), partial / WEIGHTS, told)
        (partial / SETTINGS).write_text(_shared_settings(source.cfg).dump(), encoding="utf-8")
        (partial / CARD).write_text(write_card(about, source.cfg), encoding="utf-8")
        about = {"format": FORMAT, "files": {n: mark(partial / n) for n in (WEIGHTS, SETTINGS, CARD)}} | about
        text = json.dumps(about, indent=1, ensure_ascii=False)
        (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): name another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return about


def _read_run(folder: Path, weights: str | Path) -> Run:
    """What is to be shared of a run, the weights being those of its figures if no others are named."""
    settings = folder / "config.yaml"
    if not settings.is_file():
        raise InputError(f"{folder} is no run, config.yaml is missing: name the folder of a finished run")
    cfg = config.load_config(str(settings))
    content = _json(folder / "results.json")
    if not (content or weights):
        raise InputError(
            f"{folder} has no results.json, so it is not finished: name a file of it with --weights to share it as "
            "it is"
        )
    trained, measured = folder, _measured(folder, content)
    if cfg.test.evaluate:
        trained = _trainer(folder, measured)
        cfg = _with_evaluation(config.load_config(str(trained / "config.yaml")), cfg)
    file = Path(weights).expanduser() if weights else measured
    same = bool(content) and file.is_file() and measured.is_file() and file.samefile(measured)
    return Run(
        cfg,
        file,
        content["results"] if same else [],
        _json(trained / "environment.json").get("packages", {}),
        content["epoch"] if same and trained == folder else None,
    )


def _json(path: Path) -> dict[str, Any]:
    """The content of a file of a run, empty when there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: run or evaluate it again") from error


def _measured(folder: Path, content: dict[str, Any]) -> Path:
    """The weights that the figures of a run are of."""
    known = "epoch" in content and all("pretext" in r or "label" in r for r in content.get("results", [{}]))
    if content and not known:
        raise InputError(f"{folder}/results.json is of another version: run or evaluate it again")
    if content and content["epoch"] == 0 and "weights" in content:  # it evaluated only
        return Path(content["weights"]).expanduser()
    pretext = any("pretext" in each for each in content.get("results", ()))
    return folder / BACKBONE if pretext else folder / CHECKPOINTS / "last.pth"


def _trainer(folder: Path, weights: Path) -> Path:
    """The run that trained what another one evaluated."""
    trained = weights.parent.parent
    if weights.parent.name != CHECKPOINTS or not (trained / "config.yaml").is_file():
        raise InputError(
            f"{folder} evaluated {weights}, and the run that trained it is not there: call this where the "
            "evaluation was called, or name the run that trained"
        )
    return trained


def _with_evaluation(trained: CfgNode, evaluated: CfgNode) -> CfgNode:
    """How a model was trained, and how it was evaluated afterwards."""
    cfg = trained.clone()
    for section in ("test", "rerank", "mser"):
        cfg[section] = evaluated[section].clone()
    for name in ("height", "width", "norm_mean", "norm_std", "targets", "split_id"):
        cfg.data[name] = evaluated.data[name]
    return cfg


def _shared_settings(cfg: CfgNode) -> CfgNode:
    """The settings without what is of one machine."""
    shared = cfg.clone()
    for section, names in _PLACES.items():
        for name in names:
            del shared[section][name]
    return shared


def _about(source: Run, content: dict[str, Any], licence: str) -> dict[str, Any]:
    """All that a package says of its model, having loaded it.

    Args:
        source: of the weights.
        content: of their file.
        licence: of the package.
    """
    cfg = source.cfg.clone()
    cfg.model.pretrained = False
    model = build.build_model(cfg, identities(content))
    loaded = load_weights(model, source.weights, cfg.model.load_stem)
    pretraining = isinstance(model, MMGLModel)
    if not pretraining and any(not name.startswith("classifier.") for name in loaded.fresh):
        raise InputError(
            f"{source.weights} is a backbone without the rest of a model: package the run that made it"
        )
    names = {name.removeprefix("module.") for name in _tensors(content)}
    if not names <= model.state_dict().keys():  # such as two stems, of which one was made
        raise InputError(
            f"{source.weights} is not of the model in the run's config.yaml: name a file of the run"
        )
    if source.epochs is not None and loaded.epoch not in (None, source.epochs):
        raise InputError(
            f"the figures are of epoch {source.epochs} and {source.weights} of epoch {loaded.epoch}: finish the "
            "run, or name the file with --weights and do without figures"
        )
    kept = ("label", "dataset", "protocol", "settings", "mean", "std", "pretext", "held_out_images")
    trained_on, all_known = _trained_on(source.cfg)
    return {
        "kind": "backbone" if pretraining else "model",
        "torchreid_vi": source.packages.get("torchreid_vi"),
        "packages": source.packages,
        "model": {
            "engine": cfg.loss.name,
            "backbone": cfg.model.name,
            "streams": cfg.model.streams,
            "blocks": cfg.model.blocks,
            "parameters": sum(p.numel() for name, p in model.named_parameters() if name in names),
            "epoch": loaded.epoch,
            "height": cfg.data.height,
            "width": cfg.data.width,
        },
        "trained_on": trained_on,
        "trained_on_more": not all_known,
        "started_from": _start(source.cfg),
        "licence": licence,
        "results": [
            {name: result[name] for name in kept if name in result} | _counts(result)
            for result in source.results
        ],
    }


def _tensors(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a model in what a file holds."""
    state = content.get("state_dict", content)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _counts(result: dict[str, Any]) -> dict[str, Any]:
    """How much was compared, of a result's first trial."""
    trials = result.get("trials", [])[:1]
    return {"trials": [{name: each[name] for name in ("queries", "gallery")} for each in trials]}


def _start(cfg: CfgNode) -> str:
    """What training began from, by name alone."""
    start = cfg.model.load_weights
    if not start:
        return "ImageNet weights" if cfg.model.pretrained else "random values"
    return start if start.startswith(HUB) else Path(urlsplit(start).path).name


def _trained_on(cfg: CfgNode, seen: Sequence[Path] = ()) -> tuple[list[str], bool]:
    """The datasets that a model and what it began from were trained on, and whether these are all."""
    found, start = list(cfg.data.sources), cfg.model.load_weights
    more, known = _behind(start, seen) if start else ([], True)
    return list(dict.fromkeys([*found, *more])), known


def _behind(start: str, seen: Sequence[Path]) -> tuple[list[str], bool]:
    """The datasets behind a file that training began from, as far as what lies beside it says."""
    if is_remote(start):
        return [], False
    path = Path(start).expanduser()
    if package := package_folder(path):
        manifest = read_manifest(package, start)
        return list(manifest.get("trained_on", [])), not manifest.get("trained_on_more", True)
    settings = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
    settings = (settings / "config.yaml").absolute()
    if not settings.is_file() or settings in seen:
        return [], False
    return _trained_on(config.load_config(str(settings)), [*seen, settings])
