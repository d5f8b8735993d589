"""Modality Alignment Augmentation by its statistics, and the chains of both modalities."""

import math
import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as tv

from torchreid_vi import host
from torchreid_vi.data.transforms import (
    MAA,
    TRANSFORMS,
    ModalityAlignment,
    Settings,
    build_train_transform,
    cross_channel_cutmix,
    spectrum_jitter,
    weighted_grayscale,
)
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = Settings(40, 16, MEAN, STD)
RAW = Settings(40, 16, (0, 0, 0), (1, 1, 1))


@pytest.fixture(autouse=True)
def seed():
    seed_all(0)


def seed_all(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def colourful(width=16, height=40, number=0):
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def flat(width, height, colour):
    return Image.new("RGB", (width, height), colour)


def grey(width=16, height=40):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 1), dtype=np.uint8)
    return Image.fromarray(np.repeat(pixels, 3, axis=2))


def values(image):
    return np.asarray(image, dtype=int)


# WG


def test_wg_weights_are_normalised_uniform_draws():
    primaries = Image.fromarray(
        np.diag([255, 255, 255]).astype(np.uint8)[None]
    )  # a red, a green, a blue pixel
    drawn = np.array([values(weighted_grayscale(primaries))[0, :, 0] for _ in range(4000)]) / 255
    assert np.abs(drawn.sum(1) - 1).max() < 0.01
    assert np.abs(drawn.mean(0) - 1 / 3).max() < 0.01
    expected = np.random.default_rng(0).uniform(size=(200_000, 3))
    expected /= expected.sum(1, keepdims=True)
    assert np.abs(drawn.std(0) - expected.std(0)).max() < 0.006
    for share in (0.05, 0.25, 0.75, 0.95):
        assert np.abs(np.quantile(drawn, share) - np.quantile(expected, share)) < 0.015


def test_wg_is_a_weighted_sum_in_all_three_channels():
    image = colourful()
    for number in range(20):
        random.seed(number)
        result = values(weighted_grayscale(image))
        random.seed(number)
        u = [random.random() for _ in range(3)]
        r, g, b = (values(image)[..., channel] for channel in range(3))
        expected = (u[0] * r + u[1] * g + u[2] * b) / sum(u)
        assert np.abs(result - expected[..., None]).max() <= 0.5 + 1e-9
        assert (result == result[..., :1]).all()


def test_wg_keeps_a_grey_image_within_one_level():
    image = grey()
    for _ in range(50):
        assert np.abs(values(weighted_grayscale(image)) - values(image)).max() <= 1


# CC


