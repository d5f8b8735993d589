"""Supervised training with any losses: Base, AGW, CAJ and MCJA differ in their settings alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchreid_vi.methods.method import (
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    gathered,
    register_method,
)
from torchreid_vi.models import VIModel, VIOutput


class Supervised(Method):
    """A :class:`~torchreid_vi.models.VIModel` with a weighted sum of losses.

    Args:
        settings: Settings of the network.
        losses: Losses by name, each with its weight.
    """

    def __init__(self, settings: NetworkSettings, losses: WeightedLosses) -> None:
        super().__init__(VIModel(**network_arguments(settings)), losses, VIOutput._fields)

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        outputs, pids, modality = gathered(self.predict(batch), batch.pids, batch.modality)
        losses = self.loss_values(outputs, lambda field: (pids, modality))
        return losses, {"acc": accuracy(outputs.logits, pids)}

    def predict(self, batch: Batch) -> Any:
        """Return the network's output for a batch."""
        return self.network(batch.images, batch.rows)


def network_arguments(settings: NetworkSettings) -> dict[str, Any]:
    """Return the arguments of a :class:`~torchreid_vi.models.VIModel`."""
    names = ("backbone", "streams", "last_stride", "pretrained")
    return (
        {name: getattr(settings, name) for name in names}
        | {"num_classes": settings.identities}
        | settings.head
    )


def accuracy(logits: Tensor, pids: Tensor) -> Tensor:
    """Return the percentage of images (B,) that the logits (B, identities) classify rightly."""
    return 100 * (logits.argmax(1) == pids).float().mean()


register_method("supervised", Supervised)
