"""A small pre-training for the tests of MMGL."""

import pytest

MMGL = {
    "loss__name": "mmgl",
    "loss__terms": ["permutation", "part_cycle"],
    "loss__weights": [1.0, 0.5],
    "sampler__train_sampler": "ModalityPairSampler",
    "data__height": 96,
    "data__width": 32,
    "data__validation": 0.1,
    "data__transforms": ["random_flip", "random_crop"],
    "loss__mmgl__part_dim": 8,
}


@pytest.fixture
def pretrain(make):
    """Builds a small MMGL engine and its settings, with changes to them."""
    return lambda **changes: make(**(MMGL | changes))
