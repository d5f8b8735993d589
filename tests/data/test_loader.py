"""Loaders: what a batch holds, and that it depends on the seed, the epoch and the step alone."""

import random
import threading
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from test_manager import manage

from torchreid_vi.data.loader import TrainLoader
from torchreid_vi.data.transforms import TRANSFORMS, Transform
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

NAMES = ["maa", "random_flip", "pad_crop_grey", "random_erase_zero", "color_jitter"]
PAIRS = {"train_sampler": "CrossModalitySampler", "num_instances": 2}


def epoch(loader, number=0, step=0):
    loader.set_epoch(number, step)
    batches = []
    for batch in loader:
        batches.append(batch)
        random.random(), np.random.uniform(), torch.rand(3)  # as training does in the meantime
    return batches


def same(batches, others):
    assert len(batches) == len(others) > 1
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys() and batch["impath"] == other["impath"]
        for key, value in batch.items():
            for one, two in zip(
                *((v if isinstance(v, list) else [v]) for v in (value, other[key])), strict=True
            ):
                assert torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two, key


@pytest.mark.parametrize(
    ("sampler", "second"),
    [
        ("CrossModalitySampler", ["random_flip", "channel_exchange"]),
        ("RandomIdentitySampler", []),
        ("RandomSampler", ["random_flip", "channel_exchange"]),
    ],
)
def test_batches_do_not_depend_on_threads_the_cache_or_the_generators(roots, tmp_path, sampler, second):
    options = {"transforms": NAMES, "second_view": second, "train_sampler": sampler, "num_instances": 2}
    alone = manage(roots, **options).train_loader
    first = epoch(alone)
    assert {type(batch["img"]) for batch in first} == {torch.Tensor}
    for more in ({"workers": 1}, {"workers": 3}, {"workers": 2, "cache": str(tmp_path)}):
        random.seed(9), torch.manual_seed(9)
        same(first, epoch(manage(roots, **options, **more).train_loader))
    other = manage(roots, **options, seed=2).train_loader
    for different in (epoch(alone, 1), epoch(other)):
        assert any(a["impath"] != b["impath"] for a, b in zip(first, different, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_at_any_step_and_the_next_one_follows(roots, workers):
    loader = manage(roots, transforms=NAMES, workers=workers, **PAIRS).train_loader
    whole = epoch(loader, 3)
    same(whole[2:], epoch(loader, 3, 2))
    same(epoch(loader, 4), list(epoch(loader, 3) and loader))


def test_a_batch_that_is_left_in_the_middle_stops_its_threads(roots):
    loader = manage(roots, workers=3).train_loader
    before = threading.active_count()
    batches = iter(loader)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_each_process_has_its_part_of_every_batch_and_of_what_becomes_of_it(roots):
    whole = manage(roots, transforms=NAMES, second_view=["random_flip"], **PAIRS).train_loader
    places = [[0, 1, 2, 3], [4, 5, 6, 7]]
    parts = [
        TrainLoader(whole.source, whole.sampler, 8, own, whole.augmentation, whole.seed) for own in places
    ]
    assert {part.batch_size for part in parts} == {4} and {len(part) for part in parts} == {len(whole)}
    for batch, *shares in zip(epoch(whole), *map(epoch, parts), strict=True):
        for key in ("img", "pid", "modality"):
            assert torch.equal(batch[key], torch.cat([share[key] for share in shares]))
        assert batch["impath"] == shares[0]["impath"] + shares[1]["impath"]


def test_every_visible_image_comes_twice_in_a_row_with_a_second_view(roots):
    loader = manage(roots, transforms=[], second_view=["channel_exchange"], **PAIRS).train_loader
    batch = epoch(loader)[0]
    assert batch["img"].shape == (12, 3, 40, 16)
    assert Counter(batch["modality"].tolist()) == {0: 8, 1: 4}
    visible = [i for i, side in enumerate(batch["modality"].tolist()) if side == Modality.VISIBLE]
    for first, second in zip(visible[::2], visible[1::2], strict=True):
        assert second == first + 1 and batch["impath"][first] == batch["impath"][second]
        assert batch["pid"][first] == batch["pid"][second]
        one, two = batch["img"][first], batch["img"][second]
        assert any(torch.equal(two, channel.expand(3, -1, -1)) for channel in one)


def test_several_views_are_changed_each_on_its_own(roots):
    loader = manage(roots, transforms=["random_erase_zero", "pad_crop", "color_jitter"], k_tfm=3).train_loader
    views = epoch(loader)[0]["img"]
    assert len(views) == 3 and views[0].shape == (8, 3, 40, 16)
    assert not any(torch.equal(one, other) for one, other in pairwise(views))


def test_a_test_loader_gives_the_chosen_images_in_their_order(roots):
    loader = manage(roots, workers=2).test_loader["sysu_mm01"]["gallery"]
    whole = list(loader)
    assert [len(batch["pid"]) for batch in whole] == [8] * 6 and len(loader) == 6
    assert [path for batch in whole for path in batch["impath"]] == [item[0] for item in loader.dataset.data]
    some = loader.only([5, 3, 40])
    (batch,) = some
    images = torch.cat([batch["img"] for batch in whole])
    assert len(some) == 1 and torch.equal(batch["img"], images[[5, 3, 40]])
    assert list(loader.only([])) == []


def test_the_global_generators_are_left_as_they_were_even_by_an_error(roots, monkeypatch):
    def fails(image):
        random.random(), np.random.uniform(), torch.rand(3)
        raise InputError("no such colour")

    monkeypatch.setitem(TRANSFORMS, "fails", Transform(lambda settings: fails))
    loader = manage(roots, transforms=["fails"]).train_loader
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with pytest.raises(InputError, match="no such colour"):
        list(loader)
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_on_the_gpu_are_those_of_the_cpu(roots):
    options = {"transforms": [*NAMES, "random_crop"], "workers": 1, "second_view": ["channel_exchange"]}
    plain, fast = (manage(roots, use_gpu=use_gpu, **options).train_loader for use_gpu in (False, True))
    for batch, other in zip(epoch(plain), epoch(fast), strict=True):
        assert other["img"].is_cuda and not other["pid"].is_cuda
        torch.testing.assert_close(other["img"].cpu(), batch["img"], atol=0.02, rtol=0)  # a level is 0.017