def test_cc_boxes_have_the_area_and_aspect_of_the_paper_and_reach_all_of_the_image():
    height, width = 384, 192
    image = flat(width, height, (10, 120, 240))
    areas, ratios, pairs = [], [], Counter()
    covered = np.zeros((height, width), dtype=bool)
    boxes_below = 0
    for _ in range(2000):
        result = values(cross_channel_cutmix(image))
        assert (result[0, 0] == result[0, 0, 0]).all()
        levels, counts = np.unique(result[..., 0], return_counts=True)
        if len(levels) == 1:  # no box fitted
            continue
        box = result[..., 0] == levels[counts.argmin()]
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        h, w = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert h * w == counts.min(), "the patch is not a box"
        pairs[int(levels[counts.argmax()]), int(levels[counts.argmin()])] += 1
        areas.append(h * w / (height * width))
        ratios.append(h / w)
        covered |= box
        boxes_below += rows.mean() > height / 2
    assert len(areas) > 1990
    assert 0.155 < np.mean(areas) < 0.175
    assert 0.019 < min(areas) < 0.03 and 0.3 < max(areas) < 0.332
    assert 0.28 < min(ratios) < 0.33 and 3.0 < max(ratios) < 3.5
    assert covered.any(1).all() and covered.any(0).all()
    assert covered[height // 2 :].mean() > 0.99 and covered[: height // 2].mean() > 0.99
    assert 0.45 < boxes_below / len(areas) < 0.55
    assert len(pairs) == 6 and min(pairs.values()) > 2000 / 6 * 0.8
    assert all(background != foreground for background, foreground in pairs)


def test_published_cc_swaps_the_sides_so_that_no_box_reaches_the_lower_half():
    height, width = 384, 192
    image = flat(width, height, (10, 120, 240))
    covered, areas = np.zeros((height, width), dtype=bool), []
    for _ in range(2000):
        result = values(cross_channel_cutmix(image, published=True))[..., 0]
        box = result != np.median(result)
        covered |= box
        areas.append(box.mean())
    assert not covered[width:].any() and covered[:width].mean() > 0.99
    areas = np.array(areas)
    assert np.mean(areas == 0) == pytest.approx(0.26, abs=0.03)  # the box lies beside the image
    assert areas[areas > 0].mean() == pytest.approx(0.11, abs=0.01)


def test_published_cc_takes_the_place_of_cc():
    assert ModalityAlignment(["cc_published", "hue"]).branches == ("hue", "", "cc_published", "")
    with pytest.raises(InputError, match="two forms of one branch"):
        ModalityAlignment(["cc", "cc_published"])


def test_cc_pixels_come_from_two_channels_and_are_equal_in_all_three():
    image = colourful(24, 48)
    for _ in range(100):
        result, source = values(cross_channel_cutmix(image)), values(image)
        assert (result == result[..., :1]).all()
        share = sorted((result[..., 0] == source[..., channel]).mean() for channel in range(3))
        assert share[2] > 0.6  # the background
        assert share[1] + share[2] > 0.99  # and the box


def test_cc_leaves_the_input_and_a_grey_image_as_they_are():
    image = colourful()
    before = values(image)
    cross_channel_cutmix(image)
    assert (values(image) == before).all()
    for _ in range(20):
        assert (values(cross_channel_cutmix(grey())) == values(grey())).all()


def test_cc_returns_one_channel_where_no_box_fits():
    # On an image of 2 × 4,000 pixels even the smallest and flattest box is higher than the image.
    result = values(cross_channel_cutmix(flat(4000, 2, (10, 120, 240))))
    assert len(np.unique(result)) == 1 and result[0, 0, 0] in (10, 120, 240)


# SJ


def test_sj_mixes_the_image_with_one_of_its_channels_by_a_uniform_factor():
    image = flat(1, 1, (0, 100, 250))
    factors, channels = [], Counter()
    for _ in range(3000):
        y = values(spectrum_jitter(image))[0, 0]
        factor = (y[2] - y[0]) / 250
        expected = {c: factor * np.array((0, 100, 250)) + (1 - factor) * (0, 100, 250)[c] for c in range(3)}
        distance = {c: np.abs(expected[c] - y).max() for c in range(3)}
        channel = min(distance, key=distance.get)
        assert distance[channel] <= 1.5
        factors.append(factor)
        if factor < 0.9:  # else the three are too close to tell
            channels[channel] += 1
    assert abs(np.mean(factors) - 0.5) < 0.02
    assert abs(np.std(factors) - math.sqrt(1 / 12)) < 0.01
    assert len(channels) == 3 and min(channels.values()) > sum(channels.values()) / 3 * 0.9


def test_sj_is_the_identity_on_a_grey_image():
    for _ in range(50):
        assert (values(spectrum_jitter(grey())) == values(grey())).all()


@pytest.mark.parametrize("name", MAA)
def test_every_branch_gives_an_rgb_image_of_the_same_size(name):
    for size in ((16, 40), (1, 1), (192, 384)):
        result = MAA[name](colourful(*size))
        assert result.mode == "RGB" and result.size == size


# The choice between them


def branch_of(image, result):
    """Which branch made ``result``: the primaries of ``image`` tell them apart; None when unchanged."""
    before, after = values(image)[0], values(result)[0]
    if (before == after).all():
        return None
    if not (after == after[:, :1]).all():
        # SJ moves all three pixels' channels towards one of them; hue jitter keeps pure colours pure.
        return "sj" if (after.min(1) > 0).any() else "hue"
    return "cc" if set(np.unique(after)) <= {0, 255} else "wg"


def primaries():
    # Red, green and blue pixels of a size in which a box of CC always fits.
    pixels = np.zeros((30, 30, 3), dtype=np.uint8)
    for channel in range(3):
        pixels[:, channel::3, channel] = 255
    return Image.fromarray(pixels)


def shares(alignment, number=4000):
    image = primaries()
    counts = Counter(branch_of(image, alignment(image)) for _ in range(number))
    return {name: count / number for name, count in counts.items()}


def test_each_branch_is_chosen_a_quarter_of_the_time_and_applied_half_of_that():
    found = shares(ModalityAlignment())
    assert abs(found[None] - 1 / 2) < 0.025
    for name in MAA:
        assert abs(found[name] - 1 / 8) < 0.02, name


@pytest.mark.parametrize("off", MAA)
def test_a_branch_that_is_off_does_nothing_and_its_share_is_not_redistributed(off):
    found = shares(ModalityAlignment([name for name in MAA if name != off]))
    assert found.get(off, 0) < 0.003  # an SJ with a factor of 0 looks like CC
    assert abs(found[None] - 5 / 8) < 0.025
    for name in MAA.keys() - {off}:
        assert abs(found[name] - 1 / 8) < 0.02, name


def test_without_branches_nothing_happens():
    assert shares(ModalityAlignment([]), 200) == {None: 1.0}


def test_an_unknown_branch_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"data\.maa 'hues': did you mean 'hue'"):
        ModalityAlignment(["wg", "hues"])
    with pytest.raises(InputError, match=r"data\.maa"):
        build_train_transform(["maa"], SETTINGS._replace(maa=("colour",)))


# The chains


def resized():
    return tv.Compose([tv.Resize((40, 16)), tv.ToTensor(), tv.Normalize(MEAN, STD)])


