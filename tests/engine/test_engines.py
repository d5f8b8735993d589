"""Engines on torchreid's loop: steps, resuming bit for bit, validation and precision."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from engine_helpers import assert_identical, run, run_until, weights
from torch import nn

from torchreid_vi import METHODS, InputError
from torchreid_vi.methods import Batch
from torchreid_vi.models import VIModel, read_checkpoint
from torchreid_vi.report.collect import scalars


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"mmgl"}))
def test_every_supervised_engine_trains_and_reports_under_the_protocols(make, name, tmp_path):
    backbone = "resnet18" if name == "deen" else "osnet_x0_25"
    engine, cfg = make(loss__name=name, model__name=backbone, train__max_epoch=1, loss__triplet__weight_x=1.0)
    before = weights(engine)
    run(engine, cfg)
    assert [result.name for result in engine.results] == ["visible-to-infrared", "infrared-to-visible"]
    assert any(not torch.equal(value, before[key]) for key, value in weights(engine).items())
    assert (tmp_path / "run" / "checkpoints" / "last.pth").is_file()


@pytest.mark.parametrize(("name", "killed_after"), [("supervised", 1), ("softmax", 2)])
def test_a_resumed_run_ends_as_the_unbroken_one_bit_for_bit(make, tmp_path, name, killed_after):
    """It is killed as the second epoch begins, or in the final test."""
    short = {"loss__name": name, "train__max_epoch": 2}
    unbroken, cfg = make(**short, test__eval_freq=1)
    run(unbroken, cfg)
    broken, cfg = make(**short, data__workers=2)

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    if killed_after == 2:
        broken.test = die
        with pytest.raises(KeyboardInterrupt):
            run(broken, cfg, save_dir=str(tmp_path / "broken"))
    else:
        run_until(broken, cfg, killed_after, tmp_path / "broken")
    torch.rand(17)  # whatever else a process drew in the meantime
    resumed, cfg = make(**short)
    start = resumed.resume(read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth"))
    assert start == killed_after
    run(resumed, cfg, save_dir=str(tmp_path / "broken"), start_epoch=start)
    assert_identical(weights(resumed), weights(unbroken))
    assert [r.as_dict() for r in resumed.results] == [r.as_dict() for r in unbroken.results]
    saved = read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth")
    assert saved["epoch"] == 2
    assert_identical(saved["state_dict"], weights(unbroken))


def test_the_number_of_workers_changes_nothing(make):
    assert losses_of(make(data__workers=0)[0]) == losses_of(make(data__workers=3)[0])


def test_a_step_is_the_weighted_sum_of_the_losses_and_an_update(make):
    engine, _ = make(loss__weights=[2.0, 0.5], train__optim="sgd", train__weight_decay=0.0, train__lr=0.1)
    data = next(iter(engine.train_loader))
    engine.model.train()
    twin = VIModel("osnet_x0_25", engine.datamanager.num_train_pids)
    twin.load_state_dict(engine.model.state_dict())
    summary = engine.forward_backward(data)
    out = twin(data["img"], data["modality"])
    values = {
        n: loss(getattr(out, loss.on), data["pid"], data["modality"])
        for n, (loss, _) in engine.method.losses.items()
    }
    total = 2.0 * values["identity"] + 0.5 * values["cmr"]
    total.backward()
    assert summary["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    assert summary["cmr"].item() == pytest.approx(values["cmr"].item(), rel=1e-5)
    after = dict(engine.model.named_parameters())
    for name, parameter in twin.named_parameters():
        expected = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(after[name].detach(), expected, atol=1e-5, rtol=1e-4)


def test_two_views_of_a_batch_are_joined_with_their_labels(make):
    engine, _ = make(data__k_tfm=2)
    data = next(iter(engine.train_loader))
    batch = Batch.of(data, engine.step.device, engine.step.memory_format)
    assert torch.equal(batch.images, torch.cat(data["img"]))
    assert not torch.equal(batch.images[:16], batch.images[16:])
    assert torch.equal(batch.pids, data["pid"].repeat(2))
    assert torch.equal(batch.modality, data["modality"].repeat(2))
    assert batch.image.tolist() == [*range(16), *range(16)] and batch.view.tolist() == [0] * 16 + [1] * 16


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_mixed_precision_trains_on_the_cpu_when_asked(make, precision):
    engine, _ = make(train__precision=precision)
    engine.model.train()
    data = next(iter(engine.train_loader))
    plain, _ = make()
    plain.model.train()
    mixed, full = engine.forward_backward(data)["loss"].item(), plain.forward_backward(data)["loss"].item()
    assert mixed == pytest.approx(full, rel=0.02)
    assert (mixed == full) == (precision == "auto")  # auto is full precision on a CPU


def losses_of(engine, steps=3):
    engine.model.train()
    data = next(iter(engine.train_loader))
    return [engine.forward_backward(data)["loss"].item() for _ in range(steps)]


@pytest.mark.parametrize("optim", ["adam", "sgd"])
def test_faster_steps_give_the_same_losses(make, optim):
    fused, _ = make(train__optim=optim)
    assert fused.step.optimizer.param_groups[0]["fused"]
    found = losses_of(fused)
    unfused, _ = make(train__optim=optim)
    options = unfused.step.optimizer.defaults | {"fused": False}
    unfused.step.optimizer = type(unfused.step.optimizer)(unfused.model.parameters(), **options)
    plain = losses_of(unfused)
    assert plain[0] != pytest.approx(plain[-1], rel=1e-3) and found == pytest.approx(plain, rel=1e-4)
    innermost, _ = make(train__optim=optim, train__memory_format="channels_last")
    weight = next(p for p in innermost.model.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    found = losses_of(innermost)
    assert found[0] == pytest.approx(plain[0], rel=1e-4)
    assert found == pytest.approx(plain, rel=3e-3)  # sums in another order, which each step amplifies


def test_a_compiled_model_gives_the_same_losses_and_checkpoints(make, monkeypatch):
    """Compile with the backend eager; PyTorch's compiler takes minutes."""
    settings, original = {"model__name": "resnet18", "train__optim": "sgd"}, nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: original(module, backend="eager"))
    engine, _ = make(train__compile=True, **settings)
    compiled = losses_of(engine)
    plain, _ = make(**settings)
    assert compiled == pytest.approx(losses_of(plain), rel=1e-3)
    assert engine.model.state_dict().keys() == plain.model.state_dict().keys()


