"""What the command lines of all tools have in common."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from torchreid_vi.cli import jobs

log = logging.getLogger(__name__)

program: str | None = None  # what the command line is called in its help
_LARGEST_JPEG = 65_500  # pixels along a side that Pillow's encoder takes


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a tool's docstring as it is, with the options that every tool has."""
    made = argparse.ArgumentParser(prog=program, description=description, formatter_class=Help)
    add_common(made, quiet=False, imports=[])
    return made


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show the description as it is, and defaults where there are any, in at most 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(100, shutil.get_terminal_size().columns - 2))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (
            super()._get_help_string(action) if action.default not in (None, "", False, []) else action.help
        )


def add_common(made: argparse.ArgumentParser, **defaults: Any) -> None:
    """Adds the options that every tool has; a command of a tool has them, too."""
    made.set_defaults(**defaults)
    made.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show results and errors alone",
    )
    made.add_argument(
        "--imports",
        action="append",
        default=argparse.SUPPRESS,
        metavar="FILE.py",
        help="file or module that registers datasets, models, losses, … of your own; may be repeated",
    )


def add_weights(
    made: argparse.ArgumentParser,
    required: bool = True,
    what: str = "a run's folder, a checkpoint, a package, or the https:// or hf:// address of one",
) -> None:
    """Add the options that say which model embeds images, the same for every command."""
    made.add_argument("--weights", required=required, default="", help=what)
    made.add_argument(
        "--settings", default="", help="the run's config.yaml, if the weights do not lie in the run's folder"
    )


def add_modality(made: argparse.ArgumentParser, of: str, default: str, option: str = "--modality") -> None:
    """Add the option that says what light images were taken in."""
    made.add_argument(option, default=default, metavar="MODALITY", help=f"of {of}: visible or infrared")


def picture_file(name: str) -> Path:
    """The file of an option that names a picture to write.

    Raises:
        argparse.ArgumentTypeError: when it is neither a PNG's nor a JPEG's name.
    """
    path = Path(name)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{name} names no kind of picture: let it end in .png or .jpg")
    return path


def save(picture: Any, path: Path, **options: Any) -> None:
    """Writes one of Pillow's images, and says so.

    Args:
        picture: the image.
        path: from :func:`picture_file`.
        **options: of its ``save``.

    Raises:
        InputError: when it is too large for a JPEG.
    """
    from torchreid_vi.errors import InputError

    if path.suffix.lower() != ".png" and max(picture.size) > _LARGEST_JPEG:
        width, height = picture.size
        raise InputError(f"{path} of {width} × {height} pixels is too large for a JPEG: let it end in .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    log.info(f"Written: {path}")


def status(work: Callable[[], int | None], args: Any, interrupted: str = "") -> int:
    """Do a tool's work; return its exit status: 2 if something is wrong, 130 or 143 after a signal.

    A signal ends the program at once, but while it trains: then the step is finished and saved.

    Args:
        work: returns a status, or nothing for 0.
        args: of the command line, with ``quiet`` and with ``imports``, which are imported first.
        interrupted: what to say of the work when it was.
    """
    said = f"interrupted{interrupted and ': '}{interrupted}\n"

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, said.encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, leave)
    if getattr(args, "one", None) is not None:
        jobs.end_with_parent()
    from torchreid_vi import config, console, stopping
    from torchreid_vi.errors import InputError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        with console.attached(args.quiet):
            config.import_named(args.imports)
            return work() or 0
    except InputError as error:
        console.complain(str(error))
        return 2
    except OSError as error:
        console.complain(system_said(error))
        return 2
    except UnicodeEncodeError as error:
        console.complain(f"{error.object!a} is no text in UTF-8: rename the file or folder of that name")
        return 2
    except stopping.Stopped as stopped:
        print(said, end="", file=sys.stderr)
        return stopped.status


def system_said(error: OSError) -> str:
    """What the system refused, and the remedy, in one sentence."""
    said = f"{error.filename or 'a file'}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; free some space and start the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"{said}; name a folder that is yours to write, or have its owner let you"
    if error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOENT, errno.ENOTDIR):
        return f"{said}; name another file or folder"
    return said
