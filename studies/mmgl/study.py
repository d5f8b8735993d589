"""Measure what MMGL's pre-training is worth: the study of docs/results.md, with its tables and plots.

python studies/mmgl/study.py --out reports/mmgl --seeds 3 --jobs 2
python studies/mmgl/study.py --out reports/mmgl --only accuracy transfer

Runs that are finished are kept, interrupted ones are continued. Every part compares, at equal fine-tuning:
  accuracy   permutation accuracy with one and with two streams
  rivals     Base on ResNet-18 from MMGL, random values, a classifier of other people in visible images, SimCLR
  mcja       MCJA from the same starts
  imagenet   Base and MCJA on MobileNetV2 from random values, ImageNet's weights, MMGL and MMGL plus
  osnet      Base and MCJA on OSNet ×0.25 from such starts
  data       pre-training on 25, 50 and 100% of the identities
  transfer   pre-training on one dataset, fine-tuning on another one
  ablation   permutation alone, cycle contrast alone, both
  readings   other readings of the cycle contrast beside permutation recovery
  augmented  MCJA's augmentation and erasing in MMGL's pre-training
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from plan import COMMON, IMAGENET, PARTS, Run, plan

from torchreid_vi.cli import common, jobs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def draw(root: Path) -> None:
    """Render the study's datasets: the people, shares of them, others, and RegDB's layout."""
    from torchreid_vi.data.synthetic import render_dataset
    from torchreid_vi.files import atomic_path

    full = root / "full" / "vi_synthetic"
    if not full.exists():
        render_dataset(root / "full", folder="vi_synthetic")
    if not (root / "other" / "vi_synthetic").exists():
        render_dataset(root / "other", folder="vi_synthetic", seed=100)
    if not (root / "regdb" / "regdb").exists():
        render_dataset(root / "regdb", "regdb", ids=120, images=10, seed=200)
    for share in (25, 50):
        part = root / f"share{share}" / "vi_synthetic"
        if part.exists():
            continue
        with atomic_path(part) as partial:
            shutil.copytree(full / "exp", partial / "exp")
            shutil.copy(full / "synthetic.json", partial)
            for camera in full.glob("cam*"):
                (partial / camera.name).symlink_to(camera, target_is_directory=True)
            for name in ("train", "val"):
                file = partial / "exp" / f"{name}_id.txt"
                ids = file.read_text().strip().split(",")
                file.write_text(",".join(ids[: round(len(ids) * share / 100)]))
            partial.rename(part)


def execute(chain: list[Run], out: Path) -> None:
    """Run the unfinished runs of a chain, in this process."""
    import imagenet  # noqa: F401

    from torchreid_vi import load_config, series

    if any(run.settings.get("loss.name") == "simclr" for run in chain):
        import simclr  # noqa: F401

    for run in chain:
        folder = out / run.name / "run"
        settings = COMMON | run.settings | {"data.save_dir": str(folder)}
        settings["data.root"] = str(out / "data" / settings["data.root"])
        if "model.load_weights" in settings:
            settings["model.load_weights"] = str(out / "data" / settings["model.load_weights"])
        if run.start:
            settings["model.load_weights"] = str(out / run.start / "run" / "backbone.pth")
        cfg = load_config(str(CONFIGS / f"{run.config}.yaml"), settings)
        series.complete(cfg)
        last, backbone = folder / "checkpoints" / "last.pth", folder / "backbone.pth"
        if not run.tuned and not backbone.is_file():
            leave_backbone(cfg, last, backbone)
        last.unlink(missing_ok=True)  # tens of megabytes a run, and never asked for again


def leave_backbone(cfg: Any, checkpoint: Path, path: Path) -> None:
    """Write the backbone of a supervised run's checkpoint, without its head."""
    from torchreid_vi import build
    from torchreid_vi.models import load_weights, save_backbone

    network = build.build_method(cfg, 1).network
    load_weights(network, checkpoint)
    save_backbone(network, path, {"sources": list(cfg.data.sources), "epochs": cfg.train.max_epoch})


def main() -> int:
    """Run the command line; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the study, which is continued")
    parser.add_argument("--seeds", type=int, default=3, help="runs of everything")
    jobs.add_jobs(parser, 2)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the study")
    args = parser.parse_args()
    if args.seeds < 1 or args.jobs < 1:
        parser.error("--seeds and --jobs are at least 1")
    args.onward = "the same command goes on from here"
    return common.status(lambda: study(args), args)


def study(args: argparse.Namespace) -> None:
    """Complete the study's runs and write its report."""
    import imagenet
    import report

    from torchreid_vi import console
    from torchreid_vi.extras import require

    require("test", "the study's SimCLR")
    out = args.out.absolute()
    chains = plan(args.only, args.seeds)
    if args.one is not None:
        execute(chains[args.one], out)
        return
    draw(out / "data")
    if "imagenet" in args.only and not (out / "data" / IMAGENET).is_file():
        imagenet.write_weights(out / "data" / IMAGENET)
    names = {number: chain[0].name for number, chain in enumerate(chains)}
    with console.progress(what="study", unit="run", total=sum(map(len, chains))) as bar:
        jobs.run_all(names, args.jobs, lambda number: bar.update(len(chains[number])))
    report.write(out)


if __name__ == "__main__":
    sys.exit(main())
