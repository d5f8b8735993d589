"""MMGL: pre-training by recovering the order of stripes and by part-aware cycle contrast.

Reference:
    MMGL. arXiv 2112.06147.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from torchreid_vi import distributed
from torchreid_vi.data.stripes import paired_orders, random_orders, shuffle_stripes
from torchreid_vi.engine.pretraining import PretrainingEngine
from torchreid_vi.engine.step import read_by
from torchreid_vi.errors import unknown_name
from torchreid_vi.losses import PermutationRecoveryLoss, exact_match, residual, stripe_accuracy
from torchreid_vi.modality import moved, rows_of
from torchreid_vi.models import MMGLModel, MMGLOutput

ORDERS = ("pair", "batch")
_DEFAULT = PermutationRecoveryLoss()


class MMGLEngine(PretrainingEngine):
    """Pre-trains a :class:`~torchreid_vi.models.MMGLModel`; no identity is read.

    Args:
        *args: those of :class:`~torchreid_vi.engine.step.StepEngine`.
        orders: ``pair`` draws an order for each visible image and the infrared one it is paired with,
            ``batch`` one for the whole batch.
        **kwargs: those of :class:`~torchreid_vi.engine.step.StepEngine`.
    """

    outputs = MMGLOutput._fields
    model: MMGLModel

    def __init__(self, *args: Any, orders: str = "pair", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if orders not in ORDERS:
            raise unknown_name("value of mmgl.orders", orders, ORDERS)
        self.orders = orders

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        """One step on a batch; returns each loss and, in percent, the stripes put back in their place."""
        images, _, own = self.parse_data_for_train(data)
        (modality,) = distributed.gather(own)
        orders = moved(paired_orders(modality, self.model.stripes), self.device)
        if self.orders == "batch":
            orders = orders[:1].expand_as(orders)
        with self.autocast():
            shuffled = shuffle_stripes(images, distributed.share(orders))
            found = self.network(shuffled, rows_of(own, self.device))
        (outputs,) = self.whole(found)
        targets = {"permutation": orders, "parts": modality}
        values = {
            name: loss(getattr(outputs, read_by(loss)), targets[read_by(loss)])
            for name, (loss, _) in self.losses.items()
        }
        guess = self.recover(outputs.permutation.detach())
        return self.step(values) | {"stripes": stripe_accuracy(guess, orders)}

    def recover(self, logits: Tensor) -> Tensor:
        """The doubly stochastic guess (B, S, S), also when the permutation is not among the losses."""
        loss, _ = self.losses.get("permutation", (_DEFAULT, 0))
        return cast(PermutationRecoveryLoss, loss).recover(logits)

    def judge(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        guesses, truth = [], []
        for images, modality in batches:
            orders = random_orders(len(images), self.model.stripes).to(images.device)
            guesses.append(self.recover(self.model(shuffle_stripes(images, orders), modality).permutation))
            truth.append(orders)
        guess, orders = torch.cat(guesses), torch.cat(truth)
        return {
            "stripe_accuracy": float(stripe_accuracy(guess, orders)),
            "exact_match": exact_match(guess, orders),
            "residual": residual(guess),
        }
