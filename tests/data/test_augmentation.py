"""Training transforms on batches: their distributions beside transforms of single images, and exact values."""

import random
from collections import Counter

import numpy as np
import one_by_one
import pytest
import torch
from augmenting import MEAN, RAW, SETTINGS, STD, changed, flat, picture
from PIL import Image
from scipy.stats import chisquare, ks_2samp
from torchvision import transforms as tv
from torchvision.transforms import functional as F

from torchreid_vi.data.augmentation import Augmentation, Normalise
from torchreid_vi.data.changes import Settings
from torchreid_vi.data.transforms import TRANSFORMS, Transform
from torchreid_vi.modality import Modality
from torchreid_vi.seeds import seeded

HEIGHT, WIDTH, NUMBER = SETTINGS.height, SETTINGS.width, 1600
VISIBLE, INFRARED = Modality
BATCHED = [name for name, transform in TRANSFORMS.items() if transform.batched]


def statistics(images):
    """Return numbers that tell what was done to an image: colours, how much was changed and where."""
    plain = tv.Normalize(MEAN, STD)(F.to_tensor(picture()))
    different = (images - plain).abs().amax(1) > 0.05
    rows = torch.linspace(0, 1, HEIGHT)[None, :, None].expand_as(different)
    columns = torch.linspace(0, 1, WIDTH)[None, None].expand_as(different)

    def centre(place):
        return (place * different).sum((1, 2)) / different.sum((1, 2)).clamp(min=1)

    def first(axis):
        return different.any(axis).float().argmax(1).float()

    values = {f"mean of channel {c}": images[:, c].mean((1, 2)) for c in range(3)}
    values |= {f"spread of channel {c}": images[:, c].std((1, 2)) for c in range(3)}
    values |= {"colourfulness": (images.amax(1) - images.amin(1)).mean((1, 2))}
    values |= {"changed": different.float().mean((1, 2)), "row": centre(rows), "column": centre(columns)}
    values |= {"top": first(2), "left": first(1)}
    return values | {"height": different.any(2).float().mean(1), "width": different.any(1).float().mean(1)}


@pytest.mark.parametrize("modality", Modality, ids=lambda side: side.name.lower())
@pytest.mark.parametrize("name", BATCHED)
def test_distributions_are_those_of_single_images(name, modality):
    """Kolmogorov and Smirnov's test; a little noise lets values differ that were rounded on another way."""
    call, on_tensor = one_by_one.transform(name, HEIGHT, WIDTH, MEAN, modality)
    normalise = tv.Compose([tv.ToTensor(), tv.Normalize(MEAN, STD)])
    chain = tv.Compose([normalise, call] if on_tensor else [call, normalise])
    with seeded("test", 5):
        expected = statistics(torch.stack([chain(picture()) for _ in range(NUMBER)]))
    found = statistics(changed([name], picture(), NUMBER, modality))
    rng = np.random.default_rng(0)
    for what in expected:
        first, second = (s[what].numpy() + rng.normal(0, 0.01, NUMBER) for s in (expected, found))
        assert ks_2samp(first, second).pvalue > 1e-3, what


def test_without_transforms_images_are_resized_and_normalised_alone():
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (5, 3, 9, 7), dtype=np.uint8))
    expected = tv.Normalize(MEAN, STD)(images.float() / 255)
    found = Augmentation([], Settings(9, 7, MEAN, STD)).augment(images, [0] * 5, 1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_normalising_is_undone_and_a_channel_takes_the_place_of_all():
    normalise = Normalise(MEAN, STD)
    images = torch.randint(256, (4, 3, 5, 6), dtype=torch.uint8)
    assert torch.equal(normalise.undo(normalise(images)), images)
    grey = images[:, 1:2].expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        normalise.one_channel(normalise(images), 1), normalise(grey), atol=1e-5, rtol=0
    )


def source(image, result):
    """Return which channel is in all places of the result: 0 to 2, ``grey``, or ``same``."""
    if torch.equal(result, image):
        return "same"
    assert torch.equal(result[0], result[1]) and torch.equal(result[0], result[2])
    for channel in range(3):
        if torch.equal(result[0], image[channel]):
            return channel
    mix = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    torch.testing.assert_close(result[0], mix, atol=2e-3, rtol=0)
    return "grey"


@pytest.mark.parametrize(
    ("modality", "shares"),
    [
        (VISIBLE, {0: 8 / 24, 1: 8 / 24, 2: 8 / 24}),
        (INFRARED, {0: 6 / 24, 1: 6 / 24, 2: 6 / 24, "grey": 3 / 24, "same": 3 / 24}),
    ],
)
def test_channels_are_exchanged_as_often_as_caj_says(modality, shares):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8))
    settings = Settings(6, 5, *RAW)
    plain = changed([], image, 1, settings=settings)[0]
    seen = Counter(
        source(plain, each)
        for each in changed(["channel_exchange", "channel_grey"], image, 4000, modality, settings)
    )
    assert seen.keys() == shares.keys()
    assert chisquare([seen[k] for k in shares], [4000 * share for share in shares.values()]).pvalue > 1e-3


