"""Write a run's weights as a package to share: weights, settings, a card, and a manifest with checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor
from yacs.config import CfgNode

from torchreid_vi import build, config
from torchreid_vi.engine import BACKBONE, CHECKPOINTS, LAST
from torchreid_vi.errors import InputError
from torchreid_vi.files import atomic_path, read_json, sha256_of
from torchreid_vi.folders import expanded
from torchreid_vi.models import identities, load_weights, read_checkpoint, save_safetensors
from torchreid_vi.models.layouts import of_a_run
from torchreid_vi.sharing.card import write_card
from torchreid_vi.sharing.fetching import HUB
from torchreid_vi.sharing.package import CARD, FORMAT, MANIFEST, SETTINGS, WEIGHTS

# Settings that hold places of one machine, which no package does.
_PLACES = {
    "data": ("root", "save_dir", "cache", "workers"),
    "model": ("load_weights", "resume"),
    "test": ("evaluate",),
    "vi_labelled": ("test_list",),
}
# Parts of a result that a manifest keeps.
_KEPT = ("label", "dataset", "protocol", "settings", "mean", "std", "pretext", "held_out_images")


def write_package(run: str | Path, out: str | Path, licence: str = "") -> dict[str, Any]:
    """Write the last weights of a run as a package, whole or not at all.

    The same run gives the same bytes, and they hold no path of this machine.

    Args:
        run: Folder of a training.
        out: Folder to write, new or empty.
        licence: Licence of the weights, such as ``mit``.

    Returns:
        The content of the manifest.

    Raises:
        InputError: For a folder that holds no training, weights that do not fit its settings, or an output folder
            that is not empty.
    """
    run, out = expanded(run), expanded(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there and not empty: name another folder, or remove it")
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run} is no run, config.yaml is missing: name the folder of a training")
    cfg = config.load_config(str(run / "config.yaml"))
    pretraining = build.method_class(cfg).self_supervised
    path = run / (BACKBONE if pretraining else Path(CHECKPOINTS) / LAST)
    content = read_checkpoint(path)
    about = _about(run, cfg, path, content) | {"licence": " ".join(licence.split())}
    metadata = {"epoch": about["model"]["epoch"]} | {k: v for k, v in content.items() if k == "about"}
    try:
        with atomic_path(out) as partial:
            partial.mkdir(parents=True)
            save_safetensors(_tensors(content), partial / WEIGHTS, metadata)
            (partial / SETTINGS).write_text(_without_places(cfg).dump(), encoding="utf-8")
            (partial / CARD).write_text(write_card(about, cfg), encoding="utf-8")
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


def _without_places(cfg: CfgNode) -> CfgNode:
    """Return the settings without those of one machine."""
    shared = cfg.clone()
    shared.imports = [Path(name).name for name in cfg.imports]
    for section, names in _PLACES.items():
        for name in names:
            del shared[section][name]
    return shared


def _about(run: Path, cfg: CfgNode, path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of the model, after loading its weights to check them."""
    plain = cfg.clone()
    plain.model.pretrained = False
    model = build.build_method(plain, identities(content)).network
    epoch = load_weights(model, path).epoch
    names = {name.removeprefix("module.") for name in _tensors(content)}
    results = _read(run / "results.json")
    start = cfg.model.load_weights
    if start:  # by name alone
        start = start if start.startswith(HUB) else Path(urlsplit(start).path).name
    return {
        "kind": "backbone" if path.name == BACKBONE else "model",
        "packages": _read(run / "environment.json").get("packages", {}),
        "model": {
            "method": cfg.loss.name,
            "backbone": cfg.model.name,
            "streams": cfg.model.streams,
            "parameters": sum(p.numel() for name, p in model.named_parameters() if name in names),
            "epoch": epoch,
            "height": cfg.data.height,
            "width": cfg.data.width,
        },
        "trained_on": list(cfg.data.sources),
        "started_from": start or ("ImageNet's weights" if cfg.model.pretrained else "random values"),
        "results": [_kept(each) for each in results["results"]] if results.get("epoch") == epoch else [],
    }


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a manifest keeps of a result; of its trials the sizes of the first."""
    trials = [{name: each[name] for name in ("queries", "gallery")} for each in result.get("trials", [])[:1]]
    return {name: result[name] for name in _KEPT if name in result} | {"trials": trials}


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file of a run, empty when there is none."""
    found = read_json(path, "run it again") if path.is_file() else {}
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: run it again")
    return found


def _tensors(content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the model's tensors in the content of a checkpoint."""
    state = content.get("state_dict", content)
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and not of_a_run(name)}
