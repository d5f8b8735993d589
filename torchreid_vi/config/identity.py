"""Which settings make two runs the same, and what a run is called by them."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.config.defaults import default_config, flat


def resumable(cfg: CN) -> dict[str, Any]:
    """The settings that a run and its continuation share: those that change what is trained."""
    free = {f"model.{name}" for name in ("pretrained", "load_weights", "load_stem", "resume")}
    free |= {f"data.{name}" for name in ("root", "targets", "workers", "cache", "save_dir", "on_bad_image")}
    free |= {"imports", "data.thermal_found"}
    free |= {"train.print_freq", "train.start_epoch", "train.skip_nonfinite"}
    if cfg.train.lr_scheduler != "cosine":  # the only schedule that depends on the last epoch
        free.add("train.max_epoch")
    return {
        key: value
        for key, value in flat(cfg).items()
        if key not in free and not key.startswith(("test.", "rerank.", "mser."))
    }


def comparable(cfg: CN) -> dict[str, Any]:
    """The settings that two runs with the same figures share: all but places, and what only costs time."""
    free = {"model.resume", "data.root", "data.workers", "data.cache", "data.save_dir"}
    free |= {"imports", "data.thermal_found"}
    free |= {"train.print_freq", "train.start_epoch", "test.batch_size"}
    return {key: value for key, value in flat(cfg).items() if key not in free}


def fingerprint(cfg: CN) -> str:
    """Eight hexadecimal digits that tell settings and versions of this package apart, whatever the seed."""
    settings = comparable(cfg) | {"train.seed": 0, "version": version("torchreid_vi")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def keys() -> set[str]:
    """The names of all settings."""
    return set(flat(default_config()))


def short(cfg: CN, key: str) -> str:
    """A setting as a part of a run's name.

    >>> from torchreid_vi.config import default_config, short
    >>> short(default_config(), "data.maa")
    'maa=hue+wg+cc+sj'
    """
    value = flat(cfg)[key]
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key.rpartition('.')[2]}={re.sub(r'[^-+.0-9A-Za-z_]+', '_', text) or 'none'}"
