"""torchreid unmodified on our data, in both of its layouts; and what tells us that a workaround can go."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchreid
from torch import nn

from torchreid_vi import host
from torchreid_vi.models import read_checkpoint

#: What a person writes who knows torchreid and adds one import.
PLAIN = """
import sys, torch, torchreid
import torchreid_vi
torch.set_num_threads(1)
name, loss, root, out = sys.argv[1:]
data = torchreid.data.ImageDataManager(
    root=root, sources=name, height=32, width=16, batch_size_train=8, workers=0,
    train_sampler="RandomIdentitySampler", num_instances=2, transforms=["random_flip", "random_crop"])
model = torchreid.models.build_model("osnet_x0_25", data.num_train_pids, loss=loss, pretrained=False)
optimizer = torchreid.optim.build_optimizer(model, lr=0.001)
scheduler = torchreid.optim.build_lr_scheduler(optimizer, "single_step", stepsize=1)
engines = {"softmax": torchreid.engine.ImageSoftmaxEngine, "triplet": torchreid.engine.ImageTripletEngine}
engine = engines[loss](data, model, optimizer, scheduler=scheduler, use_gpu=False)
engine.run(save_dir=out, max_epoch=1, print_freq=1, ranks=[1, 5])
"""


def run_plain(*arguments, path=""):
    import os

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(path), str(Path(__file__).parents[1])]))
    }
    command = [sys.executable, "-W", "ignore", "-c", PLAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(("name", "loss"), [("llcm", "softmax"), ("sysu_mm01", "triplet")])
def test_torchreids_own_manager_and_engines_train_on_our_data(roots, tmp_path, name, loss):
    result = run_plain(name, loss, roots, tmp_path)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "Rank-1" in result.stdout and "mAP" in result.stdout
    assert read_checkpoint(next((tmp_path / "model").iterdir()))["epoch"] == 1


@pytest.mark.skipif(
    not torchreid.data.__name__.startswith("torchreid.reid"), reason="a GitHub checkout already"
)
def test_the_github_layout_works_too(roots, tmp_path):
    """Derived from the installed package: ``torchreid/reid/*`` becomes ``torchreid/*``."""
    installed = Path(torchreid.__file__).parent
    shutil.copytree(
        installed / "reid", tmp_path / "gh" / "torchreid", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in (tmp_path / "gh").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("torchreid.reid", "torchreid"), encoding="utf-8")
    where = subprocess.run(
        [sys.executable, "-c", "import torchreid; print(torchreid.data.__name__)"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path / "gh"), "PATH": ""},
    )
    assert where.stdout.strip() == "torchreid.data"
    result = run_plain("vi_synthetic", "softmax", roots, tmp_path / "out", path=tmp_path / "gh")
    assert result.returncode == 0, result.stderr[-2000:]


# Each of these fails when torchreid or PyTorch mends what we work around: then the workaround can go.


def test_still_needed_reading_checkpoints_with_numpy_numbers(tmp_path):
    import numpy as np

    torch.save({"rank1": np.float32(0.1)}, tmp_path / "c.pth")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        torchreid.utils.load_checkpoint(str(tmp_path / "c.pth"))


def test_still_needed_a_neck_without_a_bias_parameter():
    neck = nn.BatchNorm1d(3)
    neck.bias.requires_grad_(False)
    torchreid.utils.open_all_layers(neck)
    assert neck.bias.requires_grad


def test_still_needed_the_sum_of_datasets(roots):
    items = [("a.jpg", 0, 0)]
    both = torchreid.data.ImageDataset(items, items, items, k_tfm=2, verbose=False)
    assert (both + both).k_tfm == 1


def test_still_needed_the_model_registry_by_its_private_name():
    assert not hasattr(torchreid.models, "register_model")
    assert host.MODELS["resnet18"] is torchreid.models.resnet18
