"""Helpers of the tests of engines."""

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
    """Run an engine that is interrupted as the epoch of that number, from 0, begins."""
    original = engine.train

    def train(*args, **kwargs):
        if engine.epoch == epoch:
            raise KeyboardInterrupt
        original(*args, **kwargs)

    engine.train = train
    with pytest.raises(KeyboardInterrupt):
        run(engine, cfg, save_dir=str(folder))


def diverge_at(engine, step, what="loss"):
    """Make the loss, or a gradient alone, of one step NaN."""
    original, steps = engine.method.losses["identity"][0].forward, iter(range(10**6))

    def forward(*args):
        value = original(*args)
        if next(steps) != step:
            return value
        if what == "loss":
            return value * float("nan")
        value.register_hook(lambda gradient: gradient * float("inf"))
        return value

    engine.method.losses["identity"][0].forward = forward
