"""The log of a training: a line and a value of each curve for every epoch."""

from __future__ import annotations

import logging
import math
import re
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import fill

from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

_COLUMNS = 80  # of a line, which the log's file begins with the time
_TENSORBOARD = "tensorboard."  # its modules


class TrainingLog:
    """Logs the epochs of a training, and plots them in TensorBoard while it is :meth:`open`."""

    def __init__(self) -> None:
        self.writer: SummaryWriter | None = None

    @contextmanager
    def open(self, folder: Path, first: int) -> Iterator[None]:
        """Write TensorBoard's events into a folder; those from the epoch ``first`` on, logged before, are void.

        Raises:
            OSError: When the system refuses to write, naming the folder.
        """
        with refused_logging_is_said_once(folder):
            self.writer = SummaryWriter(log_dir=str(folder), purge_step=first)
            try:
                yield
            finally:
                with suppress(OSError):
                    self.writer.close()

    def epoch(
        self, number: int, total: int, means: dict[str, float], speed: dict[str, float], held_out: str
    ) -> None:
        """Log an epoch, counted from 0: the means of its values, its speed, and the metrics of held-out images."""
        values = ", ".join(f"{name} {value:.4g}" for name, value in means.items()) or "no step counts"
        parts = [values, f"lr {speed['lr']:.4g}", f"{speed['images_per_second']:.0f} images/s"]
        parts += [held_out] * bool(held_out)
        said = re.sub(
            r"(?<![,;:]) ", "\xa0", f"Epoch {number + 1} of {total}: {'; '.join(parts)}"
        )  # unbreakable
        log.info(fill(said, _COLUMNS, subsequent_indent="  ").replace("\xa0", " "))
        self.plot("Train", means | speed, number)
        if self.writer is not None:
            self.writer.flush()

    def plot(self, what: str, values: dict[str, float], epoch: int) -> None:
        """Add a value to each curve."""
        for name, value in values.items():
            if self.writer is not None and math.isfinite(value):
                self.writer.add_scalar(f"{what}/{name}", value, epoch)


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
