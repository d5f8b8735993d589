"""torch.compile makes one graph of every method's network, and keeps it for the next batch."""

import pytest
import torch
from tiny_engines import METHODS, batches_of, engine_of
from torch._dynamo.testing import CompileCounter


@pytest.fixture
def graphs():
    """A backend that counts the graphs it gets and computes them as they are."""
    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


@pytest.mark.parametrize("method", METHODS)
def test_a_network_in_training_is_one_graph(method, roots, graphs):
    engine = engine_of(method, roots)
    engine.model.train()
    engine.model.compile(backend=graphs)
    for batch in batches_of(engine, 2):
        assert engine.forward_backward(batch)["loss"].isfinite()
    assert graphs.frame_count == 1
