"""What a package tells of a run: which weights, whose figures, trained on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from yacs.config import CfgNode

from torchreid_vi import config
from torchreid_vi.config.defaults import put
from torchreid_vi.engine import BACKBONE, CHECKPOINTS
from torchreid_vi.errors import InputError
from torchreid_vi.files import read_json
from torchreid_vi.folders import expanded
from torchreid_vi.sharing.fetching import HUB
from torchreid_vi.sharing.locating import is_remote, package_folder, settings_of_run
from torchreid_vi.sharing.package import read_manifest


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


def read_run(folder: Path, weights: str | Path) -> Run:
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
    file = expanded(weights) if weights else measured
    same = bool(content) and file.is_file() and measured.is_file() and file.samefile(measured)
    return Run(
        cfg,
        file,
        content["results"] if same else [],
        _json(trained / "environment.json").get("packages", {}),
        content["epoch"] if same and trained == folder else None,
    )


def _json(path: Path) -> dict[str, Any]:
    """Return the content of a file of a run, empty when there is none."""
    remedy = "run or evaluate it again"
    content = read_json(path, remedy) if path.is_file() else {}
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: {remedy}")
    return content


def _measured(folder: Path, content: dict[str, Any]) -> Path:
    """The weights that the figures of a run are of."""
    known = "epoch" in content and all("pretext" in r or "label" in r for r in content.get("results", [{}]))
    if content and not known:
        raise InputError(f"{folder}/results.json is of another version: run or evaluate it again")
    if content and content["epoch"] == 0 and "weights" in content:  # it evaluated only
        return expanded(content["weights"])
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
    for key, value in config.evaluation(evaluated).items():
        put(cfg, key, value)
    for name in ("height", "width", "norm_mean", "norm_std"):
        cfg.data[name] = evaluated.data[name]
    return cfg


def started_from(cfg: CfgNode) -> str:
    """What training began from, by name alone."""
    start = cfg.model.load_weights
    if not start:
        return "ImageNet weights" if cfg.model.pretrained else "random values"
    return start if start.startswith(HUB) else Path(urlsplit(start).path).name


def trained_on(cfg: CfgNode, seen: Sequence[Path] = ()) -> tuple[list[str], bool]:
    """The datasets that a model and what it began from were trained on, and whether these are all."""
    found, start = list(cfg.data.sources), cfg.model.load_weights
    more, known = _behind(start, seen) if start else (["imagenet"] if cfg.model.pretrained else [], True)
    return list(dict.fromkeys([*found, *more])), known


def _behind(start: str, seen: Sequence[Path]) -> tuple[list[str], bool]:
    """The datasets behind a file that training began from, as far as what lies beside it says."""
    if is_remote(start):
        return [], False
    path = expanded(start)
    if package := package_folder(path):
        manifest = read_manifest(package)
        return list(manifest.get("trained_on", [])), not manifest.get("trained_on_more", True)
    settings = settings_of_run(path)
    if settings is None or settings in seen:
        return [], False
    return trained_on(config.read_config(str(settings)), [*seen, settings])
