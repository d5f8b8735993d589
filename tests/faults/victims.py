"""Commands that the campaign breaks, and what each makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL = """model.name osnet_x0_25 model.pretrained False data.height 32 data.width 16 data.workers 2
sampler.train_sampler CrossModalitySampler sampler.num_instances 2 train.batch_size 16
train.max_epoch 3 train.staged_lr False loss.name supervised
loss.terms [identity,cmr] loss.weights [1.0,1.0]""".split()  # noqa: SIM905
PRETEXT = """model.name osnet_x0_25 model.pretrained False data.height 48 data.width 16 data.workers 1
data.validation 0.1 sampler.train_sampler ModalityPairSampler train.batch_size 16 train.max_epoch 3
loss.name mmgl loss.terms [permutation,part_cycle] loss.weights [1.0,1.0] loss.mmgl.stripes 3""".split()  # noqa: SIM905


@dataclass
class Victim:
    """A command to be broken.

    Attributes:
        command: The words after ``python tools/``, for a folder that it works in.
        made: What it has made there, to be compared, when it is finished.
        prepare: Puts what it needs into the folder.
        checkpoints: Where its checkpoints are.
        finished: What is there when nothing is left to be done, which the same command would begin anew.
        share: Its share of all faults.
    """

    command: Callable[[Path], list[str]]
    made: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: None
    checkpoints: str = ""
    finished: str = ""
    share: int = 3

    def is_finished(self, folder: Path) -> bool:
        """Return whether nothing is left to be done."""
        made = folder / self.finished
        if not self.finished or not made.exists():
            return False
        with contextlib.suppress(ValueError):
            return made.is_dir() or bool(json.loads(made.read_text()))
        return False


def victims(data: Path, run: Path) -> dict[str, Victim]:
    """Return all commands that are broken, by name.

    Args:
        data: Folder that holds synthetic datasets.
        run: A finished run, to be reported.
    """

    def train(*settings: str, root: str = str(data)) -> Callable[[Path], list[str]]:
        def words(folder: Path) -> list[str]:
            places = ["--root", root.format(folder=folder), "data.save_dir", str(folder / "run")]
            return ["train.py", "--no-report", "-s", "vi_synthetic", *places, *settings]

        return words

    def compared(folder: Path) -> list[str]:
        file = str(ROOT / "configs" / "base_synthetic.yaml")
        places = ["--root", str(data), "--out", str(folder / "out")]
        few = [*SMALL, "train.max_epoch", "2", "data.workers", "0"]
        return ["compare.py", "--configs", file, "--vary", "train.lr", "0.001", "0.0005", *places, *few]

    def page(folder: Path) -> str:
        text = (folder / "page.html").read_text(encoding="utf-8")
        return text[:15] + text.rstrip()[-7:]

    cached = train(*SMALL, "train.max_epoch", "1", "data.height", "256", root="{folder}/data")
    kept = {"checkpoints": "run/checkpoints", "finished": "run/results.json"}
    return {
        "train": Victim(train(*SMALL), _weights_and_results, **kept, share=8),
        "pre-train": Victim(train(*PRETEXT), _weights_and_results, **kept, share=5),
        "draw": Victim(
            lambda folder: ["make_synthetic.py", "--root", str(folder), "--ids", "40", "--images", "4"],
            lambda folder: _digest(folder / "sysu_mm01"),
            finished="sysu_mm01",
        ),
        "cache": Victim(
            cached,
            lambda folder: _digest(folder / "data" / "image-cache", "*.u8"),
            lambda folder: shutil.copytree(data / "vi_synthetic", folder / "data" / "vi_synthetic"),
            finished="run/results.json",
        ),
        "compare": Victim(compared, lambda folder: _results(folder / "out" / "runs")),
        "report": Victim(
            lambda folder: ["report.py", str(folder / "run"), "--out", str(folder / "page.html")],
            page,
            lambda folder: shutil.copytree(run, folder / "run"),
        ),
    }


def _weights_and_results(folder: Path) -> Any:
    """Return a digest of a run's final weights, and its results."""
    from torchreid_vi.models import read_checkpoint

    digest = hashlib.sha256()
    for name, value in read_checkpoint(folder / "run" / "checkpoints" / "last.pth")["state_dict"].items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest(), _results(folder)


def _results(folder: Path) -> Any:
    return [json.loads(path.read_text())["results"] for path in sorted(folder.rglob("results.json"))]


def _digest(folder: Path, pattern: str = "*") -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob(pattern)):
        if path.is_file():
            named = path.name if pattern == "*" else ""  # a cache's name has its files' times
            digest.update(named.encode() + path.read_bytes())
    return digest.hexdigest()
