"""What an engine does when a signal comes, or a number that is none."""

import os
import re
import signal
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from engine_helpers import assert_identical, diverge_at, run, weights

from torchreid_vi import InputError, stopping
from torchreid_vi import run as run_config
from torchreid_vi.data.samplers import SeededDataset
from torchreid_vi.engine import VIEngine
from torchreid_vi.models import read_checkpoint
from torchreid_vi.report.collect import scalars

MMGL = {
    "loss__name": "mmgl",
    "loss__terms": ["permutation", "part_cycle"],
    "sampler__train_sampler": "ModalityPairSampler",
    "data__validation": 0.2,
    "data__height": 48,
    "mmgl__stripes": 3,
}
DDAG = {"loss__name": "ddag", "loss__terms": ["identity", "graph_identity"]}


def signalled_at(engine, step, numbers=(signal.SIGTERM,)):
    """Has an engine get signals within a step, counted over all epochs."""
    original, steps = engine.forward_backward, iter(range(10**6))

    def forward_backward(data):
        if next(steps) == step:
            for number in numbers:
                os.kill(os.getpid(), number)
        return original(data)

    engine.forward_backward = forward_backward


def stop(engine, cfg, folder, **changes):
    with stopping.handled(), pytest.raises(stopping.Stopped) as stopped:
        run(engine, cfg, save_dir=str(folder), **changes)
    return stopped.value


@pytest.mark.parametrize(
    "changes", [{}, {"loss__name": "softmax"}, DDAG, MMGL], ids=["vi", "softmax", "ddag", "mmgl"]
)
def test_a_signal_lets_the_step_finish_and_the_run_goes_on_from_there_bit_for_bit(make, tmp_path, changes):
    unbroken, cfg = make(**changes)
    run(unbroken, cfg)
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
    assert resumed.cost["images"] == unbroken.cost["images"]
    steps = [scalars(folder)["Train/lr"] for folder in (tmp_path / "run", tmp_path / "broken")]
    assert np.array_equal(steps[0], steps[1])


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


