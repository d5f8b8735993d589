"""From settings to the plain arguments that the rest of the package takes."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.config.identity import resumable


def data_kwargs(cfg: CN, use_gpu: bool) -> dict[str, Any]:
    """Arguments of :class:`~torchreid_vi.data.VIDataManager`."""
    names = (
        "root sources targets height width interpolation transforms second_view k_tfm norm_mean norm_std "
        "split_id combineall load_train_targets workers cache maa modalities validation on_bad_image"
    )
    return (
        {name: cfg.data[name] for name in names.split()}
        | dict(cfg.sampler)
        | {
            "use_gpu": use_gpu,
            "seed": cfg.train.seed,
            "batch_size_train": cfg.train.batch_size,
            "batch_size_test": cfg.test.batch_size,
            "cuhk03_labeled": cfg.cuhk03.labeled_images,
            "cuhk03_classic_split": cfg.cuhk03.classic_split,
            "thermal_range": cfg.data.thermal_range or cfg.data.thermal_found,
            "vi_labelled": dict(cfg.vi_labelled),
            "market1501_500k": cfg.market1501.use_500k_distractors,
        }
    )


def model_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of :class:`~torchreid_vi.models.VIModel` but for its backbone, identities and weights."""
    names = ("streams", "pooling", "last_stride", "classifier_std", "neck_std", "blocks")
    chosen = cfg.model.get(cfg.model.blocks)
    options = dict(chosen) if isinstance(chosen, CN) else {}
    return {name: cfg.model[name] for name in names} | {"block_options": options}


def optimizer_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_optimizer``."""
    names = "optim lr weight_decay staged_lr new_layers base_lr_mult"
    return {name: cfg.train[name] for name in names.split()} | {
        "momentum": cfg.sgd.momentum,
        "sgd_dampening": cfg.sgd.dampening,
        "sgd_nesterov": cfg.sgd.nesterov,
        "rmsprop_alpha": cfg.rmsprop.alpha,
        "adam_beta1": cfg.adam.beta1,
        "adam_beta2": cfg.adam.beta2,
    }


def scheduler_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of ``torchreid.optim.build_lr_scheduler``."""
    return {name: cfg.train[name] for name in ["lr_scheduler", "stepsize", "gamma", "max_epoch"]}


def engine_kwargs(cfg: CN) -> dict[str, Any]:
    """What every engine takes beside the model and its data."""
    return {
        "seed": cfg.train.seed,
        "protocols": cfg.test.protocols,
        "flip": cfg.test.flip,
        "settings": resumable(cfg),
    }


def run_kwargs(cfg: CN) -> dict[str, Any]:
    """Arguments of an engine's ``run``."""
    train = ("max_epoch", "start_epoch", "fixbase_epoch", "open_layers")
    test = ("start_eval", "eval_freq", "dist_metric", "normalize_feature", "ranks", "rerank")
    visrank = ("visrank", "visrank_topk")
    return {
        **{name: cfg.train[name] for name in train},
        **{name: cfg.test[name] for name in test + visrank},
        "save_dir": cfg.data.save_dir,
        "test_only": cfg.test.evaluate,
        "use_metric_cuhk03": cfg.cuhk03.use_metric_cuhk03,
    }
