"""Samplers: the batches that CrossModalitySampler deals, and torchreid's by name."""

import math
import random
from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import RandomSampler, SequentialSampler

from torchreid_vi import host
from torchreid_vi.data import DATASETS
from torchreid_vi.data.samplers import (
    READ_IDENTITIES,
    SAMPLERS,
    CrossModalitySampler,
    ModalityPairSampler,
    build_sampler,
)
from torchreid_vi.data.shares import shard_batch
from torchreid_vi.errors import InputError

OPTIONS = {"batch_size": 8, "num_instances": 2, "replacement": False, "num_cams": 1, "num_datasets": 1}


@pytest.fixture(autouse=True)
def seed():
    seed_all(0)


def seed_all(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def population(counts):
    """pids and modalities of images, from {pid: (visible images, infrared images)}."""
    images = [
        (pid, kind) for pid, both in counts.items() for kind, count in enumerate(both) for _ in range(count)
    ]
    random.shuffle(images)
    return [pid for pid, _ in images], [kind for _, kind in images]


def batches(sampler):
    indices = list(sampler)
    assert len(indices) % sampler.batch_size == 0
    return [indices[i : i + sampler.batch_size] for i in range(0, len(indices), sampler.batch_size)]


def dataset(roots):
    return DATASETS["sysu_mm01"](root=str(roots), verbose=False)


def check_batches(sampler, pids, modality, p, k):
    """Every batch holds P identities, each with K visible and K infrared images."""
    dealt = batches(sampler)
    for batch in dealt:
        groups = Counter((pids[i], modality[i]) for i in batch)
        assert set(groups.values()) == {k}
        assert len(groups) == 2 * p and len({pid for pid, _ in groups}) == p
    return dealt


def check_evenness(dealt, pids, modality):
    """Over an epoch identities are dealt equally often, up to one, and so are the images of each."""
    times = Counter(pid for batch in dealt for pid in {pids[i] for i in batch})
    usable = {
        pid for pid in set(pids) if {m for q, m in zip(pids, modality, strict=True) if q == pid} == {0, 1}
    }
    assert set(times) <= usable
    of_each = [times[pid] for pid in usable]
    assert max(of_each) - min(of_each) <= 1
    shown = Counter(i for batch in dealt for i in batch)
    for pid in usable:
        for kind in (0, 1):
            images = [i for i, each in enumerate(zip(pids, modality, strict=True)) if each == (pid, kind)]
            assert max(shown[i] for i in images) - min(shown[i] for i in images) <= 1


def test_a_batch_has_p_identities_and_k_images_of_each_modality():
    pids, modality = population({pid: (8, 6) for pid in range(10)})
    sampler = CrossModalitySampler(pids, modality, batch_size=24, num_instances=3)
    dealt = check_batches(sampler, pids, modality, 4, 3)
    assert len(sampler) == len(dealt) * 24
    check_evenness(dealt, pids, modality)


def test_with_replacement_every_batch_draws_anew_as_the_public_code_does():
    pids, modality = population({pid: (8, 6) for pid in range(20)})
    sampler = CrossModalitySampler(pids, modality, 24, 3, replacement=True)
    dealt = [batch for _ in range(20) for batch in check_batches(sampler, pids, modality, 4, 3)]
    assert len(dealt) == 20 * (160 // 12 + 1) and len(sampler) == (160 // 12 + 1) * 24
    # Of 3 samples from 8 (6) images some agree in 1 − 7·6/8² = 34% (1 − 5·4/6² = 44%) of the groups.
    repeated = [
        len(set(batch[start : start + 3])) < 3 for batch in dealt for start in range(0, len(batch), 3)
    ]
    assert np.mean(repeated[::2]) == pytest.approx(0.344, abs=0.05)
    assert np.mean(repeated[1::2]) == pytest.approx(0.444, abs=0.05)
    times = Counter(pid for batch in dealt for pid in {pids[i] for i in batch})
    per_epoch = [
        Counter(pids[i] for batch in dealt[e : e + 14] for i in set(batch)) for e in range(0, 280, 14)
    ]
    assert min(times.values()) > 30  # of 56 expected
    assert any(max(epoch.values()) > 2 * min(epoch.values()) for epoch in per_epoch)  # decks deal evenly


def test_an_identity_with_k_images_is_shown_k_different_ones():
    pids, modality = population({pid: (5, 7) for pid in range(4)})
    sampler = CrossModalitySampler(pids, modality, 32, 4)
    for _ in range(5):
        for batch in batches(sampler):
            assert len(set(batch)) == len(batch)


def test_too_few_identities_with_both_modalities_are_named():
    pids, modality = population({0: (4, 4), 1: (4, 0), 2: (0, 4)})
    with pytest.raises(InputError, match=r"needs 2 identities .*both modalities .*has 1\b"):
        CrossModalitySampler(pids, modality, 8, 2)
    with pytest.raises(InputError, match=r"has 0: check data\.sources and data\.modalities"):
        CrossModalitySampler([0, 1, 2, 3], [0] * 4, batch_size=8, num_instances=2)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=9),
    p=st.integers(1, 5),
    k=st.integers(1, 4),
    number=st.integers(0, 5),
)
def test_any_population_gives_whole_even_batches_or_an_error(counts, p, k, number):
    seed_all(number)
    counts = {7 * pid + 3: both for pid, both in enumerate(counts)}
    pids, modality = population(counts)
    usable = [both for both in counts.values() if all(both)]
    if len(usable) < p:
        with pytest.raises(InputError):
            CrossModalitySampler(pids, modality, 2 * p * k, k)
        return
    sampler = CrossModalitySampler(pids, modality, 2 * p * k, k)
    dealt = check_batches(sampler, pids, modality, p, k)
    larger = max(sum(both[kind] for both in usable) for kind in (0, 1))
    assert len(dealt) == math.ceil(larger / (p * k)) and len(sampler) == len(dealt) * 2 * p * k
    check_evenness(dealt, pids, modality)


