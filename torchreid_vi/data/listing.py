"""List the images of a folder, for datasets, galleries and queries alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from torchreid_vi.data.images import SUFFIXES
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded


def images_in(folder: Path) -> list[str]:
    """Return the paths of the images directly in ``folder``, by name; none when it is not there.

    What is hidden, as its name begins with a dot, is no image.
    """
    if not folder.is_dir():
        return []
    return sorted(str(folder / name) for name in os.listdir(folder) if _is_image(name))


def images_under(folder: str | Path) -> list[Path]:
    """Return the images in a folder and its folders, by name; links are followed, what is hidden is not.

    Raises:
        InputError: When there are none, a folder cannot be read, or a link leads back to a folder above it.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one that holds images")
    paths: list[Path] = []
    left: list[tuple[Path, tuple[str, ...]]] = [(folder, (os.path.realpath(folder),))]
    while left:
        here, above = left.pop()
        try:
            with os.scandir(here) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(f"{here} cannot be read ({error.strerror}): have its owner let you") from error
        for entry in found:
            path = here / entry.name
            if not (path.is_dir() if entry.is_symlink() else entry.is_dir()):
                paths += [path] if _is_image(entry.name) and path.is_file() else []
                continue
            real = os.path.realpath(path)
            if real in above:
                raise InputError(f"the link {path} leads back to {real}, a folder above it: remove the link")
            left.append((path, (*above, real)))
    if not paths:
        raise InputError(f"{folder} holds no images ({', '.join(SUFFIXES)}): name another folder")
    return sorted(paths)


def images_of(paths: Iterable[str | Path]) -> list[Path]:
    """Return images as they are named, and in place of a folder those under it.

    Raises:
        InputError: As for :func:`images_under`.
    """
    found = []
    for path in map(expanded, paths):
        found += images_under(path) if path.is_dir() else [path]
    return found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES
