"""Import what the setting ``imports`` names: modules and files that register a user's own classes."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded

log = logging.getLogger(__name__)

#: The file beside settings that came with weights. Such settings import nothing.
MANIFEST = "package.json"


def import_named(names: Iterable[str]) -> list[str]:
    """Import modules, each once in a process, and return their names, those of files as absolute paths.

    A file is imported under its own name, and its folder is added to the end of ``sys.path``, so that processes
    which are spawned find it, too.

    Args:
        names: Modules, such as ``my_package.reid``, or files that end in ``.py``.

    Raises:
        InputError: Naming the module or file, and why it cannot be imported.
    """
    found = []
    for name in names:
        file = Path(os.path.abspath(expanded(name))) if name.endswith(".py") else None
        known = _running(file) if file else sys.modules.get(name)
        if not known:
            _import(file.stem if file else name, file)
        found.append(str(file) if file else name)
    return list(dict.fromkeys(found))


def _running(file: Path) -> bool:
    """Return whether a file is the program itself, or was imported before."""
    return any(_is_of(sys.modules.get(name), file) for name in ("__main__", file.stem))


def _is_of(module: ModuleType | None, file: Path) -> bool:
    own: str = getattr(module, "__file__", None) or ""
    return bool(own) and os.path.realpath(own) == os.path.realpath(file)


def _import(name: str, file: Path | None) -> None:
    shown = file or name
    if file and not file.is_file():
        raise InputError(f"imports names {file}, which is no file: check the name")
    if file and str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.partition(".")[0] and not file:
            raise InputError(f"imports names {name}, which is not installed: name its .py file") from error
        raise InputError(f"{shown} cannot be imported ({error}): install what it needs") from error
    except (Exception, SystemExit) as error:  # whatever a user's program raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise InputError(f"{shown} cannot be imported ({reason}): correct it") from error
    if file and not _is_of(module, file):
        raise InputError(f"{file} has the name of another module, {name}: rename the file")
    log.info(f"Imported {shown}")
