"""Transforms for batches against those for single images: distributions, and values where nothing is drawn."""

import pickle
import random
import time

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from test_manager import epochs, manage
from torchvision import transforms as tv
from torchvision.transforms import functional as F

from torchreid_vi.data.batch import BatchAugment, BatchLoader
from torchreid_vi.data.batch_transforms import _BRANCHES, BATCH_TRANSFORMS
from torchreid_vi.data.transforms import MAA, TRANSFORMS, Settings, build_train_transform
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEIGHT, WIDTH, NUMBER = 48, 24, 1600
SETTINGS = Settings(HEIGHT, WIDTH, MEAN, STD)


def seed_all(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def picture():
    """Colours that change smoothly from place to place, all different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [128 + 90 * np.sin(a * y + b * x) for a, b in ((0.11, 0.2), (0.07, -0.31), (-0.15, 0.12))]
    return Image.fromarray(np.rint(np.stack(waves, -1)).astype(np.uint8))


def one_by_one(name, modality):
    chain = build_train_transform([name], SETTINGS)[modality]
    return torch.stack([chain(picture()) for _ in range(NUMBER)])


def together(name, modality):
    augment = BatchAugment([name], SETTINGS)
    images = torch.from_numpy(np.array(picture())).permute(2, 0, 1).repeat(NUMBER, 1, 1, 1)
    which = torch.full((NUMBER,), int(modality))
    view = torch.zeros_like(which)
    return augment.finish(augment.change(images, which, view, 11), which, view, 11)


def statistics(images):
    """Numbers that tell what was done to an image: colours, how much was changed and where."""
    plain = build_train_transform([], SETTINGS)[Modality.VISIBLE](picture())
    changed = (images - plain).abs().amax(1) > 0.05
    share = changed.float().mean((1, 2))
    rows = torch.linspace(0, 1, HEIGHT)[None, :, None].expand_as(changed)
    columns = torch.linspace(0, 1, WIDTH)[None, None].expand_as(changed)

    def centre(place):
        return (place * changed).sum((1, 2)) / changed.sum((1, 2)).clamp(min=1)

    def first(axis):
        return changed.any(axis).float().argmax(1).float()

    values = {f"mean of channel {c}": images[:, c].mean((1, 2)) for c in range(3)}
    values |= {f"spread of channel {c}": images[:, c].std((1, 2)) for c in range(3)}
    values |= {"colourfulness": (images.amax(1) - images.amin(1)).mean((1, 2)), "changed": share}
    values |= {"row": centre(rows), "column": centre(columns), "top": first(2), "left": first(1)}
    values |= {"height": changed.any(2).float().mean(1), "width": changed.any(1).float().mean(1)}
    return values


def compare(expected, found):
    """Kolmogorov and Smirnov's test; a little noise lets values differ that were rounded on another way."""
    rng = np.random.default_rng(0)
    for what in expected:
        first, second = (
            sample[what].numpy() + rng.normal(0, 0.01, len(sample[what])) for sample in (expected, found)
        )
        assert ks_2samp(first, second).pvalue > 1e-3, what


CASES = [(name, m) for name in BATCH_TRANSFORMS for m in TRANSFORMS[name].modalities]


@pytest.mark.parametrize(("name", "modality"), CASES, ids=lambda value: getattr(value, "name", value))
def test_distributions_are_those_of_single_images(name, modality):
    seed_all(5)
    expected, found = statistics(one_by_one(name, modality)), statistics(together(name, modality))
    compare(expected, found)


@pytest.mark.parametrize("name", MAA)
def test_every_branch_of_maa_has_the_distribution_of_its_own(name):
    seed_all(7)
    image = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    generator = torch.Generator().manual_seed(3)
    found = torch.empty(NUMBER, *image.shape)
    for i in range(NUMBER):
        found[i] = _BRANCHES[name](image.clone(), generator)
    expected = torch.stack([F.pil_to_tensor(MAA[name](picture())) for _ in range(NUMBER)]).float()
    compare(statistics(expected / 255), statistics(found / 255))


def test_hue_is_turned_as_torchvision_turns_it():
    rng = np.random.default_rng(0)
    for number in range(20):
        image = torch.from_numpy(rng.integers(0, 256, (3, 30, 20), dtype=np.uint8))
        factor = 0.4 * float(torch.rand((), generator=torch.Generator().manual_seed(number))) - 0.2
        found = _BRANCHES["hue"](image, torch.Generator().manual_seed(number))
        expected = tv.functional.adjust_hue(image, factor)  # it cuts off where ours rounds
        assert (found - expected.float()).abs().max() <= 1


def test_without_transforms_images_are_those_of_the_plain_chain():
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (5, 3, 9, 7), dtype=np.uint8))
    settings = Settings(9, 7, MEAN, STD)
    plain = build_train_transform([], settings)[Modality.VISIBLE]
    expected = torch.stack([plain(F.to_pil_image(image)) for image in images])
    augment, zero = BatchAugment([], settings), torch.zeros(5, dtype=torch.long)
    found = augment.finish(augment.change(images.clone(), zero, zero, 1), zero, zero, 1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_every_named_transform_changes_its_own_modalities_alone():
    for name in BATCH_TRANSFORMS:
        for modality in Modality:
            plain = build_train_transform([], SETTINGS)[modality](picture())
            changed = (together(name, modality) - plain).abs().amax((1, 2, 3)) > 1e-5
            assert changed.any() == (modality in TRANSFORMS[name].modalities), name


def test_published_cc_of_batches_reaches_as_far_down_as_the_width():
    images = torch.zeros(400, 3, 96, 48, dtype=torch.uint8)
    images[:, 1], images[:, 2] = 120, 240
    augment = BatchAugment(["maa"], Settings(96, 48, (0, 0, 0), (1, 1, 1), ("cc_published",)))
    zero = torch.zeros(len(images), dtype=torch.long)
    changed = augment.change(images, zero, zero, 1)[:, 0].long()
    covered = (changed != changed.flatten(1).median(1).values[:, None, None]).any(0)
    assert covered[:48].float().mean() > 0.9 and not covered[48:].any()


# Loaders

NAMES = ["maa", "random_flip", "pad_crop_grey", "random_erase_zero"]


def same(batches, others):
    assert len(batches) == len(others) > 1
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys() and batch["impath"] == other["impath"]
        for key, value in batch.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("second", [[], ["random_flip", "channel_exchange"]])
def test_batches_do_not_depend_on_the_number_of_workers_or_the_cache(roots, second):
    options = {"transforms": NAMES, "second_view": second, "augment": "batch"}
    alone = epochs(manage(roots, **options), 2)
    same(alone, epochs(manage(roots, workers=2, **options), 2))
    same(alone, epochs(manage(roots, cache="cache", **options), 2))
    first, again = alone[: len(alone) // 2], alone[len(alone) // 2 :]
    assert not any(torch.equal(a["img"], b["img"]) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_loading_processes_share_stays_while_they_run_ahead(roots, workers):
    def raw(loader, rest):
        seed_all(3)
        for batch in loader.sent():
            time.sleep(rest)  # the processes load what they may in the meantime
            yield torch.from_numpy(batch["img"]).clone()

    options = {"transforms": NAMES, "augment": "batch", "k_tfm": 2, "batch_size_train": 4}
    alone = list(raw(manage(roots, **options).train_loader, 0))
    loader = manage(roots, workers=workers, **options).train_loader
    shared = list(raw(loader, 0.1))
    assert len(alone) == len(shared) > 3 * workers
    assert all(torch.equal(one, other) for one, other in zip(alone, shared, strict=True))


def test_iterations_side_by_side_do_not_share_memory(roots):
    """Every batch holds the images that it names, whoever else iterates over the same loader."""
    options = {"transforms": [], "batch_size_train": 4}
    dataset = manage(roots, augment="image", **options).train_loader.dataset
    loader = manage(roots, augment="batch", workers=1, **options).train_loader
    plain = {item["impath"]: item["img"] for item in (dataset[i, 0] for i in range(len(dataset)))}
    pairs = 0
    for pair in zip(loader, loader, strict=True):
        time.sleep(0.1)  # the processes load what they may in the meantime
        for batch in pair:
            expected = torch.stack([plain[path] for path in batch["impath"]])
            torch.testing.assert_close(batch["img"], expected, atol=1e-6, rtol=0)
        pairs += 1
    assert pairs > 6 and loader.dataset.memory is None


def test_too_little_shared_memory_is_one_sentence(roots):
    dataset = manage(roots, augment="batch").train_loader.dataset
    loader = BatchLoader(dataset, torch.device("cpu"), batch_size=8, num_workers=1, prefetch_factor=2**40)
    said = r"no \d+ MiB of shared memory for 1 loading processes: lower data\.workers, or give more"
    with pytest.raises(InputError, match=said):
        next(iter(loader))


def test_batches_hold_what_single_images_give(roots):
    single, batched = (epochs(manage(roots, transforms=[], augment=how), 1) for how in ("image", "batch"))
    for one, other in zip(single, batched, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(other["img"], one["img"], atol=1e-6, rtol=0)
        for key in ("pid", "camid", "modality", "dsetid"):
            assert torch.equal(one[key], other[key])
        assert one["impath"] == other["impath"]


def test_second_views_follow_the_first_of_visible_images(roots):
    single, batched = (
        epochs(manage(roots, transforms=[], second_view=["channel_exchange"], augment=how), 1)
        for how in ("image", "batch")
    )
    for one, other in zip(single, batched, strict=True):
        assert one["impath"] == other["impath"] and torch.equal(one["modality"], other["modality"])
        second = [i for i, path in enumerate(one["impath"]) if i and path == one["impath"][i - 1]]
        first = sorted(set(range(len(one["img"]))) - set(second))
        torch.testing.assert_close(other["img"][first], one["img"][first], atol=1e-6, rtol=0)
        for i in second:
            channels = other["img"][i - 1]
            assert any(torch.equal(other["img"][i], channel.expand(3, -1, -1)) for channel in channels)


def test_several_views_differ(roots):
    manager = manage(roots, transforms=["random_erase_zero", "pad_crop"], k_tfm=3, augment="batch")
    batch = next(iter(manager.train_loader))
    assert len(batch["img"]) == 3 and batch["img"][0].shape == (8, 3, 40, 16)
    assert not torch.equal(batch["img"][0], batch["img"][1])
    assert not torch.equal(batch["img"][1], batch["img"][2])


def test_what_is_drawn_for_one_part_says_nothing_of_the_other(roots):
    def drawn(names, other):
        """Which images of an epoch a transform changes, when another one is on too or not."""
        plain, changed = (
            [batch["img"] for batch in epochs(manage(roots, transforms=t, augment="batch"), 4)]
            for t in (other, other + names)
        )
        pairs = zip(plain, changed, strict=True)
        return torch.cat([(a != b).flatten(1).any(1) for a, b in pairs]).float()

    flipped, erased = drawn(["random_flip"], []), drawn(["random_erase_zero"], [])
    assert 0.4 < flipped.mean() < 0.6 and 0.35 < erased.mean() < 0.6
    assert abs(torch.corrcoef(torch.stack([flipped, erased]))[0, 1]) < 0.2


def test_processes_that_are_spawned_load_the_same(roots):
    loader = manage(roots, transforms=NAMES, second_view=NAMES, augment="batch").train_loader
    copy = pickle.loads(pickle.dumps(loader.dataset))
    draws = list(iter(loader.sampler))[:8]
    one, other = loader.dataset.__getitems__(draws), copy.__getitems__(draws)
    assert one["impath"] == other["impath"] and one["seed"] == other["seed"]
    assert torch.equal(one["img"][0], other["img"][0])


def test_what_has_no_form_for_batches_is_refused(roots):
    with pytest.raises(InputError, match=r"random_patch has no form for batches: set data\.augment to image"):
        manage(roots, transforms=["random_patch"], augment="batch")
    with pytest.raises(InputError, match=r"data\.augment.*'images'"):
        manage(roots, augment="images")
    with pytest.raises(InputError, match=r"data\.maa 'hues': did you mean 'hue'"):
        manage(roots, transforms=["maa"], maa=["hues"], augment="batch")
    with pytest.raises(InputError, match="random_flop"):
        manage(roots, transforms=["random_flop"], augment="batch")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_on_the_gpu_are_those_of_the_cpu(roots):
    options = {"transforms": NAMES, "augment": "batch", "workers": 1}
    on_gpu = epochs(manage(roots, use_gpu=True, **options), 1)
    for batch, other in zip(epochs(manage(roots, **options), 1), on_gpu, strict=True):
        assert other["img"].is_cuda
        torch.testing.assert_close(other["img"].cpu(), batch["img"], atol=1e-6, rtol=0)
