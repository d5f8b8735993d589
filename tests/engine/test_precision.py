"""Half precision on a CPU: convolutions are right, and the scale of the loss is kept."""

import os
import subprocess
import sys

import pytest
import torch
from engine_helpers import diverge_at, run

from torchreid_vi.models import read_checkpoint

CONVOLUTION = """
import {imports}
import torch
from torch.nn.functional import conv2d
torch.manual_seed(0)
images, weight = torch.randn(64, 256, 6, 2), torch.randn(512, 256, 3, 3)
results = []
for enabled in (False, True):
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        results.append(conv2d(images, weight, stride=2, padding=1).float())
print(float((results[1] - results[0]).norm() / results[0].norm()))
"""


def relative_error(imports):
    """Return the error of a bf16 convolution in a new process, relative to its norm in fp32."""
    environment = {name: value for name, value in os.environ.items() if name != "ONEDNN_MAX_CPU_ISA"}
    command = [sys.executable, "-W", "ignore", "-c", CONVOLUTION.format(imports=imports)]
    return float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout.split()[-1])


def test_a_convolution_to_one_column_is_right_in_bf16():
    assert relative_error("torchreid_vi") < 0.01


@pytest.mark.skipif(not torch.cpu._is_amx_tile_supported(), reason="needs a processor with AMX")
def test_pytorch_alone_still_computes_it_wrongly():
    """If this fails, ONEDNN_MAX_CPU_ISA can go from torchreid_vi/__init__.py."""
    assert not relative_error("sys") < 0.1


def test_a_run_begun_in_fp32_goes_on_in_fp16(make, tmp_path):
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
