"""Turn settings into the plain arguments that the rest of the package takes."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode as CN

from torchreid_vi.methods import NetworkSettings


def data_kwargs(cfg: CN, use_gpu: bool) -> dict[str, Any]:
    """Return the arguments of :class:`~torchreid_vi.data.VIDataManager`."""
    names = (
        "root sources targets height width interpolation transforms second_view k_tfm norm_mean norm_std "
        "split_id combineall workers cache maa modalities validation"
    )
    return (
        {name: cfg.data[name] for name in names.split()}
        | {name: value for name, value in cfg.sampler.items() if name != "train_sampler_t"}
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


def network_settings(cfg: CN, identities: int) -> NetworkSettings:
    """Return the settings of a method's network."""
    names = ("pooling", "classifier_std", "neck_std", "blocks")
    chosen = cfg.model.get(cfg.model.blocks)
    options = dict(chosen) if isinstance(chosen, CN) else {}
    return NetworkSettings(
        backbone=cfg.model.name,
        identities=identities,
        height=cfg.data.height,
        width=cfg.data.width,
        pretrained=cfg.model.pretrained and not (cfg.model.load_weights or cfg.model.resume),
        streams=cfg.model.streams,
        last_stride=cfg.model.last_stride,
        head={name: cfg.model[name] for name in names} | {"block_options": options},
    )


def optimizer_kwargs(cfg: CN) -> dict[str, Any]:
    """Return the arguments of ``torchreid.optim.build_optimizer``."""
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
    """Return the arguments of ``torchreid.optim.build_lr_scheduler``."""
    return {name: cfg.train[name] for name in ["lr_scheduler", "stepsize", "gamma", "max_epoch"]}


def step_kwargs(cfg: CN) -> dict[str, Any]:
    """Return the options of :class:`~torchreid_vi.engine.step.OptimisationStep`."""
    names = ("precision", "memory_format", "compile", "sync_bn", "clip_grad")
    return {name: cfg.train[name] for name in names} | {"restores": cfg.train.skip_nonfinite > 0}


def run_kwargs(cfg: CN) -> dict[str, Any]:
    """Return the arguments of an engine's ``run``."""
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
