"""Processes that work for this one, and end when it does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from threading import Lock, Thread
from types import FrameType
from typing import Any, TypeVar

import torch

from torchreid_vi import stopping
from torchreid_vi.errors import InputError

T = TypeVar("T")

_working = Lock()  # held while this process does what another told it to
_stopped: stopping.Stopped | None = None  # with what this process, which works for another, was told to stop


def _first_death(processes: Iterable[Any]) -> int | None:
    """The exit code of the process that died by itself, as Python counts it; None when it is not known."""
    codes = [process.exitcode for process in processes]
    return next((code for code in codes if code not in (None, 0, -signal.SIGTERM)), None)


def _of_death(code: int | None) -> str:
    """Say in a sentence how a worker ended, and the remedy."""
    who, again = (
        "a process that worked for this one",
        "start fewer at a time, and start the same command again",
    )
    if code is None:
        return f"{who} ended unexpectedly: {again}"
    if code > 0:
        guard = 'if __name__ == "__main__":'
        return (
            f"{who} ended with status {code}, and said why above: correct that; where processes are spawned, a "
            f"script needs {guard!r} before what it does"
        )
    if -code == signal.SIGKILL:
        return f"{who} was killed, most often for want of memory: {again}"
    name = signal.Signals(-code).name
    return f"{who} ended by {name}, which is an error of a library or of the machine: {again}"


@contextmanager
def worker_pool(jobs: int, start: str | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes that share the processors' cores, and end when this one does, however it ends.

    What is under way is finished when the context is left, but for an interruption, which is passed on.

    Args:
        jobs: number of processes.
        start: how they are, ``spawn`` or ``fork``; the system's own way when left out.

    Raises:
        InputError: when one of them dies.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = _Pool(jobs, get_context(start), threads)
    workers = pool.workers
    try:
        try:
            pool.submit(int)  # starts them all; those that are spawned start when there is work for them
            yield pool
        except KeyboardInterrupt:
            for child in active_children():
                child.terminate()
            raise
        finally:
            Thread(target=pool.dismiss, daemon=True).start()
            pool.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise InputError(_of_death(_first_death(workers.values()))) from error


class _Pool(ProcessPoolExecutor):
    """A process of it that was told to stop does nothing more, though work for it may have been taken ahead."""

    def __init__(self, jobs: int, context: BaseContext, threads: int) -> None:
        over, self._over = context.Pipe(duplex=False)
        self._futures: list[Future[Any]] = []
        super().__init__(jobs, context, _begin_worker, (threads, over))

    def submit(self, work: Callable[..., T], /, *args: Any) -> Future[T]:  # type: ignore[override]
        with stopping.blocked():  # it may start a process
            future = super().submit(_work, work, *args)
        self._futures.append(future)
        return future

    @property
    def workers(self) -> MutableMapping[int, Any]:
        """The processes by their numbers, those that will be started too."""
        return self._processes

    def dismiss(self) -> None:
        """Has all processes leave once nothing is under way, and none wait for a lock that a killed one held."""
        for future in self._futures:
            with suppress(CancelledError):
                future.exception()
        self._over.send_bytes(b"over")  # which no one reads, so that all see it


def _work(work: Callable[..., T], *args: Any) -> T:
    global _stopped
    try:
        with _working, stopping.handled():
            if _stopped:
                raise _stopped
            return work(*args)
    except stopping.Stopped as stopped:
        _stopped = stopped
        raise


def _stop(number: int, frame: FrameType | None) -> None:
    """Hears a signal while there is nothing to do."""
    global _stopped
    _stopped = stopping.Stopped(number)


def _begin_worker(threads: int, over: Connection) -> None:
    global _working
    _working = Lock()  # where it was forked, the other one may be held
    parent = parent_process()
    assert parent is not None  # noqa: S101 - for mypy: a worker has a parent

    def leave() -> None:
        if parent.sentinel in wait([parent.sentinel, over]):
            os._exit(1)
        time.sleep(1)  # in which it leaves by itself, unless that lock is lost
        with _working:
            os._exit(0)

    signal.signal(signal.SIGTERM, _stop)
    stopping.work_for_parent()
    torch.set_num_threads(threads)
    Thread(target=leave, daemon=True).start()
