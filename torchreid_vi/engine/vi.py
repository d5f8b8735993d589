"""Supervised visible-infrared training on torchreid's loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchreid_vi.engine.step import StepEngine, read_by
from torchreid_vi.modality import rows_of
from torchreid_vi.models import VIOutput


class VIEngine(StepEngine):
    """Trains a visible-infrared model with a weighted sum of losses.

    The model returns a :class:`~torchreid_vi.models.VIOutput` in training and an embedding (B, D) in
    evaluation. A loss reads the field of the output that its ``on`` names. The arguments are
    :class:`~torchreid_vi.engine.step.StepEngine`'s.
    """

    outputs: tuple[str, ...] = VIOutput._fields

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        """One step on a batch; returns each loss and the accuracy of the classifier in percent."""
        images, pids, modality = self.parse_data_for_train(data)
        with self.autocast():
            own = self.predict(images, modality, pids)
        outputs, pids, modality = self.whole(own, pids, modality)
        values = {
            name: loss(getattr(outputs, read_by(loss)), pids, modality)
            for name, (loss, _) in self.losses.items()
        }
        accuracy = 100 * (outputs.logits.argmax(1) == pids).float().mean()
        return self.step(values) | {"acc": accuracy}

    def predict(self, images: Tensor, modality: Tensor, pids: Tensor) -> Any:
        """Return what the model does in training for images (B, 3, H, W), their modality and identity (B,).

        The model is given the rows of either modality.
        """
        return self.network(images, rows_of(modality, self.device))

    def embed(self, images: Tensor, modality: Tensor) -> Tensor:
        return self.model(images, modality)

    def extract_features(self, input: Tensor) -> Tensor:
        """Features of a batch of one of torchreid's own datasets, all visible."""
        return self.embed(input, torch.zeros(len(input), dtype=torch.long, device=input.device))
