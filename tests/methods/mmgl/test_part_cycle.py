"""Part-aware cycle contrast against plain loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi.methods.mmgl import PartCycleContrastLoss
from torchreid_vi.methods.mmgl.part_cycle import READINGS

MODALITY = [0, 1, 0, 1, 1]


def parts_of(batch, stripes=3, dim=5, dtype=torch.float64):
    return F.normalize(torch.randn(batch, stripes, dim, dtype=dtype), dim=2)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(query, others, temperature):
    weights = [math.exp(dot(query, u) / temperature) for u in others]
    return [w / sum(weights) for w in weights]


def neighbour(query, others, temperature):
    """Return the soft nearest neighbour of a vector among others, of length one."""
    weights = softmax(query, others, temperature)
    found = [sum(w * u[i] for w, u in zip(weights, others, strict=True)) for i in range(len(query))]
    length = math.sqrt(dot(found, found))
    return [x / length for x in found]


def plain_contrast(own, other, temperature, reading):
    """Compute one half of the loss of lists of images, each a list of parts."""

    def support(images, b, i, inside):
        if reading.startswith("pair"):
            return [u for k, u in enumerate(images[b]) if not (inside and reading != "pair" and k == i)]
        if reading == "part":
            return [image[i] for a, image in enumerate(images) if not (inside and a == b)]
        return [u for image in images for u in image]

    places = [(b, i) for b in range(len(own)) for i in range(len(own[0]))]
    keys = {(b, i): neighbour(own[b][i], support(own, b, i, inside=True), temperature) for b, i in places}
    terms = []
    for b, i in places:
        found = neighbour(own[b][i], support(other, b, i, inside=False), temperature)
        against = {
            "batch": places,
            "batch_other_parts": [(a, j) for a, j in places if j != i or a == b],
        }.get(reading, [(b, j) for j in range(len(own[0]))])
        scores = {place: math.exp(dot(found, keys[place]) / temperature) for place in against}
        terms.append(-math.log(scores[b, i] / sum(scores.values())))
    return sum(terms) / len(terms)


def plain_walk(own, other, temperature):
    flat, across = ([u for image in images for u in image] for images in (own, other))
    terms = []
    for i, u in enumerate(flat):
        home = 0.0
        for out, v in zip(softmax(u, across, temperature), across, strict=True):
            back = softmax(v, flat, temperature)
            home += out * sum(p for j, p in enumerate(back) if j % len(own[0]) == i % len(own[0]))
        terms.append(-math.log(home))
    return sum(terms) / len(terms)


def plain_loss(parts, modality, temperature, reading):
    sets = [[image for image, k in zip(parts, modality, strict=True) if k == m] for m in (0, 1)]
    sets = [images[: min(map(len, sets))] for images in sets]  # pairs
    halves = [
        plain_walk(own, other, temperature)
        if reading == "walk"
        else plain_contrast(own, other, temperature, reading)
        for own, other in (sets, sets[::-1])
    ]
    return sum(halves) / 2


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize(
    ("reading", "kinds"), [(reading, MODALITY) for reading in READINGS] + [("pair_excluding_self", [0, 1])]
)
def test_it_equals_plain_loops_in_value_and_gradient(reading, kinds, temperature):
    parts, modality = parts_of(len(kinds)).requires_grad_(), torch.tensor(kinds)
    loss = PartCycleContrastLoss(temperature, reading)

    def oracle(values):
        return plain_loss(values.tolist(), kinds, temperature, reading)

    expected = oracle(parts.detach())
    value = loss(parts, modality)
    assert value.item() == pytest.approx(expected, rel=1e-9)
    value.backward()
    step = 1e-6
    for place in ((0, 1, 2), (1, 0, 4), (len(kinds) - 2, 2, 0)):
        costs = []
        for change in (step, -step):
            moved = parts.detach().clone()
            moved[place] += change
            costs.append(oracle(moved))
        slope = (costs[0] - costs[1]) / (2 * step)
        assert parts.grad[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def ideal_parts(images, stripes=6, dim=256):
    """Return embeddings of images of different people: a part's own direction, and as much of the person's."""
    code = torch.eye(dim)
    people = code[stripes : stripes + images, None]
    return F.normalize(code[None, :stripes] + 0.5 * people, dim=2)


def test_parts_of_unpaired_images_satisfy_it_and_random_ones_do_not():
    modality, loss = torch.tensor([0, 1] * 32), PartCycleContrastLoss()
    random = F.normalize(parts_of(64, 6, 256).relu(), dim=2)
    assert loss(ideal_parts(64), modality) < 0.2
    assert 1.4 < loss(random, modality) < 1.7
    for reading in ("batch", "pair_excluding_self"):
        assert PartCycleContrastLoss(reading=reading)(ideal_parts(64), modality) > 3


@pytest.mark.parametrize(("reading", "gains"), [("pair", False), ("part", False), ("batch", True)])
def test_a_code_of_the_pair_gains_in_the_first_reading_alone(reading, gains):
    """All stripes of both images of a pair have one embedding, which no other pair has."""
    modality = torch.tensor([0, 1] * 32)
    code = torch.eye(64)[torch.arange(64) // 2][:, None].expand(64, 6, 64)
    chance = math.log(32 * 6 if reading == "batch" else 6)
    value = PartCycleContrastLoss(reading=reading)(code, modality).item()
    assert value < 0.5 * chance if gains else value == pytest.approx(chance, abs=1e-4)


@pytest.mark.parametrize("reading", READINGS)
def test_the_names_of_the_modalities_do_not_matter(reading):
    parts, modality = parts_of(8), torch.tensor([0, 1] * 4)
    loss = PartCycleContrastLoss(reading=reading)
    torch.testing.assert_close(loss(parts, 1 - modality), loss(parts, modality))


def test_without_parts_it_contrasts_whole_images():
    parts, modality = parts_of(6, stripes=1), torch.tensor([0, 1] * 3)
    expected = plain_loss(parts.tolist(), modality.tolist(), 0.07, "batch")
    assert PartCycleContrastLoss(reading="batch")(parts, modality).item() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="needs two stripes or more"):
        PartCycleContrastLoss()(parts, modality)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("reading", READINGS)
def test_one_modality_alone_gives_a_zero_with_a_gradient(reading, kind):
    parts = parts_of(4).requires_grad_()
    loss = PartCycleContrastLoss(reading=reading)(parts, torch.full((4,), kind))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(parts.grad, torch.zeros_like(parts))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("images", [2, 6])
def test_identical_and_opposite_parts_stay_finite(reading, images):
    same = parts_of(1).expand(images, 3, 5).clone()
    opposite = torch.cat([same[: images // 2], -same[images // 2 :]])
    for parts in (same, opposite, parts_of(images)):
        parts = parts.requires_grad_()
        loss = PartCycleContrastLoss(1e-3, reading)(parts.float(), torch.arange(images) % 2)
        loss.backward()
        assert loss.isfinite()
        assert parts.grad.isfinite().all()


@pytest.mark.parametrize("reading", READINGS)
def test_half_precision_is_computed_in_float32_also_inside_autocast(reading):
    parts, modality = parts_of(4, dtype=torch.bfloat16), torch.tensor([0, 1, 0, 1])
    loss = PartCycleContrastLoss(reading=reading)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(parts, modality)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, loss(parts.float(), modality), rtol=0, atol=0)


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"reading": "all"}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PartCycleContrastLoss(**bad)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected \(B, S, D\) and \(B,\)"):
        PartCycleContrastLoss()(torch.zeros(2, 3), torch.zeros(2))
