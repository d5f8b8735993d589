"""CAJ's channel exchange and its second view: statistics, and what a batch holds."""

import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from torchreid_vi import InputError
from torchreid_vi.data import VIDataManager
from torchreid_vi.data.transforms import (
    Settings,
    Views,
    build_train_transform,
    channel_exchange,
    channel_grey,
)
from torchreid_vi.modality import Modality

RAW = Settings(12, 6, (0, 0, 0), (1, 1, 1))


@pytest.fixture(autouse=True)
def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def source(image, result):
    """Which channel is in all places of the result: 0 to 2, ``grey``, or ``same``."""
    if torch.equal(result, image):
        return "same"
    assert torch.equal(result[0], result[1]) and torch.equal(result[0], result[2])
    for channel in range(3):
        if torch.equal(result[0], image[channel]):
            return channel
    torch.testing.assert_close(
        result[0], 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2], atol=2e-3, rtol=0
    )
    return "grey"


def test_an_exchange_puts_one_channel_in_all_places_each_as_often():
    image = torch.rand(3, 4, 5)
    seen = Counter(source(image, channel_exchange(image)) for _ in range(3000))
    assert seen.keys() == {0, 1, 2}
    assert all(abs(count / 3000 - 1 / 3) < 0.04 for count in seen.values())


def test_infrared_gets_a_channel_in_three_of_four_cases_and_grey_in_half_of_the_fourth():
    image = torch.rand(3, 4, 5)
    seen = Counter(source(image, channel_grey(image)) for _ in range(4000))
    expected = {0: 0.25, 1: 0.25, 2: 0.25, "grey": 0.125, "same": 0.125}
    assert seen.keys() == expected.keys()
    assert all(abs(seen[case] / 4000 - share) < 0.03 for case, share in expected.items())


@pytest.mark.parametrize("change", [channel_exchange, channel_grey])
def test_the_image_itself_is_left_as_it_was_and_may_be_written_to(change):
    image = torch.rand(3, 4, 5)
    before = image.clone()
    for _ in range(20):
        result = change(image)
        if result is not image:
            result += 1
    assert torch.equal(image, before)


def test_exchange_is_for_visible_images_and_grey_for_infrared_ones():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 6, 3), dtype=np.uint8))
    transform = build_train_transform(["channel_exchange", "channel_grey"], RAW)
    plain = build_train_transform([], RAW).visible(image)
    assert {source(plain, transform.visible(image)) for _ in range(50)} == {0, 1, 2}
    assert {source(plain, transform.infrared(image)) for _ in range(100)} == {0, 1, 2, "grey", "same"}


def test_erasing_comes_before_the_exchange_and_fills_with_cajs_colour():
    image = Image.new("RGB", (6, 12), (255, 255, 255))
    transform = build_train_transform(["channel_erase"], RAW)
    colours = {tuple(c) for _ in range(40) for c in transform.infrared(image).flatten(1).T.tolist()}
    assert {tuple(round(v, 4) for v in colour) for colour in colours} == {(1, 1, 1), (0.4914, 0.4822, 0.4465)}
    both = build_train_transform(["channel_erase", "channel_exchange"], RAW)
    for _ in range(20):
        result = both.visible(image)
        assert torch.equal(result[0], result[1])


def test_llcms_erasing_fills_with_zero_after_normalisation():
    image = Image.new("RGB", (24, 48), (255, 255, 255))
    transform = build_train_transform(["llcm_erase"], RAW)
    shares = [(transform.infrared(image) == 0).float().mean().item() for _ in range(400)]
    erased = [share for share in shares if share]
    assert 0.42 < len(erased) / len(shares) < 0.58 and 0.01 < min(erased) < 0.05 and 0.3 < max(erased) < 0.45


def test_a_visible_image_has_two_views_and_an_infrared_one_one():
    transform = build_train_transform(["random_flip"], RAW, ["channel_exchange"])
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 6, 3), dtype=np.uint8))
    plain = build_train_transform([], RAW).visible(image)
    first, second = transform.visible(image)
    assert torch.equal(first, plain) or torch.equal(first, plain.flip(-1))
    assert source(plain, second) in (0, 1, 2)
    assert len(transform.infrared(image)) == 1
    assert isinstance(pickle.loads(pickle.dumps(transform)).visible, Views)


def manage(root, **options):
    settings = {"sources": ["sysu_mm01"], "height": 40, "width": 16, "workers": 0, "use_gpu": False}
    sampler = {"train_sampler": "CrossModalitySampler", "num_instances": 2, "batch_size_train": 8}
    return VIDataManager(root=str(root), **settings | sampler | options)


def test_every_visible_image_of_a_batch_comes_twice_and_every_infrared_one_once(roots):
    batch = next(iter(manage(roots, transforms=[], second_view=["channel_exchange"]).train_loader))
    assert batch["img"].shape == (12, 3, 40, 16)
    times = Counter(batch["impath"])
    for path, modality in zip(batch["impath"], batch["modality"].tolist(), strict=True):
        assert times[path] % (2 if modality == Modality.VISIBLE else 1) == 0
    assert Counter(batch["modality"].tolist()) == {0: 8, 1: 4}
    visible = [i for i, modality in enumerate(batch["modality"].tolist()) if modality == Modality.VISIBLE]
    for first, second in zip(visible[::2], visible[1::2], strict=True):
        assert batch["impath"][first] == batch["impath"][second]
        assert batch["pid"][first] == batch["pid"][second]
        assert source(batch["img"][first], batch["img"][second]) in (0, 1, 2)


def test_without_a_second_view_a_batch_is_what_was_sampled(roots):
    assert next(iter(manage(roots).train_loader))["img"].shape == (8, 3, 40, 16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"second_view": ["channel_swap"]}, r"data\.second_view 'channel_swap'"),
        ({"second_view": ["random_flip"], "k_tfm": 2}, r"data\.k_tfm is 2 with a data\.second_view"),
    ],
)
def test_a_second_view_that_cannot_be_had_is_one_sentence(roots, options, said):
    with pytest.raises(InputError, match=said):
        manage(roots, **options)
