"""No batch, however poor, and no gallery gives NaN: one identity or modality, duplicates, constants, extremes."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from torchreid_vi import LOSSES
from torchreid_vi.evaluation import PROTOCOLS, Reranking, TestSet, evaluate
from torchreid_vi.methods.mmgl import exact_match, residual, sinkhorn, stripe_accuracy
from torchreid_vi.methods.mmgl.part_cycle import READINGS
from torchreid_vi.modality import Camera, Modality

ON_A_BATCH = [name for name in LOSSES if name not in ("permutation", "part_cycle", "part_views")]
VARIANTS = {
    "weighted_triplet": [{}, {"squared": True}],
    "cmr": [{"epsilon": epsilon} for epsilon in (0.5, 0.1, 0.01, 1e-6)],
    "identity": [{}, {"label_smoothing": 1.0}],
    "permutation": [{}, {"reduction": "mean"}],
    "part_views": [{}, {"temperature": 1e-3}],
    "part_cycle": [{}, *({"reading": reading} for reading in READINGS), {"temperature": 1e-3}],
}
KINDS = ("random", "zero", "constant", "duplicates", "opposite", "one hot")
SCALES = (1e-30, 1e-8, 1.0, 1e4)


def values(shape, kind, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator)
    if kind == "zero":
        drawn = torch.zeros(shape)
    if kind == "constant":
        drawn = torch.ones(shape)
    if kind == "duplicates":
        drawn = drawn[:1].expand(shape).clone()
    if kind == "opposite":
        drawn = drawn[:1] * torch.tensor([1.0, -1.0]).repeat(shape[0])[: shape[0]].view(
            -1, *[1] * (len(shape) - 1)
        )
    if kind == "one hot":
        drawn = torch.nn.functional.one_hot(drawn.argmax(-1), shape[-1]).float()
    return (drawn * scale).requires_grad_()


def labels(number, pattern, kinds, seed):
    if pattern == "one":
        return torch.zeros(number, dtype=torch.long)
    if pattern == "different":
        return torch.arange(number) % kinds
    return torch.randint(kinds, (number,), generator=torch.Generator().manual_seed(seed))


def require_numbers(loss, inputs):
    assert loss.isfinite(), loss
    loss.backward()
    assert inputs.grad.isfinite().all()


@pytest.mark.parametrize("name", ON_A_BATCH)
@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(1, 9),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from(SCALES),
    people=st.sampled_from(["one", "different", "drawn"]),
    sides=st.sampled_from(["one", "different", "drawn"]),
    seed=st.integers(0, 10**6),
    half=st.booleans(),
)
@example(number=8, kind="duplicates", scale=1e4, people="drawn", sides="drawn", seed=0, half=False)
@example(number=4, kind="zero", scale=1.0, people="different", sides="different", seed=0, half=False)
@example(number=4, kind="opposite", scale=1.0, people="drawn", sides="one", seed=0, half=True)
def test_a_loss_and_its_gradient_are_numbers(name, number, kind, scale, people, sides, seed, half):
    pids, modality = labels(number, people, 9, seed), labels(number, sides, 2, seed + 1)
    for options in VARIANTS.get(name, [{}]):
        inputs = values((number, 9), kind, scale, seed)
        given_ = inputs.to(torch.bfloat16) if half else inputs
        require_numbers(LOSSES[name](**options)(given_, pids, modality), inputs)


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(1, 5),
    stripes=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from(SCALES),
    sides=st.sampled_from(["one", "different", "drawn"]),
    seed=st.integers(0, 10**6),
)
def test_a_pretexts_losses_and_figures_are_numbers(number, stripes, kind, scale, sides, seed):
    modality = labels(number, sides, 2, seed)
    for options in VARIANTS["part_cycle"]:
        inputs = values((number, stripes + 1, 4), kind, scale, seed)
        parts = torch.nn.functional.normalize(inputs, dim=-1)
        require_numbers(LOSSES["part_cycle"](**options)(parts, modality), inputs)
    for options in VARIANTS["part_views"]:
        inputs = values((2 * number, stripes, 4), kind, scale, seed)
        parts = torch.nn.functional.normalize(inputs, dim=-1)
        require_numbers(LOSSES["part_views"](**options)(parts, torch.arange(number).repeat(2)), inputs)
    orders = torch.stack([torch.randperm(stripes) for _ in range(number)])
    for options, temperature in product(VARIANTS["permutation"], (1, 1e-3)):
        logits = values((number, stripes, stripes), kind, scale, seed)
        guess = sinkhorn(logits / temperature)
        require_numbers(LOSSES["permutation"](**options)(guess, orders), logits)
        guess = guess.detach()
        assert all(
            np.isfinite(figure) for figure in (stripe_accuracy(guess, orders), exact_match(guess, orders))
        )
        assert np.isfinite(residual(guess))


@settings(max_examples=40, deadline=None)
@given(
    queries=st.integers(1, 6),
    gallery=st.integers(1, 9),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from(SCALES),
    people=st.sampled_from(["one", "drawn"]),
    metric=st.sampled_from(["euclidean", "cosine"]),
    normalize=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_figures_are_numbers(queries, gallery, kind, scale, people, metric, normalize, seed):
    total = queries + gallery
    features = values((total, 5), kind, scale, seed).detach().numpy()
    pids = labels(total, people, 4, seed).numpy()
    pids[0] = pids[-1]  # one query has an answer
    table = (Camera(1, 1, Modality.VISIBLE), Camera(2, 2, Modality.INFRARED))
    cameras = np.array([1] * queries + [0] * gallery)
    test_set = TestSet(pids, cameras, np.arange(1, total + 1), table, None)
    family = PROTOCOLS["cross_modality"]
    protocol = {"infrared-to-visible": family["infrared-to-visible"]}
    rerankings = [Reranking("k-reciprocal", k1=3, k2=2, weight=0.3)]
    for result in evaluate(
        features, test_set, protocol, {"name": "drawn"}, metric, normalize, False, rerankings, None
    ):
        for figure in ("R1", "R5", "R10", "R20", "mAP", "mINP"):
            assert 0 <= result.mean(figure) <= 100
