"""Build the objects of a run from its settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from torchreid_vi import config, distributed, host
from torchreid_vi.data import DATASETS, VIDataManager
from torchreid_vi.data.shares import BALANCED
from torchreid_vi.engine import VIEngine
from torchreid_vi.engine.evaluator import Evaluator
from torchreid_vi.engine.step import OptimisationStep
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation import Reranking
from torchreid_vi.losses import LOSSES
from torchreid_vi.methods import METHODS, Method, WeightedLosses
from torchreid_vi.methods.embedder import Embedder
from torchreid_vi.models import VIModel
from torchreid_vi.models.half import HalfResNet18


def register() -> None:
    """Make torchreid find our datasets, our backbone and, as ``vi_<backbone>``, our model on each backbone."""
    for name, dataset in DATASETS.items():
        host.register_dataset(name, dataset)
    host.register_model("resnet18_half", HalfResNet18)
    for name in [name for name in host.MODELS if not name.startswith("vi_")]:
        host.register_model(f"vi_{name}", partial(_vi_model, name))


def _vi_model(
    backbone: str, num_classes: int, loss: str = "softmax", pretrained: bool = True, use_gpu: bool = True
) -> VIModel:
    return VIModel(backbone, num_classes, pretrained=pretrained, loss=loss)


def build_datamanager(cfg: CfgNode, use_gpu: bool) -> VIDataManager:
    """Return the manager of datasets, transforms, samplers and loaders."""
    return VIDataManager(**config.data_kwargs(cfg, use_gpu), identities=not method_class(cfg).self_supervised)


def method_class(cfg: CfgNode) -> type[Any]:
    """Return the class of the method of ``loss.name``."""
    if cfg.loss.name not in METHODS:
        raise unknown_name("method in loss.name", cfg.loss.name, METHODS)
    return METHODS[cfg.loss.name]


def build_method(cfg: CfgNode, identities: int) -> Method:
    """Return the method of ``loss.name`` with its network and losses.

    Args:
        cfg: Settings.
        identities: Number of training identities.
    """
    kind = method_class(cfg)
    options: dict[str, Any] = {}
    for section in (*kind.takes, cfg.loss.name):
        options |= cfg.loss.get(section, {})
    network, losses = config.network_settings(cfg, identities), build_losses(cfg)
    with _said(f"loss.{cfg.loss.name}"):
        method: Method = kind(network, losses, **options)
    return method


def build_losses(cfg: CfgNode) -> WeightedLosses:
    """Return the losses of ``loss.terms`` with their weights."""
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
    """Return torchreid's optimiser, in its fused form where it has one."""
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
    if "fused" not in optimizer.defaults or optimizer.defaults.get("dampening"):
        return optimizer
    fused = {"fused": True, "foreach": False}
    return type(optimizer)([group | fused for group in optimizer.param_groups], **optimizer.defaults | fused)


def build_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
    """Return torchreid's schedule, with a linear warm-up from lr/warmup on top when ``train.warmup`` asks."""
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


def build_engine(cfg: CfgNode, datamanager: Any, method: Method, use_gpu: bool) -> VIEngine:
    """Return the engine that trains and evaluates a method, with its optimiser and schedule.

    PyTorch's choice of algorithms, which is one for the process, follows ``train.deterministic``.
    """
    if cfg.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS reads when it starts
    torch.backends.cudnn.benchmark = use_gpu and not cfg.train.deterministic
    torch.use_deterministic_algorithms(cfg.train.deterministic, warn_only=True)
    if distributed.size() > 1:
        _check_many(cfg)
    optimizer = build_optimizer(cfg, method.network)
    scheduler = build_scheduler(cfg, optimizer)
    device = torch.device("cuda" if use_gpu and torch.cuda.is_available() else "cpu")
    step = OptimisationStep(method, optimizer, device, **config.step_kwargs(cfg))
    embedder = Embedder(method, cfg.test.flip, step.dtype)
    evaluator = Evaluator(embedder, cfg.test.protocols, build_rerankings(cfg))
    settings, skip = config.resumable(cfg), cfg.train.skip_nonfinite
    return VIEngine(datamanager, step, evaluator, scheduler, cfg.train.seed, settings, skip)


def build_rerankings(cfg: CfgNode) -> list[Reranking]:
    """Return the re-rankings of ``test.rerank`` and ``test.mser``."""
    chosen = []
    if cfg.test.rerank:
        chosen.append(Reranking("k-reciprocal", **cfg.rerank))
    if cfg.test.mser:
        chosen.append(Reranking("MSER", expand=False, spectra=True, **cfg.mser))
    return chosen


def _check_many(cfg: CfgNode) -> None:
    """Refuse settings that several processes cannot share."""
    if cfg.model.streams == 2 and cfg.sampler.train_sampler not in BALANCED:
        raise InputError(
            "model.streams 2 needs both modalities in every process: set sampler.train_sampler to "
            f"{' or '.join(BALANCED)}"
        )
    if cfg.train.fixbase_epoch > 0:
        raise InputError("train.fixbase_epoch is for one process: set it to 0, or start without torchrun")


@contextmanager
def _said(what: str) -> Iterator[None]:
    """Turn what torchreid and PyTorch raise for values they refuse into a sentence."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, AssertionError) as error:
        reason = str(error) or "out of range"
        raise InputError(f"{what} cannot be used: {reason}") from error
