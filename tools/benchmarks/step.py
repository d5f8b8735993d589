"""A training step: the engine beside a bare loop, and what half precision, memory order and fusing change."""

from __future__ import annotations

import contextlib
import copy
import io
import shutil
import statistics
import tempfile
import time
from argparse import Namespace
from typing import Any

import torch

from benchmarks.figures import Figure

#: Settings that change the speed of a step, beside none of them.
KEYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "compile": {"train.compile": True},
    "bf16": {"train.precision": "bf16"},
    "channels_last": {"train.memory_format": "channels_last"},
    "bf16, channels_last": {"train.precision": "bf16", "train.memory_format": "channels_last"},
}


def run(args: Namespace) -> list[Figure]:
    """MCJA's step on batches that are ready: the engine's epoch and a loop of the same steps, in turns."""
    from torchreid_vi.data.synthetic import draw_dataset

    steps, rounds = (5, 3) if args.quick else (20, 7)
    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(io.StringIO()):
        draw_dataset(root, ids=40, images=6, folder="vi_synthetic")
        engine = _engine(args, root)
        batches = [batch for _, batch in zip(range(steps), engine.train_loader, strict=False)]
        ours, bare = _against_bare(engine, batches, rounds)
        compiles = shutil.which("c++") and not args.quick  # it takes longer than a quick look
        chosen = {name: keys for name, keys in KEYS.items() if compiles or name != "compile"}
        keyed = {name: _engine(args, root, **settings) for name, settings in chosen.items()}
        seconds: dict[str, list[float]] = {name: [] for name in keyed}
        for number in range(rounds + 1):
            for name, other in keyed.items():
                taken = _seconds(lambda data, other=other: other.forward_backward(data), batches)
                seconds[name] += [taken] if number else []
    images = len(batches) * args.batch_size
    overhead = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    figures = [
        Figure("engine, to a bare loop", overhead, "×", most=1.03),
        Figure("bare loop", images / statistics.median(bare), "img/s"),
    ]
    for name, taken in seconds.items():
        relative = statistics.median(a / b for a, b in zip(seconds["as it is"], taken, strict=True))
        figures.append(Figure(f"speed, {name}", relative, "×"))
    return figures


def _engine(args: Namespace, root: str, **settings: Any) -> Any:
    from torchreid_vi import build, load_config
    from torchreid_vi.engine import seed_everything

    gpu = torch.cuda.is_available()
    cfg = load_config(
        overrides={
            "model.name": args.backbone,
            "model.pretrained": False,
            "data.root": root,
            "data.height": args.size[0],
            "data.width": args.size[1],
            "data.workers": 0,
            "sampler.train_sampler": "CrossModalitySampler",
            "train.batch_size": args.batch_size,
            "train.precision": args.precision,
            "train.memory_format": "contiguous",
            "loss.terms": ["identity", "cmr"],
            "loss.weights": [1.0, 1.0],
        }
        | settings
    )
    seed_everything(1, 0)
    manager = build.build_datamanager(cfg, gpu)
    model = build.build_model(cfg, manager.num_train_pids)
    return build.build_engine(cfg, manager, model.cuda() if gpu else model, gpu)


class _Ready(list[Any]):
    """A loader of batches that are ready."""

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Give the same batches in every epoch."""


def _seconds(step: Any, batches: list) -> float:
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _against_bare(engine: Any, batches: list, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the engine's epochs over the batches, and of the same steps without it."""
    from torchreid_vi.losses.base import ReIDLoss

    model, losses = copy.deepcopy(engine.model), engine.losses
    optimizer = type(engine.optimizer)(model.parameters(), **engine.optimizer.defaults)
    model.train()

    def step(batch: dict[str, Any]) -> None:
        images, pids = (batch[key].to(engine.device) for key in ("img", "pid"))
        modality = batch["modality"]
        with engine.autocast():
            output = model(images, modality)
        values = [
            loss(getattr(output, ReIDLoss.on if name == "cmr" else "logits"), pids, modality)
            for name, (loss, _) in losses.items()
        ]
        optimizer.zero_grad()
        sum(values).backward()
        optimizer.step()

    ours, bare = [], []
    train = engine.train

    def one_epoch(*args: Any, **kwargs: Any) -> None:
        before = engine.cost["seconds"]
        train(*args, **kwargs)
        if engine.epoch:  # the first does not count
            ours.append(engine.cost["seconds"] - before)
            bare.append(_seconds(step, batches))
        else:
            _seconds(step, batches)

    engine.train, engine.train_loader, engine.test = one_epoch, _Ready(batches), lambda *args, **kwargs: 0.0
    with tempfile.TemporaryDirectory() as folder:
        engine.run(save_dir=folder, max_epoch=rounds + 1)
    return ours, bare
