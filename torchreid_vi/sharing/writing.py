"""The folder that a run becomes: weights, settings, a card and a list of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor
from yacs.config import CfgNode

from torchreid_vi import build
from torchreid_vi.errors import InputError
from torchreid_vi.files import making, sha256_of
from torchreid_vi.folders import expanded
from torchreid_vi.models import identities, load_weights, read_checkpoint, save_safetensors
from torchreid_vi.models.layouts import of_a_run
from torchreid_vi.sharing.card import write_card
from torchreid_vi.sharing.package import CARD, FORMAT, MANIFEST, SETTINGS, WEIGHTS
from torchreid_vi.sharing.source import Run, read_run, started_from, trained_on

# What only the machine of a run needs: no package holds it.
_PLACES = {
    "data": ("root", "save_dir", "cache", "workers"),
    "model": ("load_weights", "resume"),
    "test": ("evaluate",),
    "vi_labelled": ("test_list",),
}


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
    out = expanded(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there and not empty: name another folder, or remove it")
    source = read_run(expanded(run), weights)
    content = read_checkpoint(source.weights)
    about = _about(source, content, licence)
    told = {"epoch": about["model"]["epoch"]} | {k: v for k, v in content.items() if k == "about"}
    try:
        with making(out) as partial:
            partial.mkdir(parents=True)
            save_safetensors(_tensors(content), partial / WEIGHTS, told)
            (partial / SETTINGS).write_text(_shared_settings(source.cfg).dump(), encoding="utf-8")
            (partial / CARD).write_text(write_card(about, source.cfg), encoding="utf-8")
            written = {name: partial / name for name in (WEIGHTS, SETTINGS, CARD)}
            listed = {n: {"sha256": sha256_of(p), "size": p.stat().st_size} for n, p in written.items()}
            about = {"format": FORMAT, "files": listed} | about
            text = json.dumps(about, indent=1, ensure_ascii=False)
            (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
            if out.exists():
                out.rmdir()
            partial.rename(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): name another folder") from error
    return about


def _shared_settings(cfg: CfgNode) -> CfgNode:
    """The settings without what is of one machine."""
    shared = cfg.clone()
    shared.imports = [Path(name).name for name in cfg.imports]
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
    model = build.build_method(cfg, identities(content)).network
    loaded = load_weights(model, source.weights, cfg.model.load_stem)
    pretraining = build.method_class(cfg).self_supervised
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
    datasets, all_known = trained_on(source.cfg)
    return {
        "kind": "backbone" if pretraining else "model",
        "torchreid_vi": source.packages.get("torchreid_vi"),
        "packages": source.packages,
        "model": {
            "method": cfg.loss.name,
            "backbone": cfg.model.name,
            "streams": cfg.model.streams,
            "blocks": cfg.model.blocks,
            "parameters": sum(p.numel() for name, p in model.named_parameters() if name in names),
            "epoch": loaded.epoch,
            "height": cfg.data.height,
            "width": cfg.data.width,
        },
        "trained_on": datasets,
        "trained_on_more": not all_known,
        "started_from": started_from(source.cfg),
        "licence": " ".join(licence.split()),
        "results": [
            {name: result[name] for name in kept if name in result} | _counts(result)
            for result in source.results
        ],
    }


def _tensors(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a model in what a file holds."""
    state = content.get("state_dict", content)
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and not of_a_run(name)}


def _counts(result: dict[str, Any]) -> dict[str, Any]:
    """How much was compared, of a result's first trial."""
    trials = result.get("trials", [])[:1]
    return {"trials": [{name: each[name] for name in ("queries", "gallery")} for each in trials]}
