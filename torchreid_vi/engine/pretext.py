"""Evaluate the pretext of a self-supervised method, and save its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from torchreid_vi import console
from torchreid_vi.data.loader import TestLoader
from torchreid_vi.methods import Method
from torchreid_vi.models import save_backbone

BACKBONE = "backbone.pth"


class PretextResult(NamedTuple):
    """Metrics of a pretext.

    Attributes:
        images: Number of held-out images.
        scores: Metrics by name.
    """

    images: int
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``results.json`` says of it."""
        return {"pretext": self.scores, "held_out_images": self.images}

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        return f"{scores} on {self.images} held-out images"


@torch.inference_mode()
def measure_pretext(method: Method, loaders: Sequence[TestLoader], device: torch.device) -> PretextResult:
    """Evaluate a method's pretext, with the same random numbers at every call; its network evaluates."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        scores = method.evaluate_pretext(
            (batch["img"].to(device), batch["modality"].to(device))
            for loader in loaders
            for batch in console.progress(loader, "held-out images", "batch", leave=False)
        )
    return PretextResult(sum(len(loader.dataset) for loader in loaders), scores)


def save_pretrained(method: Method, path: Path, datamanager: Any, about: dict[str, Any]) -> None:
    """Write the backbone of a method, and beside it what it was trained by and on."""
    by: dict[str, Any] = {"method": type(method).__name__}
    by["losses"] = {name: weight for name, (_, weight) in method.losses.items()}
    by["sources"] = list(datamanager.sources)
    by["training_images"] = len(datamanager.train_loader.dataset)
    save_backbone(method.network, path, by | about)
