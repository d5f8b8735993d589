"""Paths that begin with somebody's home."""

from pathlib import Path

import pytest

from torchreid_vi import FeatureExtractor, InputError, load_config, runs
from torchreid_vi.data import DATASETS
from torchreid_vi.folders import expanded


def test_the_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/data") == Path("/home/me/data")
    assert [str(expanded(path)) for path in ("a/~b", "./~b", "", "/x")] == ["a/~b", "~b", ".", "/x"]


def find(path):
    return runs.find(load_config(overrides={"data.save_dir": path}))


@pytest.mark.parametrize("use", [load_config, find, DATASETS["regdb"], FeatureExtractor])
def test_that_of_somebody_unknown_is_one_sentence(use):
    with pytest.raises(
        InputError, match=r"~no-one/x begins with a home folder that is not known: write the whole path"
    ):
        use("~no-one/x")
