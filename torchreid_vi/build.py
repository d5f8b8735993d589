"""From settings to objects: the tables of names, and the functions that build what a run needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from torchreid_vi import config, console, distributed, host
from torchreid_vi.data import DATASETS, VIDataManager
from torchreid_vi.data.samplers import BALANCED
from torchreid_vi.engine import (
    DDAGEngine,
    EngineMixin,
    MMGLEngine,
    PretrainingEngine,
    SoftmaxEngine,
    StepEngine,
    TripletEngine,
    VIEngine,
)
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation import Reranking
from torchreid_vi.losses import (
    CrossModalityRetrievalLoss,
    GraphIdentityLoss,
    HardTripletLoss,
    IdentityLoss,
    PartCycleContrastLoss,
    PartIdentityLoss,
    PermutationRecoveryLoss,
    WeightedTripletLoss,
)
from torchreid_vi.models import DDAGModel, MMGLModel, VIModel, torchreid_model

#: Losses by the names that ``loss.terms`` uses; each is called with its settings ``loss.<name>.*``, if any.
LOSSES: dict[str, Callable[..., nn.Module]] = {
    "identity": IdentityLoss,
    "hard_triplet": HardTripletLoss,
    "weighted_triplet": WeightedTripletLoss,
    "cmr": CrossModalityRetrievalLoss,
    "part_identity": PartIdentityLoss,
    "graph_identity": GraphIdentityLoss,
    "permutation": PermutationRecoveryLoss,
    "part_cycle": PartCycleContrastLoss,
}

#: Engines by the names that ``loss.name`` uses. One derived from ``StepEngine`` gets the losses of
#: ``loss.terms``.
ENGINES: dict[str, type[Any]] = {
    "vi": VIEngine,
    "ddag": DDAGEngine,
    "mmgl": MMGLEngine,
    "softmax": SoftmaxEngine,
    "triplet": TripletEngine,
}


def register() -> None:
    """Makes torchreid find our datasets and, as ``vi_<backbone>``, our model on each of its backbones."""
    for name, dataset in DATASETS.items():
        host.register_dataset(name, dataset)
    for name in [name for name in host.MODELS if not name.startswith("vi_")]:
        host.register_model(f"vi_{name}", partial(_vi_model, name))


def _vi_model(
    backbone: str, num_classes: int, loss: str = "softmax", pretrained: bool = True, use_gpu: bool = True
) -> VIModel:
    return VIModel(backbone, num_classes, pretrained=pretrained, loss=loss)


def build_datamanager(cfg: CfgNode, use_gpu: bool) -> VIDataManager:
    """Datasets, transforms, samplers and loaders."""
    supervised = not issubclass(_engine(cfg), PretrainingEngine)
    return VIDataManager(**config.data_kwargs(cfg, use_gpu), identities=supervised)


def build_model(cfg: CfgNode, num_classes: int) -> nn.Module:
    """The model that the engine of ``loss.name`` trains, from :data:`MODELS`."""
    build = next(MODELS[base] for base in _engine(cfg).__mro__ if base in MODELS)
    return build(cfg, num_classes, cfg.model.pretrained and not (cfg.model.load_weights or cfg.model.resume))


def _supervised(cfg: CfgNode, num_classes: int, pretrained: bool) -> nn.Module:
    return VIModel(cfg.model.name, num_classes, pretrained=pretrained, **config.model_kwargs(cfg))


def _ddag(cfg: CfgNode, num_classes: int, pretrained: bool) -> nn.Module:
    options = config.model_kwargs(cfg) | dict(cfg.model.ddag)
    return DDAGModel(cfg.model.name, num_classes, pretrained=pretrained, **options)


def _mmgl(cfg: CfgNode, num_classes: int, pretrained: bool) -> nn.Module:
    names = ("stripes", "part_dim", "parts", "shared_projection")
    return MMGLModel(
        cfg.model.name,
        cfg.data.height,
        cfg.data.width,
        streams=cfg.model.streams,
        last_stride=cfg.model.last_stride,
        pretrained=pretrained,
        **{name: cfg.mmgl[name] for name in names},
    )


def _torchreids(cfg: CfgNode, num_classes: int, pretrained: bool) -> nn.Module:
    loss = "triplet" if issubclass(_engine(cfg), TripletEngine) else "softmax"
    return torchreid_model(cfg.model.name, num_classes, pretrained, loss=loss)


#: What builds an engine's model from (settings, number of identities, whether to fetch ImageNet weights);
#: a derived engine without an entry has that of the nearest base.
MODELS: dict[type[Any], Callable[[CfgNode, int, bool], nn.Module]] = {
    VIEngine: _supervised,
    DDAGEngine: _ddag,
    MMGLEngine: _mmgl,
    EngineMixin: _torchreids,
}


def build_losses(cfg: CfgNode) -> dict[str, tuple[nn.Module, float]]:
    """The losses of ``loss.terms`` with their weights."""
    losses = {}
    for name, weight in zip(cfg.loss.terms, cfg.loss.weights, strict=True):
        if name not in LOSSES:
            raise unknown_name("loss in loss.terms", name, LOSSES)
        try:
            losses[name] = (LOSSES[name](**cfg.loss.get(name, {})), float(weight))
        except (ValueError, TypeError) as error:
            raise InputError(f"loss.{name}: {error}") from error
    return losses


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """torchreid's optimiser, in its fused form where it has one."""
    if cfg.train.optim not in (known := ("adam", "amsgrad", "sgd", "rmsprop", "radam")):
        raise unknown_name("optimiser in train.optim", cfg.train.optim, known)
    children = dict(model.named_children())
    for key, used in (("new_layers", cfg.train.staged_lr), ("open_layers", cfg.train.fixbase_epoch > 0)):
        for name in cfg.train[key] if used else ():
            if name not in children:
                raise unknown_name(f"layer in train.{key}", name, children)
        if used and not any(list(children[name].parameters()) for name in cfg.train[key]):
            raise InputError(
                f"train.{key} {list(cfg.train[key])} has no weights to train: name layers that have some"
            )
    with _said("the optimiser's settings"):
        optimizer = host.optim.build_optimizer(model, **config.optimizer_kwargs(cfg))
    if "fused" not in optimizer.defaults:
        return optimizer
    fused = {"fused": True, "foreach": False}
    return type(optimizer)([group | fused for group in optimizer.param_groups], **optimizer.defaults | fused)


