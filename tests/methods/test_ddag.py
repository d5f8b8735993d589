"""DDAG's engine: the weight of the graph's loss over epochs, and resuming with it."""

import pytest
from engine_helpers import assert_identical, run, run_until, weights

from torchreid_vi.models import read_checkpoint

DDAG = {
    "loss__name": "ddag",
    "loss__terms": ["identity", "hard_triplet", "part_identity", "graph_identity"],
    "loss__weights": [1.0, 2.0, 1.0, 1.0],
    "train__new_layers": ["neck", "classifier", "parts", "graph"],
    "train__staged_lr": True,
}


def test_the_graph_counts_by_how_small_the_other_losses_were_in_the_epoch_before(make):
    engine, cfg = make(**DDAG)
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
    for epoch in range(3):
        steps = [entry[1:] for entry in seen if entry[0] == epoch]
        for others, graph, total in steps:
            assert total == pytest.approx(others + expected * graph, rel=1e-5)
        expected = 1 / (1 + sum(others for others, _, _ in steps) / len(steps))
    assert 0 < expected < 1


def test_a_resumed_run_ends_as_the_unbroken_one_bit_for_bit(make, tmp_path):
    unbroken, cfg = make(**DDAG)
    run(unbroken, cfg)
    broken, cfg = make(**DDAG)
    run_until(broken, cfg, 2, tmp_path / "broken")
    resumed, cfg = make(**DDAG)
    start = resumed.resume(read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth"))
    run(resumed, cfg, save_dir=str(tmp_path / "broken"), start_epoch=start)
    assert start == 2
    assert_identical(weights(resumed), weights(unbroken))


def test_without_the_graphs_loss_the_rest_is_trained(make):
    engine, _ = make(**DDAG | {"loss__terms": ["identity", "part_identity"], "loss__weights": [1.0, 1.0]})
    engine.model.train()
    summary = engine.forward_backward(next(iter(engine.train_loader)))
    assert summary["loss"].item() == pytest.approx((summary["identity"] + summary["part_identity"]).item())
