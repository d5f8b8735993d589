"""DEEN's blocks and losses against plain loops, its network and its training step."""

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi import InputError
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.methods import Batch
from torchreid_vi.methods.deen import DEENModel, OrthogonalityLoss, PairMiningLoss
from torchreid_vi.methods.deen.network import Aggregation, ChannelAggregation, Expansion, PositionAggregation
from torchreid_vi.models import VIModel, load_weights, save_backbone

DEEN = {
    "model__name": "resnet18",
    "model__streams": 2,
    "model__pooling": "avg",
    "loss__name": "deen",
    "loss__terms": ["identity", "hard_triplet", "cpm", "orthogonality"],
    "loss__weights": [1.0, 1.0, 0.8, 0.01],
}


def converted(layer, maps):
    """Apply a 1×1 convolution position by position: a list over images of (channels, positions)."""
    stride = layer.stride[0]
    weight, bias = layer.weight[:, :, 0, 0], layer.bias
    found = []
    for image in maps:
        columns = [
            weight @ image[:, y, x] + bias
            for y in range(0, image.shape[1], stride)
            for x in range(0, image.shape[2], stride)
        ]
        found.append(torch.stack(columns, 1))
    return found


def trained(block):
    """Return a block in double precision whose normalisation adds something, in evaluation."""
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
    return block.double().eval()


@pytest.mark.parametrize("stride", [1, 2])
def test_channels_attend_as_in_plain_loops(stride):
    block = trained(ChannelAggregation(3, 5, stride))
    high, low = torch.randn(2, 5, 4, 2).double(), torch.randn(2, 3, 4 * stride, 2 * stride).double()
    theta, phi, g = converted(block.theta, high), converted(block.phi, low), converted(block.g, low)
    for b, out in enumerate(block(high, low)):
        mixed = torch.zeros(3, low.shape[2] * low.shape[3]).double()
        for c in range(3):
            for d in range(3):
                energy = sum(theta[b][c, n] * phi[b][d, n] for n in range(8)) / 3
                mixed[c] += energy * g[b][d]
        added = block.norm(converted(block.out, mixed.view(1, *low.shape[1:]))[0].view(1, *high.shape[1:]))
        torch.testing.assert_close(out, high[b] + added[0])


@pytest.mark.parametrize("stride", [1, 2])
def test_positions_attend_as_in_plain_loops(stride):
    block = trained(PositionAggregation(4, 5))
    high, low = torch.randn(2, 5, 3, 2).double(), torch.randn(2, 4, 3 * stride, 2 * stride).double()
    theta, phi, g = converted(block.theta, high), converted(block.phi, low), converted(block.g, low)
    number = low.shape[2] * low.shape[3]
    for b, out in enumerate(block(high, low)):
        mixed = torch.zeros(2, 6).double()
        for i in range(6):
            for j in range(number):
                mixed[:, i] += (theta[b][:, i] @ phi[b][:, j]) / number * g[b][:, j]
        added = block.norm(converted(block.out, mixed.view(1, 2, 3, 2))[0].view(1, *high.shape[1:]))
        torch.testing.assert_close(out, high[b] + added[0])


def test_an_aggregation_changes_nothing_before_it_is_trained():
    high, low = torch.randn(2, 8, 4, 2), torch.randn(2, 4, 8, 4)
    torch.testing.assert_close(Aggregation(4, 8, 2)(high, low), high, rtol=0, atol=0)


def test_an_expansion_is_the_maps_and_two_branches():
    module, maps = Expansion(8).eval(), torch.randn(2, 8, 6, 4)
    copies = module(maps)
    torch.testing.assert_close(copies[:2], maps)
    for k, (branch, project) in enumerate(zip(module.branches, module.projections, strict=True), 1):
        mean = sum(
            F.conv2d(maps, conv.weight, padding=d, dilation=d) for d, conv in enumerate(branch, 1)
        ) / len(branch)
        torch.testing.assert_close(copies[2 * k : 2 * k + 2], project(mean.clamp(min=0)))


def plain_pair_mining(copies, pids, modality, margin):
    """Compute the loss of copies (B, 3, D) identity by identity."""
    total = 0.0
    people = [
        pid
        for pid in sorted(set(pids))
        if {m for p, m in zip(pids, modality, strict=True) if p == pid} == {0, 1}
    ]

    def centre(copy, pid, kind):
        own = [copies[i, copy] for i in range(len(pids)) if (pids[i], modality[i]) == (pid, kind)]
        return sum(own) / len(own)

    def distance(a, b):
        return (a - b).square().sum().clamp(min=1e-12).sqrt()

    for other in (1, 2):
        for pid in people:
            for kind in (0, 1):
                across = distance(centre(0, pid, 1 - kind), centre(other, pid, kind))
                terms = F.relu(
                    across - distance(centre(0, pid, kind), centre(other, pid, kind)).detach() + margin
                )
                for copy in (other, 0):
                    own = centre(copy, pid, kind)
                    others = [distance(own, centre(copy, q, kind)) for q in people if q != pid]
                    if others:
                        terms = terms + F.relu(across - min(others) + margin) / 2
                total = total + terms / 2 / len(people)
    return total


