"""SIGINT and SIGTERM while there is something to save: finish it first, then end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_requested = 0  # the signal that has come


class Stopped(KeyboardInterrupt):
    """A signal has asked the program to end.

    Args:
        number: The signal.

    Attributes:
        status: What a program that ends for it exits with, 130 for SIGINT and 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Let a signal wait until the block exits, which should look at :func:`requested`.

    A signal that is ignored stays so. Only the main thread gets signals: in another one nothing changes.

    Raises:
        Stopped: At the end of the block after a signal, and at once at a second one.
    """
    global _requested
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested = 0
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if _requested:
        raise Stopped(_requested)


def requested() -> bool:
    """Return whether a signal has come since :func:`handled` began."""
    return bool(_requested)


def _note(number: int, frame: FrameType | None) -> None:
    global _requested
    if _requested:
        raise Stopped(number)
    _requested = number
