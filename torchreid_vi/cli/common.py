"""Options and exit status that all commands share."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from PIL import Image

from torchreid_vi import config, console, stopping
from torchreid_vi.cli import jobs
from torchreid_vi.errors import InputError

log = logging.getLogger(__name__)

program: str | None = None  # name of the command in its help


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show the description as it is, and defaults where there are any, in at most 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(100, shutil.get_terminal_size().columns - 2))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "", False, []) else super()._get_help_string(action)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser that shows a command's docstring as it is, with the options that every command has."""
    made = argparse.ArgumentParser(prog=program, description=description, formatter_class=Help)
    made.set_defaults(quiet=False, imports=[])
    add_common(made)
    return made


def add_common(made: argparse.ArgumentParser) -> None:
    """Add the options that every command has, before and behind the name of a subcommand."""
    options: dict[str, Any] = {"default": argparse.SUPPRESS}
    made.add_argument("-q", "--quiet", action="store_true", help="show results and errors alone", **options)
    about = "file or module that registers datasets, models, losses, … of your own; may be repeated"
    made.add_argument("--imports", action="append", metavar="FILE.py", help=about, **options)


def add_weights(
    made: argparse.ArgumentParser,
    required: bool = True,
    what: str = "a run's folder, a checkpoint, a package, or the https:// or hf:// address of one",
) -> None:
    """Add the options that name the model, the same for every command."""
    made.add_argument("--weights", required=required, default="", help=what)
    made.add_argument(
        "--settings", default="", help="the run's config.yaml, if the weights do not lie in the run's folder"
    )


def add_modality(made: argparse.ArgumentParser, of: str, default: str, option: str = "--modality") -> None:
    """Add an option for a modality."""
    made.add_argument(option, default=default, metavar="MODALITY", help=f"of {of}: visible or infrared")


def add_search(made: argparse.ArgumentParser) -> None:
    """Add the options of commands that search."""
    made.add_argument("--query", required=True, nargs="+", type=Path, help="images, or folders of them")
    add_modality(made, "the queries", "infrared")
    made.add_argument("--top", type=positive, default=10, help="how many images to show")
    made.add_argument("--json", action="store_true", help="print JSON")


def positive(text: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: For a smaller one.
    """
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def print_found(
    queries: Sequence[Path], found: Sequence[list[dict[str, Any]]], number: int, as_json: bool
) -> None:
    """Print what a search found.

    Args:
        queries: Images that were searched with.
        found: For each query the images found, with ``path`` and ``similarity``.
        number: Number of images in the gallery.
        as_json: Print JSON, not a table.
    """
    pairs = list(zip(map(str, queries), found, strict=True))
    if as_json:
        print(json.dumps([{"query": query, "found": each} for query, each in pairs], indent=1))
        return
    for query, each in pairs:
        print(f"{query}: {len(each)} best of {number:,} images")
        for rank, image in enumerate(each, 1):
            print(f"{rank:4}  {image['similarity']:6.3f}  {image['path']}")


def picture_file(name: str) -> Path:
    """Return the path of a picture to write.

    Raises:
        argparse.ArgumentTypeError: When the name does not end as a PNG's or a JPEG's.
    """
    path = Path(name)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise argparse.ArgumentTypeError(f"{name} names no kind of picture: let it end in .png or .jpg")
    return path


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture to a path from :func:`picture_file`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=85)
    written(path)


def written(path: str | Path, about: str = "") -> None:
    """Log that a file or folder was written."""
    log.info(f"Written: {path}{about and ', '}{about}")


def status(work: Callable[[], int | None], args: Any) -> int:
    """Do a command's work; return its exit status: 2 if something is wrong, 130 or 143 after a signal.

    A signal ends the program at once, except in training, which finishes the step and saves it.

    Args:
        work: Returns a status, or None for 0.
        args: The command line, with ``quiet``, and with ``imports``, which are imported first. ``onward``, where it
            is set, ends the line that is printed after a signal.
    """

    def said() -> str:
        return "interrupted" + (f": {args.onward}" if getattr(args, "onward", "") else "") + "\n"

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, said().encode())
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, leave)
    if getattr(args, "one", None) is not None:
        jobs.end_with_parent()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        with console.attached(args.quiet):
            config.import_named(args.imports)
            return work() or 0
    except InputError as error:
        console.complain(str(error))
    except OSError as error:
        remedy = "; free some space, or name another file or folder" if error.filename else ""
        console.complain(f"{error.filename or 'a file'}: {error.strerror or error}{remedy}")
    except UnicodeEncodeError as error:
        console.complain(f"{error.object!a} is no text in UTF-8: rename the file or folder of that name")
    except stopping.Stopped as stopped:
        print(said(), end="", file=sys.stderr)
        return stopped.status
    return 2