def build_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
    """torchreid's schedule, with a linear warm-up from lr/warmup on top when ``train.warmup`` asks."""
    if cfg.train.lr_scheduler not in (known := ("single_step", "multi_step", "cosine")):
        raise unknown_name("schedule in train.lr_scheduler", cfg.train.lr_scheduler, known)
    warmup = None
    if cfg.train.warmup > 1:
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1 / cfg.train.warmup, total_iters=cfg.train.warmup - 1
        )
    with _said("the schedule's settings"):
        scheduler = host.optim.build_lr_scheduler(optimizer, **config.scheduler_kwargs(cfg))
    return torch.optim.lr_scheduler.ChainedScheduler([warmup, scheduler]) if warmup else scheduler


def build_engine(cfg: CfgNode, datamanager: Any, model: nn.Module, use_gpu: bool) -> Any:
    """The engine of ``loss.name`` around a model, with its optimiser, schedule and losses.

    PyTorch's choice of algorithms, which is one for the process, follows ``train.deterministic``.
    """
    torch.backends.cudnn.benchmark = use_gpu and not cfg.train.deterministic
    torch.use_deterministic_algorithms(cfg.train.deterministic, warn_only=True)
    cls = _engine(cfg)
    optimizer = build_optimizer(cfg, model)
    options = config.engine_kwargs(cfg) | {"scheduler": build_scheduler(cfg, optimizer), "use_gpu": use_gpu}
    options |= {"rerankings": build_rerankings(cfg)}
    if distributed.size() > 1:
        _check_many(cfg)
    if issubclass(cls, StepEngine):
        names = ("precision", "memory_format", "compile", "sync_bn", "clip_grad", "skip_nonfinite")
        options |= {"losses": build_losses(cfg)} | {name: cfg.train[name] for name in names}
    else:
        options |= {"label_smooth": cfg.loss.softmax.label_smooth}
        _say_what_is_ignored(cfg)
    if issubclass(cls, TripletEngine):
        options |= dict(cfg.loss.triplet)
    if issubclass(cls, MMGLEngine):
        options |= {"orders": cfg.mmgl.orders}
    with _said(f"the {cfg.loss.name} engine's settings"):
        return cls(datamanager, model, optimizer, **options)


def build_rerankings(cfg: CfgNode) -> list[Reranking]:
    """What ``test.rerank`` and ``test.mser`` report beside the plain figures."""
    chosen = []
    if cfg.test.rerank:
        chosen.append(Reranking("k-reciprocal", **cfg.rerank))
    if cfg.test.mser:
        chosen.append(Reranking("MSER", expand=False, spectra=True, **cfg.mser))
    return chosen


def _check_many(cfg: CfgNode) -> None:
    """What several processes cannot do together."""
    if not issubclass(_engine(cfg), StepEngine):
        raise InputError(
            f"torchreid's {cfg.loss.name} engine trains in one process: start it without torchrun"
        )
    if cfg.model.streams == 2 and cfg.sampler.train_sampler not in BALANCED:
        raise InputError(
            "model.streams 2 needs both modalities in every process: set sampler.train_sampler to "
            f"{' or '.join(BALANCED)}"
        )
    if cfg.train.fixbase_epoch > 0:
        raise InputError("train.fixbase_epoch is for one process: set it to 0, or start without torchrun")


def _say_what_is_ignored(cfg: CfgNode) -> None:
    """Names the settings of our engine that were changed although torchreid's is chosen."""
    if cfg.data.k_tfm > 1:
        raise InputError(f"data.k_tfm is {cfg.data.k_tfm}: torchreid's engines take one view, set it to 1")
    ours = (
        "model.streams",
        "model.pooling",
        "model.last_stride",
        "train.precision",
        "train.memory_format",
        "train.compile",
        "train.sync_bn",
        "train.clip_grad",
        "loss.terms",
    )
    chosen, defaults = config.resumable(cfg), config.resumable(config.default_config())
    changed = [key for key in ours if chosen[key] != defaults[key]]
    if changed:
        console.say(f"torchreid's {cfg.loss.name} engine has no use for {', '.join(changed)}")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turns what torchreid and PyTorch raise for values they refuse into a sentence."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, AssertionError) as error:
        reason = str(error) or "out of range"
        raise InputError(f"{what} cannot be used: {reason}") from error


def _engine(cfg: CfgNode) -> type[EngineMixin]:
    if cfg.loss.name not in ENGINES:
        raise unknown_name("engine in loss.name", cfg.loss.name, ENGINES)
    return ENGINES[cfg.loss.name]
