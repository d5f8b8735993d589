"""Whether a long run grows, and how long it takes to open a very long list of images.

python tests/faults/load.py epochs --number 1000
python tests/faults/load.py list --number 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from threading import active_count
from typing import Any


def epochs(number: int) -> dict[str, Any]:
    """Trains for so many short epochs; what the process holds after a fifth of them and at the end."""
    import torch

    from torchreid_vi import build, config, load_config
    from torchreid_vi.data.synthetic import draw_dataset

    held: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as root:
        draw_dataset(root, ids=12, images=1, size=(16, 40), folder="vi_synthetic")
        places = {"data.root": root, "data.save_dir": f"{root}/run"}
        small = {"model.name": "osnet_x0_25", "model.pretrained": False, "data.height": 32, "data.width": 16}
        batches = {"data.workers": 1, "train.batch_size": 48, "train.max_epoch": number}
        cfg = load_config(overrides=places | small | batches)
        torch.set_num_threads(1)
        datamanager = build.build_datamanager(cfg, use_gpu=False)
        method = build.build_method(cfg, datamanager.num_train_pids)
        engine = build.build_engine(cfg, datamanager, method, use_gpu=False)
        saved = engine.save_model

        def save_model(*args: Any, **kwargs: Any) -> None:
            saved(*args, **kwargs)
            held.append(_held())

        engine.save_model = save_model
        begun = time.perf_counter()
        engine.run(**config.run_kwargs(cfg))
        seconds = time.perf_counter() - begun
    fifth = max(1, number // 5)
    first, last = ({key: median(row[key] for row in rows) for key in held[0]} for rows in (
        held[fifth : 2 * fifth], held[-fifth:]
    ))  # fmt: skip
    return {
        "epochs": number,
        "seconds": round(seconds, 1),
        "memory, MiB": [round(first["memory"] / 2**20, 1), round(last["memory"] / 2**20, 1)],
        "growth, %": round(100 * (last["memory"] / first["memory"] - 1), 2),
        **{name: [first[name], last[name]] for name in ("files", "processes", "threads")},
    }


def _held() -> dict[str, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(os.listdir("/proc/self/fd")),
        "processes": len(active_children()),
        "threads": active_count(),
    }


def images(number: int) -> dict[str, Any]:
    """Open a dataset of so many images; return how long that took, and the process's largest memory."""
    from torchreid_vi.data.datasets import DATASETS

    cameras = DATASETS["sysu_mm01"].cameras
    people = max(4, number // (len(cameras) * 250))
    each = number // (people * len(cameras))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "sysu_mm01"
        for camera, person in product(cameras, range(1, people + 1)):
            home = folder / f"cam{camera.number}" / f"{person:04d}"
            home.mkdir(parents=True)
            for image in range(1, each + 1):
                os.close(os.open(home / f"{image:04d}.jpg", os.O_CREAT | os.O_WRONLY))
        (folder / "exp").mkdir()
        half = [*range(1, people // 2), people]
        test = [person for person in range(1, people) if person not in half]
        for name, ids in (("train_id", half), ("val_id", []), ("test_id", test)):
            (folder / "exp" / f"{name}.txt").write_text(",".join(map(str, ids)))
        begun = time.perf_counter()
        dataset = DATASETS["sysu_mm01"](root=root, verbose=False)
        seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = len(dataset.train) + len(dataset.query) + len(dataset.gallery)
    return {"images": found, "seconds": round(seconds, 1), "memory, GiB": round(peak, 2)}


def in_a_process(what: str, number: int) -> dict[str, Any]:
    """What this script prints, from a process of its own."""
    command = [sys.executable, __file__, what, "--number", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("\n{") :])
    return found


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["epochs", "list"])
    parser.add_argument("--number", type=int, required=True)
    args = parser.parse_args()
    print("\n" + json.dumps((epochs if args.what == "epochs" else images)(args.number), indent=1))


if __name__ == "__main__":
    main()
