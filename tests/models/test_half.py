"""The ResNet-18 with half of the channels."""

import pytest
import torch
from torch import nn

from torchreid_vi import InputError, host
from torchreid_vi.models import Backbone, VIModel


def test_every_layer_has_half_the_channels_of_torchreids():
    half, whole = (
        host.models.build_model(name, 7, pretrained=False) for name in ("resnet18_half", "resnet18")
    )
    pairs = list(zip(half.named_modules(), whole.named_modules(), strict=True))
    assert [ours[0] for ours, _ in pairs] == [theirs[0] for _, theirs in pairs]
    convolutions = [(a, b) for (_, a), (_, b) in pairs if isinstance(a, nn.Conv2d)]
    assert [2 * a.out_channels for a, _ in convolutions] == [b.out_channels for _, b in convolutions]
    for ours, theirs in convolutions:
        assert (ours.kernel_size, ours.stride) == (theirs.kernel_size, theirs.stride)
    assert half.feature_dim == 256 and half(torch.zeros(2, 3, 64, 32)).shape == (2, 7)


def test_it_is_a_backbone_like_any_other():
    model = VIModel("resnet18_half", 3, streams=2, last_stride=1)
    maps = model.backbone(torch.zeros(2, 3, 64, 32), torch.tensor([0, 1]))
    assert maps.shape == (2, 256, 4, 2)


def test_imagenets_weights_are_refused():
    with pytest.raises(
        InputError, match=r"resnet18_half has no ImageNet weights: set model.pretrained False"
    ):
        Backbone("resnet18_half", pretrained=True)