@pytest.mark.parametrize(
    ("pids", "modality"),
    [
        ([3, 3, 3, 3, 8, 8, 8, 8], [0, 0, 1, 1, 0, 0, 1, 1]),
        ([3, 8, 3, 8, 3, 9, 9, 5], [0, 1, 1, 0, 1, 0, 1, 0]),  # uneven, and one person in one modality
        ([3, 3, 3], [0, 1, 1]),
    ],
)
def test_pair_mining_equals_plain_loops_in_value_and_gradient(pids, modality):
    copies = torch.randn(len(pids), 3, 4).double().requires_grad_()
    expected = plain_pair_mining(copies, pids, modality, 0.2)
    value = PairMiningLoss()(copies.flatten(1), torch.tensor(pids), torch.tensor(modality))
    torch.testing.assert_close(value, expected)
    for one, two in zip(
        torch.autograd.grad(value, copies), torch.autograd.grad(expected, copies), strict=True
    ):
        torch.testing.assert_close(one, two)


def test_the_orthogonality_is_a_third_of_the_mean_product():
    copies = torch.randn(4, 3, 5)
    expected = sum(float(copies[b, 1] @ copies[b, 2]) for b in range(4)) / 12
    value = OrthogonalityLoss()(copies.flatten(1), torch.arange(4), torch.zeros(4))
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_the_network_gives_three_copies_and_keeps_the_names_of_weights():
    model = DEENModel("resnet18", 7, streams=2, last_stride=1, pooling="avg")
    images, modality = torch.randn(4, 3, 64, 32), torch.tensor([0, 1, 0, 1])
    outputs = model(images, modality)
    assert [tuple(output.shape) for output in outputs] == [(4, 3, 512), (4, 3, 512), (4, 3, 7)]
    features = model.eval()(images, modality)
    assert features.shape == (4, 6 * 512)
    torch.testing.assert_close(features.view(4, 6, 512).norm(dim=2), torch.ones(4, 6))
    assert "backbone.trunk.layer3.0.conv1.weight" in model.state_dict()


def test_the_copies_of_one_image_stay_together():
    """A changed image changes its own copies alone."""
    model = DEENModel("resnet18", 3, pooling="avg").eval()
    images = torch.randn(3, 3, 64, 32)
    changed = images.clone()
    changed[1] += 1
    difference = (model(images) - model(changed)).abs().amax(1) > 1e-4
    assert difference.tolist() == [False, True, False]


def test_on_regdb_the_expansion_follows_layer2_and_layer4_is_left_out():
    model = DEENModel("resnet18", 7, expand_after="layer2", pooling="avg")
    assert model(torch.randn(2, 3, 64, 32), torch.tensor([0, 1])).pooled.shape == (2, 3, 256)
    names = list(model.state_dict())
    assert not any("layer4" in name for name in names)
    assert not any("layer3" in name and "mfa" in name for name in names)


@pytest.mark.parametrize("after", ["layer2", "layer3"])
def test_any_backbone_of_its_kind_starts_it(tmp_path, after):
    start = VIModel("resnet18", 3, last_stride=1)
    save_backbone(start, tmp_path / "backbone.pth", {})
    model = DEENModel("resnet18", 7, expand_after=after, last_stride=1, pooling="avg", classifier_std=0)
    loaded = load_weights(model, tmp_path / "backbone.pth")
    assert any("layer4" in name for name in loaded.unused) == (after == "layer2")
    name = "backbone.trunk.layer3.0.conv1.weight"
    assert torch.equal(model.state_dict()[name], start.state_dict()[name])
    assert model.classifier.weight.std() > 0.02  # PyTorch's own start


def test_a_step_sees_every_copy(make):
    engine, _ = make(**DEEN)
    engine.model.train()
    batch = Batch.of(next(iter(engine.train_loader)), torch.device("cpu"), torch.contiguous_format)
    torch.manual_seed(0)
    losses, metrics = engine.method.training_step(batch)
    torch.manual_seed(0)
    pooled, _, logits = engine.model(batch.images, batch.rows)
    copies = batch.pids.repeat(3)
    expected = F.cross_entropy(logits.transpose(0, 1).flatten(0, 1), copies)
    torch.testing.assert_close(losses["identity"], expected, rtol=1e-4, atol=1e-5)
    expected = PairMiningLoss()(pooled.flatten(1), batch.pids, batch.modality)
    torch.testing.assert_close(losses["cpm"], expected, rtol=1e-4, atol=1e-5)
    assert set(losses) == set(DEEN["loss__terms"])
    assert 0 <= metrics["acc"] <= 100


def test_it_learns_a_batch(make):
    engine, _ = make(**DEEN, train__lr=0.001, data__transforms=[])
    data = next(iter(engine.train_loader))
    engine.model.train()
    values = [engine.forward_backward(data)["loss"].item() for _ in range(12)]
    assert values[-1] < 0.7 * values[0]


def test_its_transforms_turn_half_of_the_images_grey_and_erase_large_boxes():
    pixels = torch.randint(256, (400, 3, 32, 16), dtype=torch.uint8)
    plain = Settings(32, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = Augmentation(["random_grey"], plain).augment(pixels, [0, 1] * 200, 1)
    grey = (images == images[:, :1]).flatten(1).all(1)
    assert 0.4 < grey.float().mean() < 0.6
    boxes = Augmentation(["deen_erase"], plain).augment(pixels, [0, 1] * 200, 1)
    erased = (boxes == 0.5).all(1).flatten(1).float().mean(1)
    chosen = erased[erased > 0.05]
    assert 0.4 < len(chosen) / 400 < 0.6
    assert chosen.min() > 0.15 and chosen.max() < 0.85 and chosen.std() > 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__name": "osnet_x0_25"}, "needs a backbone with layer1 to layer4: osnet_x0_25"),
        ({"loss__deen__expand_after": "layer1"}, "loss.deen.expand_after"),
    ],
)
def test_what_it_cannot_be_built_from_is_one_sentence(make, changes, said):
    with pytest.raises(InputError, match=said):
        make(**DEEN | changes)
