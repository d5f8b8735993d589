"""Measure how fast this machine trains and extracts features, beside what its device can do.

python benchmarks/throughput.py
python benchmarks/throughput.py --backbone osnet_x1_0 --size 128 64 --out throughput.json

A bare step is forward, cross-entropy, backward and Adam on one random batch that is on the device: plain; and best,
with a fused optimiser and on a GPU channels last. Training, the pipeline and extraction are those of a run, on
synthetic people from the image cache, on a GPU at the published sizes, where the last table is under torch.compile.
A row is the median of five blocks of steps after one that warms up, and is printed when it is measured. Leave the
machine alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torchreid_vi.cli import common

CONFIGS = Path(__file__).parents[1] / "configs"
ON_GPU: dict[str, Any] = {"steps": 10, "images": 2048}
ON_CPU: dict[str, Any] = {
    "backbone": "resnet18",
    "size": [96, 48],
    "batch_size": 64,
    "steps": 3,
    "images": 768,
}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--backbone", help="torchreid's name of it; resnet50, on a CPU resnet18")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="in pixels; each method's, on a CPU 96 48"
    )
    parser.add_argument("--batch-size", type=int, help="images of a batch; each method's, on a CPU 64")
    parser.add_argument("--steps", type=int, help="steps of each of six blocks; 10, on a CPU 3")
    parser.add_argument("--images", type=int, help="training images; 2048, on a CPU 768")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile on a CPU, too")
    parser.add_argument("--out", type=Path, help="JSON file to write, too")
    args = parser.parse_args()
    return common.status(lambda: measure(args), args)


def measure(args: argparse.Namespace) -> None:
    """Measure and print the rows of all tables."""
    from torchreid_vi import InputError  # before PyTorch, for which it sets variables
    from torchreid_vi.data.synthetic import render_dataset

    # isort: split
    import torch
    from parts import speed
    from parts.measurement import check_output

    gpu = torch.cuda.is_available()
    for name, value in (ON_GPU if gpu else ON_CPU).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("steps", "images"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}: it must be at least 1")
    check_output(args.out)
    report = Report(args.out)
    with TemporaryDirectory() as root:
        with speed.quietly():
            # A third of the identities are for testing; each of the others has 36 training images.
            render_dataset(root, ids=max(6, round(args.images / 24)), images=6, size=(120, 290))
        measure_mcja(args, root, report, gpu)
        for name, method, least in (("MMGL", "mmgl_sysu", 90), ("DDAG", "ddag_sysu", None)):
            try:
                measure_method(settings(args, root, method), args.steps, report, name, least)
            except InputError as error:  # not every backbone and size is for every method
                report.line(f"{name} is not measured: {error}")
        if gpu or args.compile:  # last, for compiling takes a minute
            measure_compiled(args, root, report, gpu)


def mcja(gpu: bool) -> str:
    """Return the name of MCJA's config: the published sizes on a GPU, small ones on a CPU."""
    return "mcja_sysu" if gpu else "mcja_synthetic"


def settings(args: argparse.Namespace, root: str, name: str, **own: Any) -> Any:
    """Return the settings of a config file for the synthetic people and the sizes of the command line."""
    from torchreid_vi import load_config

    chosen: dict[str, Any] = {"data.root": root, "data.sources": ["sysu_mm01"], "model.pretrained": False}
    chosen["train.lr"] = 1e-4  # at which no network diverges
    if args.backbone:
        chosen["model.name"] = args.backbone
    if args.size:
        chosen["data.height"], chosen["data.width"] = args.size
    if args.batch_size:
        chosen["train.batch_size"] = chosen["test.batch_size"] = args.batch_size
    return load_config(str(CONFIGS / f"{name}.yaml"), chosen | own)


