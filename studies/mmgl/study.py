"""Measure what MMGL's pre-training is worth: the study of docs/results.md, with its tables and plots.

python studies/mmgl/study.py --out reports/mmgl --seeds 3 --jobs 2
python studies/mmgl/study.py --out reports/mmgl --only accuracy transfer

Runs that are finished are kept, interrupted ones are continued. Every part compares, at equal fine-tuning:
  accuracy   permutation accuracy with one and with two streams
  rivals     Base on ResNet-18 from MMGL, random values, a classifier of other people in visible images, SimCLR
  mcja       MCJA from the same starts
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
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from torchreid_vi.cli import common, jobs

PARTS = ("accuracy", "rivals", "mcja", "osnet", "data", "transfer", "ablation", "readings", "augmented")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RESNET, OSNET = "resnet18", "osnet_x0_25"

#: Everything a run of this study has in common: small images, half precision, no threads that read images.
COMMON = {
    "data.height": 96,
    "data.width": 32,
    "data.workers": 0,
    "model.pretrained": False,
    "train.precision": "bf16",
}
#: Optimiser steps of a pre-training and of a fine-tuning, of 64 images each.
STEPS = {"pretraining": {RESNET: 510, OSNET: 680}, "fine-tuning": 360}
#: Pre-trainings by a part of MMGL, or by another reading of its contrast.
ABLATION: dict[str, dict[str, Any]] = {
    "permutation": {"loss.weights": [1.0, 0.0]},
    "cycle": {"loss.weights": [0.0, 1.0]},
}
READINGS: dict[str, dict[str, Any]] = {
    reading: {"loss.part_cycle.reading": reading}
    for reading in ("part", "batch", "batch_other_parts", "walk")
}
#: MMGL's images with the augmentation of the method that is fine-tuned.
AUGMENTED = {"data.transforms": ["maa", "random_flip", "random_crop", "random_erase"]}
#: Learning rates of every pre-training and fine-tuning.
RATES = {RESNET: 0.001, OSNET: 0.005}


@dataclass(frozen=True)
class Run:
    """One run of the study.

    Attributes:
        name: Its folder under the study's.
        config: File in configs/.
        settings: The settings that differ from it.
        start: Name of the run whose backbone it starts from, "" for random values.
        tuned: True for a fine-tuning, from which nothing starts.
    """

    name: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    tuned: bool = False


def epochs(steps: int, images: int) -> int:
    """Return the number of epochs over so many images of the larger modality that make about so many steps."""
    return max(1, round(steps / (images // 32)))


def mmgl(seed: int, backbone: str, variant: str = "mmgl", **settings: Any) -> Run:
    """A pre-training by MMGL or by a part of it."""
    share = settings.pop("share", 100)
    steps = STEPS["pretraining"][backbone]
    chosen = {
        "model.name": backbone,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 2736 * share // 100),
        "train.lr": RATES[backbone],
        "data.root": "full" if share == 100 else f"share{share}",
    }
    return Run(f"{seed}/{backbone}/{variant}", "mmgl_synthetic", chosen | settings)


def supervised_on_visible(seed: int, backbone: str) -> Run:
    """A classifier of other people in visible images, which stands for ImageNet's weights."""
    steps = STEPS["pretraining"][backbone]
    settings = {
        "model.name": backbone,
        "model.streams": 1,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 1440),
        "train.lr": RATES[backbone],
        "data.root": "other",
        "data.modalities": ["visible"],
        "sampler.train_sampler": "RandomIdentitySampler",
        "sampler.num_instances": 4,
        "loss.terms": ["identity"],
        "loss.weights": [1.0],
        "test.protocols": ["within-visible/1-shot/seeded"],
    }
    return Run(f"{seed}/{backbone}/visible", "base_synthetic", settings)


def simclr(seed: int, backbone: str) -> Run:
    """SimCLR on the images that MMGL sees, with as many images through the network."""
    steps = STEPS["pretraining"][backbone]
    settings = {
        "loss.name": "simclr",
        "loss.terms": ["ntxent"],
        "loss.weights": [1.0],
        "model.name": backbone,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 2736 * 2),
        "train.lr": RATES[backbone],
        "train.batch_size": 32,
        "data.k_tfm": 2,
        "data.transforms": ["simclr"],
        "data.root": "full",
    }
    return Run(f"{seed}/{backbone}/simclr", "mmgl_synthetic", settings)


