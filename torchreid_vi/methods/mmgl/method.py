"""MMGL: pre-training by recovering the order of stripes and by contrasting parts.

Reference:
    MMGL. arXiv 2112.06147.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchreid_vi import distributed
from torchreid_vi.errors import InputError
from torchreid_vi.losses import register_loss
from torchreid_vi.methods.method import (
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    gathered,
    register_method,
)
from torchreid_vi.methods.mmgl.part_cycle import PartCycleContrastLoss, PartHead
from torchreid_vi.methods.mmgl.part_views import PartViewContrastLoss
from torchreid_vi.methods.mmgl.permutation import (
    PermutationHead,
    PermutationRecoveryLoss,
    exact_match,
    residual,
    stripe_accuracy,
)
from torchreid_vi.methods.mmgl.stripes import (
    batch_orders,
    random_orders,
    shuffle_stripes,
    sort_stripes,
)
from torchreid_vi.modality import Rows, moved
from torchreid_vi.models import Backbone


class MMGLOutput(NamedTuple):
    """The output of :class:`MMGLModel`.

    Attributes:
        permutation: P̂ (B, S, S), doubly stochastic; [k, j] says how likely stripe k of the image is stripe j of
            the unshuffled one.
        parts: Part embeddings (B, S, D) of length one, or (B, 1, D) without parts.
    """

    permutation: Tensor
    parts: Tensor

    @property
    def views(self) -> Tensor:
        """The part embeddings, for a loss that compares the views of an image."""
        return self.parts


class MMGLModel(nn.Module):
    """A torchreid backbone with MMGL's two heads; ``model(images, modality)`` returns :class:`MMGLOutput`.

    Args:
        backbone: Name of a torchreid model.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        streams: 1, or 2 for a stem for each modality.
        last_stride: 1 keeps the last stage's resolution, where the backbone has one.
        pretrained: Start from torchreid's ImageNet weights.
        stripes: S.
        part_dim: D of the part embeddings.
        parts: False gives one embedding of the whole image instead of one for each stripe.
        shared_projection: Use one projection for all stripes instead of one for each.
        rounds: Rounds of Sinkhorn.
        temperature: Temperature of Sinkhorn.

    Raises:
        InputError: When the stripes divide neither the images' height nor that of the feature maps.
    """

    def __init__(
        self,
        backbone: str,
        height: int,
        width: int,
        streams: int = 1,
        last_stride: int = 1,
        pretrained: bool = False,
        stripes: int = 6,
        part_dim: int = 256,
        parts: bool = True,
        shared_projection: bool = True,
        rounds: int = 20,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if height % stripes:
            raise InputError(
                f"data.height {height} is not a multiple of loss.mmgl.stripes {stripes}: change either"
            )
        self.backbone = Backbone(backbone, streams, last_stride, pretrained)
        rows = self.backbone.maps_of(height, width).shape[2]
        if rows % stripes:
            raise InputError(
                f"{backbone}'s feature maps have {rows} rows at data.height {height}, which "
                f"{stripes} stripes do not divide: set model.last_stride 1, or another data.height or "
                "loss.mmgl.stripes"
            )
        self.permutation_head = PermutationHead(self.backbone.channels, stripes, rounds, temperature)
        self.part_head = PartHead(
            self.backbone.channels, stripes if parts else 1, part_dim, shared_projection
        )
        self.stripes = stripes

    def forward(self, images: Tensor, modality: Tensor | Rows | None = None) -> MMGLOutput:
        maps = self.backbone(images, modality)
        return MMGLOutput(self.permutation_head(maps), self.part_head(maps))


class MMGL(Method):
    """Pre-trains a :class:`MMGLModel`; no identity is read.

    Args:
        settings: Settings of the network.
        losses: Losses by name, each with its weight.
        stripes: S, of the images and of the feature maps.
        part_dim: Width of the part embeddings.
        parts: Embed each stripe; False embeds the whole image.
        shared_projection: Use one projection for all stripes instead of one for each (inferred).
        shared_order: Shuffle the two images of a pair by one order, as in the paper's figure, instead of each by an
            order of its own.
        rounds: Rounds of Sinkhorn.
        temperature: The scores of the permutation are divided by it.
    """

    self_supervised = True
    network: MMGLModel

    def __init__(
        self,
        settings: NetworkSettings,
        losses: WeightedLosses,
        stripes: int = 6,
        part_dim: int = 256,
        parts: bool = True,
        shared_projection: bool = True,
        shared_order: bool = False,
        rounds: int = 20,
        temperature: float = 1.0,
    ) -> None:
        if stripes < 2 or part_dim < 1:
            raise ValueError(f"stripes is {stripes} and part_dim {part_dim}: they must be at least 2 and 1")
        network = MMGLModel(
            settings.backbone,
            settings.height,
            settings.width,
            settings.streams,
            settings.last_stride,
            settings.pretrained,
            stripes,
            part_dim,
            parts,
            shared_projection,
            rounds=rounds,
            temperature=temperature,
        )
        super().__init__(network, losses, (*MMGLOutput._fields, "views"))
        contrast = losses.get("part_cycle", (None, 0))[0]
        if not parts and isinstance(contrast, PartCycleContrastLoss) and contrast.negatives != "batch":
            raise InputError(
                f"loss.part_cycle.reading {contrast.reading} compares the stripes of an image, of which "
                "loss.mmgl.parts False leaves one: set loss.part_cycle.reading batch"
            )
        self.shared_order = shared_order

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        """Return each loss and, in percent, the stripes that are put back in their place."""
        modality, image, view = distributed.gather(batch.modality, batch.image, batch.view)
        orders = batch_orders(modality, self.network.stripes, self.shared_order, view)
        orders = moved(orders, batch.images.device)
        shuffled = shuffle_stripes(batch.images, distributed.share(orders))
        (outputs,) = gathered(self.network(shuffled, batch.rows))
        outputs = outputs._replace(parts=sort_stripes(outputs.parts, orders))
        targets = {"permutation": (orders,), "parts": (modality,), "views": (image,)}
        losses = self.loss_values(outputs, lambda field: targets[field])
        return losses, {"stripes": stripe_accuracy(outputs.permutation, orders)}

    def evaluate_pretext(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        guesses, truth = [], []
        for images, modality in batches:
            orders = random_orders(len(images), self.network.stripes).to(images.device)
            guesses.append(self.network(shuffle_stripes(images, orders), modality).permutation)
            truth.append(orders)
        guess, orders = torch.cat(guesses), torch.cat(truth)
        return {
            "stripe_accuracy": float(stripe_accuracy(guess, orders)),
            "exact_match": exact_match(guess, orders),
            "residual": residual(guess),
        }


register_method("mmgl", MMGL)
register_loss("permutation", PermutationRecoveryLoss)
register_loss("part_cycle", PartCycleContrastLoss)
register_loss("part_views", PartViewContrastLoss)
