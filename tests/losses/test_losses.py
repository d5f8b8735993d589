"""Every loss against the formula in plain loops, value and gradient, and on degenerate batches."""

import pytest
import torch
from scipy.optimize import isotonic_regression
from torch.nn import functional as F

from torchreid_vi import LOSSES
from torchreid_vi.losses import (
    CrossModalityRetrievalLoss,
    HardTripletLoss,
    IdentityLoss,
    ReIDLoss,
    WeightedTripletLoss,
)

SUPERVISED = [name for name, loss in LOSSES.items() if issubclass(loss, ReIDLoss)]


def batch(ids=4, images=3, width=16, seed=0, noise=1.0):
    """Embeddings of ``ids`` people, ``images`` in each modality, in double precision and shuffled."""
    generator = torch.Generator().manual_seed(seed)
    pids = torch.arange(ids).repeat_interleave(2 * images)
    modality = torch.tensor([0, 1]).repeat_interleave(images).repeat(ids)
    centres = torch.randn(ids, width, generator=generator, dtype=torch.float64)
    x = centres[pids] + noise * torch.randn(len(pids), width, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(pids), generator=generator)
    return x[order], pids[order], modality[order]


def cmr_by_loops(x, pids, modality, epsilon):
    """The paper's loss, query by query; SciPy finds the blocks, the arithmetic is written out."""
    directions = []
    for side in (0, 1):
        terms = []
        gallery = [j for j in range(len(x)) if modality[j] != side]
        n = len(gallery)
        for i in range(len(x)):
            matches = [pids[j] == pids[i] for j in gallery]
            if modality[i] != side or not any(matches) or all(matches):
                continue
            theta = [(1 - F.cosine_similarity(x[i], x[j], dim=0)) / 2 / epsilon for j in gallery]
            order = sorted(range(n), key=lambda k: -theta[k].item())
            fit = isotonic_regression(
                [theta[k].item() - (n - p) for p, k in enumerate(order)], increasing=False
            )
            ranks = [None] * n
            for start, end in zip(fit.blocks[:-1], fit.blocks[1:], strict=True):
                mean_theta = sum(theta[order[p]] for p in range(start, end)) / int(end - start)
                mean_weight = sum(n - p for p in range(start, end)) / int(end - start)
                for p in range(start, end):
                    ranks[order[p]] = theta[order[p]] - mean_theta + mean_weight
            terms += [abs(rank - (1 if match else n)) for rank, match in zip(ranks, matches, strict=True)]
        if terms:
            directions.append(sum(terms) / len(terms))
    return sum(directions) / len(directions)


def triplet_by_loops(x, pids, modality, margin):
    terms = []
    for i in range(len(x)):
        distance = [(x[i] - x[j]).pow(2).sum().clamp(min=1e-12).sqrt() for j in range(len(x))]
        positive = max(distance[j] for j in range(len(x)) if pids[j] == pids[i])
        negative = min(distance[j] for j in range(len(x)) if pids[j] != pids[i])
        terms.append(torch.clamp(margin + positive - negative, min=0))
    return sum(terms) / len(terms)


def weighted_triplet_by_loops(x, pids, modality, squared, stable):
    """With the published weights, or with stable ones, which are an exact softmax."""

    def mean(distances, scores, shift):
        exponentials = [(score - shift).exp() for score in scores]
        total = sum(exponentials) + (0 if stable else 1e-6)
        return sum(e / total * d for e, d in zip(exponentials, distances, strict=True))

    terms = []
    for i in range(len(x)):
        distance = [(x[i] - x[j]).pow(2).sum().clamp(min=1e-12).sqrt() for j in range(len(x))]
        positives = [d for d, pid in zip(distance, pids, strict=True) if pid == pids[i]]
        negatives = [d for d, pid in zip(distance, pids, strict=True) if pid != pids[i]]
        positive = mean(positives, positives, max(positives))
        negative = mean(negatives, [-d for d in negatives], 0)
        if squared:
            sign = 1 if negative >= positive else -1
            square = (positive - negative).pow(2)
            terms.append(torch.log(1 + torch.exp(-sign * (square if square < 88 else square * 0 + 88))))
        else:
            terms.append(torch.log(1 + torch.exp(-(negative - positive))))
    return sum(terms) / len(terms)


