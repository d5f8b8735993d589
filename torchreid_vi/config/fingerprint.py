"""Compare runs by their settings, and name them after settings."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.config.defaults import (
    EVALUATION,
    NOTHING,
    SETTINGS,
    TRAINING,
    Affects,
    default_config,
    flat,
)


def resumable(cfg: CN) -> dict[str, Any]:
    """Return the settings that a run and its continuation share: those that change what is trained."""
    found = _affecting(cfg, TRAINING)
    if cfg.train.lr_scheduler != "cosine":  # the only schedule that depends on the last epoch
        del found["train.max_epoch"]
    return found


def comparable(cfg: CN) -> dict[str, Any]:
    """Return the settings that two runs with the same metrics share: all but places, and what only costs time."""
    return _affecting(cfg, *(set(Affects) - {NOTHING}))


def evaluation(cfg: CN) -> dict[str, Any]:
    """Return the settings that a run and an evaluation of it need not share."""
    return _affecting(cfg, EVALUATION)


def _affecting(cfg: CN, *what: Affects) -> dict[str, Any]:
    affects = {key: setting.affects for key, setting in SETTINGS.items()}  # and losses and methods: training
    return {key: value for key, value in flat(cfg).items() if affects.get(key, TRAINING) in what}


def fingerprint(cfg: CN) -> str:
    """Return eight hex digits that tell settings and versions of this package apart, whatever the seed."""
    settings = comparable(cfg) | {"train.seed": 0, "version": version("torchreid_vi")}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def keys() -> set[str]:
    """Return the names of all settings."""
    return set(flat(default_config()))


def short(cfg: CN, key: str) -> str:
    """Return a setting as a part of a run's name.

    >>> from torchreid_vi.config import default_config, short
    >>> short(default_config(), "data.maa")
    'maa=hue+wg+cc+sj'
    """
    value = flat(cfg)[key]
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{key.rpartition('.')[2]}={re.sub(r'[^-+.0-9A-Za-z_]+', '_', text) or 'none'}"
