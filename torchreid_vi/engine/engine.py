"""Engine on torchreid's ``run``, with our loop over an epoch's steps, for any method."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchreid_vi import console, distributed, host, stopping
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.engine.checkpoint import BEST, CHECKPOINTS, LAST, Checkpoints, Progress
from torchreid_vi.engine.evaluator import Evaluator
from torchreid_vi.engine.logs import EventFile, TrainingLog
from torchreid_vi.engine.pretext import BACKBONE, measure_pretext, save_pretrained
from torchreid_vi.engine.readback import Readback, Step, small_images_refused
from torchreid_vi.engine.step import OptimisationStep
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import RANKS, format_table
from torchreid_vi.methods import Batch
from torchreid_vi.seeds import seed_everything

log = logging.getLogger(__name__)


class VIEngine(host.engine.Engine):  # type: ignore[misc]
    """Trains and evaluates a method in torchreid's ``run``.

    Every step begins by seeding all generators from the run's seed, the epoch and the step; every epoch ends with
    ``checkpoints/last.pth``; the one before it stays as ``previous.pth``. A signal that ends the run lets the
    step under way finish and saves it, too. So a run that was cut off and resumed is the run that was not. With a
    held-out validation split, ``checkpoints/best.pth`` is the epoch of the highest mAP on it, infrared
    against visible by the cosine; test data choose nothing. A self-supervised method is judged by its pretext on
    that split, after each epoch and in place of the test, and leaves ``backbone.pth``, which starts any model of
    that backbone.

    The values of a step are read when the next one has been enqueued, and their means are logged after each epoch.
    A step whose loss or gradient is NaN or infinite is reported then.

    Args:
        datamanager: A :class:`~torchreid_vi.data.VIDataManager`.
        step: Trains a method by a step, on the device that it is on.
        evaluator: Evaluates the same method.
        scheduler: Schedule of the learning rate, stepped once an epoch; may be None.
        seed: Seed of the run.
        settings: Settings that a run which continues this one has to share; kept in its checkpoints.
        skip_nonfinite: Number of steps of a run that may be left out because a loss or the gradient is NaN or
            infinite; the next one stops it. In fp16, what the scale of the loss made overflow does not count.

    Raises:
        InputError: When a self-supervised method has no held-out images.
    """

    def __init__(
        self,
        datamanager: Any,
        step: OptimisationStep,
        evaluator: Evaluator,
        scheduler: Any = None,
        seed: int = 1,
        settings: dict[str, Any] | None = None,
        skip_nonfinite: int = 0,
    ) -> None:
        super().__init__(datamanager, use_gpu=step.device.type == "cuda")
        self.method, self.model, self.step, self.evaluator = step.method, step.method.network, step, evaluator
        if self.method.self_supervised and not datamanager.val_loader:
            raise InputError(
                "data.validation is 0: pre-training is judged on held-out images, set it to a share such as 0.05"
            )
        self.register_model("model", self.model, step.optimizer, scheduler)
        self.checkpoints = Checkpoints(step, scheduler, settings or {})
        self.progress = Progress()
        self.seed, self.skip_nonfinite = seed, skip_nonfinite
        self.save_dir = Path("log")
        self.results: list[Any] = []  # Result, or of a self-supervised method PretextResult
        self.log = TrainingLog()

    def run(self, save_dir: str = "log", max_epoch: int = 0, start_epoch: int = 0, **kwargs: Any) -> None:
        """torchreid's ``run``; every argument is its."""
        self.save_dir = Path(save_dir)
        self.epoch = start_epoch - 1  # stays so when the run to resume was already complete
        training = not kwargs.get("test_only")
        events = EventFile(self.save_dir, start_epoch) if training else None
        self.writer = self.log.events = events
        total = max(max_epoch - start_epoch, 0) * len(self.train_loader) if training else 0
        with (
            closing(events) if events else nullcontext(),
            console.progress(what="training", unit="step", total=total) as self.bar,
            small_images_refused(),
        ):
            self.bar.update(self.progress.step)
            super().run(save_dir=save_dir, max_epoch=max_epoch, start_epoch=start_epoch, **kwargs)
        self.writer = self.log.events = None

    def train(
        self, print_freq: int = 0, fixbase_epoch: int = 0, open_layers: Sequence[str] | None = None
    ) -> None:
        """Train for an epoch, as torchreid's ``run`` asks; ``print_freq`` has no effect."""
        self.set_model_mode("train")
        self.two_stepped_transfer_learning(self.epoch, fixbase_epoch, open_layers)
        # Where processes work together, torchrun sends the signals, and a single one cannot finish a step.
        with stopping.handled() if distributed.size() == 1 else nullcontext():
            images, seconds = self._take_steps()
            progress = self.progress
            progress.epoch, progress.images = self.epoch, progress.images + images
            progress.seconds += seconds
            if stopping.requested():
                self.checkpoints.save(self.save_dir, LAST, progress)
                log.info(f"Saved after {progress.step} steps of epoch {self.epoch + 1}")
                return
            # Some samplers promise more batches than they draw.
            self.bar.total = self.bar.n + (self.max_epoch - self.epoch - 1) * progress.step
            speed = {
                "lr": self.get_current_lr(),
                "images_per_second": images / seconds if images else math.nan,
            }
            means = progress.end_epoch()
            self.update_lr()
            held_out = self._validate() if self.datamanager.val_loader else ""
            self.log.epoch(self.epoch, self.max_epoch, means, speed, held_out)
            self.save_model(self.epoch, None, self.save_dir)

    def _take_steps(self) -> tuple[int, float]:
        """Take the steps of the epoch that are left, until a signal comes; return images and seconds."""
        if not self.progress.step:
            self.method.begin_epoch()
        begun, images, readback = time.perf_counter(), 0, Readback()
        self.train_loader.set_epoch(self.epoch, self.progress.step)
        for data in self.train_loader:
            seed_everything(self.seed, self.epoch, self.progress.step)
            values = self.forward_backward(data)
            self.progress.step += 1
            self._count(readback.push(self.progress.step, data["impath"], values))
            images += len(data["pid"]) * distributed.size()
            self.bar.update()
            if stopping.requested():
                break
        self._count(readback.pop())
        return images, time.perf_counter() - begun

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Tensor]:
        """Take one step on what the loader gives; return its values, scalar tensors by name."""
        return self.step(Batch.of(data, self.step.device, self.step.memory_format))

    def _count(self, step: Step | None) -> None:
        """Add the values of a step to the epoch's sums; report a step that is not finite.

        Raises:
            InputError: When more than ``skip_nonfinite`` steps are not.
        """
        if step is None or self.progress.count(step.values):
            return
        said = f"epoch {self.epoch + 1}, {step.fault()}"
        if self.progress.skipped <= self.skip_nonfinite:
            log.info(f"Left out {said}")
            return
        last = self.save_dir / CHECKPOINTS / LAST
        onward = f" and continue with model.resume {last}" if last.is_file() else ""
        raise InputError(f"{said}; set train.skip_nonfinite{onward}, or start again with a lower train.lr")

    def _validate(self) -> str:
        """Evaluate what is held out, keep the best epoch, and return what to log of it."""
        self.set_model_mode("eval")
        if self.method.self_supervised:
            if distributed.rank():
                return ""
            self._measure_pretext()
            self.log.plot("Pretext", self.results[0].scores, self.epoch)
            return str(self.results[0])
        result = self.evaluator.validate(*self.datamanager.val_loader.values())
        if result is None:
            return ""
        score = result.mean("mAP")
        self.log.plot("Validation", {"mAP": score}, self.epoch)
        if score > self.progress.best:
            self.progress.best = score
            self.checkpoints.save(self.save_dir, BEST, self.progress)
        return f"validation R1 {result.mean('R1'):.2f}, mAP {score:.2f} (best {self.progress.best:.2f})"

    def _measure_pretext(self) -> None:
        loaders = list(self.datamanager.val_loader.values())
        self.results = [measure_pretext(self.method, loaders, self.step.device)]

    def test(self, *args: Any, **kwargs: Any) -> float:
        """torchreid's ``test``, or that of a pretext; return a share, Rank-1 or the pretext's first score."""
        self.results = []
        if not self.method.self_supervised:
            rank1 = super().test(*args, **kwargs)
            if self.results:
                console.RESULTS.info(format_table(self.results))
            return float(rank1)
        if distributed.rank():
            return 0.0
        self.set_model_mode("eval")
        self._measure_pretext()
        console.RESULTS.info(f"Pretext: {self.results[0]}")
        return next(iter(self.results[0].scores.values())) / 100

    def _evaluate(
        self,
        dataset_name: str = "",
        query_loader: Any = None,
        gallery_loader: Any = None,
        dist_metric: str = "euclidean",
        normalize_feature: bool = False,
        **kwargs: Any,
    ) -> tuple[float, float]:
        if isinstance(query_loader.dataset, VIDataset):
            results = self.evaluator.evaluate(
                dataset_name, query_loader, gallery_loader, dist_metric, normalize_feature
            )
            self.results += results
            return (results[0].mean("R1") / 100, results[0].mean("mAP") / 100) if results else (0.0, 0.0)
        if distributed.rank():  # one of torchreid's own, under torchreid's own protocol
            return 0.0, 0.0
        largest = min(50, len(gallery_loader.dataset))  # torchreid computes no more
        kwargs["ranks"] = [k for k in kwargs.get("ranks", RANKS) if k <= largest]
        rank1, mean_ap = super()._evaluate(
            dataset_name, query_loader, gallery_loader, dist_metric, normalize_feature, **kwargs
        )
        console.RESULTS.info(f"{dataset_name}, by torchreid's protocol: R1 {rank1:.1%}, mAP {mean_ap:.1%}")
        return rank1, mean_ap

    def extract_features(self, input: Tensor) -> Tensor:
        """Return the features of a batch of one of torchreid's own datasets, all visible."""
        return self.method.embed(input, torch.zeros(len(input), dtype=torch.long, device=input.device))

    def save_model(
        self, epoch: int, rank1: float | None, save_dir: str | Path, is_best: bool = False
    ) -> None:
        """Write ``checkpoints/last.pth`` and, of a self-supervised method, ``backbone.pth``."""
        self.checkpoints.save(self.save_dir, LAST, self.progress, rank1)
        if self.method.self_supervised and not distributed.rank():
            about = {"epochs": epoch + 1, "seed": self.seed} | self.results[-1].as_dict()
            save_pretrained(self.method, self.save_dir / BACKBONE, self.datamanager, about)

    def resume(self, state: dict[str, Any]) -> int:
        """Continue from a checkpoint's content; return the number of whole epochs it has behind it.

        Raises:
            InputError: When it is not a checkpoint of this run.
        """
        self.progress = self.checkpoints.restore(state, len(self.train_loader))
        return self.progress.epoch
