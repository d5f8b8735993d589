"""Tiny synthetic trees in every layout, drawn once for the whole suite."""

import resource
import shutil
import signal
from multiprocessing import active_children

import pytest
import torch

from torchreid_vi.data.synthetic import LAYOUTS, draw_dataset

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
torch.set_num_threads(1)  # threads of several processes that wait for each other cost more than they give


@pytest.fixture(autouse=True)
def ends_its_processes():
    """The death of one that a test leaves behind would be raised in another test."""
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a tool has given up
    assert not active_children()


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """A folder with ``sysu_mm01``, ``regdb``, ``llcm`` and ``vi_synthetic``: 12 people, 3 images each."""
    root = tmp_path_factory.mktemp("data")
    for layout in LAYOUTS:
        draw_dataset(root, layout, ids=12, images=3, size=(16, 40), processes=1)
    draw_dataset(root, ids=12, images=3, size=(16, 40), folder="vi_synthetic", processes=1)
    return root


@pytest.fixture
def copy_of(roots, tmp_path):
    """Copies one of those trees, to be damaged, and returns the folder it lies in."""

    def copy(name):
        shutil.copytree(roots / name, tmp_path / name)
        return tmp_path

    return copy


@pytest.fixture
def little_room(capsys):  # the output of tests is kept in a file otherwise
    """Files grow to 2,000 bytes and no further, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
