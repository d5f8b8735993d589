"""The time before anything happens."""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from parts.measurement import Measurement, in_turns, ratio

TRAIN = Path(__file__).parents[2] / "tools" / "train.py"


def run(args: Namespace) -> list[Measurement]:
    """Measure importing the package beside importing torchreid alone, and the training tool's help."""
    run = partial(subprocess.run, check=True, capture_output=True)
    program = [sys.executable, "-W", "ignore"]
    theirs, ours, help_text = in_turns(
        3 if args.quick else 7,
        lambda: run([*program, "-c", "import torchreid"]),
        lambda: run([*program, "-c", "import torchreid_vi"]),
        lambda: run([*program, str(TRAIN), "--help"]),
    )
    return [
        Measurement("import torchreid_vi, to import torchreid", ratio(ours, theirs), "×", most=1.1),
        Measurement("import torchreid_vi", statistics.median(ours), "s"),
        Measurement("tools/train.py --help", statistics.median(help_text), "s", most=1),
    ]
