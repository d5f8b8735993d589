"""SIGINT and SIGTERM end what runs at a moment at which nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_deferring = False
_waiting = 0  # the signal that came meanwhile


class Stopped(KeyboardInterrupt):
    """A signal has asked the program to end.

    Args:
        number: of the signal.

    Attributes:
        status: with which a program that ends for it exits, 130 for SIGINT and 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number

    def __reduce__(self) -> tuple[type[Stopped], tuple[int]]:
        return Stopped, (self.status - 128,)  # from process to process


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Within it both signals raise :class:`Stopped`, but for one that is ignored; in the main thread alone."""
    global _waiting
    if not _in_main_thread():
        yield
        return
    _waiting = 0
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _handle)
    hook, sys.unraisablehook = sys.unraisablehook, _send_again
    try:
        yield
    except Exception as error:
        if isinstance(error.__cause__, Stopped):  # as a library that is being imported makes of it
            raise error.__cause__ from None
        raise
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer a signal until the block exits, unless a second one follows."""
    global _deferring, _waiting
    if not _in_main_thread():
        yield
        return
    outer, _deferring = _deferring, True
    try:
        yield
    finally:
        _deferring = outer
    if _waiting and not _deferring:
        number, _waiting = _waiting, 0
        raise Stopped(number)


def waiting() -> bool:
    """Return whether a signal waits for :func:`deferred` to exit."""
    return bool(_waiting)


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Processes that are started within it get neither signal, and this one gets it at the end.

    They have to call :func:`work_for_parent`.
    """
    with deferred():  # another thread may get it
        if not hasattr(signal, "sigtimedwait"):
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work_for_parent() -> None:
    """Has a process that was started within :func:`blocked` leave SIGINT to its parent, and hear SIGTERM."""
    global _deferring
    _deferring = False  # where it was forked
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _in_main_thread() -> bool:
    """Whether this is the thread in which Python handles signals."""
    return threading.current_thread() is threading.main_thread()


def _send_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Repeats a signal that came while Python was removing an object, where nothing can be raised."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)
        return
    again = threading.Timer(0.05, os.kill, (os.getpid(), unraisable.exc_value.status - 128))
    again.daemon = True
    again.start()


def _handle(number: int, frame: FrameType | None) -> None:
    global _waiting
    if _deferring and not _waiting:
        _waiting = number
        return
    _waiting = 0
    raise Stopped(number)
