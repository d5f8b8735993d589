"""Measure whether a long run grows: python tests/faults/load.py 1000"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from threading import active_count
from typing import Any


def epochs(number: int) -> dict[str, Any]:
    """Train for so many short epochs; return what the process holds after a fifth of them and at the end."""
    import torch

    from torchreid_vi import build, config, load_config
    from torchreid_vi.data.synthetic import render_dataset

    held: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as root:
        render_dataset(root, ids=12, images=1, size=(16, 40), folder="vi_synthetic")
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


if __name__ == "__main__":
    print("\n" + json.dumps(epochs(int(sys.argv[1])), indent=1))
