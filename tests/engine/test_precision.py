"""Half precision on a CPU: wrong layers have the run compute in fp32, and the scale of the loss is kept."""

import copy

import pytest
import torch
from engine_helpers import diverge_at, run
from torch import nn

from torchreid_vi.engine.precision import wrong_layer
from torchreid_vi.models import Backbone, read_checkpoint


class WrongInHalf(nn.Conv2d):
    """Computes like oneDNN's AMX kernel: something else under autocast."""

    value = 2.5

    def forward(self, images):
        result = super().forward(images)
        return result + self.value if torch.is_autocast_enabled("cpu") else result


class WrongGradientInHalf(nn.Conv2d):
    def forward(self, images):
        result = super().forward(images)
        if torch.is_autocast_enabled("cpu"):
            result.register_hook(lambda gradient: gradient * float("nan"))
        return result


def images(batch=4):
    """Return images of a width that oneDNN computes right everywhere: three columns before the last stride."""
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(0)), torch.arange(batch) % 2


def replaced(backbone, kind):
    backbone.trunk.layer3[0].conv2.__class__ = kind
    return backbone


@pytest.mark.parametrize("streams", [1, 2])
def test_a_processor_that_computes_right_passes_and_the_backbone_stays_as_it_was(streams):
    backbone = Backbone("resnet18", streams=streams)
    backbone.trunk.layer1.requires_grad_(False)
    before = copy.deepcopy(backbone.state_dict())
    assert wrong_layer(backbone, *images(), torch.bfloat16) == ""
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not backbone.trunk.layer1[0].conv1.weight.requires_grad
    assert backbone.training and not any(layer._forward_pre_hooks for layer in backbone.modules())


@pytest.mark.parametrize("kind", [WrongInHalf, WrongGradientInHalf])
def test_a_wrong_layer_is_named(kind):
    found = wrong_layer(replaced(Backbone("resnet18"), kind), *images(), torch.bfloat16)
    assert found.startswith("trunk.layer3.0.conv2 (relative error")


def test_a_run_on_such_a_processor_computes_in_fp32_and_says_so(make, caplog):
    engine, cfg = make(model__name="resnet18", train__precision="bf16", data__height=64, data__width=48)
    replaced(engine.model.backbone, WrongInHalf)
    engine.run(save_dir=cfg.data.save_dir, max_epoch=0)  # bf16 takes a minute where it is emulated
    said = caplog.text
    assert "computes trunk.layer3.0.conv2 (relative error" in said
    assert "for images of 64 × 48: training in fp32" in said
    assert engine.step.dtype is torch.float32


def test_a_run_that_fell_back_from_fp16_goes_on(make, tmp_path):
    engine = make(train__precision="fp32")[0]
    engine.save_dir = tmp_path
    engine.save_model(0, None, tmp_path)
    other = make(train__precision="fp16")[0]
    state = read_checkpoint(tmp_path / "checkpoints" / "last.pth")
    state["settings"] = other.checkpoints.settings
    assert other.resume(state) == 0


def test_an_overflow_in_half_precision_is_the_scalers(make):
    engine, cfg = make(train__precision="fp16", train__max_epoch=1)
    engine.step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    run(engine, cfg)
    assert engine.step.scaler.get_scale() < 2.0**40
    assert engine.progress.skipped == 0


def steps_of(engine, number):
    """Steps on one batch; returns what each gave, and the scale of the loss after it."""
    batch = next(iter(engine.train_loader))
    engine.set_model_mode("train")
    found = []
    for _ in range(number):
        bad = bool(engine.forward_backward(batch)["nonfinite"])
        found.append((bad, engine.step.scaler.get_scale()))
    return found


def test_a_resumed_run_has_the_scale_that_half_precision_had_come_to(make, tmp_path):
    engine, _ = make(train__precision="fp16")
    diverge_at(engine, 0, "gradient")
    ((_, scale),) = steps_of(engine, 1)
    engine.save_dir = tmp_path
    engine.save_model(0, None, tmp_path)
    resumed, _ = make(train__precision="fp16")
    assert resumed.step.scaler.get_scale() == 2 * scale
    resumed.resume(read_checkpoint(tmp_path / "checkpoints" / "last.pth"))
    assert resumed.step.scaler.get_scale() == scale
