"""Engines and signals, and losses and gradients that are not finite."""

import os
import re
import signal
import threading
from multiprocessing import active_children

import pytest
import torch
from engine_helpers import assert_identical, diverge_at, run, weights

from torchreid_vi import InputError, stopping
from torchreid_vi import run as run_config
from torchreid_vi.data.source import Source
from torchreid_vi.engine import VIEngine
from torchreid_vi.models import read_checkpoint

MMGL = {
    "loss__name": "mmgl",
    "loss__terms": ["permutation", "part_cycle"],
    "sampler__train_sampler": "ModalityPairSampler",
    "data__validation": 0.2,
    "data__height": 48,
    "train__batch_size": 8,
    "loss__mmgl__stripes": 3,
}
DDAG = {"loss__name": "ddag", "loss__terms": ["identity", "graph_identity"]}


def signalled_at(engine, step):
    """Have an engine get SIGTERM within a step, counted over all epochs."""
    original, steps = engine.forward_backward, iter(range(10**6))

    def forward_backward(data):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(data)

    engine.forward_backward = forward_backward


def epochs(caplog):
    """Return the lines that were logged for epochs, without their speed."""
    found = [re.sub(r"\S+\s+images/s", "", m) for m in caplog.messages if m.startswith("Epoch")]
    caplog.clear()
    return found


def stop(engine, cfg, folder, **changes):
    with pytest.raises(stopping.Stopped) as stopped:
        run(engine, cfg, save_dir=str(folder), **changes)
    return stopped.value


@pytest.mark.parametrize(
    "changes", [{}, {"loss__name": "softmax"}, DDAG, MMGL], ids=["supervised", "softmax", "ddag", "mmgl"]
)
def test_a_signal_lets_the_step_finish_and_the_run_goes_on_from_there_bit_for_bit(
    make, tmp_path, caplog, changes
):
    changes = changes | {"train__max_epoch": 2}
    unbroken, cfg = make(**changes)
    run(unbroken, cfg)
    logged = epochs(caplog)
    resumed, cfg = make(**changes)
    start = done = 0
    for step in (1, 4):  # over all epochs
        signalled_at(resumed, step - done)
        assert stop(resumed, cfg, tmp_path / "broken", start_epoch=start).status == 143
        state = read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth")
        done = state["epoch"] * len(resumed.train_loader) + state["step"]
        assert done == step + 1 and state["step"]
        torch.rand(17)
        resumed, cfg = make(data__workers=1, **changes)
        start = resumed.resume(state)
    run(resumed, cfg, save_dir=str(tmp_path / "broken"), start_epoch=start)
    assert_identical(weights(resumed), weights(unbroken))
    assert [result.as_dict() for result in resumed.results] == [
        result.as_dict() for result in unbroken.results
    ]
    assert resumed.progress.images == unbroken.progress.images
    assert epochs(caplog) == logged and len(logged) == 2