def test_a_signal_before_the_first_step_after_a_break_leaves_the_checkpoint_as_it_is(
    make, tmp_path, monkeypatch
):
    engine, cfg = make()
    signalled_at(engine, 1)
    stop(engine, cfg, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.pth"
    before = last.read_bytes()
    resumed, cfg = make()
    start = resumed.resume(read_checkpoint(last))
    monkeypatch.setattr(SeededDataset, "__getitem__", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    stop(resumed, cfg, tmp_path / "run", start_epoch=start)
    assert last.read_bytes() == before


def test_a_second_signal_does_not_wait(make, tmp_path):
    engine, cfg = make()
    signalled_at(engine, 1, (signal.SIGTERM, signal.SIGINT))
    assert stop(engine, cfg, tmp_path / "run").status == 130
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_signal_between_epochs_loses_none_of_the_one_before(make, tmp_path, monkeypatch):
    engine, cfg = make()
    original = torch.save

    def save(*args):
        os.kill(os.getpid(), signal.SIGINT)
        original(*args)

    monkeypatch.setattr(torch, "save", save)
    assert stop(engine, cfg, tmp_path / "run").status == 130
    monkeypatch.undo()
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    assert state["epoch"] == 1 and "step" not in state


def as_each_step_begins(monkeypatch, happens):
    original = VIEngine.forward_backward

    def forward_backward(engine, data):
        happens()
        return original(engine, data)

    monkeypatch.setattr(VIEngine, "forward_backward", forward_backward)


def test_a_run_that_is_called_from_python_hears_a_signal_too(make, tmp_path, monkeypatch):
    _, cfg = make()
    as_each_step_begins(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(stopping.Stopped):
        run_config(cfg)
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")["step"] == 1


def killed(monkeypatch):
    def kill():
        pid = active_children()[0].pid
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    as_each_step_begins(monkeypatch, kill)
    return pytest.raises(InputError, match="a process that loads images was killed")


def interrupted(monkeypatch):
    as_each_step_begins(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    return pytest.raises(stopping.Stopped)


def unreadable(monkeypatch):
    def raise_one(*_):
        raise InputError("image cannot be read")

    monkeypatch.setattr(SeededDataset, "__getitem__", raise_one)
    return pytest.raises(InputError, match="image cannot be read")


@pytest.mark.parametrize("ending", [killed, interrupted, unreadable])
def test_a_run_that_is_called_from_python_says_why_it_ends_and_leaves_no_process(make, monkeypatch, ending):
    _, cfg = make(data__workers=2)
    with ending(monkeypatch) as kept:
        run_config(cfg)
    assert not active_children() and kept.tb


@pytest.mark.parametrize(
    ("what", "said"), [("loss", r"loss identity is nan"), ("gradient", r"the gradient of \S+ holds")]
)
def test_what_is_no_number_is_named_and_kept_in_the_step_it_appears(make, tmp_path, what, said):
    engine, cfg = make()
    diverge_at(engine, 1, what)
    before = []
    original = engine.step
    engine.step = lambda values: (before.append(weights(engine)), original(values))[1]
    with pytest.raises(
        InputError, match=rf"epoch 1, batch 2: {said}.*nonfinite-1-2\.pth; set train\.skip_nonfinite, or"
    ):
        run(engine, cfg)
    assert_identical(weights(engine), before[1])
    kept = read_checkpoint(tmp_path / "run" / "nonfinite-1-2.pth")
    (batch,) = kept["batches"]
    assert all(os.path.isfile(path) for path in batch["impath"])
    again, _ = make()  # the step can be repeated
    again.model.load_state_dict(kept["state_dict"])
    diverge_at(again, 0, what)
    again.progress.batch = batch
    again.save_dir = tmp_path / "again"
    again.epoch = 0
    again.set_model_mode("train")
    with pytest.raises(InputError, match=said):
        again.forward_backward(batch)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_left_out_leaves_no_trace(make, tmp_path, capsys, what):
    engine, cfg = make(train__skip_nonfinite=1, train__max_epoch=1, train__lr_scheduler="single_step")
    diverge_at(engine, 2, what)
    seen = []
    original = engine.forward_backward

    def forward_backward(data):
        seen.append(weights(engine))
        summary = original(data)
        seen.append(weights(engine))
        return summary

    engine.forward_backward = forward_backward
    run(engine, cfg)
    assert_identical(seen[4], seen[5])
    assert any(not torch.equal(seen[2][name], seen[3][name]) for name in seen[2])
    assert "Left out epoch 1, batch 3: " in capsys.readouterr().err
    assert engine.results
    engine, cfg = make(train__skip_nonfinite=1, train__lr_scheduler="single_step")
    diverge_at(engine, 1)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    with pytest.raises(
        InputError, match=r"continue with model\.resume .*last\.pth"
    ):  # the second one of the run
        run(engine, cfg, start_epoch=engine.resume(state))


def test_one_that_is_left_out_does_not_reach_the_weight_of_ddags_graph(make, tmp_path):
    engine, cfg = make(train__skip_nonfinite=1, **DDAG)
    diverge_at(engine, 1)
    run(engine, cfg)
    assert 0 < engine.graph_weight < 1 and engine.skipped == 1


@pytest.mark.parametrize(
    ("name", "criterion", "said"),
    [("softmax", "criterion", "loss is nan"), ("triplet", "criterion_x", "loss_x is inf")],
)
def test_torchreids_engines_stop_at_what_is_no_number(make, name, criterion, said):
    engine, cfg = make(loss__name=name, loss__triplet__weight_x=1.0)
    original = getattr(engine, criterion).forward
    getattr(engine, criterion).forward = lambda *args: original(*args) * float(said[-3:])
    kept = rf"epoch 1, batch 1: {said}; kept in .*nonfinite-1-1\.pth; start again with a lower train\.lr$"
    with pytest.raises(InputError, match=kept):
        run(engine, cfg)


def test_weights_that_are_no_numbers_are_not_saved_over_those_that_are(make, tmp_path):
    """torchreid's engines may move them so in the last step of an epoch, which none looks at any more."""
    engine, cfg = make(loss__name="softmax", train__max_epoch=2)
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


def test_a_signal_while_validating_loses_nothing(make, tmp_path, monkeypatch):
    unbroken, cfg = make(**MMGL)
    run(unbroken, cfg)
    broken, cfg = make(**MMGL)
    original = broken._validate

    def validate():
        os.kill(os.getpid(), signal.SIGTERM)
        original()

    broken._validate = validate
    assert stop(broken, cfg, tmp_path / "broken").status == 143
    state = read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth")
    assert state["epoch"] == 1 and "step" not in state
    resumed, cfg = make(**MMGL)
    run(resumed, cfg, save_dir=str(tmp_path / "broken"), start_epoch=resumed.resume(state))
    assert_identical(weights(resumed), weights(unbroken))


@pytest.mark.parametrize(
    "strange",
    [
        {"cost": 5},
        {"best": "x"},
        {"step": -3},
        {"step": 10**6},
    ],
    ids=str,
)
def test_a_checkpoint_of_strange_content_is_one_sentence(make, tmp_path, strange):
    engine, cfg = make()
    signalled_at(engine, 1)
    stop(engine, cfg, tmp_path / "run")
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    assert engine.resume(state) == 0
    with pytest.raises(InputError, match=r"model\.resume does not fit this run"):
        engine.resume(state | strange)


def test_an_overflow_in_half_precision_is_the_scalers(make, tmp_path):
    engine, cfg = make(train__precision="fp16", train__max_epoch=1)
    engine.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    run(engine, cfg)
    assert engine.scaler.get_scale() < 2.0**40
    assert not list((tmp_path / "run").glob("nonfinite*"))
    stuck, cfg = make(train__precision="fp16", train__max_epoch=1)
    stuck.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    diverge_at(stuck, 0, "gradient")
    with pytest.raises(InputError, match="the gradient of"):
        run(stuck, cfg, save_dir=str(tmp_path / "stuck"))


def steps_of(engine, folder, number):
    """Steps on one batch, as at the beginning of a run; returns the scale of the loss after each."""
    engine.save_dir, engine.epoch, engine.progress.batch = folder, 0, next(iter(engine.train_loader))
    engine.set_model_mode("train")
    scales = []
    for _ in range(number):
        engine.forward_backward(engine.progress.batch)
        scales.append(engine.scaler.get_scale())
    return scales


def test_a_loss_that_is_no_number_is_no_overflow_of_half_precision(make, tmp_path):
    engine, _ = make(train__precision="fp16", train__skip_nonfinite=1)
    diverge_at(engine, 1)
    steps_of(engine, tmp_path, 3)  # and the one after it is as any other
    assert engine.skipped == 1 and [path.name for path in tmp_path.glob("*.pth")] == ["nonfinite-1-1.pth"]


def test_no_gradient_of_another_precision_is_an_overflow(make, tmp_path):
    engine, _ = make(train__precision="bf16")
    diverge_at(engine, 0, "gradient")
    with pytest.raises(InputError, match="the gradient of"):
        steps_of(engine, tmp_path, 1)


@pytest.mark.parametrize(("number", "more"), [(1, ""), (2, ""), (3, " and 1 more")])
def test_the_parameters_whose_gradients_are_no_numbers_are_named(make, tmp_path, number, more):
    engine, _ = make()
    wrong = [(name, p) for name, p in engine.model.named_parameters() if p.requires_grad][-number:]
    for _, parameter in wrong:
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    named = ", ".join(f"the gradient of {name} holds NaN or infinity" for name, _ in wrong[:2])
    with pytest.raises(InputError, match=re.escape(f"epoch 1, batch 1: {named}{more}; kept in ")):
        steps_of(engine, tmp_path, 1)


def test_a_resumed_run_has_the_scale_that_half_precision_had_come_to(make, tmp_path):
    engine, _ = make(train__precision="fp16")
    diverge_at(engine, 0, "gradient")
    (scale,) = steps_of(engine, tmp_path, 1)
    engine.save_model(0, None, tmp_path)
    resumed, _ = make(train__precision="fp16")
    assert resumed.scaler.get_scale() == 2 * scale
    resumed.resume(read_checkpoint(tmp_path / "checkpoints" / "last.pth"))
    assert resumed.scaler.get_scale() == scale
