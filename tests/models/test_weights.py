"""Weights load whole or say why not, and nothing in a file is ever run."""

import os
import pickle
import re

import numpy as np
import pytest
import torch

from torchreid_vi import InputError
from torchreid_vi.models import VIModel, load_weights, read_checkpoint, torchreid_model


def saved(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_all_but_the_classifier_loads_across_numbers_of_identities(tmp_path, wrap):
    source, target = VIModel("osnet_x0_25", 5), VIModel("osnet_x0_25", 9)
    report = load_weights(target, saved(tmp_path, wrap(source.state_dict())))
    assert report.matched == len(source.state_dict()) - 1
    assert report.unused == ["classifier.weight"]
    for name, value in target.backbone.state_dict().items():
        torch.testing.assert_close(value, source.backbone.state_dict()[name])


def test_data_parallel_names_are_understood(tmp_path):
    source, target = torchreid_model("resnet18", 5), torchreid_model("resnet18", 5)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    assert load_weights(target, saved(tmp_path, state)).unused == []


def test_another_architecture_is_refused_with_layers_and_counts(tmp_path):
    path = saved(tmp_path, VIModel("resnet18", 5).state_dict())
    target = VIModel("osnet_x0_25", 5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(InputError, match=r"\d+ of \d+ tensors match; missing or of another shape: backbone"):
        load_weights(target, path)
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_checkpoint_that_torchreid_wrote_is_read(tmp_path):
    path = saved(tmp_path, {"state_dict": {}, "epoch": 2, "rank1": np.float32(0.5)})
    assert read_checkpoint(path)["rank1"] == 0.5


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))], ids=["torch", "pickle"]
)
def test_pickled_objects_are_refused_and_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    write({"state_dict": Evil()}, path)
    with pytest.raises(InputError, match=r"evil\.pth"):
        read_checkpoint(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip"])
def test_what_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pth is not a checkpoint or is damaged"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_named(tmp_path):
    path = saved(tmp_path, torch.nn.Linear(50, 50).state_dict())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="is not a checkpoint or is damaged"):
        read_checkpoint(path)


def test_a_missing_file_and_a_bare_tensor_are_named(tmp_path):
    with pytest.raises(InputError, match=re.escape("nowhere.pth not found")):
        read_checkpoint("nowhere.pth")
    with pytest.raises(InputError, match="holds no weights"):
        read_checkpoint(saved(tmp_path, torch.zeros(3)))
    with pytest.raises(InputError, match="holds no weights"):
        load_weights(torch.nn.Linear(1, 1), saved(tmp_path, {"state_dict": None}))
