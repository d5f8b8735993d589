"""Packages of runs, and a cache of its own for what is fetched."""

import functools
import shutil
from pathlib import Path

import pytest
from sharing_helpers import KINDS

from torchreid_vi.sharing import write_package


@pytest.fixture(scope="session")
def run_of(trained):
    """Return a function that gives the run folder of a kind."""
    return lambda kind="one stream": trained(**KINDS[kind])


@pytest.fixture(scope="session")
def packaged(run_of, tmp_path_factory):
    """Return a function that gives a package of a kind of run, made once; not to be changed."""

    @functools.cache
    def make(kind="one stream"):
        folder = tmp_path_factory.mktemp("packages") / "shared"
        write_package(run_of(kind), folder)
        return folder

    return make


@pytest.fixture
def copied(packaged, tmp_path):
    """A package to be changed."""
    return Path(shutil.copytree(packaged(), tmp_path / "copied"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder in which what is fetched is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "torchreid_vi" / "weights"
