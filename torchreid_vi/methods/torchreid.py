"""torchreid's own training, softmax and triplet, with its models, on our data and under our protocols.

Its losses are cross-entropy and the batch-hard triplet, here ours, which equal torchreid's. Where two features are
the same, torchreid's gradient of their distance is rounding noise, and ours is zero.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from torchreid_vi import distributed
from torchreid_vi.errors import InputError
from torchreid_vi.losses import HardTripletLoss, IdentityLoss
from torchreid_vi.methods.method import (
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    register_method,
)
from torchreid_vi.methods.supervised import accuracy
from torchreid_vi.models import torchreid_model

log = logging.getLogger(__name__)

_SMOOTHING = 0.1  # torchreid's


class TorchreidSoftmax(Method):
    """Cross-entropy of a torchreid model, as ``ImageSoftmaxEngine`` trains it; blind to modality.

    Args:
        settings: Settings of the network; streams, head and stride have no effect.
        losses: Losses of ``loss.terms``; they have no effect.
        label_smooth: Whether a tenth of the target is spread over all identities.
    """

    kind = "softmax"

    def __init__(self, settings: NetworkSettings, losses: WeightedLosses, label_smooth: bool = True) -> None:
        self._build(settings, losses, {"loss_x": (IdentityLoss(_SMOOTHING * label_smooth), 1.0)})

    def _build(
        self, settings: NetworkSettings, losses_of_terms: WeightedLosses, losses: WeightedLosses
    ) -> None:
        model = torchreid_model(settings.backbone, settings.identities, settings.pretrained, loss=self.kind)
        super().__init__(model, losses)
        usual = {"streams": 1, "last_stride": 2, "pooling": "gem", "blocks": ""}
        found = {"streams": settings.streams, "last_stride": settings.last_stride} | settings.head
        changed = [f"model.{name}" for name, value in usual.items() if found.get(name, value) != value]
        changed += ["loss.terms"] * bool(set(losses_of_terms) - {"identity"})
        if changed:
            log.info(f"torchreid's {self.kind} training has no use for {', '.join(changed)}")

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        logits, features = self._outputs(batch.images)
        *outputs, pids, modality = distributed.gather(*logits, *features, batch.pids, batch.modality)
        logits, features = outputs[: len(logits)], outputs[len(logits) :]
        values = {}
        for name, of in (("loss_t", features), ("loss_x", logits)):
            if name in self.losses:
                # Of several outputs it is the mean, by torchreid's deep supervision.
                values[name] = torch.stack([self.losses[name][0](each, pids, modality) for each in of]).mean()
        return values, {"acc": accuracy(logits[0], pids)}

    def _outputs(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits and features of images; a model may have several of either."""
        return _listed(self.network(images)), []

    def embed(self, images: Tensor, modality: Tensor) -> Tensor:
        return self.network(images)


class TorchreidTriplet(TorchreidSoftmax):
    """Batch-hard triplet and cross-entropy of a torchreid model, as ``ImageTripletEngine`` trains it.

    Args:
        settings: As for :class:`TorchreidSoftmax`.
        losses: Likewise.
        label_smooth: ``loss.softmax.label_smooth``.
        margin: Distance by which a negative should be farther than a positive.
        weight_t: Weight of the triplet.
        weight_x: Weight of the cross-entropy.

    Raises:
        InputError: When both weights are 0.
    """

    kind = "triplet"
    takes = ("softmax",)

    def __init__(
        self,
        settings: NetworkSettings,
        losses: WeightedLosses,
        label_smooth: bool,
        margin: float = 0.3,
        weight_t: float = 1.0,
        weight_x: float = 0.0,
    ) -> None:
        if min(weight_t, weight_x) < 0:
            raise ValueError(f"weight_t is {weight_t} and weight_x {weight_x}: they must be at least 0")
        both: WeightedLosses = {
            "loss_t": (HardTripletLoss(margin), weight_t),
            "loss_x": (IdentityLoss(_SMOOTHING * label_smooth), weight_x),
        }
        chosen = {name: (loss, weight) for name, (loss, weight) in both.items() if weight > 0}
        if not chosen:
            raise InputError("loss.triplet.weight_t and weight_x are 0: set one of them above 0")
        self._build(settings, losses, chosen)

    def _outputs(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        logits, features = self.network(images)
        return _listed(logits), _listed(features)


def _listed(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


register_method("softmax", TorchreidSoftmax)
register_method("triplet", TorchreidTriplet)
