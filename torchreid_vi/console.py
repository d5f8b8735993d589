"""Output of all tools: results, notes, errors, progress, and the log of a run.

Results alone go to standard output, so that they can be piped. Notes (``=> …``), progress and errors go to
standard error. Within :func:`logged`, so does what torchreid and others print, and a file gets results, notes and
prints in order. Quiet mode shows results and errors alone; the file still gets everything.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

_INTERVAL = 30  # seconds between lines of progress where there is no terminal
_quiet = False
_log: Log | None = None


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Within it there are no notes and no progress, if it is on."""
    global _quiet
    before, _quiet = _quiet, _quiet or on
    try:
        yield
    finally:
        _quiet = before


def say(note: str) -> None:
    """Show a note on what is done, or where something was written."""
    if _log is not None:
        _log.write(f"=> {note}\n")
    elif not _quiet:
        tqdm.write(f"=> {note}", file=sys.stderr)


def result(text: str) -> None:
    """Print what was asked for, in quiet mode too."""
    with tqdm.external_write_mode(file=sys.stderr):  # where the bars are
        print(text, file=_log and _log.stdout, flush=True)
    if _log is not None:
        _log.keep(f"{text}\n")


def complain(sentence: str) -> None:
    """Says what is wrong, and the remedy."""
    word = "\x1b[1;31merror:\x1b[0m" if _colours() else "error:"
    tqdm.write(f"{word} {sentence}", file=sys.stderr)


def progress(
    iterable: Iterable[Any] | None = None,
    what: str = "",
    unit: str = "img",
    total: int | None = None,
    leave: bool = True,
    shown: bool = True,
) -> tqdm[Any]:
    """A bar with the time that is left; where standard error is no terminal, a line every half a minute of it.

    Args:
        iterable: moves the bar as it is used; ``update`` does when left out.
        what: is done.
        unit: what is counted.
        total: number of them, if ``iterable`` has no length.
        leave: whether it stays when it is full.
        shown: whether it is there at all.
    """
    options: dict[str, Any] = {"desc": what, "total": total, "unit": unit, "leave": leave}
    if _quiet or not shown:
        options |= {"disable": True}
    elif sys.stderr.isatty():
        options |= {"colour": "green" if _colours() else None, "dynamic_ncols": True}
    else:
        line = "{desc}: {n_fmt} of {total_fmt} {unit}, {elapsed} gone, {remaining} left{postfix}"
        options |= {"mininterval": _INTERVAL, "maxinterval": 2 * _INTERVAL, "delay": _INTERVAL}
        options |= {"file": _Lines(sys.stderr), "bar_format": line}
    return tqdm(iterable, **options)


def _colours() -> bool:
    """Whether standard error takes colours; https://no-color.org says how they are declined."""
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


class Log:
    """A stream to standard error, past the bars, and to a file.

    Attributes:
        stdout: the standard output that it stands in for.
    """

    def __init__(self) -> None:
        self.stdout = sys.stdout
        self.file: TextIO = io.StringIO()
        self.line = ""  # incomplete: a bar would be drawn over it

    def write(self, text: str) -> int:
        lines, end, self.line = (self.line + text).rpartition("\n")
        if end and not _quiet:
            tqdm.write(lines, file=sys.stderr)
        self.keep(text)
        return len(text)

    def keep(self, text: str) -> None:
        """Write to the file alone."""
        self.file.write(text)
        self.file.flush()

    def flush(self) -> None:
        if not _quiet:
            sys.stderr.write(self.line)
        self.line = ""

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    def to(self, path: Path) -> None:
        """Append to a file from now on, first what was written before."""
        before, self.file = self.file, path.open("a", encoding="utf-8", errors="backslashreplace")
        before.seek(0)
        self.keep(before.read())


@contextmanager
def logged() -> Iterator[Log]:
    """Keep results, notes and prints for the log's file until the block exits."""
    global _log
    log = Log()
    before, _log = _log, log
    try:
        with redirect_stdout(log):  # type: ignore[type-var]
            yield log
    finally:
        _log = before
        log.flush()
        log.file.close()
