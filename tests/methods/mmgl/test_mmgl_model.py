"""MMGL's model: shapes, heads against plain layers, and what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi import InputError
from torchreid_vi.methods.mmgl import MMGLModel
from torchreid_vi.methods.mmgl.part_cycle import PartHead


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize(
    ("backbone", "last_stride"), [("resnet18", 1), ("osnet_x0_25", 2), ("mobilenetv2_x1_0", 2)]
)
def test_any_backbone_with_maps_gives_scores_and_parts(backbone, last_stride, streams):
    height = 192 if backbone.startswith("mobile") else 96
    model = MMGLModel(backbone, height, 32, streams, last_stride, part_dim=64)
    guess, parts = model(torch.randn(4, 3, height, 32), torch.tensor([0, 1, 0, 1]))
    assert guess.shape == (4, 6, 6)
    assert parts.shape == (4, 6, 64)
    torch.testing.assert_close(parts.norm(dim=2), torch.ones(4, 6))


def test_the_part_head_is_a_convolution_of_its_own_for_each_stripe():
    head = PartHead(channels=5, parts=3, dim=4, shared=False)
    maps = torch.randn(7, 5, 6, 2)
    convolution, normalisation = head.project[0], head.project[1]
    expected = []
    for k in range(3):
        stripe = maps[:, :, 2 * k : 2 * k + 2].mean((2, 3))
        projected = stripe @ convolution.weight[4 * k : 4 * k + 4, :, 0].T
        expected.append(
            (projected - projected.mean(0)) / (projected.var(0, unbiased=False) + normalisation.eps).sqrt()
        )
    expected = F.normalize(torch.stack(expected, 1).relu(), dim=2)
    torch.testing.assert_close(head(maps), expected, rtol=1e-4, atol=1e-5)


def test_a_shared_projection_is_one_convolution_for_all_stripes():
    head = PartHead(channels=5, parts=3, dim=4).eval()
    maps = torch.randn(7, 5, 6, 2)
    stripes = [maps[:, :, 2 * k : 2 * k + 2].mean((2, 3)) for k in range(3)]
    weight, normalisation = head.project[0].weight[..., 0], head.project[1]
    expected = torch.stack([(stripe @ weight.T) / (1 + normalisation.eps) ** 0.5 for stripe in stripes], 1)
    torch.testing.assert_close(head(maps), F.normalize(expected.relu(), dim=2), rtol=1e-4, atol=1e-5)


def test_a_stripe_of_the_maps_reaches_its_own_part_alone():
    head = PartHead(channels=5, parts=3, dim=4).eval()
    maps = torch.randn(2, 5, 6, 2)
    changed = maps.clone()
    changed[:, :, 2:4] += 1
    moved = (head(maps) - head(changed)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [False, True, False]


def test_without_parts_there_is_one_embedding_of_the_whole_image():
    model = MMGLModel("osnet_x0_25", 96, 32, part_dim=8, parts=False)
    guess, parts = model(torch.randn(2, 3, 96, 32), torch.tensor([0, 1]))
    assert (guess.shape, parts.shape) == ((2, 6, 6), (2, 1, 8))


@pytest.mark.parametrize(
    ("backbone", "height", "options", "said"),
    [
        ("resnet18", 100, {}, "data.height 100 is not a multiple of loss.mmgl.stripes 6"),
        ("resnet18", 96, {"last_stride": 2}, "3 rows at data.height 96, which 6 stripes do not divide"),
        ("hacnn", 96, {}, "computes no feature maps"),
        ("shufflenet", 96, {}, "no feature maps|no single spatial feature map"),
        ("resnet18", 96, {"streams": 3}, "it is 1 or 2"),
        ("inceptionv4", 48, {}, "does not take images of 48 × 48"),
    ],
)
def test_what_stripes_cannot_be_cut_from_is_refused(backbone, height, options, said):
    with pytest.raises(InputError, match=said):
        MMGLModel(backbone, height, 48, **options)
