"""torchrun with two processes: one run folder, which one process evaluates and continues, and a death."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_lines import TINY, call

ROOT = Path(__file__).parents[1]
SMALL = TINY | {"data.sources": ["vi_synthetic"], "train.optim": "sgd", "train.lr_scheduler": "single_step"}


def words(*arguments):
    options = [f"{key} {json.dumps(value)}".split(" ", 1) for key, value in SMALL.items()]
    file = str(ROOT / "configs" / "mcja_synthetic.yaml")
    return ["--config-file", file, *(word for pair in options for word in pair), *map(str, arguments)]


def alone(roots, cwd, *arguments):
    """Train in this process."""
    return call("train.py", *words("--root", roots, *arguments), cwd=cwd)


def launch(*arguments, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += [str(ROOT / "tools" / "train.py"), *words(*arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_a_run_leaves_one_folder_that_one_process_evaluates_alike_and_continues(roots, tmp_path):
    process = launch("--root", roots, "train.max_epoch", 2, "data.validation", 0.2, cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["mcja_synthetic"]
    assert err.count("Run folder") == err.count("=> Final test") == 1
    assert "CPU in 2 processes" in err and out.startswith("vi_synthetic (") and "Run folder" not in out
    folder = tmp_path / "log" / "mcja_synthetic"
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    results = json.loads((folder / "results.json").read_text())
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    last = folder / "checkpoints" / "last.pth"
    tested = alone(
        roots, tmp_path, "model.load_weights", last, "test.evaluate", "True", "data.save_dir", "one"
    )
    assert tested.returncode == 0, tested.stderr
    again = json.loads((tmp_path / "one-test" / "results.json").read_text())
    for one, other in zip(again["results"], results["results"], strict=True):
        assert one["mean"] == pytest.approx(other["mean"], abs=0.5)  # neighbours change with the last digit
    further = alone(roots, tmp_path, "model.resume", last, "train.max_epoch", 3, "data.validation", 0.2)
    assert further.returncode == 0 and "Resumed after epoch 2" in further.stderr, further.stderr
    assert json.loads((folder / "results.json").read_text())["epoch"] == 3
    images = results["training"]["images"]
    assert json.loads((folder / "results.json").read_text())["training"]["images"] == images * 3 // 2


def child(parent, rank):
    """Return the process of that rank that torchrun has started, or None."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{pid}/environ").read_text():
            return int(pid)
    return None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_a_process_ends_the_run_with_a_sentence_and_a_checkpoint(roots, tmp_path, victim):
    process = launch("--root", roots, "train.max_epoch", 500, cwd=tmp_path)
    last = tmp_path / "log" / "mcja_synthetic" / "checkpoints" / "last.pth"
    deadline = time.monotonic() + 120
    while not last.is_file():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.kill(child(process.pid, victim), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    said = re.findall(r"^error: .*", err.replace("\r", "\n"), re.MULTILINE)
    assert len(said) == 1 and f"the same command goes on from {last}" in said[0]
    epoch = torch.load(last, weights_only=True)["epoch"]
    further = alone(roots, tmp_path, "model.resume", last, "train.max_epoch", epoch + 1)
    assert further.returncode == 0, further.stderr


def test_a_step_that_is_no_number_is_said_once_with_the_number_of_all_images(roots, tmp_path):
    settings = ["train.lr", "1e15", "data.workers", 1]
    _, err = launch("--root", roots, *settings, cwd=tmp_path).communicate(timeout=300)
    said = re.findall(r"^error: .*", err.replace("\r", "\n"), re.MULTILINE)
    more = SMALL["train.batch_size"] - 2
    assert len(said) == 1 and f"jpg and {more} more images; set train.skip_nonfinite" in said[0]