def fine_tuning(method: str, start: Run | str, dataset: str = "vi_synthetic") -> Run:
    """A supervised training from another run's backbone, or, from its would-be name, from random values."""
    name = start if isinstance(start, str) else start.name
    seed, backbone, _ = name.split("/")
    here = dataset == "vi_synthetic"
    settings = {
        "model.name": backbone,
        "train.seed": int(seed),
        "train.lr": RATES[backbone],
        "train.max_epoch": epochs(STEPS["fine-tuning"], 2880 if here else 600),
        "data.root": "full" if here else "regdb",
        "data.sources": [dataset],
        "test.protocols": ["all/1-shot/official"] if here else [],
    }
    into = method if here else f"{method}_{dataset}"
    return Run(
        f"{name}/{into}", f"{method}_synthetic", settings, "" if isinstance(start, str) else name, tuned=True
    )


def starts(seed: int, backbone: str) -> list[Run | str]:
    """List the starts of fine-tuning: random values, MMGL, and its rivals."""
    return [
        f"{seed}/{backbone}/random",
        *(start(seed, backbone) for start in (mmgl, supervised_on_visible, simclr)),
    ]


def plan(parts: list[str], seeds: int) -> list[list[Run]]:
    """Plan the runs, in chains: each begins with a pre-training, from which those after it start."""
    chains: dict[str, list[Run]] = {}

    def add(start: Run | str, *after: Run) -> None:
        name = start if isinstance(start, str) else start.name
        chain = chains.setdefault(name, [] if isinstance(start, str) else [start])
        chain += [run for run in after if run not in chain]

    everyone = range(1, seeds + 1)
    for seed in everyone if "accuracy" in parts else ():
        add(mmgl(seed, RESNET))
        start = mmgl(seed, RESNET, "mmgl_two_streams", **{"model.streams": 2})
        add(start, fine_tuning("base", start))
    tunings = (
        ("rivals", RESNET, "base"),
        ("mcja", RESNET, "mcja"),
        ("osnet", OSNET, "base"),
        ("osnet", OSNET, "mcja"),
    )
    for (part, backbone, method), seed in product(tunings, everyone):
        for start in starts(seed, backbone) if part in parts else ():
            add(start, fine_tuning(method, start))
    for seed in everyone if {"data", "ablation", "readings"} & set(parts) else ():
        for start in starts(seed, RESNET)[:2]:
            add(start, fine_tuning("base", start))
    variants = (ABLATION if "ablation" in parts else {}) | (READINGS if "readings" in parts else {})
    for seed, variant in product(everyone, variants):
        start = mmgl(seed, RESNET, f"mmgl_{variant}", **variants[variant])
        add(start, fine_tuning("base", start))
    for seed, share in product(everyone, (25, 50)) if "data" in parts else ():
        add(start := mmgl(seed, RESNET, f"mmgl_{share}", share=share), fine_tuning("base", start))
    for seed in everyone if "augmented" in parts else ():
        start = mmgl(seed, RESNET, "mmgl_augmented", **AUGMENTED)
        add(start, *(fine_tuning(method, start) for method in ("base", "mcja")))
    for seed in everyone if "transfer" in parts else ():
        for start in starts(seed, OSNET):
            add(start, fine_tuning("base", start, "regdb"))
    return list(chains.values())


# Running


def draw(root: Path) -> None:
    """Render the study's datasets: the people, shares of them, others, and RegDB's layout."""
    from torchreid_vi.data.synthetic import draw_dataset
    from torchreid_vi.files import atomic_path

    full = root / "full" / "vi_synthetic"
    if not full.exists():
        draw_dataset(root / "full", folder="vi_synthetic")
    if not (root / "other" / "vi_synthetic").exists():
        draw_dataset(root / "other", folder="vi_synthetic", seed=100)
    if not (root / "regdb" / "regdb").exists():
        draw_dataset(root / "regdb", "regdb", ids=120, images=10, seed=200)
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
    import simclr  # noqa: F401

    from torchreid_vi import load_config, series

    for run in chain:
        folder = out / run.name / "run"
        settings = COMMON | run.settings | {"data.save_dir": str(folder)}
        settings["data.root"] = str(out / "data" / settings["data.root"])
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
    return common.status(lambda: study(args), args, interrupted="the same command goes on from here")


def study(args: argparse.Namespace) -> None:
    """Complete the study's runs and write its report."""
    import report

    from torchreid_vi import console
    from torchreid_vi.extras import require

    require("report", "the study's report")
    require("test", "the study's SimCLR")
    out = args.out.absolute()
    chains = plan(args.only, args.seeds)
    if args.one is not None:
        execute(chains[args.one], out)
        return
    draw(out / "data")
    names = {number: chain[0].name for number, chain in enumerate(chains)}
    with console.progress(what="study", unit="run", total=sum(map(len, chains))) as bar:
        jobs.run_all(names, args.jobs, lambda number: bar.update(len(chains[number])))
    report.write(out)


if __name__ == "__main__":
    sys.exit(main())
