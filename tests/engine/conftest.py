"""Engines on the smallest of the datasets, with three steps an epoch."""

import pytest


@pytest.fixture
def make(make):
    return lambda **changes: make(**({"data__sources": ["regdb"]} | changes))
