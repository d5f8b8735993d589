"""DDAG's engine: the weight of the graph's loss over epochs, and resuming with it."""

import pytest
import torch
from engine_helpers import run

from torchreid_vi.models import load_weights, read_checkpoint

DDAG = {
    "loss__name": "ddag",
    "loss__terms": ["identity", "hard_triplet", "part_identity", "graph_identity"],
    "loss__weights": [1.0, 2.0, 1.0, 1.0],
    "train__new_layers": ["neck", "classifier", "parts", "graph"],
    "train__staged_lr": True,
}


def test_the_graph_counts_by_how_small_the_other_losses_were_in_the_epoch_before(make):
    engine, cfg = make(**DDAG | {"train__max_epoch": 2})
    seen, graphs = [], []
    step, loss = engine.forward_backward, engine.method.losses["graph_identity"][0]
    compute = loss.compute
    loss.compute = lambda *inputs: (graphs.append(compute(*inputs)), graphs[-1])[1]

    def forward_backward(data):
        values = step(data)
        others = values["identity"] + 2.0 * values["hard_triplet"] + values["part_identity"]
        seen.append((engine.epoch, others.item(), graphs[-1].item(), values["loss"].item()))
        return values

    engine.forward_backward = forward_backward
    run(engine, cfg)
    expected = 0.0
    for epoch in range(2):
        steps = [entry[1:] for entry in seen if entry[0] == epoch]
        for others, graph, total in steps:
            assert total == pytest.approx(others + expected * graph, rel=1e-5)
        expected = 1 / (1 + sum(others for others, _, _ in steps) / len(steps))
    assert 0 < expected < 1


def test_weights_carry_nothing_of_the_run_that_they_are_of(make, tmp_path):
    engine, cfg = make(**DDAG | {"train__max_epoch": 1})
    run(engine, cfg)
    engine.method.begin_epoch()
    assert engine.model.run_graph_weight > 0
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    older = {name: value for name, value in state["state_dict"].items() if "run_" not in name}
    torch.save({"state_dict": older}, tmp_path / "older.pth")
    for file in (tmp_path / "run" / "checkpoints" / "last.pth", tmp_path / "older.pth"):
        other, _ = make(**DDAG)
        loaded = load_weights(other.model, file)
        assert loaded.matched == loaded.total and not loaded.unused
        other.method.begin_epoch()
        assert other.model.run_graph_weight == 0
