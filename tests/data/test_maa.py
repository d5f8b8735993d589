"""The branches of MAA: how often each is chosen, and what each does."""

from collections import Counter

import numpy as np
import pytest
import torch
from augmenting import RAW, changed, flat
from PIL import Image
from scipy.stats import chisquare, ks_2samp
from torchvision import transforms as tv
from torchvision.transforms import functional as F

from torchreid_vi.data.changes import Settings
from torchreid_vi.data.maa import MAA, hue

#: A red, a green and a blue column in turn, of a size in which a box of CC always fits.
PRIMARIES = np.tile(np.diag([255] * 3).astype(np.uint8), (30, 10, 1))


def levels(names, image, number, **settings):
    """Augment copies of an image; return integers from 0 to 255."""
    settings = Settings(image.height, image.width, *RAW, **settings)
    return (changed(names, image, number, settings=settings) * 255).round().int()


def maa(branch, image, number):
    """Augment copies of an image with one branch of MAA; return about ``number`` that it changed."""
    result = levels(["maa"], image, 8 * number, maa=[branch])
    return result[(result != F.pil_to_tensor(image).int()).flatten(1).any(1)]


def branch_of(image):
    """Return which branch changed the primaries to levels (3, 30, 30); None where none did."""
    before, after = PRIMARIES[0], image[:, 0].T.numpy()
    if (before == after).all():
        return None
    if not (after == after[:, :1]).all():
        # SJ moves all three pixels' channels towards one of them; hue jitter keeps pure colours pure.
        return "sj" if (after.min(1) > 0).any() else "hue"
    return "cc" if set(np.unique(after)) <= {0, 255} else "wg"


def test_each_branch_is_chosen_a_quarter_of_the_time_and_applied_half_of_that():
    counts = Counter(map(branch_of, levels(["maa"], Image.fromarray(PRIMARIES), 4000)))
    names = [None, *MAA]
    assert chisquare([counts[name] for name in names], [2000, 500, 500, 500, 500]).pvalue > 1e-3


@pytest.mark.parametrize("off", MAA)
def test_a_branch_that_is_off_does_nothing_and_its_share_is_not_redistributed(off):
    on = [name for name in MAA if name != off]
    counts = Counter(map(branch_of, levels(["maa"], Image.fromarray(PRIMARIES), 4000, maa=on)))
    assert counts.get(off, 0) < 12  # an SJ with a factor of 0 looks like CC
    rest = 4000 - counts.get(off, 0)
    expected = [rest * share / 8 for share in (5, 1, 1, 1)]
    assert chisquare([counts[name] for name in (None, *on)], expected).pvalue > 1e-3


def test_hue_is_turned_as_torchvision_turns_it():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 3, 30, 20), dtype=np.uint8))
    factors = torch.linspace(-0.2, 0.2, 20)
    found = hue(images, 6 * factors[:, None])
    for image, factor, result in zip(images, factors.tolist(), found, strict=True):
        expected = tv.functional.adjust_hue(image, factor)  # it cuts off where ours rounds
        assert (result.int() - expected.int()).abs().max() <= 1


def test_wg_weights_are_normalised_uniform_numbers():
    pixels = np.diag([255, 255, 255]).astype(np.uint8)[None]  # a red, a green and a blue one
    drawn = maa("wg", Image.fromarray(pixels), 4000)
    assert (drawn == drawn[:, :1]).all()
    weights = drawn[:, 0, 0].numpy() / 255
    assert np.abs(weights.sum(1) - 1).max() < 0.01
    expected = np.random.default_rng(0).uniform(size=(200_000, 3))
    expected = (expected / expected.sum(1, keepdims=True))[:, 0] + np.random.default_rng(1).uniform(
        -1, 1, 200_000
    ) / 510
    noise = np.random.default_rng(2).uniform(-1, 1, len(weights)) / 510
    assert ks_2samp(weights[:, 0] + noise, expected).pvalue > 1e-3


def test_cc_boxes_have_the_area_and_aspect_of_the_paper_and_reach_all_of_the_image():
    height, width = 96, 48
    results = maa("cc", flat(height, width, (10, 120, 240)), 1200)
    areas, ratios, pairs, below = [], [], Counter(), 0
    covered = np.zeros((height, width), dtype=bool)
    for result in results.numpy():
        assert (result == result[0]).all()
        found, counts = np.unique(result[0], return_counts=True)
        if len(found) == 1:  # no box fitted
            continue
        box = result[0] == found[counts.argmin()]
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert h * w == counts.min(), "the patch is not a box"
        pairs[int(found[counts.argmax()]), int(found[counts.argmin()])] += 1
        areas.append(h * w / (height * width))
        ratios.append(h / w)
        covered |= box
        below += rows.mean() > height / 2
    number = len(areas)
    assert number > 0.99 * len(results) > 1000
    assert 0.155 < np.mean(areas) < 0.18 and 0.018 < min(areas) < 0.03 and 0.3 < max(areas) < 0.34
    assert 0.27 < min(ratios) < 0.34 and 3.0 < max(ratios) < 3.6
    assert covered.mean() > 0.99 and 0.45 < below / number < 0.55
    assert len(pairs) == 6 and chisquare(list(pairs.values())).pvalue > 1e-3
    assert all(background != foreground for background, foreground in pairs)


def test_published_cc_swaps_the_sides_so_that_no_box_reaches_the_lower_half():
    height, width = 96, 48
    results = maa("cc_published", flat(height, width, (10, 120, 240)), 1000)[:, 0]
    boxes = results != results.flatten(1).median(1).values[:, None, None]
    covered, areas = boxes.any(0), boxes.float().mean((1, 2))
    assert not covered[width:].any() and covered[:width].float().mean() > 0.99
    beside = (areas == 0).float().mean()  # the box lies beside the image
    assert float(beside) == pytest.approx(0.26, abs=0.03)
    assert float(areas[areas > 0].mean()) == pytest.approx(0.11, abs=0.01)


def test_cc_returns_one_channel_where_no_box_fits():
    # On an image of 2 × 4,000 pixels even the smallest and flattest box is higher than the image.
    for result in maa("cc", flat(2, 4000, (10, 120, 240)), 10):
        assert len(result.unique()) == 1 and int(result[0, 0, 0]) in (10, 120, 240)


def test_sj_mixes_the_image_with_one_of_its_channels_by_a_uniform_factor():
    factors, channels = [], Counter()
    for y in maa("sj", flat(1, 1, (0, 100, 250)), 2500)[:, :, 0, 0].numpy():
        factor = (y[2] - y[0]) / 250
        expected = {c: factor * np.array((0, 100, 250)) + (1 - factor) * (0, 100, 250)[c] for c in range(3)}
        distance = {c: np.abs(expected[c] - y).max() for c in range(3)}
        channel = min(distance, key=distance.get)
        assert distance[channel] <= 1.5
        factors.append(factor)
        if factor < 0.9:  # else the three are too close to tell
            channels[channel] += 1
    assert ks_2samp(factors, np.random.default_rng(0).uniform(size=20_000)).pvalue > 1e-3
    assert chisquare([channels[c] for c in range(3)]).pvalue > 1e-3


@pytest.mark.parametrize("branch", ["wg", "cc", "sj"])
def test_a_grey_image_stays_as_it_is(branch):
    grey = np.repeat(np.random.default_rng(1).integers(0, 256, (40, 16, 1), dtype=np.uint8), 3, axis=2)
    result = levels(["maa"], Image.fromarray(grey), 200, maa=[branch])
    assert (result - F.pil_to_tensor(Image.fromarray(grey)).int()).abs().max() <= (branch == "wg")
