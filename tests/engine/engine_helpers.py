"""What the tests of engines share."""

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