def test_a_signal_in_the_last_step_of_an_epoch_leaves_none_of_it_to_do(make, tmp_path):
    engine, cfg = make(train__max_epoch=1)
    signalled_at(engine, len(engine.train_loader) - 1)
    stop(engine, cfg, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    state = read_checkpoint(last)
    assert (state["epoch"], state["step"]) == (0, len(engine.train_loader))
    resumed, cfg = make(train__max_epoch=1)
    run(resumed, cfg, start_epoch=resumed.resume(state))
    assert read_checkpoint(last)["epoch"] == 1 and resumed.results
    assert_identical(weights(resumed), state["state_dict"])


def interrupted(monkeypatch):
    original = VIEngine.forward_backward

    def forward_backward(engine, data):
        os.kill(os.getpid(), signal.SIGINT)
        return original(engine, data)

    monkeypatch.setattr(VIEngine, "forward_backward", forward_backward)
    return pytest.raises(stopping.Stopped)


def unreadable(monkeypatch):
    def raise_one(*_):
        raise InputError("image cannot be read")

    monkeypatch.setattr(Source, "images", raise_one)
    return pytest.raises(InputError, match="image cannot be read")


@pytest.mark.parametrize("ending", [interrupted, unreadable])
def test_a_run_that_is_called_from_python_says_why_it_ends_and_leaves_nothing_running(
    make, monkeypatch, ending
):
    _, cfg = make(data__workers=2)
    before = set(threading.enumerate())
    with ending(monkeypatch) as kept:
        run_config(cfg)
    assert not active_children() and set(threading.enumerate()) <= before and kept.tb


def weights_after_each_step(engine):
    """Return a list that is filled with the weights at first and after each step."""
    seen, original = [weights(engine)], engine.forward_backward

    def forward_backward(data):
        values = original(data)
        seen.append(weights(engine))
        return values

    engine.forward_backward = forward_backward
    return seen


def test_a_first_step_that_is_left_out_starts_the_momentum_of_sgd_at_zero(make):
    """PyTorch leaves it undefined in that case."""
    engine, cfg = make(train__optim="sgd", train__skip_nonfinite=1, train__max_epoch=1)
    diverge_at(engine, 0)
    states, original = [], engine.forward_backward

    def forward_backward(data):
        values, state = original(data), engine.step.optimizer.state_dict()["state"]
        states.append([one["momentum_buffer"].clone() for one in state.values()])
        return values

    engine.forward_backward = forward_backward
    run(engine, cfg)
    assert states[0] and not any(value.any() for value in states[0])
    assert any(value.any() for value in states[1]) and all(value.isfinite().all() for value in states[-1])


@pytest.mark.parametrize(
    ("optim", "what", "said"),
    [(optim, "loss", "loss is nan, identity is nan, for") for optim in ("adam", "sgd", "rmsprop")]
    + [(optim, "gradient", "the gradient is not finite, for") for optim in ("amsgrad", "radam")],
)
def test_what_is_no_number_is_named_a_step_later_and_has_moved_no_weight(make, optim, what, said):
    engine, cfg = make(train__optim=optim)
    diverge_at(engine, 1, what)
    seen, files, original = weights_after_each_step(engine), [], engine.forward_backward
    engine.forward_backward = lambda data: (files.append(data["impath"]), original(data))[1]
    with pytest.raises(InputError) as raised:
        run(engine, cfg)
    named = (
        f"epoch 1, step 2: {said} {', '.join(files[1][:2])} and 14 more images; set train.skip_nonfinite, or "
    )
    assert str(raised.value) == named + "start again with a lower train.lr"
    trained = [name for name, _ in engine.model.named_parameters()]
    assert len(seen) == 4 and all(torch.equal(seen[1][name], seen[2][name]) for name in trained)
    assert not torch.equal(seen[2][trained[0]], seen[3][trained[0]])


@pytest.mark.parametrize(("what", "optim"), [("loss", "adam"), ("gradient", "sgd")])
def test_a_step_that_is_left_out_leaves_no_trace(make, tmp_path, caplog, what, optim):
    settings = {"train__skip_nonfinite": 1, "train__lr_scheduler": "single_step", "train__optim": optim}
    engine, cfg = make(train__max_epoch=1, **settings)
    diverge_at(engine, 2, what)
    seen = weights_after_each_step(engine)
    run(engine, cfg)
    assert_identical(seen[2], seen[3])
    assert any(not torch.equal(seen[1][name], seen[2][name]) for name in seen[1])
    assert "Left out epoch 1, step 3: " in caplog.text
    assert engine.results
    engine, cfg = make(**settings)
    diverge_at(engine, 1)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    with pytest.raises(InputError, match=r"continue with model\.resume .*last\.pth"):  # the run's second one
        run(engine, cfg, start_epoch=engine.resume(state))


def test_weights_that_are_no_numbers_are_not_saved_over_those_that_are(make, tmp_path):
    engine, cfg = make(train__max_epoch=2)
    original, steps = engine.forward_backward, iter(range(1, 10**6))

    def forward_backward(data):
        summary = original(data)
        if next(steps) == 2 * len(engine.train_loader):
            engine.model.classifier.weight.data[0] = float("inf")
        return summary

    engine.forward_backward = forward_backward
    with pytest.raises(
        InputError, match=r"^classifier\.weight holds NaN or infinity after epoch 2, which is not"
    ):
        run(engine, cfg)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")["epoch"] == 1


def test_a_signal_while_validating_loses_nothing(make, tmp_path):
    broken, cfg = make(train__max_epoch=2, data__validation=0.3)
    original = broken.evaluator.validate

    def validate(*loaders):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*loaders)

    broken.evaluator.validate = validate
    assert stop(broken, cfg, tmp_path / "broken").status == 143
    state = read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth")
    assert (state["epoch"], state["step"], state["best"]) == (1, 0, broken.progress.best) and state[
        "best"
    ] > 0


def test_a_checkpoint_of_strange_content_is_one_sentence(make, tmp_path):
    engine, cfg = make()
    signalled_at(engine, 1)
    stop(engine, cfg, tmp_path / "run")
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    assert engine.resume(state) == 0
    for strange in ({"seconds": "x"}, {"epoch": -1}, {"step": -3}, {"step": 10**6}, {"step": 1, "sums": 5}):
        with pytest.raises(InputError, match=r"model\.resume does not fit this run"):
            engine.resume(state | strange)
