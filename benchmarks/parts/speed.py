"""Measure how fast a device trains and embeds: bare steps on one batch, and the package's loader and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Sampler
from yacs.config import CfgNode

from parts.stopwatch import BLOCKS, Speed, Stopwatch, number_of_steps, quietly
from torchreid_vi import build, config
from torchreid_vi.data.loader import TestLoader
from torchreid_vi.engine.precision import dtype_of, memory_format_of
from torchreid_vi.models import Backbone

IDENTITIES = 395  # SYSU-MM01's, which the classifiers have rows for


class TwoStreams(nn.Module):
    """A two-stream backbone, the mean of its maps, and a linear layer: (B, number of identities)."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.backbone = Backbone(cfg.model.name, cfg.model.streams, cfg.model.last_stride)
        self.classifier = nn.Linear(self.backbone.channels, IDENTITIES)

    def forward(self, images: Tensor, modality: Tensor, pids: Tensor) -> Tensor:
        return self.classifier(self.backbone(images, modality).mean((2, 3)))


class Logits(nn.Module):
    """A method's own network, of which a bare step trains the identity scores (B, number of identities)."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.model = build.build_method(cfg, IDENTITIES).network
        self.labelled = cfg.loss.name == "ddag"

    def forward(self, images: Tensor, modality: Tensor, pids: Tensor) -> Tensor:
        return self.model(images, modality, *[pids] * self.labelled).logits


@quietly()
def bare_step(cfg: CfgNode, block: int, best: bool = True, compiled: bool = False) -> Speed:
    """Measure forward, cross-entropy, backward and Adam on one random batch that is on the device.

    Args:
        cfg: Settings of the method.
        block: Steps of a block.
        best: With channels last, on a GPU, and a fused optimiser.
        compiled: Under torch.compile.
    """
    device = _device()
    memory_format = memory_format_of("auto", device) if best else torch.contiguous_format
    model = (TwoStreams if cfg.loss.name == "mmgl" else Logits)(cfg).to(device, memory_format=memory_format)
    if compiled:
        model.compile()
    optimizer = torch.optim.Adam(model.parameters(), cfg.train.lr, fused=best or None)
    images, modality = _batch(cfg, cfg.train.batch_size, memory_format)
    pids = torch.arange(len(images), device=device) // 8
    dtype = precision(cfg)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            logits = model(images, modality, pids)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), pids).backward()
        optimizer.step()

    return _repeated(step, block, len(images))


@quietly()
def bare_inference(cfg: CfgNode, engine: Any, block: int) -> Speed:
    """Measure an engine's model in evaluation on one random batch that is on the device."""
    images, modality = _batch(cfg, cfg.test.batch_size, engine.step.memory_format)
    engine.set_model_mode("eval")

    @torch.inference_mode()
    def step() -> None:
        engine.evaluator.embedder(images, modality)

    return _repeated(step, block, len(images))


def _repeated(step: Callable[[], None], block: int, images: int) -> Speed:
    """Measure a step that is taken again and again, with cuDNN's fastest algorithms."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    stopwatch = Stopwatch(_device(), block)
    for _ in range(number_of_steps(block)):
        stopwatch.start_step()
        step()
    torch.backends.cudnn.benchmark = before
    return stopwatch.speed(images)


def _batch(cfg: CfgNode, number: int, memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Return random images (B, 3, H, W) on the device, and their modality (B,) on the CPU."""
    images = torch.randn(number, 3, cfg.data.height, cfg.data.width, device=_device())
    return images.contiguous(memory_format=memory_format), torch.arange(number) % 2


def precision(cfg: CfgNode) -> torch.dtype:
    """Return what a run of these settings computes in."""
    return dtype_of(cfg.train.precision, _device())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# The package


class Long(Sampler[int]):
    """One epoch of a number of batches, of whole batches of a sampler's epochs."""

    def __init__(self, sampler: Sampler[int], batch_size: int, batches: int) -> None:
        self.sampler, self.batch_size, self.batches = sampler, batch_size, batches

    def __iter__(self) -> Iterator[int]:
        def epoch() -> list[int]:
            indices = list(self.sampler)
            return indices[: len(indices) // self.batch_size * self.batch_size]

        return islice(chain.from_iterable(epoch() for _ in repeat(None)), len(self))

    def __len__(self) -> int:
        return self.batch_size * self.batches


@quietly()
def build_datamanager(cfg: CfgNode, block: int) -> Any:
    """Return the data of a method's settings; an epoch has as many steps as a stopwatch needs."""
    manager = build.build_datamanager(cfg, torch.cuda.is_available())
    loader = manager.train_loader
    loader.sampler = Long(loader.sampler, loader.batch_size, number_of_steps(block))
    return manager


@quietly()
def pipeline(manager: Any, block: int, threads: int = 0) -> Speed:
    """Measure the training batches, which nothing trains on.

    Args:
        manager: From :func:`build_datamanager`.
        block: Steps of a block.
        threads: Threads that PyTorch computes with; as many as it has if 0.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    stopwatch = Stopwatch(manager.train_loader.source.device, block)
    for _ in manager.train_loader:
        stopwatch.start_step()
    torch.set_num_threads(before)
    return stopwatch.speed(manager.train_loader.batch_size)


@quietly()
def training(cfg: CfgNode, manager: Any, block: int) -> tuple[Speed, Any]:
    """Measure the steps of an engine's run; return the engine, too."""
    gpu = torch.cuda.is_available()
    method = build.build_method(cfg, IDENTITIES)
    engine = build.build_engine(cfg, manager, method.cuda() if gpu else method, gpu)
    stopwatch, take = Stopwatch(engine.step.device, block), engine.forward_backward

    def step(data: Any) -> Any:
        stopwatch.start_step()
        return take(data)

    engine.forward_backward, engine.test = step, lambda *_, **__: 0.0
    with TemporaryDirectory() as folder:
        engine.run(**config.run_kwargs(cfg) | {"save_dir": folder, "max_epoch": 1})
    return stopwatch.speed(manager.train_loader.batch_size), engine


@quietly()
def extraction(cfg: CfgNode, engine: Any, block: int) -> Speed:
    """Measure extractions of the features of as many batches as five blocks have."""
    train = engine.datamanager.train_loader.source
    number = BLOCKS * block * cfg.test.batch_size
    items = list(islice(chain.from_iterable(repeat(train.dataset.data)), number))
    source = train.of(train.dataset.with_items(items))
    loader = TestLoader(source, cfg.test.batch_size, engine.datamanager.normalise)
    engine.set_model_mode("eval")
    stopwatch = Stopwatch(engine.step.device, 1)
    for _ in range(4):  # the first warms up
        stopwatch.start_step()
        engine.evaluator.features([loader])
    stopwatch.start_step()
    whole = stopwatch.speed(number)
    return Speed(cfg.test.batch_size, whole.seconds / len(loader), whole.memory)
