"""Runs on a GPU: every method trains, resumes, and gives the features of the CPU."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import call
from tiny_engines import METHODS, engine_of

from torchreid_vi import FeatureExtractor
from torchreid_vi.engine.readback import Readback
from torchreid_vi.seeds import seed_everything

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
ROOT = Path(__file__).parents[1]
SMALL = """model.name resnet18 model.pretrained False data.height 96 data.width 48 data.workers 2 train.max_epoch 1
sampler.num_instances 2 train.batch_size 16""".split()  # noqa: SIM905


def train(method, roots, cwd, *options):
    file = ROOT / "configs" / f"{method}_synthetic.yaml"
    return call("train.py", "--config-file", file, "--root", roots, *SMALL, *options, cwd=cwd)


@pytest.fixture(scope="module")
def run(roots, tmp_path_factory):
    """The folder of a run, and what it noted."""
    cwd = tmp_path_factory.mktemp("run")
    result = train("mcja", roots, cwd)
    assert result.returncode == 0, result.stderr
    return cwd / "log" / "mcja_synthetic", result.stderr


def test_a_run_uses_the_gpu_and_says_which(run):
    folder, notes = run
    assert "seed 1, GPU" in notes
    assert json.loads((folder / "environment.json").read_text())["gpu"] == torch.cuda.get_device_name()
    assert 0 <= json.loads((folder / "results.json").read_text())["results"][0]["mean"]["R1"] <= 100


@pytest.mark.parametrize(
    "method", ["base", "agw", "caj", "ddag", "mcja_journal", "mmgl", "torchreid_triplet"]
)
def test_every_method_trains(method, roots, tmp_path):
    result = train(method, roots, tmp_path)
    assert result.returncode == 0, result.stderr


def endless(loader):
    """The loader's batches, epoch after epoch."""
    while True:
        yield from loader


@pytest.mark.parametrize("precision", ["auto", "fp16"])
@pytest.mark.parametrize("method", METHODS)
def test_ten_steps_do_not_wait_for_the_gpu(method, precision, roots):
    engine = engine_of(method, roots, True, train__precision=precision, train__skip_nonfinite=1)
    batches, readback = endless(engine.train_loader), Readback()
    engine.model.train()
    for _ in range(2):  # which also prepares
        engine.forward_backward(next(batches))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number, batch in zip(range(11), batches, strict=False):
            seed_everything(1, 0, number)
            read = readback.push(number, batch["impath"], engine.forward_backward(batch))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert read.number == 9 and readback.pop().number == 10


@pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
def test_a_run_goes_on_from_its_checkpoint(precision, roots, tmp_path):
    options = ["train.precision", precision, "train.lr_scheduler", "single_step"]
    assert train("base", roots, tmp_path, *options).returncode == 0
    last = tmp_path / "log" / "base_synthetic" / "checkpoints" / "last.pth"
    result = train("base", roots, tmp_path, *options, "model.resume", last, "train.max_epoch", "2")
    assert result.returncode == 0 and "Resumed after epoch 1" in result.stderr, result.stderr


def test_features_are_those_of_the_cpu(run, roots):
    weights = run[0] / "checkpoints" / "last.pth"
    images = sorted((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))[:20]
    one, other = (FeatureExtractor(weights, device=device)(images, "infrared") for device in ("cuda", "cpu"))
    np.testing.assert_allclose((one * other).sum(1), 1, atol=1e-3)


def test_tools_open_a_run_of_the_gpu(run, roots, tmp_path):
    weights, photos = run[0] / "checkpoints" / "last.pth", roots / "vi_synthetic" / "cam1"
    query = next(photos.rglob("*.jpg"))
    for command in (
        ["report.py", run[0], "--people", "none", "--out", tmp_path / "run.html"],
        ["search.py", "--weights", weights, "--query", query, "--gallery", photos, "--cache", ""],
        ["export.py", "--weights", weights, "--out", tmp_path / "exported", "--format", "torch"],
    ):
        result = call(*command, cwd=tmp_path)
        assert result.returncode == 0, f"{command[0]}: {result.stderr}"
