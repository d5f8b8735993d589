"""Breaks commands at random moments and starts them again, until they end as the unbroken ones do.

python tests/faults/campaign.py --kills 200

Each command is broken up to seven times in a row: killed, ended by a signal to it or to all of its processes,
robbed of one of its own processes, killed and its newest file cut short as a power cut may leave it, or run on a
disk that is full or read-only. Then the same command is run to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROW = 7  # faults at most before a command may end
PATIENCE = 150  # seconds that a command may take
SMALL = """model.name osnet_x0_25 model.pretrained False data.height 32 data.width 16 data.workers 2
sampler.train_sampler CrossModalitySampler sampler.num_instances 2 train.batch_size 16
train.max_epoch 3 train.staged_lr False
loss.name supervised loss.terms [identity,cmr] loss.weights [1.0,1.0]""".split()  # noqa: SIM905
PRETEXT = """model.name osnet_x0_25 model.pretrained False data.height 48 data.width 16 data.workers 1
data.validation 0.1 sampler.train_sampler ModalityPairSampler train.batch_size 16 train.max_epoch 3
loss.name mmgl loss.terms [permutation,part_cycle] loss.weights [1.0,1.0] loss.mmgl.stripes 3""".split()  # noqa: SIM905
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
#: What a command may exit with after each kind of fault, beside 0 when it was faster.
STATUS = {
    "SIGKILL": {-9},
    "SIGTERM": {143, -15},  # before anything was done the signal itself ends it; for a shell that is the same
    "SIGINT": {130, -2},
    "SIGTERM to all": {143, -15},
    "SIGINT to all": {130, -2},
    "power cut": {-9},
    "worker killed": {2},
    "full disk": {2},
    "read-only disk": {2},
}
KINDS = list(STATUS)
groups: list[int] = []  # of processes that were started, one for each command


@dataclass
class Victim:
    """A command to be broken.

    Attributes:
        name: of what it does.
        command: the words after ``python tools/``, for a folder that it works in.
        made: what it has made there, to be compared, when it is finished.
        prepare: puts what it needs into the folder.
        checkpoints: where its checkpoints are.
        finished: what is there when nothing is left to be done, which the same command would begin anew.
        workers: whether processes of its own work for it.
        share: of all faults.
    """

    name: str
    command: Callable[[Path], list[str]]
    made: Callable[[Path], Any]
    prepare: Callable[[Path], None] = lambda folder: None
    checkpoints: str = ""
    finished: str = ""
    workers: bool = False
    share: int = 1


@dataclass
class Outcome:
    """What a campaign found.

    Attributes:
        faults: how often each kind hit each command.
        statuses: with which the commands ended when hit, by kind.
        wrong: what should not have happened, in words.
        said: sentences that commands ended with, and how often.
        finished: commands that were run to their end and compared.
    """

    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    tracebacks: int = 0

    def table(self) -> str:
        """Faults by command and kind, and what became of them."""
        names = list(dict.fromkeys(name for name, _ in self.faults))
        lines = ["| fault | " + " | ".join(names) + " | all |", "|---|" + "---|" * (len(names) + 1)]
        for kind in KINDS:
            counts = [self.faults[name, kind] for name in names]
            lines.append(f"| {kind} | {' | '.join(map(str, counts))} | {sum(counts)} |")
        totals = [sum(self.faults[name, kind] for kind in KINDS) for name in names]
        lines.append(f"| all | {' | '.join(map(str, totals))} | {sum(totals)} |")
        lines.append(
            f"\n{sum(totals)} faults, {self.finished} commands run to their end as the unbroken ones, "
            f"{self.tracebacks} tracebacks, {len(self.wrong)} other findings"
        )
        lines += [f"- {each}" for each in self.wrong]
        lines += [f"- said {number} times: {sentence}" for sentence, number in self.said.most_common()]
        return "\n".join(lines)


def victims(data: Path, run: Path) -> list[Victim]:
    """All commands that are broken.

    Args:
        data: folder that holds drawn datasets.
        run: a finished run, to be reported.
    """

    def train(*settings: str) -> Callable[[Path], list[str]]:
        return lambda folder: [
            "train.py", "-s", "vi_synthetic", "--root", str(data), "data.save_dir", str(folder / "run"), *settings
        ]  # fmt: skip

    def cached(folder: Path) -> list[str]:
        own = ["--root", str(folder / "data"), "data.save_dir", str(folder / "run")]
        return ["train.py", "-s", "vi_synthetic", *own, *SMALL, "train.max_epoch", "1", "data.height", "256"]

    def compared(folder: Path) -> list[str]:
        file = ROOT / "configs" / "base_synthetic.yaml"
        places = ["--root", str(data), "--out", str(folder / "out")]
        few = [*SMALL, "train.max_epoch", "2", "data.workers", "0"]
        return ["compare.py", "--configs", str(file), "--vary", "train.lr", "0.001", "0.0005", *places, *few]

    def page(folder: Path) -> str:
        text = (folder / "page.html").read_text(encoding="utf-8")
        return text[:15] + text.rstrip()[-7:]

    run_folder = {"checkpoints": "run/checkpoints", "finished": "run/results.json"}
    return [
        Victim("train", train(*SMALL), _weights_and_results, **run_folder, share=8),
        Victim("pre-train", train(*PRETEXT), _weights_and_results, **run_folder, share=5),
        Victim(
            "draw",
            lambda folder: ["make_synthetic.py", "--root", str(folder), "--ids", "40", "--images", "4"],
            lambda folder: _digest(folder / "sysu_mm01"),
            finished="sysu_mm01",
            workers=True,
            share=3,
        ),
        Victim(
            "cache",
            cached,
            lambda folder: _digest(folder / "data" / "image-cache", "*.u8"),
            lambda folder: _copied(data / "vi_synthetic", folder / "data" / "vi_synthetic"),
            finished="run/results.json",
            share=3,
        ),
        Victim("compare", compared, lambda folder: _results(folder / "out" / "runs"), workers=True, share=4),
        Victim(
            "report",
            lambda folder: ["report.py", str(folder / "run"), "--out", str(folder / "page.html")],
            page,
            lambda folder: _copied(run, folder / "run"),
            share=3,
        ),
    ]


def campaign(kills: int, seed: int, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Injects so many faults, at moments drawn from the seed; how far a command is by then differs."""
    import torch

    torch.set_num_threads(1)
    rng, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        base = Path(home)
        data = base / "data"
        drawn = "--layout sysu --ids 16 --images 3 --size 32 80 --folder vi_synthetic".split()  # noqa: SIM905
        _finish(["make_synthetic.py", "--root", str(data), *drawn], base / "log")
        some = victims(data, base / "unbroken train" / "run")
        expected, takes = {}, {}
        for victim in some:
            folder = base / f"unbroken {victim.name}"
            folder.mkdir()
            victim.prepare(folder)
            begun = time.monotonic()
            _finish(victim.command(folder), base / "log")
            takes[victim.name] = time.monotonic() - begun
            expected[victim.name] = victim.made(folder)
            say(f"{victim.name}: {takes[victim.name]:.1f} s unbroken")
        number = told = 0
        while (done := sum(outcome.faults.values())) < kills:
            (victim,) = rng.choices(some, [one.share for one in some])
            number += 1
            row = min(rng.randint(3, ROW), kills - done)
            folder = base / f"{number} {victim.name}"
            with _disk(folder) as disk:
                victim.prepare(folder)
                _break(victim, folder, disk, row, takes[victim.name], rng, outcome)
                _complete(victim, folder, expected[victim.name], outcome)
                outcome.wrong += [f"{victim.name} left a process" for group in groups if _stays(group)]
                groups.clear()
            say(f"{sum(outcome.faults.values())} faults of {kills}")
            for finding in outcome.wrong[told:]:
                say(finding)
            told = len(outcome.wrong)
    return outcome