def measure_mcja(args: argparse.Namespace, root: str, report: Report, gpu: bool) -> None:
    """Measure MCJA: bare steps, training, its pipeline alone, and extraction."""
    from parts import speed

    cfg, steps = settings(args, root, mcja(gpu)), args.steps
    manager = speed.build_datamanager(cfg, steps)
    report.head("MCJA", cfg)
    report.row("bare step, plain", speed.bare_step(cfg, steps, best=False))
    best = report.row("bare step, best", speed.bare_step(cfg, steps))
    measured, engine = speed.training(cfg, manager, steps)
    training = report.row("training", measured)
    report.ratio("training, of the best bare step", 100 * training.rate / best.rate, "%", least=90)
    alone = report.row("pipeline alone", speed.pipeline(manager, steps))
    report.ratio("pipeline alone, to the best bare step", alone.rate / best.rate, "×", least=3)
    if not gpu:
        report.ratio("pipeline alone, of training's time", 100 * training.rate / alone.rate, "%", most=5)
    bare = report.row("bare inference", speed.bare_inference(cfg, engine, steps))
    extraction = report.row("extraction", speed.extraction(cfg, engine, steps))
    report.ratio("extraction, of bare inference", 100 * extraction.rate / bare.rate, "%", least=90)
    del engine  # and its memory
    if not gpu:
        large = {"data.height": 384, "data.width": 192, "train.batch_size": 128, "data.workers": 0}
        large["sampler.train_sampler"] = "RandomSampler"  # which few images are enough for
        manager = speed.build_datamanager(settings(args, root, "mcja_sysu", **large), steps)
        one = speed.pipeline(manager, steps, threads=1)
        report.ratio("pipeline alone, 384 × 192, one thread", one.rate, "img/s", least=1300)


def measure_compiled(args: argparse.Namespace, root: str, report: Report, gpu: bool) -> None:
    """Measure MCJA under torch.compile: the best bare step, and training."""
    from parts import speed

    cfg = settings(args, root, mcja(gpu), **{"train.compile": True})
    report.head("MCJA, compiled", cfg)
    try:
        bare = report.row("bare step, compiled", speed.bare_step(cfg, args.steps, compiled=True))
    except RuntimeError as error:  # no compiler, or an old GPU
        report.line(f"torch.compile failed: {error}")
        return
    measured, _ = speed.training(cfg, speed.build_datamanager(cfg, args.steps), args.steps)
    training = report.row("training, compiled", measured)
    ratio = 100 * training.rate / bare.rate
    report.ratio("training, of the bare step, both compiled", ratio, "%", least=85)


def measure_method(cfg: Any, steps: int, report: Report, name: str, least: float | None) -> None:
    """Measure the training of another method beside its best bare step."""
    from parts import speed

    manager = speed.build_datamanager(cfg, steps)
    report.head(name, cfg)
    bare = report.row(f"{name}, bare step, best", speed.bare_step(cfg, steps))
    training = report.row(f"{name}, training", speed.training(cfg, manager, steps)[0])
    report.ratio(f"{name}, training, of the bare step", 100 * training.rate / bare.rate, "%", least=least)


class Report:
    """Prints rows as they come, and keeps them in a file.

    Args:
        out: The file; None for no file.
    """

    def __init__(self, out: Path | None) -> None:
        from parts.measurement import machine

        self.out, self.rows, self.machine = out, list[dict[str, Any]](), machine()
        self.line(", ".join(f"{name} {value}" for name, value in self.machine.items()))

    def line(self, text: str) -> None:
        """Print a line of at most 100 characters."""
        print(text.splitlines()[0][:100], flush=True)

    def head(self, name: str, cfg: Any) -> None:
        """Print what the following rows are of."""
        from parts.speed import precision

        size = f"{cfg.data.height} × {cfg.data.width}"
        what = (
            f"{name}: {cfg.model.name}, {size}, batches of {cfg.train.batch_size}, {str(precision(cfg))[6:]}"
        )
        print()
        self.line(f"{what:60}{'images/s':>10}{'ms a step':>11}{'peak MiB':>10}")

    def row(self, name: str, speed: Any) -> Any:
        """Print and keep a speed; return it."""
        self.line(f"{name:60}{speed.rate:10.1f}{1000 * speed.seconds:11.2f}{speed.memory:10.0f}")
        self._keep(name, images_per_second=speed.rate, ms=1000 * speed.seconds, peak_mib=speed.memory)
        return speed

    def ratio(
        self, name: str, value: float, unit: str, least: float | None = None, most: float | None = None
    ) -> None:
        """Print and keep a number with its goal."""
        from parts.measurement import Measurement

        measured = Measurement(name, value, unit, least, most)
        self.line(f"  {name:58}{value:10.1f} {unit:6} {measured.goal}")
        self._keep(**measured._asdict())

    def _keep(self, name: str, **values: Any) -> None:
        self.rows.append({"name": name} | values)
        if self.out:
            self.out.write_text(json.dumps({"machine": self.machine, "rows": self.rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
