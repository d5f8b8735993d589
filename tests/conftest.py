"""Tiny synthetic trees in every layout, rendered once for the whole suite."""

import os
import resource
import shutil
import signal
from contextlib import suppress
from multiprocessing import active_children

import pytest
import torch
from command_lines import TINY

from torchreid_vi import build, load_config, run
from torchreid_vi.data.synthetic import LAYOUTS, render_dataset
from torchreid_vi.seeds import seed_everything

#: Settings of a small engine.
SMALL = {
    "model.name": "osnet_x0_25",
    "model.pretrained": False,
    "data.height": 32,
    "data.width": 16,
    "data.workers": 0,
    "data.transforms": ["maa", "random_flip", "random_crop", "random_erase"],
    "sampler.train_sampler": "CrossModalitySampler",
    "sampler.num_instances": 2,
    "train.batch_size": 16,
    "train.max_epoch": 3,
    "train.lr_scheduler": "cosine",
    "loss.terms": ["identity", "cmr"],
    "loss.weights": [1.0, 1.0],
}

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
torch.set_num_threads(1)  # threads of several processes that wait for each other cost more than they give


def pytest_configure(config):
    """Tests are of the CPU, whose figures are the same bit for bit, but for those that are marked and asked for."""
    if config.option.markexpr.strip() != "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def keeps_the_log(caplog):
    """Tests read in ``caplog`` what the package logs."""
    caplog.set_level("INFO", "torchreid_vi")


@pytest.fixture(autouse=True)
def ends_its_processes():
    """The death of one that a test leaves behind would be raised in another test."""
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a tool has changed
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    left = active_children()
    for child in left:  # the tests that follow are not to blame
        with suppress(RuntimeError):  # of PyTorch, that one has died
            child.terminate()
            child.join(10)
    assert not left


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """A folder with ``sysu_mm01``, ``regdb``, ``llcm`` and ``vi_synthetic``: 12 people, 3 images each."""
    root = tmp_path_factory.mktemp("data")
    for layout in LAYOUTS:
        render_dataset(root, layout, ids=12, images=3, size=(16, 40))
    render_dataset(root, ids=12, images=3, size=(16, 40), folder="vi_synthetic")
    return root


@pytest.fixture(scope="session")
def trained(roots, tmp_path_factory):
    """Return a function that gives the folder of a run of one epoch, trained once for each choice of settings."""
    known = {}

    def make(**changes):
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        name = str(sorted(changes.items()))
        if name not in known:
            folder = known[name] = tmp_path_factory.mktemp("secret-place") / "run"
            places = {"data.root": str(roots), "data.save_dir": str(folder)}
            places |= {"data.cache": str(folder.parent / "cache"), "train.max_epoch": 1}
            run(load_config(overrides=TINY | places | changes))
        return known[name]

    return make


@pytest.fixture
def make(roots, tmp_path):
    """Builds an engine and its settings, with changes to the small ones."""

    def build_one(**changes):
        settings = {"data.root": str(roots), "data.save_dir": str(tmp_path / "run")} | SMALL
        cfg = load_config(overrides=settings | {k.replace("__", "."): v for k, v in changes.items()})
        seed_everything(cfg.train.seed, 0)
        datamanager = build.build_datamanager(cfg, use_gpu=False)
        method = build.build_method(cfg, datamanager.num_train_pids)
        return build.build_engine(cfg, datamanager, method, use_gpu=False), cfg

    return build_one


@pytest.fixture
def copy_of(roots, tmp_path):
    """Copies one of those trees, to be damaged, and returns the folder it lies in."""

    def copy(name):
        shutil.copytree(roots / name, tmp_path / name)
        return tmp_path

    return copy


@pytest.fixture
def little_room(capsys):  # the output of tests is kept in a file otherwise
    """Files grow to 2,000 bytes and no further while the test runs, as on a disk that is nearly full."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Limit the size of files as :func:`little_room` says, but not of pytest's own report."""
    if "little_room" not in item.fixturenames:
        return (yield)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Escape the bytes of file names that are no text, which xdist cannot send."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
