"""The benchmarks: they have the rows they promise, measure what they say, and refuse what they cannot measure."""

import importlib
import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from command_lines import call
from torch import nn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
THROUGHPUT = BENCHMARKS / "throughput.py"


def test_throughput_has_every_row_with_its_goal(tmp_path):
    small = "--backbone osnet_x0_25 --steps 1 --out new/t.json".split()  # noqa: SIM905
    result = call(THROUGHPUT, *small, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    content = json.loads((tmp_path / "new" / "t.json").read_text())
    assert content["machine"]["torch"] == torch.__version__
    rows = {row["name"]: row for row in content["rows"]}
    speeds = {name: row["images_per_second"] for name, row in rows.items() if "ms" in row}
    kinds = ["bare step, best", "training"]
    own = ["bare step, plain", *kinds, "pipeline alone", "bare inference", "extraction"]
    assert list(speeds) == own + [f"{method}, {kind}" for method in ("MMGL", "DDAG") for kind in kinds]
    for name, speed in speeds.items():
        assert speed * rows[name]["ms"] / 1000 == pytest.approx(64)
        assert rows[name]["peak_mib"] > 100
    goals = {name: (row["least"], row["most"]) for name, row in rows.items() if "unit" in row}
    assert goals == {
        "training, of the best bare step": (90, None),
        "pipeline alone, to the best bare step": (3, None),
        "pipeline alone, of training's time": (None, 5),
        "extraction, of bare inference": (90, None),
        "pipeline alone, 384 × 192, one thread": (1300, None),
        "MMGL, training, of the bare step": (90, None),
        "DDAG, training, of the bare step": (None, None),
    }
    share = rows["training, of the best bare step"]["value"]
    assert share == pytest.approx(100 * speeds["training"] / speeds["bare step, best"])
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    line = next(line for line in lines if "training, of the best bare step" in line)
    assert line.endswith("≥ 90: met" if share >= 90 else "≥ 90: missed")


def test_compiled_rows_compare_training_with_a_bare_step(roots, monkeypatch, capsys):
    """Compile with the backend eager; PyTorch's compiler takes minutes."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    throughput = importlib.import_module("throughput")
    compiled, original = [], nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda module: compiled.append(original(module, backend="eager"))
    )
    args = Namespace(backbone="osnet_x0_25", size=[96, 48], batch_size=8, steps=1)
    report = throughput.Report(None)
    throughput.measure_compiled(args, str(roots), report, gpu=False)
    bare, training, ratio = report.rows
    assert len(compiled) == 2
    assert [row["name"] for row in (bare, training)] == ["bare step, compiled", "training, compiled"]
    assert ratio["value"] == pytest.approx(100 * training["images_per_second"] / bare["images_per_second"])
    assert (ratio["least"], "MCJA, compiled" in capsys.readouterr().out) == (85, True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--out", "."], ". is a folder: name a file in it"),
        (["--steps", "0"], "--steps is 0: it must be at least 1"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused_before_it(tmp_path, asked, said):
    result = call(THROUGHPUT, *asked, cwd=tmp_path)
    assert result.returncode == 2 and said in result.stderr.splitlines()[-1] and not result.stdout


def test_a_large_gallery_is_measured_beside_its_product(tmp_path):
    result = call(BENCHMARKS / "evaluation.py", "--sizes", "20x2000", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    names = ("20 × 2,000 × 2,048 ", "20 × 2,000, to its product", "20 × 2,000, peak memory")
    for name, line in zip(names, result.stdout.splitlines()[1:], strict=True):
        assert line.startswith(name) and float(line[len(name) :].split()[0]) > 0


def test_the_check_of_a_gpu_says_that_there_is_none(tmp_path):
    own = {"CUDA_VISIBLE_DEVICES": "", "OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    command = [BENCHMARKS / "gpu_check.sh"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "gpu_check.sh needs a GPU, and PyTorch sees none here.\n"


def test_a_stopwatch_leaves_out_the_first_block_and_is_not_misled_by_a_slow_one(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from parts.stopwatch import BLOCKS, Stopwatch, number_of_steps

    stopwatch = Stopwatch(torch.device("cpu"), 2)
    slow = {0, 1, 2 * BLOCKS}  # the first block and the last but one
    for number in range(number_of_steps(2)):
        stopwatch.start_step()
        time.sleep(0.5 if number in slow else 0.02)
    speed = stopwatch.speed(8)
    assert 0.02 <= speed.seconds < 0.2 and speed.rate == 8 / speed.seconds


def test_a_long_epoch_has_whole_batches_of_the_epochs_of_its_sampler(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from parts.speed import Long

    long = Long(range(10), batch_size=4, batches=5)
    assert list(long) == [*range(8), *range(8), *range(4)] and len(long) == 20
