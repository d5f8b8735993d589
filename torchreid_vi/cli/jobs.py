"""Run parts of a command's work in processes of their own: the same command line, with ``--one`` and a number."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from threading import Thread
from typing import IO, Any

from torchreid_vi import stopping
from torchreid_vi.errors import InputError

log = logging.getLogger(__name__)


def add_jobs(made: argparse.ArgumentParser, default: int) -> None:
    """Add the option for the number of parts at a time, and the hidden one for a single part."""
    made.add_argument("--jobs", type=int, default=default, help="runs at a time, which share the processors")
    made.add_argument("--one", type=int, help=argparse.SUPPRESS)


def run_all(
    names: dict[int, str],
    jobs: int,
    done: Callable[[int], Any],
    ready: Callable[[int], bool] = lambda number: True,
    deadline: float = math.inf,
) -> None:
    """Run parts, several at a time.

    The output of a process is dropped, except the error that it fails with; its run's folder has a log. When one
    fails, the others go on. After a signal and at the deadline the processes finish their step and save it.

    Args:
        names: Name of each part, by its number.
        jobs: Number of processes.
        done: Called with the number of each part that is done.
        ready: Whether a part may start now. Parts that are not ready when nothing runs are left out.
        deadline: Time of :func:`time.monotonic` at which running parts are stopped.

    Raises:
        InputError: When parts failed, once all others are done.
        Stopped: After a signal.
    """
    waiting, failed = list(names), []
    running: dict[int, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
    with stopping.handled():
        while True:
            if ending := stopping.requested() or time.monotonic() >= deadline:
                waiting.clear()
                for process, _ in running.values():
                    _close(process)  # which ends it
            while len(running) < jobs and (number := next(filter(ready, waiting), None)) is not None:
                waiting.remove(number)
                running[number] = _start(number, jobs)
            if not running:
                break
            for number, (process, errors) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[number]
                _close(process)
                if process.returncode == 0:
                    done(number)
                elif not ending:
                    failed.append(f"{names[number]}: {_reason(process.returncode, errors)}")
                    log.info(f"Failed, {failed[-1]}")
            time.sleep(0.1)
    if failed:
        more = f" ({len(failed)} runs failed, see above)" if len(failed) > 1 else ""
        raise InputError(failed[0] + more)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


def _start(number: int, jobs: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start the process of a part; return it and the file of its errors."""
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} | os.environ
    program = ["-m", "torchreid_vi"] if os.path.basename(sys.argv[0]) == "__main__.py" else sys.argv[:1]
    command = [sys.executable, *program, *sys.argv[1:], "--one", str(number)]
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
    process = subprocess.Popen(  # noqa: S603 - this command itself
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
    )
    return process, errors


def _reason(status: int, errors: IO[bytes]) -> str:
    """Return in a sentence why a process failed."""
    errors.seek(0)
    if said := re.findall(r"^error: (.+)$", errors.read().decode(errors="replace"), re.MULTILINE):
        return str(said[-1])
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"its process ended with {how}, with SIGKILL when memory runs out: lower --jobs"


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent process, and end, as after SIGTERM, when it closes standard input or ends."""

    def wait() -> None:
        os.read(0, 1)
        if not stopping.requested():
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=wait, daemon=True).start()
