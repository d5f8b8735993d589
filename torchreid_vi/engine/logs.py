"""What TensorBoard does when the system refuses to write."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TENSORBOARD = "tensorboard."  # its modules


@contextmanager
def refused_logging_is_said_once(folder: Path) -> Iterator[None]:
    """Within it TensorBoard's thread is silent if the system refuses to write, which is raised elsewhere, too.

    In the end the thread has ended, if its writer is closed.

    Raises:
        OSError: of TensorBoard, naming the folder that it writes into.
    """
    before, others = threading.excepthook, threading.enumerate()

    def logs(thread: threading.Thread | None) -> bool:
        return type(thread).__module__.startswith(_TENSORBOARD) and thread not in others

    def said(failed: threading.ExceptHookArgs) -> None:
        if not (issubclass(failed.exc_type, OSError) and logs(failed.thread)):
            before(failed)

    threading.excepthook = said
    try:
        yield
    except OSError as error:
        frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
        if any(frame.f_globals.get("__name__", "").startswith(_TENSORBOARD) for frame in frames):
            error.filename = error.filename or str(folder)
        raise
    finally:
        for thread in filter(logs, threading.enumerate()):
            thread.join(1)
        threading.excepthook = before
