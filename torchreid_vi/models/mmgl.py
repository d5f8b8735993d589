"""MMGL's pre-training model: a backbone with a head for each of the two pretexts.

Reference:
    MMGL. arXiv 2112.06147.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.errors import InputError
from torchreid_vi.modality import Rows
from torchreid_vi.models.backbone import Backbone


class MMGLOutput(NamedTuple):
    """What the model returns.

    Attributes:
        permutation: scores (B, S, S); [k, j] says how likely stripe k of the image is stripe j of the
            unshuffled one.
        parts: part embeddings (B, S, D) of length one, or (B, 1, D) without parts.
    """

    permutation: Tensor
    parts: Tensor


class PermutationHead(nn.Module):
    """Average pooling and one linear layer to S × S scores, for maps (B, C, H, W)."""

    def __init__(self, channels: int, stripes: int) -> None:
        super().__init__()
        self.stripes = stripes
        self.scores = nn.Linear(channels, stripes * stripes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.scores(maps.mean((2, 3))).unflatten(1, (self.stripes, self.stripes))


class PartHead(nn.Module):
    """The mean of each stripe of the maps (B, C, H, W), projected and normalised: (B, S, D).

    The projection is a 1×1 convolution, batch normalisation and ReLU, of its own for each stripe or one
    for all.
    """

    def __init__(self, channels: int, parts: int, dim: int, shared: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.projections = 1 if shared else parts
        # The 1×1 convolutions of all stripes, as one that keeps the stripes apart.
        self.project = nn.Sequential(
            nn.Conv1d(
                self.projections * channels, self.projections * dim, 1, groups=self.projections, bias=False
            ),
            nn.BatchNorm1d(self.projections * dim),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.unflatten(2, (self.parts, -1)).mean((3, 4)).transpose(1, 2)  # (B, S, C)
        # (B, projections · C, stripes of each) and back
        grouped = pooled.unflatten(1, (self.projections, -1)).transpose(2, 3).flatten(1, 2)
        projected = self.project(grouped).unflatten(1, (self.projections, -1)).transpose(2, 3).flatten(1, 2)
        return F.normalize(projected.float(), dim=2)


class MMGLModel(nn.Module):
    """A torchreid backbone with MMGL's two heads; ``model(images, modality)`` returns :class:`MMGLOutput`.

    Args:
        backbone: name of a torchreid model.
        height: of the images, in pixels.
        width: of the images, in pixels.
        streams: 1, or 2 for a stem for each modality.
        last_stride: 1 keeps the last stage's resolution, where the backbone has one.
        pretrained: start from torchreid's ImageNet weights.
        stripes: S.
        part_dim: D of the part embeddings.
        parts: False gives one embedding of the whole image instead of one for each stripe.
        shared_projection: one projection for the parts of all stripes.

    Raises:
        InputError: when the stripes divide neither the images' height nor that of the feature maps.
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
        shared_projection: bool = False,
    ) -> None:
        super().__init__()
        if height % stripes:
            raise InputError(
                f"data.height {height} is not a multiple of mmgl.stripes {stripes}: change either"
            )
        self.backbone = Backbone(backbone, streams, last_stride, pretrained)
        rows = self.backbone.maps_of(height, width).shape[2]
        if rows % stripes:
            raise InputError(
                f"{backbone}'s feature maps have {rows} rows at data.height {height}, which "
                f"{stripes} stripes do not divide: set model.last_stride 1, another data.height or mmgl.stripes"
            )
        self.permutation_head = PermutationHead(self.backbone.channels, stripes)
        self.part_head = PartHead(
            self.backbone.channels, stripes if parts else 1, part_dim, shared_projection
        )
        self.stripes = stripes

    def forward(self, images: Tensor, modality: Tensor | Rows | None = None) -> MMGLOutput:
        maps = self.backbone(images, modality)
        return MMGLOutput(self.permutation_head(maps), self.part_head(maps))