def test_only_visible_images_are_aligned():
    transform, plain = build_train_transform(["maa"], SETTINGS), resized()
    image = colourful()
    unchanged = plain(image)
    visible = [torch.equal(transform[Modality.VISIBLE](image), unchanged) for _ in range(300)]
    infrared = [torch.equal(transform[Modality.INFRARED](image), unchanged) for _ in range(300)]
    assert 0.4 < np.mean(visible) < 0.6
    assert all(infrared)
    assert transform[0] is transform.visible and transform[1] is transform.infrared


TORCHREIDS = [
    ["random_flip"],
    ["random_crop"],
    ["random_flip", "random_crop", "color_jitter", "random_erase"],
    ["color_jitter", "random_patch"],
    [],
]


@pytest.mark.parametrize("names", TORCHREIDS, ids=" ".join)
def test_torchreids_names_do_what_they_do_in_torchreid(names):
    ours = build_train_transform(names, SETTINGS)
    for transform in ours:
        theirs, _ = host.transforms.build_transforms(40, 16, names, MEAN, STD)
        for number in range(150):
            image = colourful(20, 50, number)
            results = []
            for chain in (transform, theirs):
                seed_all(number)
                results.append(chain(image))
            assert torch.equal(*results)


def test_the_order_and_case_of_the_names_do_not_matter():
    names = list(TRANSFORMS)
    image = colourful(20, 50)
    results = []
    for each in (names, names[::-1], [name.upper() for name in names]):
        transform = build_train_transform(each, SETTINGS)
        seed_all(3)
        results.append(torch.stack([transform[modality](image) for modality in Modality for _ in range(20)]))
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    assert len(torch.unique(results[0], dim=0)) > 20


def test_an_unknown_transform_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"data\.transforms 'random_flipp': did you mean 'random_flip'"):
        build_train_transform(["maa", "random_flipp"], SETTINGS)


@pytest.mark.parametrize("size", [(0, 16), (40, 0), (-1, -1)])
def test_an_empty_size_is_named(size):
    with pytest.raises(InputError, match=r"data\.height"):
        build_train_transform([], Settings(*size, MEAN, STD))


@pytest.mark.parametrize(("name", "fill"), [("pad_crop", 0.0), ("pad_crop_grey", 127.0)])
def test_a_padded_crop_pads_ten_pixels_of_its_colour(name, fill):
    transform = build_train_transform([name], RAW)
    image = flat(16, 40, (255, 255, 255))
    depths = set()
    for _ in range(600):
        result = (transform.visible(image) * 255).round()
        assert result.shape == (3, 40, 16) and set(result.unique().tolist()) <= {fill, 255.0}
        inside = result[0] == 255
        rows, columns = inside.any(1).nonzero().ravel(), inside.any(0).nonzero().ravel()
        assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        depths.add(("rows", int(rows[0]), 39 - int(rows[-1])))
        depths.add(("columns", int(columns[0]), 15 - int(columns[-1])))
    for side in ("rows", "columns"):
        expected = {(side, n, 0) for n in range(11)} | {(side, 0, n) for n in range(11)}
        assert {each for each in depths if each[0] == side} == expected


def test_erasing_with_zero_keeps_to_its_area_and_aspect():
    settings = Settings(96, 48, (0, 0, 0), (1, 1, 1))
    transform = build_train_transform(["random_erase_zero"], settings)
    image = flat(48, 96, (255, 255, 255))
    areas, ratios = [], []
    for number in range(1200):
        result = transform[number % 2](image)
        assert set(result.unique().tolist()) <= {0.0, 1.0} and torch.equal(result[0], result[2])
        erased = result[0] == 0
        if erased.any():
            h, w = int(erased.any(1).sum()), int(erased.any(0).sum())
            assert h * w == int(erased.sum())
            areas.append(h * w / (96 * 48))
            ratios.append(h / w)
    assert 0.45 < len(areas) / 1200 < 0.55
    assert 0.018 < min(areas) < 0.04 and 0.26 < max(areas) < 0.31
    assert 0.26 < min(ratios) < 0.4 and 2.7 < max(ratios) < 3.6


def test_zero_is_filled_in_after_normalisation():
    transform = build_train_transform(["random_erase_zero"], SETTINGS)
    image = flat(16, 40, (255, 255, 255))
    results = [transform.infrared(image) for _ in range(30)]
    assert any((result == 0).all(0).any() for result in results)


def test_transforms_can_be_sent_to_worker_processes():
    transform = pickle.loads(pickle.dumps(build_train_transform(list(TRANSFORMS), SETTINGS)))
    assert transform.visible(colourful()).shape == (3, 40, 16)


def test_maas_hue_jitter_stays_within_a_fifth_of_the_circle():
    assert isinstance(MAA["hue"], tv.ColorJitter)
    hues = []
    for _ in range(500):
        h, s, v = MAA["hue"](flat(1, 1, (255, 0, 0))).convert("HSV").getpixel((0, 0))
        assert s == 255 and v == 255
        hues.append((h + 128) % 256 - 128)
    assert -53 <= min(hues) < -45 and 45 < max(hues) <= 53
