"""Runs, packages of them, and a cache of its own for what is fetched."""

import functools
import shutil
from pathlib import Path

import pytest
from command_lines import TINY
from sharing_helpers import KINDS

from torchreid_vi import load_config, run
from torchreid_vi.sharing import write_package


@pytest.fixture(scope="session")
def trained(roots, tmp_path_factory):
    """Run folders of one epoch, by kind, made once."""

    @functools.cache
    def make(kind="one stream"):
        folder = tmp_path_factory.mktemp("secret-place") / "run"
        settings = TINY | {
            "data.root": str(roots),
            "data.save_dir": str(folder),
            "data.cache": str(folder.parent / "cache"),
            "train.max_epoch": 1,
        }
        run(load_config(overrides=settings | KINDS[kind]))
        return folder

    return make


@pytest.fixture(scope="session")
def packaged(trained, tmp_path_factory):
    """A package of each run, made once; not to be changed."""

    @functools.cache
    def make(kind="one stream"):
        folder = tmp_path_factory.mktemp("packages") / "shared"
        write_package(trained(kind), folder)
        return folder

    return make


@pytest.fixture
def copied(packaged, tmp_path):
    """A package to be changed."""
    return Path(shutil.copytree(packaged(), tmp_path / "copied"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where what is fetched is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "torchreid_vi" / "weights"