def test_erasing_comes_before_the_exchange_and_fills_with_cajs_colour():
    image, settings = flat(12, 6, (255, 255, 255)), Settings(12, 6, *RAW)
    erased = changed(["channel_erase"], image, 60, INFRARED, settings)
    colours = {tuple(round(v, 4) for v in c) for each in erased for c in each.flatten(1).T.tolist()}
    assert colours == {(1, 1, 1), (0.4914, 0.4822, 0.4465)}
    both = changed(["channel_erase", "channel_exchange"], image, 40, VISIBLE, settings)
    assert torch.equal(both[:, 0], both[:, 1]) and torch.equal(both[:, 0], both[:, 2])


def test_a_transform_changes_its_own_modalities_alone():
    images = F.pil_to_tensor(picture()).repeat(80, 1, 1, 1)
    modality = torch.arange(80) % 2
    for name in set(TRANSFORMS) - {"random_patch"}:  # whose patches are of the same picture
        found = Augmentation([name], SETTINGS).augment(images, modality, 1)
        different = (found - changed([], picture(), 1)).abs().amax((1, 2, 3)) > 1e-5
        found = {Modality(side) for side in (0, 1) if different[modality == side].any()}
        assert found == set(TRANSFORMS[name].modalities), name


def test_the_order_and_case_of_the_names_do_not_matter():
    names = list(TRANSFORMS)
    result = changed(names, picture(), 40)
    assert torch.equal(result, changed([name.upper() for name in reversed(names)], picture(), 40))
    assert len(torch.unique(result, dim=0)) > 20


def test_what_is_sampled_for_one_transform_says_nothing_of_another():
    augment = Augmentation(["random_flip", "random_erase_zero"], SETTINGS)
    zero = torch.zeros(2000, dtype=torch.long)
    chosen = torch.zeros(2, 2000)
    for row, changes in zip(chosen, augment.plan(zero, zero, torch.Generator().manual_seed(0)), strict=True):
        row[changes[0].rows] = 1
    assert ((chosen.mean(1) - 0.5).abs() < 0.05).all() and abs(torch.corrcoef(chosen)[0, 1]) < 0.08


def test_a_part_of_a_batch_becomes_what_it_becomes_in_the_whole():
    names = BATCHED
    augment = Augmentation(names, SETTINGS)
    images = torch.from_numpy(
        np.random.default_rng(3).integers(0, 256, (24, 3, HEIGHT, WIDTH), dtype=np.uint8)
    )
    modality = torch.arange(24) % 2
    plan = augment.plan(modality, torch.zeros_like(modality), torch.Generator().manual_seed(4))
    whole = augment.augment(images, modality, 4)
    part = torch.tensor([1, 2, 7, 20])
    own = plan.of(part, 24)
    found = augment.change(augment.normalise(augment.change(images[part], own.on_bytes)), own.on_tensor)
    assert torch.equal(found, whole[part])


@pytest.mark.parametrize("name", ["color_jitter", "random_patch"])
def test_transforms_of_single_images_do_what_they_do_in_torchreid(name):
    images = [picture().resize((WIDTH, HEIGHT)).rotate(90 * number) for number in range(150)]
    batch = torch.stack([F.pil_to_tensor(image) for image in images])
    augment = Augmentation([name], Settings(HEIGHT, WIDTH, *RAW))
    assert augment.on_cpu
    modality = torch.zeros(len(batch), dtype=torch.long)
    plan = augment.plan(modality, modality, torch.Generator().manual_seed(0))
    ((_, _, seeds),) = plan.on_bytes
    call = TRANSFORMS[name].build(SETTINGS)
    expected = []
    for image, seed in zip(images, seeds[:, 0].int().tolist(), strict=True):
        with seeded("image", seed):
            expected.append(F.pil_to_tensor(call(image)))
    before = random.getstate(), torch.get_rng_state()
    found = augment.change(batch, plan.on_bytes)
    assert torch.equal(found, torch.stack(expected)) and len(torch.unique(found, dim=0)) > 20
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_a_users_transform_of_normalised_tensors_is_called_with_each(monkeypatch):
    def add(image):
        assert image.shape == (3, HEIGHT, WIDTH)
        return image + torch.rand(1)

    monkeypatch.setitem(TRANSFORMS, "add", Transform(lambda settings: add, on_tensor=True))
    plain, result = changed([], picture(), 6), changed(["add"], picture(), 6)
    added = (result - plain).flatten(1)
    assert (added.amax(1) - added.amin(1)).max() < 1e-5 and len(added[:, 0].unique()) == 6
    assert torch.equal(result, changed(["add"], picture(), 6))


def test_it_says_what_becomes_of_each_modality():
    augment = Augmentation(["random_erase", "maa"], SETTINGS, ["random_flip"])
    assert augment.described() == [
        "Augmentation, visible: maa, random_erase",
        "Augmentation, infrared: random_erase",
        "Augmentation, second view of visible: random_flip",
    ]
    none = ["Augmentation, visible: none", "Augmentation, infrared: none"]
    assert Augmentation([], SETTINGS).described() == none
