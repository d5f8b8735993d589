"""What all tools show, with one look: notes, results, errors, progress, and the log of a run.

Results go to standard output; notes (``=> …``), progress and errors to standard error, so that results can be
piped. Within :func:`logged` notes and results go to standard output, as torchreid's do, and to a file. In quiet
mode there are results and errors alone, and the file has everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from torchreid_vi import stopping

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
    """Says what is done, or where something was written."""
    if _log is not None:
        print(f"=> {note}", file=_log)
    elif not _quiet:
        tqdm.write(f"=> {note}", file=sys.stderr)


def result(text: str) -> None:
    """Shows what was asked for, in quiet mode too."""
    print(text)
    if _log is not None and _quiet:
        _log.console.write(f"{text}\n")


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
    with stopping.deferred():  # what is half a bar complains when it is removed
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
    """Standard output past the bars, and a file."""

    def __init__(self, console: TextIO) -> None:
        self.console = console
        self.file: TextIO | None = None
        self.kept: list[str] = []
        self.line = ""  # its beginning: a bar would be drawn over it

    def write(self, text: str) -> int:
        if not _quiet:
            lines, end, self.line = (self.line + text).rpartition("\n")
            if end:
                with tqdm.external_write_mode(file=sys.stderr):
                    self.console.write(lines + end)
        if self.file:
            self.file.write(text)
            self.file.flush()
        else:
            self.kept.append(text)
        return len(text)

    def flush(self) -> None:
        self.console.write(self.line)
        self.line = ""
        self.console.flush()

    def isatty(self) -> bool:
        return self.console.isatty()

    def to(self, path: Path) -> None:
        """Appends to a file from now on, what was kept first."""
        self.file = path.open("a", encoding="utf-8", errors="backslashreplace")  # names need not be text
        self.file.write("".join(self.kept))
        self.kept.clear()


@contextmanager
def logged() -> Iterator[Log]:
    """Within it standard output, notes among it, is kept for the log's file."""
    global _log
    log = Log(sys.stdout)
    before, _log = _log, log
    sys.stdout = log  # type: ignore[assignment]
    try:
        yield log
    finally:
        log.flush()
        sys.stdout, _log = log.console, before
        if log.file:
            log.file.close()
