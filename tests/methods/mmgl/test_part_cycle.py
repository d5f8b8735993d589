"""Part-aware cycle contrast against plain loops."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi.methods.mmgl import PartCycleContrastLoss


def parts_of(batch, stripes=3, dim=5, dtype=torch.float64):
    return F.normalize(torch.randn(batch, stripes, dim, dtype=dtype), dim=2)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def neighbour(query, others, temperature):
    """The soft nearest neighbour of a vector among others, of length one."""
    weights = [math.exp(dot(query, u) / temperature) for u in others]
    found = [sum(w * u[i] for w, u in zip(weights, others, strict=True)) for i in range(len(query))]
    length = math.sqrt(dot(found, found))
    return [x / length for x in found]


def plain_loss(parts, modality, temperature, mask_self, positives):
    sets = {
        m: [part for image, k in zip(parts, modality, strict=True) if k == m for part in image]
        for m in (0, 1)
    }
    halves = []
    for own, other in ((sets[0], sets[1]), (sets[1], sets[0])):
        across = [neighbour(q, other, temperature) for q in own]
        within = [
            neighbour(q, [u for j, u in enumerate(own) if not (mask_self and i == j)], temperature)
            for i, q in enumerate(own)
        ]
        keys = within if positives == "neighbours" else own
        terms = []
        for i, found in enumerate(across):
            scores = [math.exp(dot(found, key) / temperature) for key in keys]
            terms.append(-math.log(scores[i] / sum(scores)))
        halves.append(sum(terms) / len(terms))
    return sum(halves) / 2


OPTIONS = list(itertools.product([False, True], ["neighbours", "query"], [0.07, 1.0]))


@pytest.mark.parametrize(("mask_self", "positives", "temperature"), OPTIONS)
def test_it_equals_plain_loops_in_value_and_gradient(mask_self, positives, temperature):
    parts, modality = parts_of(5).requires_grad_(), torch.tensor([0, 1, 0, 1, 1])
    loss = PartCycleContrastLoss(temperature, mask_self, positives=positives)

    def oracle(values):
        return plain_loss(values.tolist(), modality.tolist(), temperature, mask_self, positives)

    value = loss(parts, modality)
    assert value.item() == pytest.approx(oracle(parts), rel=1e-9)
    value.backward()
    step = 1e-6
    for place in ((0, 0, 0), (1, 2, 3), (4, 1, 4)):
        more, less = parts.detach().clone(), parts.detach().clone()
        more[place] += step
        less[place] -= step
        slope = (oracle(more) - oracle(less)) / (2 * step)
        assert parts.grad[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-7)


def test_neither_the_order_of_the_batch_nor_the_names_of_the_modalities_matter():
    parts, modality, shuffled = parts_of(8), torch.tensor([0, 1] * 4), torch.randperm(8)
    loss = PartCycleContrastLoss()
    value = loss(parts, modality)
    torch.testing.assert_close(loss(parts[shuffled], modality[shuffled]), value)
    torch.testing.assert_close(loss(parts, 1 - modality), value)


def test_parts_that_agree_across_modalities_cost_less():
    own = parts_of(4, dim=64)
    modality = torch.tensor([0] * 4 + [1] * 4)
    loss = PartCycleContrastLoss()
    assert loss(torch.cat([own, own]), modality) < 0.1 < loss(torch.cat([own, parts_of(4, dim=64)]), modality)


def test_detach_keeps_the_value_and_changes_the_gradient():
    parts, modality = parts_of(4), torch.tensor([0, 0, 1, 1])
    values, gradients = [], []
    for detach in (False, True):
        leaf = parts.clone().requires_grad_()
        loss = PartCycleContrastLoss(detach=detach)(leaf, modality)
        loss.backward()
        values.append(loss.item())
        gradients.append(leaf.grad)
    assert values[0] == values[1]
    assert not torch.allclose(*gradients)


def test_without_parts_it_contrasts_whole_images():
    parts, modality = parts_of(6, stripes=1), torch.tensor([0, 1] * 3)
    expected = plain_loss(parts.tolist(), modality.tolist(), 0.07, False, "neighbours")
    assert PartCycleContrastLoss()(parts, modality).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", [0, 1])
def test_one_modality_alone_gives_a_zero_with_a_gradient(kind):
    parts = parts_of(4).requires_grad_()
    loss = PartCycleContrastLoss()(parts, torch.full((4,), kind))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(parts.grad, torch.zeros_like(parts))


def test_one_pair_and_identical_images_stay_finite():
    same = parts_of(1).expand(6, 3, 5).clone().requires_grad_()
    for parts in (same, parts_of(2).requires_grad_(), parts_of(2, stripes=1).requires_grad_()):
        modality = torch.arange(len(parts)) % 2
        loss = PartCycleContrastLoss(mask_self=True)(parts, modality)
        loss.backward()
        assert loss.isfinite()
        assert parts.grad.isfinite().all()


def test_half_precision_is_computed_in_float32_also_inside_autocast():
    parts, modality = parts_of(4, dtype=torch.bfloat16), torch.tensor([0, 1, 0, 1])
    with torch.autocast("cpu", torch.bfloat16):
        value = PartCycleContrastLoss()(parts, modality)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, PartCycleContrastLoss()(parts.float(), modality), rtol=0, atol=0)


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"positives": "all"}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PartCycleContrastLoss(**bad)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected \(B, S, D\) and \(B,\)"):
        PartCycleContrastLoss()(torch.zeros(2, 3), torch.zeros(2))
