"""Reads changed files of every kind and prints what came of them.

python tests/faults/fuzz.py --cases 100000

Whatever is done to a file, it is read or refused with a sentence. The files are read in a process of their own, so
that one that ends its process or never returns is counted, too.
"""

import argparse
import contextlib
import io
import os
import random
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import targets

SECONDS = 5  # after which a case counts as hanging
HERE = str(Path(__file__).parent)
WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
import fuzz
fuzz.work(sys.argv[2], *map(int, sys.argv[3:]))
"""
START = 300  # seconds that the process may take to import the package
OUTCOMES = {
    "R": "read",
    "I": "refused",
    "T": "tracebacks",
    "C": "crashes",
    "H": "hangs",
    "O": "reads outside",
    "X": "code run",
}


def plan(cases):
    """The target of each case, by the targets' shares."""
    total = sum(kind.share for kind in targets.TARGETS.values())
    found = [
        name for name, kind in targets.TARGETS.items() for _ in range(max(1, cases * kind.share // total))
    ]
    return found[:cases] + [next(iter(targets.TARGETS))] * (cases - len(found))


def fuzz(cases, seed, log=sys.stderr):
    """Reads changed files; the same for the same seed.

    Args:
        cases: how many.
        seed: of the changes.
        log: gets the tracebacks.

    Returns:
        Counts, such as ``images tried``, ``images read`` or ``images tracebacks``.
    """
    names = plan(cases)
    counts = {f"{name} {what}": 0 for name in targets.TARGETS for what in ("tried", *OUTCOMES.values())}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        at = 0
        while at < len(names):
            for outcome in _outcomes(folder, cases, seed, at, log):
                counts[f"{names[at]} tried"] += 1
                counts[f"{names[at]} {OUTCOMES[outcome]}"] += 1
                if outcome in "CH":
                    print(f"{OUTCOMES[outcome]}: {names[at]}, case {at} of seed {seed}", file=log, flush=True)
                at += 1
    return counts


def table(counts):
    """The counts as text, a line for each target."""
    columns = ["tried", *OUTCOMES.values()]
    lines = [f"{'':<12}" + "".join(f"{name:>15}" for name in columns)]
    for target in targets.TARGETS:
        lines.append(f"{target:<12}" + "".join(f"{counts[f'{target} {name}']:>15,}" for name in columns))
    sums = [sum(counts[f"{target} {name}"] for target in targets.TARGETS) for name in columns]
    return "\n".join([*lines, f"{'all':<12}" + "".join(f"{number:>15,}" for number in sums)])


def _outcomes(folder, cases, seed, start, log):
    """A letter for each case from ``start`` on, the last one for the case that ended or held up the process."""
    command = [sys.executable, "-W", "ignore", "-c", WORKER, HERE, folder, str(cases), str(seed), str(start)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=folder) as process,
        selectors.DefaultSelector() as ready,
    ):
        ready.register(process.stdout, selectors.EVENT_READ)
        limit, at = START, start
        while at < cases:
            if not ready.select(limit):
                process.kill()
                yield "H"
                return
            letters = os.read(process.stdout.fileno(), 4096).decode()
            if not letters:
                yield "C"
                return
            for letter in letters.replace("S", ""):
                yield letter
                at += 1
            limit = SECONDS


def work(folder, cases, seed, start):
    """Reads the cases from ``start`` on and writes a letter for each, after an S once it has begun."""
    from torchreid_vi import console

    folder = Path(folder)
    secret = folder / "secret"
    if not secret.is_dir():
        _make_secret(secret)
    watched = _Watch(secret)
    made = {name: kind(folder / name) for name, kind in targets.TARGETS.items()}
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    out.write(b"S")
    for at, name in list(enumerate(plan(cases)))[start:]:
        with console.quiet(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watched.found.clear()
            outcome = _outcome(
                made[name], random.Random(f"{seed} {name} {at}"), f"{name}, case {at} of seed {seed}"
            )
        if watched.found and name != "configs":  # settings may build on any file that they name
            outcome = "O"
        if Path("ran").exists():
            outcome = "X"
            Path("ran").unlink()
        out.write(outcome.encode())
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"The process that read the files held at most {most:,.0f} MiB", file=sys.stderr)


def _outcome(target, rng, case):
    from torchreid_vi import InputError

    try:
        target.case(rng)
    except InputError as error:
        if not str(error).isprintable() or len(str(error)) > 2000:
            print(f"no sentence: {case}: {str(error)[:300]!r}", file=sys.stderr, flush=True)
            return "T"
        return "I"
    except BaseException:
        print(f"traceback: {case}\n{traceback.format_exc(limit=-4)[:3000]}", file=sys.stderr, flush=True)
        return "T"
    return "R"


def _make_secret(folder):
    from PIL import Image

    folder.mkdir(parents=True)
    Image.new("RGB", (4, 8)).save(folder / "a.png")
    (folder / "list.txt").write_text("Visible/a.png 1\n")
    (folder / "a.yaml").write_text("train: {max_epoch: 1}\n")


class _Watch:
    """Notes every file of a folder that is opened, by whatever name."""

    def __init__(self, folder):
        self.folder, self.found = os.path.realpath(folder), []
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            with contextlib.suppress(ValueError, OSError):
                path = os.path.realpath(os.fsdecode(arguments[0]))
                if path.startswith(self.folder + os.sep):
                    self.found.append(path)


def main():
    """Runs the command line; returns 0 if every file was read or refused."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.monotonic()
    counts = fuzz(args.cases, args.seed)
    print(table(counts))
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes")
    fine = sum(counts[f"{name} {outcome}"] for name in targets.TARGETS for outcome in ("read", "refused"))
    return int(fine != args.cases)


if __name__ == "__main__":
    sys.exit(main())
