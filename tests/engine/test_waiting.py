"""No step of a method reads a value from the device, or has a shape that depends on one."""

import sys

import pytest
import torch
from tiny_engines import METHODS, batches_of, engine_of
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
READS = {aten._local_scalar_dense, aten.is_nonzero, aten.nonzero, aten.masked_select, aten.equal}
READS |= {aten._unique2, aten.unique_consecutive, aten.bincount, aten.repeat_interleave}
INDEXES = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Waits(TorchDispatchMode):
    """List the operations that would wait for a GPU, but for the rows of a modality, which lies on the CPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        packet = function.overloadpacket
        if (packet in READS or (packet in INDEXES and by_mask(arguments[1]))) and not finding_rows():
            self.found.append(str(function))
        return function(*arguments, **(options or {}))


def by_mask(indices):
    return any(index is not None and index.dtype is torch.bool for index in indices)


def finding_rows():
    frame = sys._getframe()
    while frame and frame.f_code.co_name != "rows_of":
        frame = frame.f_back
    return frame is not None


def waits(engine):
    batches = batches_of(engine, 3)
    engine.model.train()
    engine.forward_backward(batches[0])  # which also prepares
    with Waits() as mode:
        for batch in batches[1:]:
            engine.forward_backward(batch)
    return mode.found


@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_the_device(method, roots):
    assert waits(engine_of(method, roots, train__skip_nonfinite=1, train__clip_grad=1.0)) == []


def test_no_step_waits_for_the_scale_of_the_loss(roots):
    engine = engine_of("mcja", roots)
    engine.step.scaler = torch.amp.GradScaler("cpu")  # as in fp16, which takes a minute on a CPU
    assert waits(engine) == []


def test_a_loss_that_reads_a_value_is_found(roots):
    engine = engine_of("base", roots)
    loss, original = engine.method.losses["identity"][0], engine.method.losses["identity"][0].forward
    reads = (lambda x: x.mean().item(), lambda x: x[x > 0].sum(), lambda x: bool(x.sum()), torch.unique)
    for read in reads:
        loss.forward = lambda logits, *rest, read=read: (read(logits.detach()), original(logits, *rest))[1]
        assert len(waits(engine)) == 2
