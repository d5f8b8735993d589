"""What the tests of engines share."""

import pytest
import torch

from torchreid_vi import config


def run(engine, cfg, **changes):
    engine.run(**(config.run_kwargs(cfg) | changes))


def weights(engine):
    return {name: value.clone() for name, value in engine.model.state_dict().items()}


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def run_until(engine, cfg, epoch, folder):
    """Runs an engine that is interrupted as the epoch of that number, from 0, begins."""
    original = engine.train

    def train(*args, **kwargs):
        if engine.epoch == epoch:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    engine.train = train
    with pytest.raises(KeyboardInterrupt):
        run(engine, cfg, save_dir=str(folder))
