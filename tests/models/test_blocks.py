"""Blocks between layers: their formulas in plain loops, silence at the start, and where they are put."""

import math

import pytest
import torch

from torchreid_vi import InputError
from torchreid_vi.models import BLOCKS, Backbone, ModalityDistributionAdapter, NonLocal, VIModel
from torchreid_vi.models.backbone import INSERTED


def maps(batch=3, channels=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, 3, 2, generator=generator, dtype=torch.float64)


def awake(block):
    """The block with random gains and statistics, in evaluation: the normalisations are affine maps."""
    generator = torch.Generator().manual_seed(1)
    for name, value in block.double().state_dict().items():
        if value.is_floating_point():
            draw = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(draw + 0.5 if "norm" in name else draw - 0.5)
    return block.eval()


def normed(norm, c, value):
    scaled = (value - norm.running_mean[c]) / math.sqrt(norm.running_var[c] + norm.eps)
    return (scaled * norm.weight[c] + norm.bias[c]).item()


def non_local_by_loops(block, x):
    result = x.clone()
    batch, channels, height, width = x.shape
    places = [(i, j) for i in range(height) for j in range(width)]
    for b in range(batch):

        def project(conv, place, b=b):
            pixel = x[b, :, place[0], place[1]]
            return [
                sum(conv.weight[r, c, 0, 0] * pixel[c] for c in range(channels)) + conv.bias[r]
                for r in range(conv.out_channels)
            ]

        for p in places:
            mixed = [0.0] * block.theta.out_channels
            theta = project(block.theta, p)
            for q in places:
                f = sum(t * k for t, k in zip(theta, project(block.phi, q), strict=True)) / len(places)
                mixed = [m + f * g for m, g in zip(mixed, project(block.g, q), strict=True)]
            for c in range(channels):
                out = sum(block.out.weight[c, r, 0, 0] * m for r, m in enumerate(mixed)) + block.out.bias[c]
                result[b, c, p[0], p[1]] += normed(block.norm, c, out)
    return result


def mda_by_loops(block, x):
    result = x.clone()
    batch, channels, height, width = x.shape
    places = [(i, j) for i in range(height) for j in range(width)]
    for b in range(batch):
        contexts = []
        for m in range(block.attention.out_channels):
            scores = [
                sum(block.attention.weight[m, c, 0, 0] * x[b, c, i, j] for c in range(channels))
                + block.attention.bias[m]
                for i, j in places
            ]
            total = sum(math.exp(s) for s in scores)
            contexts.append(
                [
                    sum(math.exp(s) / total * x[b, c, i, j] for s, (i, j) in zip(scores, places, strict=True))
                    for c in range(channels)
                ]
            )
        for c in range(channels):
            mixed = block.mix.bias[c] + sum(
                block.mix.weight[c, 0, m] * contexts[m][c] for m in range(len(contexts))
            )
            gate = 1 / (1 + math.exp(-normed(block.gate_norm, c, mixed)))
            for i, j in places:
                result[b, c, i, j] += normed(block.norm, c, x[b, c, i, j] * gate)
    return result


@pytest.mark.parametrize(
    ("block", "oracle"),
    [
        (NonLocal(4), non_local_by_loops),
        (NonLocal(4, width=2), non_local_by_loops),
        (ModalityDistributionAdapter(4), mda_by_loops),
        (ModalityDistributionAdapter(4, contexts=3), mda_by_loops),
    ],
)
def test_a_block_is_its_formula(block, oracle):
    x, block = maps(), awake(block)
    with torch.no_grad():
        torch.testing.assert_close(block(x), oracle(block, x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_the_identity_before_training_and_learns(name, training):
    block = BLOCKS[name](4).double().train(training)
    x = maps()
    assert torch.equal(block(x), x)
    block.train()(x).pow(2).sum().backward()
    assert block.norm.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("backbone", "places"),
    [
        ("resnet18", ["layer2.0", "layer2.1", "layer3.0", "layer3.1"]),
        ("resnet50", ["layer2.2", "layer2.3", "layer3.3", "layer3.4", "layer3.5"]),
        ("osnet_x0_25", ["conv3.1", "conv3.2", "conv4.0", "conv4.1"]),
    ],
)
def test_blocks_follow_the_last_layers_and_leave_every_name_as_it_was(backbone, places):
    plain, changed = Backbone(backbone), Backbone(backbone)
    changed.insert("non_local")
    own = plain.state_dict()
    added = {
        name.split(f"{INSERTED}.")[0].removeprefix("trunk.")
        for name in changed.state_dict()
        if name not in own
    }
    assert added == set(places)
    assert own.keys() <= changed.state_dict().keys()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_model_with_blocks_starts_as_the_one_without(name):
    torch.manual_seed(0)
    plain = VIModel("resnet18", 5).eval()
    torch.manual_seed(0)
    blocked = VIModel("resnet18", 5, blocks=name).eval()
    blocked.load_state_dict(plain.state_dict(), strict=False)
    x, modality = torch.rand(2, 3, 96, 48), torch.tensor([0, 1])
    with torch.no_grad():
        torch.testing.assert_close(blocked(x, modality), plain(x, modality))


@pytest.mark.parametrize(
    ("backbone", "name", "options", "said"),
    [
        ("resnet18", "nonlocal", {}, "did you mean 'non_local'"),
        ("squeezenet1_1", "mda", {}, "choose a ResNet or an OSNet"),
        ("resnet18", "mda", {"context": 2}, "model.mda"),
    ],
)
def test_blocks_that_cannot_be_put_in_are_one_sentence(backbone, name, options, said):
    with pytest.raises(InputError, match=said):
        Backbone(backbone).insert(name, **options)