def _break(
    victim: Victim,
    folder: Path,
    disk: Disk | None,
    row: int,
    takes: float,
    rng: random.Random,
    outcome: Outcome,
) -> None:
    """Breaks a command again and again."""
    reached = (0, 0)
    for _ in range(row):
        if _is_finished(victim, folder):
            return
        kinds = [kind for kind in KINDS if disk or not kind.endswith("disk")]
        kind = rng.choice([kind for kind in kinds if victim.workers or kind != "worker killed"])
        begun = time.time()
        if kind.endswith("disk"):
            assert disk
            with disk.full(rng.randrange(1, 200)) if kind == "full disk" else disk.read_only():
                status, error = _run(victim.command(folder))
        else:
            status, error = _run(victim.command(folder), kind, rng.random() * takes, rng)
        where = f"{victim.name}, {kind}, status {status}"
        if "Traceback" in error and status != -signal.SIGKILL:  # after that only its workers can speak
            outcome.tracebacks += 1
            outcome.wrong.append(f"{where}: {error[-600:]!r}")
        if status == 0:  # it was faster than the fault
            return
        outcome.faults[victim.name, kind] += 1
        outcome.statuses[kind, status] += 1
        if status not in STATUS[kind] | {2}:
            outcome.wrong.append(f"{where}: {error[-300:]!r}")
        if status == 2:
            _note(where, error, outcome)
        whole = (
            victim.finished and (folder / victim.finished).is_dir()
        )  # put on the disk before it had its name
        if kind == "power cut" and not whole:
            _cut_newest(folder, begun, rng)
        if victim.checkpoints:
            before, reached = reached, _reached(folder / victim.checkpoints)
            if (reached < before and kind != "power cut") or (before[0] and not reached[0]):
                outcome.wrong.append(f"{where}: a checkpoint was lost, {reached} after {before}")


