"""Refuse values of settings that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.config.defaults import flat
from torchreid_vi.errors import InputError


def check(cfg: CN) -> None:
    """Refuse values out of range, and settings that exclude each other.

    Raises:
        InputError: Naming the setting and the remedy.
    """
    if cfg.data.type != "image":
        raise InputError(f"data.type is {cfg.data.type}: only image is supported")
    if cfg.data.load_train_targets:
        raise InputError(
            "data.load_train_targets is True: domain adaptation is not supported, leave it False"
        )
    if len(cfg.loss.terms) != len(cfg.loss.weights):
        raise InputError(
            f"loss.terms has {len(cfg.loss.terms)} names and loss.weights {len(cfg.loss.weights)} numbers: "
            "give each term one weight"
        )
    for name in cfg.loss.terms:
        if cfg.loss.terms.count(name) > 1:
            raise InputError(
                f"loss.terms names {name} more than once: name it once, with the sum of its weights"
            )
    values = flat(cfg)
    for key, (known, valid) in _RANGES.items():
        if not valid(values[key]):
            raise InputError(f"{key} is {values[key]}: it must be {known}")
    if cfg.test.evaluate and (cfg.model.resume or not cfg.model.load_weights):
        raise InputError(
            "to evaluate only, name the weights in model.load_weights, and leave model.resume empty"
        )
    if cfg.model.resume and cfg.model.load_weights:
        raise InputError("model.resume and model.load_weights are both set: leave one of them empty")


def _at_least(least: int, *keys: str) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    return {key: (f"at least {least}", lambda value: value >= least) for key in keys}


_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **_at_least(1, "test.batch_size", "sampler.num_instances", "data.k_tfm"),
    **_at_least(2, "train.batch_size"),  # for batch normalisation
    # of pixels, which a model's memory has to hold
    **{key: ("from 1 to 8192", lambda value: 1 <= value <= 8192) for key in ("data.height", "data.width")},
    **_at_least(1, "model.non_local.width", "model.mda.contexts"),
    **_at_least(0, "data.workers", "train.max_epoch", "train.warmup", "train.seed"),
    **_at_least(0, "train.clip_grad", "train.skip_nonfinite", "train.base_lr_mult"),
    **_at_least(0, "model.classifier_std", "model.neck_std"),
    **{key: ("above 0", lambda value: value > 0) for key in ("train.lr", "train.gamma")},
    "rmsprop.alpha": ("from 0 to 1", lambda value: 0 <= value <= 1),
    "loss.weights": ("numbers of at least 0", lambda value: min(value, default=0) >= 0),
    "data.validation": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "data.thermal_range": (
        "empty, or two numbers, of which the second is larger",
        lambda value: not value or (len(value) == 2 and value[0] < value[1]),
    ),
    "data.norm_mean": ("three numbers", lambda value: len(value) == 3),
    "data.norm_std": ("three numbers above 1e-6", lambda value: len(value) == 3 and min(value) > 1e-6),
    "test.dist_metric": ("euclidean or cosine", lambda value: value in ("euclidean", "cosine")),
    "train.start_epoch": ("0, model.resume sets it", lambda value: value == 0),
    "train.stepsize": ("a list of epochs, from 1", lambda value: min(value, default=0) >= 1),
}
