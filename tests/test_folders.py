"""Paths that begin with somebody's home."""

from pathlib import Path

import pytest

from torchreid_vi import FeatureExtractor, InputError, load_config, runs
from torchreid_vi.data import DATASETS
from torchreid_vi.folders import expanded, user_cache
from torchreid_vi.models import read_checkpoint


def test_the_home_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/data") == Path("/home/me/data")
    assert [str(expanded(path)) for path in ("a/~b", "./~b", "", "/x")] == ["a/~b", "~b", ".", "/x"]


@pytest.mark.parametrize(
    "use",
    [
        lambda path: load_config(path),
        lambda path: runs.find(load_config(overrides={"data.save_dir": path})),
        lambda path: DATASETS["regdb"](root=path),
        lambda path: FeatureExtractor(path),
        lambda path: read_checkpoint(path),
    ],
    ids=["settings", "a run", "data", "an extractor", "weights"],
)
def test_that_of_somebody_unknown_is_one_sentence(use):
    with pytest.raises(
        InputError, match=r"~no-one/x begins with a home folder that is not known: write the whole path"
    ):
        use("~no-one/x")


def test_without_a_home_the_cache_has_to_be_named(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(InputError, match="XDG_CACHE_HOME names the folder"):
        user_cache()
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert user_cache() == Path("/cache/torchreid_vi")