def _complete(victim: Victim, folder: Path, expected: Any, outcome: Outcome) -> None:
    """Runs a command to its end and compares what it made; does what it says, if it says that it cannot."""
    status, error = 0, ""
    for _ in range(3):
        if _is_finished(victim, folder):
            break
        status, error = _run(victim.command(folder))
        if status != 2:
            break
        _note(f"{victim.name}, again", error, outcome)
        if not (named := re.search(r"remove (/.+) and start anew", error)):
            break
        target = Path(named[1])
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    if status:
        outcome.wrong.append(f"{victim.name} does not go on, status {status}: {error[-400:]!r}")
    elif (made := victim.made(folder)) != expected:
        outcome.wrong.append(f"{victim.name} ended with something else: {str(made)[:200]}")
    else:
        outcome.finished += 1


def _is_finished(victim: Victim, folder: Path) -> bool:
    made = folder / victim.finished
    if not victim.finished or not made.exists():
        return False
    with contextlib.suppress(ValueError):
        return made.is_dir() or bool(json.loads(made.read_text()))
    return False


def _note(where: str, error: str, outcome: Outcome) -> None:
    """Counts a sentence, without what differs from time to time; there has to be one."""
    found = re.findall(r"^(?:\x1b\[[0-9;]*m)?error:(?:\x1b\[0m)? (.+)$", error, flags=re.MULTILINE)
    if len(found) != 1:
        outcome.wrong.append(f"{where}: {len(found)} sentences, {error[-300:]!r}")
        return
    outcome.said[re.sub(r"\d+", "N", re.sub(r"/\S+/", "…/", found[0]))[:200]] += 1


def _run(
    words: list[str], kind: str = "", after: float = PATIENCE, rng: random.Random | None = None
) -> tuple[int, str]:
    """Runs a tool, hits it after so many seconds, and waits for its end; its status and standard error."""
    with tempfile.TemporaryFile("w+") as error:
        process = get_context("fork").Process(target=_tool, args=(words, error.fileno()))
        process.start()
        assert process.pid
        process.join(after)
        if kind and process.exitcode is None:
            _hit(process.pid, kind, rng or random.Random())
        process.join(PATIENCE)
        status = 1000 if process.exitcode is None else process.exitcode  # 1000: it hangs
        groups.append(process.pid)
        error.seek(0)
        return status, error.read()