def identity_by_loops(x, pids, modality, smoothing):
    total = 0.0
    for row, pid in zip(x, pids, strict=True):
        log_probability = row - torch.logsumexp(row, 0)
        for k in range(len(row)):
            target = (1 - smoothing) * (k == int(pid)) + smoothing / len(row)
            total = total - target * log_probability[k]
    return total / len(x)


ORACLES = [
    (CrossModalityRetrievalLoss(0.5), lambda *b: cmr_by_loops(*b, 0.5)),
    (CrossModalityRetrievalLoss(0.1), lambda *b: cmr_by_loops(*b, 0.1)),
    (CrossModalityRetrievalLoss(0.01), lambda *b: cmr_by_loops(*b, 0.01)),
    (HardTripletLoss(0.3), lambda *b: triplet_by_loops(*b, 0.3)),
    (IdentityLoss(), lambda *b: identity_by_loops(*b, 0.0)),
    (IdentityLoss(0.1), lambda *b: identity_by_loops(*b, 0.1)),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("loss", "oracle"), ORACLES, ids=lambda v: type(v).__name__)
def test_value_and_gradient_are_the_formulas(loss, oracle, seed):
    x, pids, modality = batch(seed=seed)
    x = x * (1 + 9 * seed)  # far apart
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    value, expected = loss(a, pids, modality), oracle(b, pids, modality)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), abs=1e-9)  # softplus is linear from 20 on
    torch.testing.assert_close(a.grad, b.grad, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("distance", [1, 6, 12, 14, 20])
def test_weighted_triplet_is_its_formula_at_any_distance(distance, squared, stable):
    x, pids, modality = batch(noise=0.5)
    x = x * distance / torch.pdist(x).mean()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    value = WeightedTripletLoss(squared, stable)(a, pids, modality)
    expected = weighted_triplet_by_loops(b, pids, modality, squared, stable)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, atol=1e-8, rtol=1e-8)  # softplus is linear from 20 on
    torch.testing.assert_close(a.grad, b.grad, atol=1e-8, rtol=1e-7)


def test_published_weights_of_far_negatives_vanish_and_stable_ones_do_not():
    x, pids, modality = batch(ids=2, noise=0.1)
    x = 40 * x / torch.pdist(x).amax()
    assert WeightedTripletLoss(stable=True)(x, pids, modality) < 1e-3
    assert WeightedTripletLoss()(x, pids, modality) > 1


@pytest.mark.parametrize("name", SUPERVISED)
def test_the_order_of_a_batch_does_not_matter(name):
    x, pids, modality = batch(width=18)
    loss, order = LOSSES[name](), torch.randperm(len(x))
    torch.testing.assert_close(loss(x, pids, modality), loss(x[order], pids[order], modality[order]))


@pytest.mark.parametrize("name", SUPERVISED)
def test_half_precision_is_computed_in_float32(name):
    x, pids, modality = batch(width=18)
    half = x.half()
    loss = LOSSES[name]()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, pids, modality)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, loss(half.float(), pids, modality))


@pytest.mark.parametrize("poor", ["one modality", "one identity", "no common identity"])
def test_cmr_is_zero_without_a_valid_query(poor):
    x, pids, modality = batch()
    pids, modality = {
        "one modality": (pids, torch.zeros_like(modality)),
        "one identity": (torch.zeros_like(pids), modality),
        "no common identity": (pids * 2 + modality, modality),
    }[poor]
    assert CrossModalityRetrievalLoss()(x, pids, modality).item() == 0


@pytest.mark.parametrize("name", SUPERVISED)
def test_wrong_shapes_are_named(name):
    x, pids, modality = batch()
    with pytest.raises(ValueError, match=r"\(B, D\), \(B,\) and \(B,\)"):
        LOSSES[name]()(x, pids[:-1], modality)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("name", SUPERVISED)
def test_cuda_agrees_with_the_cpu(name):
    x, pids, modality = batch(width=18)
    on_gpu = LOSSES[name]()(x.cuda(), pids.cuda(), modality.cuda()).cpu()
    torch.testing.assert_close(on_gpu, LOSSES[name]()(x, pids, modality))
