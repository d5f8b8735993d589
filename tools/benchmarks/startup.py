"""How long a user waits before anything happens."""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

from benchmarks.figures import Figure, in_turns, ratio

TRAIN = Path(__file__).parents[1] / "train.py"


def run(args: Namespace) -> list[Figure]:
    """Importing the package beside importing torchreid alone, and the help of the training tool."""
    run = partial(subprocess.run, check=True, capture_output=True)
    program = [sys.executable, "-W", "ignore"]
    theirs, ours, help_text = in_turns(
        3 if args.quick else 7,
        lambda: run([*program, "-c", "import torchreid"]),
        lambda: run([*program, "-c", "import torchreid_vi"]),
        lambda: run([*program, str(TRAIN), "--help"]),
    )
    return [
        Figure("import torchreid_vi, to import torchreid", ratio(ours, theirs), "×", most=1.1),
        Figure("import torchreid_vi", statistics.median(ours), "s"),
        Figure("tools/train.py --help", statistics.median(help_text), "s", most=1),
    ]