def _tool(words: list[str], error: int) -> None:
    """Becomes a tool, in a session of its own; what takes long to import is there already."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(error, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)  # pytest has its own
    sys.argv = [str(ROOT / "tools" / words[0]), *words[1:]]
    sys.path.insert(0, str(ROOT / "tools"))
    runpy.run_path(sys.argv[0], run_name="__main__")


def _hit(process: int, kind: str, rng: random.Random) -> None:
    with contextlib.suppress(ProcessLookupError):
        if kind == "power cut":
            os.kill(process, signal.SIGKILL)
        elif kind in SIGNALS:
            os.kill(process, SIGNALS[kind])
        elif kind == "worker killed":
            if children := _children(process):
                os.kill(rng.choice(children), signal.SIGKILL)
        else:
            os.killpg(process, SIGNALS[kind.split()[0]])


def _children(process: int) -> list[int]:
    """Those of a process, as soon as it has some or, without any, has ended."""
    while True:
        try:
            found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            ended = "Z" in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:1]
        except OSError:
            return []
        if found or ended:
            return [int(number) for number in found]
        time.sleep(0.01)


def _stays(group: int) -> bool:
    """Whether a process of the group is there for seconds; it is killed then."""
    until = time.monotonic() + 10
    while _alive(group):
        if time.monotonic() > until:
            os.killpg(group, signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


def _alive(group: int) -> bool:
    """Whether a process of the group is, other than as a zombie."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, _, pgid, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(pgid) == group and state != "Z":
                    return True
    return False


def _finish(words: list[str], log: Path) -> None:
    status, error = _run(words)
    log.write_text(error)
    assert status == 0, error


def _cut_newest(folder: Path, since: float, rng: random.Random) -> None:
    """Cuts the newest file short, if anything was written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    if files := [path for path in files if path.stat().st_mtime > since]:
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        os.truncate(newest, rng.randrange(newest.stat().st_size))


def _reached(folder: Path) -> tuple[int, int]:
    """Epochs and batches of the best checkpoint that can be read."""
    from torchreid_vi import InputError
    from torchreid_vi.models import read_checkpoint

    found = [(0, 0)]
    for name in ("last.pth", "previous.pth"):
        with contextlib.suppress(InputError):
            state = read_checkpoint(folder / name)
            found.append((state["epoch"], state.get("step", 0)))
    return max(found)


class Disk:
    """A file system of its own for a folder, which can be full or read-only for a while."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Within it there is room for so many KiB."""
        junk = self.folder / "junk"
        found = os.statvfs(self.folder)
        with contextlib.suppress(OSError):
            junk.write_bytes(b"\0" * max(0, found.f_bavail * found.f_frsize - left * 1024))
        yield
        junk.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Within it nothing can be written."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[Disk | None]:
    """A folder with a disk of its own, where the system allows one; it is removed at the end."""
    folder.mkdir()
    tmpfs = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder]
    mounted = os.geteuid() == 0 and not subprocess.run(tmpfs, capture_output=True).returncode
    try:
        yield Disk(folder) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder)


def _weights_and_results(folder: Path) -> Any:
    """A digest of a run's final weights, and its results."""
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


def _copied(source: Path, target: Path) -> None:
    shutil.copytree(source, target)


def main() -> int:
    """Runs the command line; returns 0 if nothing was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="number of faults")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.monotonic()
    outcome = campaign(args.kills, args.seed, lambda line: print(line, file=sys.stderr, flush=True))
    print(outcome.table())
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes")
    return int(bool(outcome.wrong))


if __name__ == "__main__":
    sys.exit(main())
