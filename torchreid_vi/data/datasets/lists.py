"""Read the lists that come with a dataset, and keep what they name in the dataset's folder."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from torchreid_vi.errors import InputError


def read_ids(path: Path, root: Path) -> list[int]:
    """Read identities from a list in SYSU-MM01's style: numbers separated by commas, on one line or more.

    Args:
        path: The list.
        root: The dataset's folder, out of which the list must not lead.
    """
    tokens = [token for token in re.split(r"[,\s]+", _text_inside(path, root)) if token]
    for token in tokens:
        if not is_number(token):
            raise InputError(
                f"{path} holds {token[:40]!r} where an identity number is expected: restore the list"
            )
    pids = list(map(int, tokens))
    if len(set(pids)) < len(pids):  # each would be looked for as often
        twice = next(pid for pid, times in Counter(pids).items() if times > 1)
        raise InputError(f"{path} holds identity {twice} more than once: restore the list")
    return pids


def read_index(path: Path, root: Path) -> list[tuple[str, int]]:
    """Read image paths and labels from a list in RegDB's style: ``path label`` on each line.

    Args:
        path: The list.
        root: The dataset's folder, out of which neither the list nor a path in it must lead.
    """
    rows = []
    for number, line in enumerate(_text_inside(path, root).splitlines(), 1):
        name, _, label = line.strip().rpartition(" ")
        if line.strip() and (not name or not is_number(label)):
            raise InputError(f"{path}, line {number}: expected 'path label', found {line[:80]!r}")
        if not line.strip():
            continue
        odd = not name.isprintable() or len(name) > 500
        if odd or Path(name).anchor or ".." in Path(name).parts:
            raise InputError(
                f"{path}, line {number}: {name[:80]!r} leads out of {root} or is no name: restore the list"
            )
        rows.append((name.strip(), int(label)))
    return rows


def is_number(text: str) -> bool:
    """Return whether a text is a number as identities and images have it: at most nine of the digits 0 to 9."""
    return re.fullmatch("[0-9]{1,9}", text) is not None


def require_inside(root: Path, paths: Iterable[str | Path]) -> None:
    """Check that files lie in a folder, wherever their names and symbolic links lead.

    Args:
        root: The folder, which may itself be a link.
        paths: Paths of the files; missing ones are passed over.

    Raises:
        InputError: Naming a file that lies elsewhere, or is none.
    """
    real = os.path.realpath(root)

    @cache
    def inside(path: str) -> bool:
        found = os.path.realpath(path)
        return found == real or found.startswith(os.path.join(real, ""))

    for path in map(str, paths):
        try:
            mode = os.lstat(path).st_mode
            if not inside(os.path.dirname(path)) or (stat.S_ISLNK(mode) and not inside(path)):
                raise InputError(
                    f"{path} leads out of {root}: put the file itself there, or remove what leads to it"
                )
            if not stat.S_ISREG(mode) and not stat.S_ISREG(os.stat(path).st_mode):
                raise InputError(f"{path} is no regular file: restore or remove it")
        except FileNotFoundError:
            continue
        except OSError as error:  # such as links in a circle
            raise InputError(f"{path} cannot be read ({error.strerror}): restore or remove it") from error


def read_text(path: Path) -> str:
    """Return the content of a list.

    Raises:
        InputError: When it is not there, or no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file: restore it, or name another list") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): restore it, or name another list"
        ) from error


def _text_inside(path: Path, root: Path) -> str:
    require_inside(root, [path])
    return read_text(path)


def require(paths: Iterable[Path], layout: str) -> None:
    """Raise an :class:`InputError` that names the first few of ``paths`` that do not exist."""
    missing = [str(path) for path in paths if not os.path.exists(path)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise InputError(
            f"missing {', '.join(missing[:3])}{more}: this is not the layout of {layout}, check --root"
        )
