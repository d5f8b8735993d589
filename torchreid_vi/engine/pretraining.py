"""Self-supervised pre-training on torchreid's loop: no identity is read, a backbone is left behind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchreid_vi import console, distributed
from torchreid_vi.engine.step import StepEngine
from torchreid_vi.errors import InputError
from torchreid_vi.models import save_backbone

BACKBONE = "backbone.pth"


class PretextResult(NamedTuple):
    """How well a pretext is solved.

    Attributes:
        images: number of held-out images.
        scores: by name.
    """

    images: int
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """What ``results.json`` says of it."""
        return {"pretext": self.scores, "held_out_images": self.images}

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        return f"{scores} on {self.images} held-out images"


class PretrainingEngine(StepEngine):
    """What pretexts share: they are judged on held-out images and leave ``backbone.pth``.

    After each epoch and in place of the test, :meth:`judge` measures the pretext on the images that
    ``data.validation`` holds out. ``backbone.pth``, written after each epoch, holds the weights of
    ``model.backbone`` alone and starts any model of that backbone; ``backbone.json`` says what it is.

    A subclass implements ``forward_backward`` and :meth:`judge`.

    Args:
        *args: those of :class:`~torchreid_vi.engine.step.StepEngine`.
        **kwargs: likewise.

    Raises:
        InputError: when no image is held out.
    """

    results: list[Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.datamanager.val_loader:
            raise InputError(
                "data.validation is 0: pre-training is judged on held-out images, set it to a share such as 0.05"
            )

    def check_targets(self) -> set[str]:
        """Nothing is retrieved, so there is nothing to check."""
        return set()

    def test(self, *args: Any, **kwargs: Any) -> float:
        """Measures the pretext, in the first process; returns its first score as a share."""
        if distributed.rank():
            return 0.0
        result = self._measure()
        self.results = [result]
        console.result(f"Pretext: {result}")
        return next(iter(result.scores.values())) / 100

    def judge(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Scores of the pretext on held-out images, first the one that tells most, in percent.

        The model is in evaluation mode, and the generators are seeded alike at every call.

        Args:
            batches: images (B, 3, H, W) and their modality (B,), on the engine's device.
        """
        raise NotImplementedError

    def _validate(self) -> None:
        if distributed.rank():
            return
        result = self._measure()
        self.results = [result]
        console.say(f"Epoch {self.epoch + 1}: {result}")
        for name, value in result.scores.items():
            if self.writer is not None:
                self.writer.add_scalar(f"Pretext/{name}", value, self.epoch)

    @torch.inference_mode()
    def _measure(self) -> PretextResult:
        self.set_model_mode("eval")
        loaders = self.datamanager.val_loader.values()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            scores = self.judge(
                (batch["img"].to(self.device), batch["modality"].to(self.device))
                for loader in loaders
                for batch in console.progress(loader, "held-out images", "batch", leave=False)
            )
        return PretextResult(sum(len(loader.dataset) for loader in loaders), scores)

    def save_model(self, epoch: int, rank1: float | None, save_dir: Any, is_best: bool = False) -> None:
        """Writes ``checkpoints/last.pth`` and ``backbone.pth``, in the first process."""
        if distributed.rank():
            return
        super().save_model(epoch, rank1, save_dir, is_best)
        about = {
            "engine": type(self).__name__,
            "sources": list(self.datamanager.sources),
            "training_images": len(self.datamanager.train_loader.dataset),
            "epochs": epoch + 1,
            "seed": self.seed,
            "losses": {name: weight for name, (_, weight) in self.losses.items()},
        }
        about |= self.results[-1].as_dict()
        save_backbone(self.model, self.save_dir / BACKBONE, about)
