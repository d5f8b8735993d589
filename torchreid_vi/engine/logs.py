"""Log a training: a line and a value of each curve for every epoch."""

from __future__ import annotations

import logging
import math
import re
import time
from pathlib import Path
from textwrap import fill
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

log = logging.getLogger(__name__)

_COLUMNS = 80  # of a line, without the time that train.log puts before it


class EventFile:
    """A new file of TensorBoard's events, written at once and by the calling thread.

    Args:
        folder: Run folder.
        first: Epoch from 0; what earlier files of the folder say of it and later epochs is void.

    Raises:
        OSError: From every method, with the folder's name, if the system refuses to write.
    """

    def __init__(self, folder: Path, first: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"events.out.tfevents.{time.time_ns()}").open("wb", buffering=0)
        self._write(step=first, file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Add a value to a curve."""
        self._write(step=epoch, summary=scalar(name, value))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **event: Any) -> None:
        try:
            RecordWriter(self._file).write(Event(wall_time=time.time(), **event).SerializeToString())
        except OSError as error:
            error.filename = str(self.folder)
            raise


class TrainingLog:
    """Logs the epochs of a training, and plots them in TensorBoard where :attr:`events` is an open file."""

    def __init__(self) -> None:
        self.events: EventFile | None = None

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

    def plot(self, what: str, values: dict[str, float], epoch: int) -> None:
        """Add a value to each curve."""
        for name, value in values.items():
            if self.events and math.isfinite(value):
                self.events.add_scalar(f"{what}/{name}", value, epoch)
