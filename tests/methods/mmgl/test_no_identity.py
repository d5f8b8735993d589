"""Pre-training reads no identity."""

import random

import pytest
import torch
from engine_helpers import assert_identical, weights

from torchreid_vi import InputError
from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.seeds import seed_everything


@pytest.fixture
def other_pids(monkeypatch):
    """Call it, and every training image has another one's identity from then on."""
    read = VISynthetic.read

    def renamed(self, folder, split_id):
        splits = read(self, folder, split_id)
        pids = [pid for _, pid, _ in splits.train]
        random.Random(2).shuffle(pids)
        train = [(path, pid, camid) for (path, _, camid), pid in zip(splits.train, pids, strict=True)]
        assert train != splits.train
        return splits._replace(train=train)

    return lambda: monkeypatch.setattr(VISynthetic, "read", renamed)


def ten_steps(engine):
    seed_everything(1, 0)
    engine.model.train()
    batches = []
    while len(batches) < 10:
        for data in engine.train_loader:
            engine.forward_backward(data)
            batches.append((data["img"], data["impath"]))
    return batches[:10]


def test_no_identity_is_read(pretrain, other_pids):
    plain, _ = pretrain()
    other_pids()
    renamed, _ = pretrain()
    for (images, paths), (others, theirs) in zip(ten_steps(plain), ten_steps(renamed), strict=True):
        assert torch.equal(images, others)
        assert paths == theirs
    assert_identical(weights(plain), weights(renamed))


def test_with_identities_the_stream_would_change(make, other_pids):
    """The test above would notice a sampler that reads identities."""
    streams = []
    for _ in range(2):
        engine, _ = make()
        seed_everything(1, 0)
        streams.append([batch["impath"] for batch in engine.train_loader])
        other_pids()
    assert streams[0] != streams[1]


@pytest.mark.parametrize("sampler", ["CrossModalitySampler", "RandomIdentitySampler"])
def test_a_sampler_that_reads_identities_is_refused(pretrain, sampler):
    with pytest.raises(InputError, match=f"{sampler} reads identities, which pre-training does not"):
        pretrain(sampler__train_sampler=sampler)


def test_what_is_held_out_depends_on_no_identity_either(pretrain, other_pids):
    def held_out(engine):
        loaders = engine.datamanager.val_loader
        return {name: [item[0] for item in loader.dataset.data] for name, loader in loaders.items()}

    plain, _ = pretrain()
    other_pids()
    assert held_out(pretrain()[0]) == held_out(plain)
    assert len(held_out(plain)["query"]) == 5  # a tenth of 48 infrared images
    training = {item[0] for item in plain.train_loader.dataset.data}
    assert not training & {path for paths in held_out(plain).values() for path in paths}
