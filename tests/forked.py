"""Processes that begin at once, with all that is imported already, and may be killed."""

from multiprocessing import get_context
from threading import RLock

from tqdm import tqdm


def forked(work):
    """Return a process that calls a function; tqdm's lock is its own, since one that is killed may hold it."""
    return get_context("fork").Process(target=lambda: (tqdm.set_lock(RLock()), work()))
