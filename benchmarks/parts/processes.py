"""Training in one process and in several: runs of MCJA, started as a user starts them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import torch

from parts.measurement import Measurement, ratio

TRAIN = Path(__file__).parents[2] / "tools" / "train.py"


def run(args: Namespace) -> list[Measurement]:
    """Measure images/s over whole epochs, with a process for each GPU, or two processes without GPUs."""
    from torchreid_vi.data.synthetic import draw_dataset

    most = torch.cuda.device_count() or 2
    counts = [2**power for power in range(most.bit_length()) if 2**power <= most]
    # (processes, threads of each): without GPUs also one process with the threads of them all
    layouts = [(count, 1) for count in counts] + ([] if torch.cuda.is_available() else [(1, most)])
    speeds: dict[tuple[int, int], list[float]] = {layout: [] for layout in layouts}
    with tempfile.TemporaryDirectory() as root:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            draw_dataset(root, ids=40, images=6, folder="vi_synthetic")
        for number in range(1 if args.quick else 3):
            for processes, threads in layouts:
                folder = Path(root) / f"{processes}-{threads}-{number}"
                speeds[processes, threads].append(_speed(args, root, folder, processes, threads))
    alone = speeds[1, 1]
    rows = [Measurement("one process, one thread", statistics.median(alone), "img/s")]
    for (processes, threads), found in speeds.items():
        if (processes, threads) != (1, 1):
            name = f"{processes} processes" if processes > 1 else f"one process, {threads} threads"
            rows.append(Measurement(f"speed, {name}", ratio(found, alone), "×"))
    return rows


def _speed(args: Namespace, root: str, folder: Path, processes: int, threads: int) -> float:
    """Return the images/s of a run in a number of processes."""
    settings = {
        "model.name": args.backbone,
        "model.pretrained": False,
        "data.save_dir": folder,
        "data.height": args.size[0],
        "data.width": args.size[1],
        "data.workers": 0,
        "train.batch_size": args.batch_size,
        "train.max_epoch": 1 if args.quick else 3,
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), str(TRAIN)]
    command += ["--config-file", str(TRAIN.parents[1] / "configs" / "mcja_synthetic.yaml"), "--root", root]
    command += [str(word) for pair in settings.items() for word in pair]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, capture_output=True, env=environment)  # noqa: S603 - of our own words
    training = json.loads((folder / "results.json").read_text())["training"]
    return float(training["images"]) / float(training["seconds"])
