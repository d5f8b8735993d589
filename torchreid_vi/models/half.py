"""A ResNet-18 with half of the channels, for small images and processors."""

from __future__ import annotations

from typing import Any

from torch import nn

from torchreid_vi import host
from torchreid_vi.errors import InputError

_resnet: Any = host.models.resnet


class HalfResNet18(_resnet.ResNet):  # type: ignore[misc]
    """torchreid's ResNet-18 with half the channels: a quarter of its weights, and none from ImageNet.

    Args:
        num_classes: Number of identities.
        loss: ``softmax`` or ``triplet``, as torchreid's models take it.
        pretrained: Must be False.
        **unused: Options of torchreid's ``build_model`` that this model has no use for.

    Raises:
        InputError: When ImageNet's weights are asked for.
    """

    def __init__(
        self, num_classes: int, loss: str = "softmax", pretrained: bool = False, **unused: Any
    ) -> None:
        if pretrained:
            raise InputError("resnet18_half has no ImageNet weights: set model.pretrained False")
        super().__init__(num_classes, loss, _resnet.BasicBlock, [2, 2, 2, 2])
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 7, 2, 3, bias=False), nn.BatchNorm2d(32)
        self.feature_dim = 256
        self.classifier = nn.Linear(256, num_classes)
        self._init_params()

    def _make_layer(self, block: type[nn.Module], planes: int, *args: Any, **options: Any) -> nn.Sequential:
        if planes == 64:  # the first layer takes what the stem gives
            self.inplanes = 32
        layer: nn.Sequential = super()._make_layer(block, planes // 2, *args, **options)
        return layer