class Steep(nn.Module):
    on = "embedding"

    def forward(self, inputs, pids, modality):
        return 1e4 * inputs.pow(2).sum()


def test_clipping_limits_the_norm_of_the_gradient(make):
    engine, _ = make(train__clip_grad=0.5)
    engine.method.losses = {"steep": (Steep(), 1.0)}
    engine.model.train()
    engine.forward_backward(next(iter(engine.train_loader)))
    norm = math.sqrt(sum(p.grad.pow(2).sum().item() for p in engine.model.parameters() if p.grad is not None))
    assert norm == pytest.approx(0.5, rel=1e-3)


def test_best_is_the_epoch_of_the_highest_validation_map(make, tmp_path):
    engine, cfg = make(data__sources=["sysu_mm01", "regdb"], data__validation=0.3)
    scores, validate = iter((0.2, 0.5, 0.4)), engine.evaluator.validate

    def validated(*loaders):
        assert validate(*loaders).mean("mAP") > 0
        score = next(scores)
        return SimpleNamespace(mean=lambda metric: score)

    engine.evaluator.validate = validated
    run(engine, cfg)
    best = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.pth")
    assert (best["epoch"], best["best"], engine.progress.best) == (2, 0.5, 0.5)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["best.pth", "last.pth", "previous.pth"]


def test_an_epoch_is_one_line_and_one_value_of_each_curve(make, tmp_path, caplog):
    engine, cfg = make(train__max_epoch=2)
    seen = []
    original = engine.forward_backward

    def forward_backward(data):
        values = original(data)
        seen.append({name: float(value) for name, value in values.items()})
        return values

    engine.forward_backward = forward_backward
    run(engine, cfg)
    steps = len(engine.train_loader)
    logged = scalars(tmp_path / "run")
    for name in ("loss", "identity", "cmr", "acc"):
        epochs, values = logged[f"Train/{name}"]
        expected = [np.mean([step[name] for step in seen[e * steps : (e + 1) * steps]]) for e in range(2)]
        assert epochs.tolist() == [0, 1] and values == pytest.approx(expected, rel=1e-5)
    assert {name for name in logged if name.startswith("Train/")} == {
        f"Train/{name}" for name in ("loss", "identity", "cmr", "acc", "lr", "images_per_second")
    }
    said = [" ".join(message.split()) for message in caplog.messages if message.startswith("Epoch")]
    line = r"Epoch 1 of 2: loss \S+, identity \S+, cmr \S+, acc \S+; lr 0\.0003; \d+ images/s"
    assert len(said) == 2 and re.fullmatch(line, said[0])


def test_a_run_continues_with_its_own_settings_alone(make, tmp_path):
    engine, cfg = make(train__max_epoch=1)
    run(engine, cfg)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    for change, said in (
        ({"train__lr": 0.1}, "train.lr was 0.0003 and is 0.1"),
        ({"train__max_epoch": 5}, "train.max_epoch was 1 and is 5"),  # the cosine schedule depends on it
        ({"model__name": "resnet18"}, "model.name was osnet_x0_25 and is resnet18"),
    ):
        other, _ = make(**({"train__max_epoch": 1} | change))
        with pytest.raises(InputError, match=said):
            other.resume(state)
    longer, _ = make(train__lr_scheduler="single_step", train__max_epoch=1)
    run(longer, cfg)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    assert make(train__lr_scheduler="single_step", train__max_epoch=5)[0].resume(state) == 1


def test_the_optimisers_state_takes_the_memory_format_of_the_weights(make, tmp_path):
    """A checkpoint of a GPU continues on a CPU, whose fused step reads both in the order of memory."""
    settings = {"train__max_epoch": 1, "train__lr_scheduler": "single_step"}
    engine, cfg = make(train__memory_format="channels_last", **settings)
    run(engine, cfg)
    other, _ = make(**settings)
    state = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")
    other.resume(state | {"settings": other.checkpoints.settings})
    for parameter, before in zip(other.model.parameters(), engine.model.parameters(), strict=True):
        moments, expected = (e.step.optimizer.state[p] for e, p in ((other, parameter), (engine, before)))
        for name, value in moments.items():
            assert torch.equal(value, expected[name])
            assert value.shape != parameter.shape or value.stride() == parameter.stride()
