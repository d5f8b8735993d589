"""Load settings from a file and the command line."""

from __future__ import annotations

import logging
import os
import reprlib
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from torchreid_vi.config.checking import check
from torchreid_vi.config.defaults import SETTINGS, default_config, flat, put
from torchreid_vi.config.importing import MANIFEST, import_named
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.folders import expanded
from torchreid_vi.losses import LOSSES
from torchreid_vi.methods import METHODS

log = logging.getLogger(__name__)


def load_config(
    file: str = "",
    overrides: dict[str, Any] | None = None,
    options: list[str] | None = None,
    imports: Sequence[str] = (),
) -> CN:
    """Return the defaults, changed by a YAML file, then by ``overrides``, then by KEY VALUE pairs.

    A file changes the settings of the files that it names as ``_BASE_``, one or a list, of which later ones win.
    What the setting ``imports`` names is imported, unless the file came with weights, as a package's
    ``config.yaml`` does.

    Args:
        file: YAML file of settings, or the name of one of ours, such as ``mcja_sysu``.
        overrides: Values by whole keys, such as ``train.lr``.
        options: KEY VALUE pairs of a command line.
        imports: What to import beside what the settings name.

    Raises:
        InputError: Naming the key and the nearest known one, a value of the wrong type, a file that
            is not there or not YAML, or what cannot be imported.
    """
    of_file = _read(named_config(file)) if file else {}
    changes = _changes(overrides, options)
    named = (of_file | changes).get("imports")
    if not isinstance(named, list) or not all(isinstance(name, str) and "\0" not in name for name in named):
        named = []  # which is refused below
    found = import_named([*named, *imports])  # which may register settings
    cfg = _with_defaults(file, of_file, changes, known=not (file and _came_with_weights(expanded(file))))
    cfg.imports = found
    return cfg


def read_config(
    file: str = "", overrides: dict[str, Any] | None = None, options: list[str] | None = None
) -> CN:
    """Return what :func:`load_config` does, without importing anything.

    Settings of losses and methods that are not known are kept: an import would have registered them.
    """
    of_file = _read(named_config(file)) if file else {}
    return _with_defaults(file, of_file, _changes(overrides, options), known=False)


def named_config(file: str) -> Path:
    """Return the file of settings of that name: a path, or a config of ours such as ``mcja_sysu``.

    Raises:
        InputError: For a name that is neither, with the nearest of ours.
    """
    path = expanded(file)
    if path.suffix or len(path.parts) > 1 or path.exists():
        return path
    inside, beside = (Path(__file__).parents[level] / "configs" for level in (1, 2))
    ours = {each.stem: each for each in (inside if inside.is_dir() else beside).glob("*.yaml")}
    if file not in ours:
        raise unknown_name("config", file, ours)
    return ours[file]


def _changes(overrides: dict[str, Any] | None, options: list[str] | None) -> dict[str, Any]:
    """Merge the settings of a program and of a command line, by their whole keys."""
    options = options or []
    if len(options) % 2:
        raise InputError(f"'{options[-1]}' has no value: settings come as KEY VALUE pairs")
    pairs = zip(options[::2], options[1::2], strict=True)
    return dict(overrides or {}) | {key: _parsed(value) for key, value in pairs}


def _with_defaults(file: str, of_file: dict[str, Any], changes: dict[str, Any], known: bool) -> CN:
    """Return the defaults, changed by the settings of a file and then by others.

    Args:
        file: Name of the file.
        of_file: Settings of that file.
        changes: The others.
        known: Whether every loss and method has to be registered that the file has settings of.
    """
    cfg = default_config()
    for key, value in of_file.items():
        if not known and _is_of_an_import(key, value):
            put(cfg, key, value)
            continue
        try:
            _set(cfg, key, value)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    for key, value in changes.items():
        _set(cfg, key, value)
    check(cfg)
    return cfg


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the settings of a file, by their whole keys, on top of those of its bases."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        asked = f"_BASE_ of {above[-1]}" if above else "its name"
        raise InputError(f"config file {path} cannot be read ({error.strerror}): check {asked}") from error
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"config file {path} is not YAML: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"config file {path} holds no settings: write sections and keys as in configs/")
    bases = content.pop("_BASE_", [])
    settings: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "\0" in base:
            raise InputError(f"_BASE_ of config file {path} is no name of a file: name what it changes")
        under = Path(os.path.realpath(path.parent / base))
        if under in (*above, path.resolve()):
            raise InputError(f"config file {path} is its own _BASE_: name what it changes")
        settings |= _read(under, (*above, path.resolve()))
    return _own(path, settings | _by_key(content))


def _own(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Drop ``imports`` from settings that came with weights, which may be anybody's."""
    if settings.get("imports") and _came_with_weights(path):
        names = settings.pop("imports")
        log.info(
            f"{path} came with weights and imports nothing: where {_shown(names)} is needed and you trust it, "
            "name it with --imports"
        )
    return settings


def _is_of_an_import(key: str, value: Any) -> bool:
    """Return whether this may be a setting of a loss or a method that an import would register."""
    parts = key.split(".")
    plain = all(type(each) in (bool, int, float, str) for each in (value if type(value) is list else [value]))
    known = {"name", "terms", "weights", *LOSSES, *METHODS}
    return plain and len(parts) == 3 and parts[0] == "loss" and parts[1] not in known


def _came_with_weights(path: Path) -> bool:
    return (path.parent / MANIFEST).exists()


def _by_key(content: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by their whole keys, of at most three parts: YAML's sections may hold themselves."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{_shown(key) if isinstance(key, int) else key}"
        deeper = isinstance(value, dict) and prefix.count(".") < 2
        found |= _by_key(value, f"{name}.") if deeper else {name: value}
    return found


def _shown(value: Any) -> str:
    """Return a value as text of bounded length, for a message."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def _parsed(value: str) -> Any:
    """Parse a value of the command line as YAML; return the text itself where it is none."""
    try:
        return yaml.safe_load(value)
    except Exception:  # whatever a text that looks like a date or a number makes the reader raise
        return value


def _set(cfg: CN, key: str, value: Any) -> None:
    known = flat(cfg)
    key = key[:100]
    if key not in known:
        nearest = get_close_matches(key, known, n=1)
        within = next((name for name in known if name.startswith(f"{key}.")), "")
        hint = "see torchreid_vi/config/defaults.py, and the arguments of losses and methods"
        if within:
            hint = f"it is a section, with keys such as {within}"
        elif nearest:
            hint = f"did you mean '{nearest[0]}'?"
        raise InputError(f"unknown setting {key!r}: {hint}")
    default = known[key]
    if isinstance(default, str) and value is None:
        value = ""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(default, list) and isinstance(value, list):
        example = default[0] if default else SETTINGS[key].of if key in SETTINGS else ""
        value = [_typed(key, element, example) for element in value]
    put(cfg, key, _typed(key, value, default))


def _typed(key: str, value: Any, default: Any) -> Any:
    """Return the value with the default's type; integers and texts like 5e-4 become floats."""
    if isinstance(default, float) and isinstance(value, (int, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            value = float(value)
    endless = isinstance(value, (int, float)) and not abs(value) < 2**63  # or no number
    if type(value) is not type(default) or endless:
        most = " of less than 2**63" if endless else ""
        raise InputError(
            f"setting '{key}' is {_shown(value)}: expected {type(default).__name__}{most}, such as {default!r}"
        )
    return value
