"""Show the package's log and progress in commands.

The package logs to Python's loggers under ``torchreid_vi`` and prints nothing. A command attaches a handler, which
prints results, the records of the logger ``torchreid_vi.results``, to standard output, and everything else to
standard error. A run also keeps the log in its folder.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import weakref
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

LOG = logging.getLogger("torchreid_vi")
LOG.addHandler(logging.NullHandler())  # else Python prints warnings where nobody has set up logging
RESULTS = logging.getLogger("torchreid_vi.results")

INTERVAL = 30.0  # seconds between lines of progress where there is no terminal
_latest: weakref.ref[tqdm[Any]] | None = None  # the bar that was shown last


class Console(logging.Handler):
    """Show records past the bars: results on standard output, others on standard error.

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
    before = LOG.handlers
    LOG.handlers = [handler for handler in before if not isinstance(handler, Console)]
    try:
        yield
    finally:
        LOG.handlers = before


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
        """Append to a file from now on, starting with the records kept in memory."""
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
    """A standard output whose lines are logged."""

    line = ""

    def write(self, text: str) -> int:
        *lines, self.line = (self.line + text).split("\n")
        for line in filter(str.strip, lines):
            LOG.info(line)
        return len(text)


def complain(sentence: str) -> None:
    """Print an error, in one sentence."""
    word = "\x1b[1;31merror:\x1b[0m" if _colours() else "error:"
    tqdm.write(f"{word} {sentence}", file=sys.stderr)


def progress(
    iterable: Iterable[Any] | None = None,
    what: str = "",
    unit: str = "image",
    total: int | None = None,
    leave: bool = True,
) -> tqdm[Any]:
    """Return a bar with the time left; a line every half a minute where standard error is no terminal.

    Bars are shown in commands that are not quiet, one at a time: none while another bar has time left.

    Args:
        iterable: Moves the bar as it is used; ``update`` does when left out.
        what: Name of the work.
        unit: Unit of the count.
        total: Number of units, if ``iterable`` has no length. With 0 there is no bar.
        leave: Whether the bar stays when it is full.
    """
    global _latest
    total = len(iterable) if total is None and isinstance(iterable, Sized) else total
    options: dict[str, Any] = {"desc": what, "total": total, "unit": unit, "leave": leave}
    consoles, above = _consoles(), _latest() if _latest else None
    busy = above is not None and not above.disable and (above.total is None or above.n < above.total)
    if not consoles or any(each.quiet for each in consoles) or busy or total == 0:
        return tqdm(iterable, disable=True, **options)
    if sys.stderr.isatty():
        options |= {"colour": "green" if _colours() else None, "dynamic_ncols": True}
    else:
        line = "{desc}: {unit} {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left{postfix}"
        options |= {"mininterval": INTERVAL, "maxinterval": 2 * INTERVAL, "delay": INTERVAL}
        options |= {"file": _Lines(sys.stderr), "bar_format": line}
    bar = tqdm(iterable, **options)
    _latest = weakref.ref(bar)
    return bar


def _colours() -> bool:
    """Return whether standard error takes colours and the user wants them (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Lines:
    """A stream that writes every state of a bar as a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        if state := text.replace("\x1b[A", "").strip():
            self.stream.write(f"{state}\n")

    def flush(self) -> None:
        self.stream.flush()