def test_every_sampler_draws_training_images(roots):
    train = dataset(roots)
    for name in SAMPLERS:
        indices = list(build_sampler(name, train, **OPTIONS))
        assert indices and set(indices) <= set(range(len(train)))


def test_torchreids_samplers_are_built_by_their_names(roots):
    train = dataset(roots)
    assert set(host.samplers.AVAI_SAMPLERS) | {"CrossModalitySampler", "ModalityPairSampler"} == set(SAMPLERS)
    assert type(build_sampler("RandomSampler", train, **OPTIONS)) is RandomSampler
    assert type(build_sampler("SequentialSampler", train, **OPTIONS)) is SequentialSampler
    for name in ("RandomIdentitySampler", "RandomDomainSampler", "RandomDatasetSampler"):
        assert type(build_sampler(name, train, **OPTIONS)) is getattr(host.samplers, name)
    identities = list(build_sampler("RandomIdentitySampler", train, **OPTIONS))
    for start in range(0, len(identities), 2):
        assert len({train.train[i][1] for i in identities[start : start + 2]}) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CrossModalitySampler", {"batch_size": 10}),
        ("CrossModalitySampler", {"num_instances": 0}),
        ("RandomIdentitySampler", {"batch_size": 9}),
        ("RandomIdentitySampler", {"batch_size": 32}),
        ("RandomIdentitySampler", {"num_instances": 0}),
        ("RandomDomainSampler", {"num_cams": 3}),
        ("RandomDatasetSampler", {"num_datasets": 3}),
    ],
    ids=str,
)
def test_a_batch_that_a_sampler_cannot_fill_is_named(name, options, roots):
    with pytest.raises(InputError) as caught:
        build_sampler(name, dataset(roots), **(OPTIONS | options))
    assert "\n" not in str(caught.value)
    assert ("sampler.num_instances" in str(caught.value)) == (name in READ_IDENTITIES)


@pytest.mark.parametrize(
    ("name", "size", "processes", "unit"),
    [
        ("CrossModalitySampler", 24, 2, 6),
        ("CrossModalitySampler", 24, 4, 6),
        ("RandomIdentitySampler", 12, 2, 3),
        ("ModalityPairSampler", 12, 3, 2),
        ("RandomSampler", 6, 3, 1),
    ],
)
def test_processes_share_a_batch_evenly(roots, name, size, processes, unit):
    train = dataset(roots)
    sampler = build_sampler(name, train, **OPTIONS | {"batch_size": size, "num_instances": 3})
    places = shard_batch(name, size, 3, processes)
    assert sorted(chain(*places)) == list(range(size))
    whole, part = list(sampler), size // processes
    assert len(whole) >= size
    for start in range(0, len(whole) - size + 1, size):
        batch = whole[start : start + size]
        parts = [[batch[place] for place in own] for own in places]
        assert sorted(chain(*parts)) == sorted(batch)
        if name != "RandomSampler":
            kinds = [Counter(train.modality(train.train[i]) for i in own) for own in parts]
            assert name == "RandomIdentitySampler" or all(
                kind == {0: part // 2, 1: part // 2} for kind in kinds
            )
        if name.endswith(("IdentitySampler", "CrossModalitySampler")):
            people = [{train.train[i][1] for i in own} for own in parts]
            assert sum(map(len, people)) == len(set.union(*people)) == size // unit
    with pytest.raises(InputError, match=f"multiple of {processes * unit}"):
        shard_batch(name, size + unit, 3, processes)


def test_pairs_of_modalities_show_the_larger_one_once_and_no_identity_matters():
    modality = [0] * 20 + [1] * 9
    sampler = ModalityPairSampler(modality, batch_size=8)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 40
    for start in range(0, 40, 8):
        batch = [modality[i] for i in drawn[start : start + 8]]
        assert batch == [0] * 4 + [1] * 4
        assert len(set(drawn[start : start + 8])) == 8
    assert sorted(i for i in drawn if modality[i] == 0) == list(range(20))
    infrared = Counter(i for i in drawn if modality[i] == 1)
    assert set(infrared.values()) <= {2, 3}
    assert list(sampler) != drawn
    assert len(ModalityPairSampler([0] * 3 + modality, batch_size=8)) == 40  # whole batches


@pytest.mark.parametrize(
    ("modality", "size", "said"),
    [
        ([0] * 9, 4, "a batch needs 2 infrared images and the training set has 0"),
        ([0, 1, 1, 1], 4, "a batch needs 2 visible images and the training set has 1"),
        ([0, 1, 1, 1], 3, "train.batch_size 3 is not a multiple of the number of modalities = 2"),
    ],
)
def test_pairs_need_both_modalities(modality, size, said):
    with pytest.raises(InputError, match=said):
        ModalityPairSampler(modality, size)
