"""Parts of a tool's work in processes of their own: the same command line, with ``--one`` and a part's
number."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

log = logging.getLogger(__name__)


def add_jobs(made: argparse.ArgumentParser, default: int) -> None:
    """Add the option that says how many parts run at a time, and the hidden one for a single part."""
    made.add_argument("--jobs", type=int, default=default, help="runs at a time, which share the processors")
    made.add_argument("--one", type=int, help=argparse.SUPPRESS)


def run_all(names: dict[int, str], jobs: int, done: Callable[[int], Any]) -> None:
    """Run parts, so many at a time, and tell of each one that is done.

    What a process shows is dropped, but for the sentence that it fails with; its run's folder has a log. When one
    fails, the others go on. After a signal those that run finish their step and save it.

    Args:
        names: Name of each part, by its number.
        jobs: Number of processes.
        done: What to do when a part is done.

    Raises:
        InputError: When parts failed, once all others are done.
        Stopped: After a signal.
    """
    from torchreid_vi import stopping
    from torchreid_vi.errors import InputError

    waiting, failed = list(names), []
    running: dict[int, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory() as folder, stopping.handled():
        while waiting or running:
            if stopping.requested():
                waiting.clear()
                for process in running.values():
                    _close(process)  # which ends it
            while waiting and len(running) < jobs:
                number = waiting.pop(0)
                running[number] = _started(number, jobs, Path(folder, str(number)))
            for number, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[number]
                _close(process)
                if process.returncode == 0:
                    done(number)
                elif not stopping.requested():
                    reason = _reason(process.returncode, Path(folder, str(number)))
                    failed.append(f"{names[number]}: {reason}")
                    log.info(f"Failed, {failed[-1]}")
            time.sleep(0.1)
    if failed:
        more = f" ({len(failed)} runs failed, see above)" if len(failed) > 1 else ""
        raise InputError(failed[0] + more)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _started(number: int, jobs: int, output: Path) -> subprocess.Popen[bytes]:
    """Start the process of a part, which writes into a file what it has to say."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    program = ["-m", "torchreid_vi"] if Path(sys.argv[0]).name == "__main__.py" else sys.argv[:1]
    command = [sys.executable, *program, *sys.argv[1:], "--one", str(number)]
    with output.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - this command itself
            command, env=threads | os.environ, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=file
        )


def _reason(status: int, output: Path) -> str:
    """Say in a sentence why a process failed."""
    if said := re.findall(r"^error: (.+)$", output.read_text(errors="replace"), re.MULTILINE):
        return str(said[-1])
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"its process ended with {how}, of SIGKILL most often for want of memory: start fewer with --jobs"


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent process, and end, as after SIGTERM, when it closes standard input or ends."""

    def wait() -> None:
        os.read(0, 1)
        from torchreid_vi import stopping

        if not stopping.requested():
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=wait, daemon=True).start()
