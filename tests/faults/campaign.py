"""Breaks commands at random moments and starts them again, until they end as the unbroken ones do.

python tests/faults/campaign.py --kills 200

Each command is broken up to seven times in a row: killed, ended by a signal, killed and its newest file cut short
as a power cut may leave it, or run on a disk that is full or read-only. Then the same command is run to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from threading import RLock
from typing import Any

from disks import Disk, disk_at
from tqdm import tqdm
from victims import Victim, victims

ROOT = Path(__file__).parents[2]
ROW = 7  # faults at most before a command may end
PATIENCE = 150  # seconds that a command may take
#: What a command may exit with after each kind of fault, beside 0 when it was faster; 2 goes with one sentence.
STATUS = {
    "SIGKILL": {-9},
    "power cut": {-9},
    "SIGTERM": {143, -15},  # before anything was done the signal itself ends it; for a shell that is the same
    "SIGINT": {130, -2},
    "full disk": {2},
    "read-only disk": {2},
}


@dataclass
class Outcome:
    """What a campaign found.

    Attributes:
        faults: How often each kind hit each command.
        wrong: What should not have happened, in words.
        finished: Number of commands that were run to their end and compared.
    """

    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    finished: int = 0

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for name, _ in self.faults))
        lines = ["| fault | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        lines += [
            f"| {kind} | {' | '.join(str(self.faults[name, kind]) for name in names)} |" for kind in STATUS
        ]
        lines.append(f"\n{self.faults.total()} faults, {self.finished} commands ended as the unbroken ones")
        return "\n".join([*lines, *(f"- {each}" for each in self.wrong)])


def campaign(kills: int, seed: int, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Inject so many faults, at moments drawn from the seed; how far a command is by then differs."""
    import torch

    torch.set_num_threads(1)
    rng, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        base = Path(home)
        drawn = "--layout sysu --ids 16 --images 3 --size 32 80 --folder vi_synthetic".split()  # noqa: SIM905
        assert _run(["make_synthetic.py", "--root", str(base / "data"), *drawn])[0] == 0
        some = victims(base / "data", base / "unbroken train" / "run")
        expected, takes = {}, {}
        for name, victim in some.items():
            folder = base / f"unbroken {name}"
            folder.mkdir()
            victim.prepare(folder)
            begun = time.monotonic()
            status, error = _run(victim.command(folder))
            assert status == 0, error
            takes[name] = time.monotonic() - begun
            expected[name] = victim.made(folder)
            say(f"{name}: {takes[name]:.1f} s unbroken")
        while (done := outcome.faults.total()) < kills:
            (name,) = rng.choices(list(some), [victim.share for victim in some.values()])
            row = min(rng.randint(3, ROW), kills - done)
            with disk_at(base / "broken") as disk:
                some[name].prepare(disk.folder)
                for _ in range(row):
                    if not _break(name, some[name], disk, takes[name], rng, outcome):
                        break
                _complete(name, some[name], disk.folder, expected[name], outcome)
            say(f"{outcome.faults.total()} faults of {kills}, {len(outcome.wrong)} findings")
    return outcome


def _break(name: str, victim: Victim, disk: Disk, takes: float, rng: random.Random, outcome: Outcome) -> bool:
    """Break a command once; return whether something is left of it to break."""
    folder = disk.folder
    if victim.is_finished(folder):
        return False
    kind = rng.choice([kind for kind in STATUS if disk.mounted or not kind.endswith("disk")])
    before, begun = _reached(folder / victim.checkpoints), time.time()
    if kind.endswith("disk"):
        with disk.full(rng.randrange(1, 200)) if kind == "full disk" else disk.read_only():
            status, error = _run(victim.command(folder))
    else:
        number = signal.SIGKILL if kind == "power cut" else signal.Signals[kind]
        status, error = _run(victim.command(folder), number, rng.random() * takes)
    if status == 0:  # it was faster than the fault
        return False
    outcome.faults[name, kind] += 1
    where = f"{name}, {kind}, status {status}"
    if "Traceback" in error or status not in STATUS[kind] | {2}:
        outcome.wrong.append(f"{where}: {error[-600:]!r}")
    if status == 2:
        _require_sentence(where, error, outcome)
    whole = victim.finished and (folder / victim.finished).is_dir()  # put on the disk before it had its name
    if kind == "power cut" and not whole:
        _cut_newest(folder, begun, rng)
    reached = _reached(folder / victim.checkpoints)
    if (reached < before and kind != "power cut") or (before[0] and not reached[0]):
        outcome.wrong.append(f"{where}: a checkpoint was lost, {reached} after {before}")
    return True


def _complete(name: str, victim: Victim, folder: Path, expected: Any, outcome: Outcome) -> None:
    """Run a command to its end and compare what it made; do what it says, if it says that it cannot."""
    status, error = 0, ""
    for _ in range(3):
        if victim.is_finished(folder):
            break
        status, error = _run(victim.command(folder))
        if status != 2:
            break
        _require_sentence(f"{name}, again", error, outcome)
        if not (named := re.search(r"remove (/.+) and start anew", error)):
            break
        target = Path(named[1])
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    if status:
        outcome.wrong.append(f"{name} does not go on, status {status}: {error[-400:]!r}")
    elif (made := victim.made(folder)) != expected:
        outcome.wrong.append(f"{name} ended with something else: {str(made)[:200]}")
    else:
        outcome.finished += 1


def _require_sentence(where: str, error: str, outcome: Outcome) -> None:
    found = re.findall(r"^error: .+$", error, flags=re.MULTILINE)
    if len(found) != 1:
        outcome.wrong.append(f"{where}: {len(found)} sentences, {error[-300:]!r}")


def _run(words: list[str], number: int = 0, after: float = PATIENCE) -> tuple[int, str]:
    """Run a tool, send it a signal after so many seconds, and wait; return its status and standard error."""
    with tempfile.TemporaryFile("w+") as error:
        process = get_context("fork").Process(target=_tool, args=(words, error.fileno()))
        process.start()
        assert process.pid
        process.join(after)
        if number and process.exitcode is None:
            os.kill(process.pid, number)
        process.join(PATIENCE)
        status = 1000 if process.exitcode is None else process.exitcode  # 1000: it hangs
        error.seek(0)
        return status, error.read()


def _tool(words: list[str], error: int) -> None:
    """Become a tool; what takes long to import is there already."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    tqdm.set_lock(RLock())  # else it would be shared with those that are killed
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(error, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)  # pytest has its own
    sys.argv = [str(ROOT / "tools" / words[0]), *words[1:]]
    sys.path.insert(0, str(ROOT / "tools"))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _cut_newest(folder: Path, since: float, rng: random.Random) -> None:
    """Cut the newest file short, if anything was written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    if files := [path for path in files if path.stat().st_mtime > since]:
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        os.truncate(newest, rng.randrange(newest.stat().st_size))


def _reached(folder: Path) -> tuple[int, int]:
    """Return the epochs and steps of the best checkpoint that can be read."""
    from torchreid_vi import InputError
    from torchreid_vi.models import read_checkpoint

    found = [(0, 0)]
    for name in ("last.pth", "previous.pth"):
        with contextlib.suppress(InputError):
            state = read_checkpoint(folder / name)
            found.append((state["epoch"], state.get("step", 0)))
    return max(found)


def main() -> int:
    """Run the command line; return 0 if nothing was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="number of faults")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    outcome = campaign(args.kills, args.seed, lambda line: print(line, file=sys.stderr, flush=True))
    print(outcome)
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
