"""What commands show of the package's log, and progress.

The package logs to Python's loggers under ``torchreid_vi`` and prints nothing. A command attaches a handler, which
prints results, those of the logger ``torchreid_vi.results``, to standard output, so that they can be piped, and
everything else to standard error. A run also keeps the log in its folder.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

LOG = logging.getLogger("torchreid_vi")
LOG.addHandler(logging.NullHandler())  # else Python prints warnings where nobody has set up logging
RESULTS = logging.getLogger("torchreid_vi.results")

_INTERVAL = 30  # seconds between lines of progress where there is no terminal


class Console(logging.Handler):
    """Show records as they are, past the bars: results on standard output, others on standard error.

    Args:
        quiet: Show results alone.
    """

    def __init__(self, quiet: bool) -> None:
        super().__init__()
        self.quiet, self.stdout = quiet, sys.stdout

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == RESULTS.name:
            with tqdm.external_write_mode(file=sys.stderr):  # where the bars are
                print(self.format(record), file=self.stdout, flush=True)
        elif not self.quiet:
            tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def attached(quiet: bool = False) -> Iterator[None]:
    """Show the package's log and progress until the block exits.

    Args:
        quiet: Show results alone.
    """
    with _handled(Console(quiet)):
        yield


@contextmanager
def muted() -> Iterator[None]:
    """Show nothing until the block exits; the log of a run is kept all the same."""
    shown = _consoles()
    for handler in shown:
        LOG.removeHandler(handler)
    try:
        yield
    finally:
        for handler in shown:
            LOG.addHandler(handler)


def _consoles() -> list[Console]:
    return [handler for handler in LOG.handlers if isinstance(handler, Console)]


@contextmanager
def _handled(handler: logging.Handler) -> Iterator[None]:
    before = LOG.level
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(before)
        handler.close()


@contextmanager
def logged() -> Iterator[LogFile]:
    """Log what torchreid prints, and keep all records for the file of a run until the block exits."""
    file = LogFile()
    with _handled(file), redirect_stdout(_Prints()):  # type: ignore[type-var]
        yield file


class LogFile(logging.Handler):
    """Keep records with their time, at first in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self.file: TextIO = io.StringIO()

    def to(self, path: Path) -> None:
        """Append to a file from now on, first what was kept before."""
        before, self.file = self.file, path.open("a", encoding="utf-8", errors="backslashreplace")
        self._write(before.getvalue())  # type: ignore[attr-defined]

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{self.format(record)}\n")

    def _write(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()

    def close(self) -> None:
        self.file.close()
        super().close()


class _Prints(io.TextIOBase):
    """Standard output whose lines are logged."""

    line = ""

    def write(self, text: str) -> int:
        *lines, self.line = (self.line + text).split("\n")
        for line in filter(str.strip, lines):
            LOG.info(line)
        return len(text)


def complain(sentence: str) -> None:
    """Say what is wrong, and the remedy."""
    word = "\x1b[1;31merror:\x1b[0m" if _colours() else "error:"
    tqdm.write(f"{word} {sentence}", file=sys.stderr)


def progress(
    iterable: Iterable[Any] | None = None,
    what: str = "",
    unit: str = "img",
    total: int | None = None,
    leave: bool = True,
    shown: bool | None = None,
) -> tqdm[Any]:
    """Return a bar with the time left; where standard error is no terminal, a line every half a minute of it.

    Args:
        iterable: Moves the bar as it is used; ``update`` does when left out.
        what: What is done.
        unit: What is counted.
        total: Number of them, if ``iterable`` has no length.
        leave: Whether the bar stays when it is full.
        shown: Whether there is a bar; within a command when left out. A quiet one has none.
    """
    if shown is None:
        shown = bool(_consoles())
    options: dict[str, Any] = {"desc": what, "total": total, "unit": unit, "leave": leave}
    if not shown or any(each.quiet for each in _consoles()):
        options |= {"disable": True}
    elif sys.stderr.isatty():
        options |= {"colour": "green" if _colours() else None, "dynamic_ncols": True}
    else:
        line = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} gone, {remaining} left{postfix}"
        options |= {"mininterval": _INTERVAL, "maxinterval": 2 * _INTERVAL, "delay": _INTERVAL}
        options |= {"file": _Lines(sys.stderr), "bar_format": line}
    return tqdm(iterable, **options)


def _colours() -> bool:
    """Return whether standard error takes colours; https://no-color.org says how they are declined."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Lines:
    """A stream on which every state of a bar is a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if state := text.replace("\x1b[A", "").strip():
            self.stream.write(f"{state}\n")

    def flush(self) -> None:
        self.stream.flush()
