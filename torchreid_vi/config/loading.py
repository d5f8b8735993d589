"""How a file and the command line change the settings, and which values are refused."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode as CN

from torchreid_vi import console
from torchreid_vi.config.defaults import default_config, flat
from torchreid_vi.config.importing import MANIFEST, import_named
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.folders import expanded
from torchreid_vi.losses import LOSSES
from torchreid_vi.methods import METHODS

#: What a list that is empty by default holds, where it is no text.
_ELEMENTS = {"data.thermal_range": 0.0, "data.thermal_found": 0.0}


def load_config(
    file: str = "",
    overrides: dict[str, Any] | None = None,
    options: list[str] | None = None,
    imports: Sequence[str] = (),
) -> CN:
    """The defaults, changed by a YAML file, then by ``overrides``, then by KEY VALUE pairs.

    A file changes the settings of the files that it names as ``_BASE_``, one or a list, of which later ones win.
    What the setting ``imports`` names is imported, unless the file came with weights, as a package's
    ``config.yaml`` does.

    Args:
        file: YAML file of settings, or the name of one of ours, such as ``mcja_sysu``.
        overrides: Values by whole keys, such as ``train.lr``.
        options: KEY VALUE pairs of a command line.
        imports: What to import beside what the settings name.

    Raises:
        InputError: naming the key and the nearest known one, a value of the wrong type, a file that
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
    """Settings of a program and of a command line, by their whole keys."""
    options = options or []
    if len(options) % 2:
        raise InputError(f"'{options[-1]}' has no value: settings come as KEY VALUE pairs")
    pairs = zip(options[::2], options[1::2], strict=True)
    return dict(overrides or {}) | {key: _parsed(value) for key, value in pairs}


def _with_defaults(file: str, of_file: dict[str, Any], changes: dict[str, Any], known: bool) -> CN:
    """The defaults, changed by the settings of a file and then by others.

    Args:
        file: Name of the file.
        of_file: Its settings.
        changes: The others.
        known: Whether every loss and method has to be registered that the file has settings of.
    """
    cfg = default_config()
    for key, value in of_file.items():
        if not known and _is_of_an_import(key, value):
            section, argument = key.split(".")[1:]
            cfg.loss.setdefault(section, CN())[argument] = value
            continue
        try:
            _set(cfg, key, value)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    for key, value in changes.items():
        _set(cfg, key, value)
    _check(cfg)
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
    """Settings without ``imports`` where they came with weights: those may be anybody's."""
    if settings.get("imports") and _came_with_weights(path):
        names = settings.pop("imports")
        console.say(
            f"{path} came with weights and imports nothing: where {_shown(names)} is needed and you trust it, "
            "name it with --imports"
        )
    return settings


def _is_of_an_import(key: str, value: Any) -> bool:
    """Whether it may be a setting of a loss or a method that an import would register."""
    parts = key.split(".")
    plain = all(type(each) in (bool, int, float, str) for each in (value if type(value) is list else [value]))
    known = {"name", "terms", "weights", *LOSSES, *METHODS}
    return plain and len(parts) == 3 and parts[0] == "loss" and parts[1] not in known


def _came_with_weights(path: Path) -> bool:
    return (path.parent / MANIFEST).exists()


def _by_key(content: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their whole keys, which have at most three parts: YAML's sections may hold themselves."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{_shown(key) if isinstance(key, int) else key}"
        deeper = isinstance(value, dict) and prefix.count(".") < 2
        found |= _by_key(value, f"{name}.") if deeper else {name: value}
    return found


def _shown(value: Any) -> str:
    """A value in a message, of bounded length whatever it holds."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def _parsed(value: str) -> Any:
    """A value of the command line: what YAML makes of it, or the text itself."""
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
        value = [_typed(key, element, default[0] if default else _ELEMENTS.get(key, "")) for element in value]
    value = _typed(key, value, default)
    section, _, name = key.rpartition(".")
    node = cfg
    for part in section.split(".") if section else ():
        node = node[part]
    node[name] = value


def _typed(key: str, value: Any, default: Any) -> Any:
    """The value, a whole number or a number written like 5e-4 as a float where one is expected."""
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


def _check(cfg: CN) -> None:
    """What depends on more than one setting, or on a range."""
    if cfg.data.type != "image":
        raise InputError(f"data.type is {cfg.data.type}: only image is supported")
    if cfg.data.load_train_targets:
        raise InputError(
            "data.load_train_targets is True: domain adaptation is not supported, leave it False"
        )
    if len(cfg.loss.terms) != len(cfg.loss.weights):
        raise InputError(
            f"loss.terms has {len(cfg.loss.terms)} names and loss.weights {len(cfg.loss.weights)} numbers: "
            "give each term one weight"
        )
    for name in cfg.loss.terms:
        if cfg.loss.terms.count(name) > 1:
            raise InputError(
                f"loss.terms names {name} more than once: name it once, with the sum of its weights"
            )
    values = flat(cfg)
    for key, (known, valid) in _RANGES.items():
        if not valid(values[key]):
            raise InputError(f"{key} is {values[key]}: it must be {known}")
    if cfg.test.evaluate and (cfg.model.resume or not cfg.model.load_weights):
        raise InputError(
            "to evaluate only, name the weights in model.load_weights, and leave model.resume empty"
        )
    if cfg.model.resume and cfg.model.load_weights:
        raise InputError("model.resume and model.load_weights are both set: leave one of them empty")


def _at_least(least: int, *keys: str) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    return {key: (f"at least {least}", lambda value: value >= least) for key in keys}


_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **_at_least(1, "test.batch_size", "sampler.num_instances", "data.k_tfm"),
    **_at_least(2, "train.batch_size"),  # for batch normalisation
    **{
        key: (
            "from 1 to 8192",
            lambda value: 1 <= value <= 8192,
        )  # pixels, which a model's memory has to hold
        for key in ("data.height", "data.width")
    },
    **_at_least(1, "model.non_local.width", "model.mda.contexts"),
    **_at_least(0, "data.workers", "train.max_epoch", "train.warmup", "train.seed"),
    **_at_least(0, "train.clip_grad", "train.skip_nonfinite", "train.base_lr_mult"),
    **_at_least(0, "model.classifier_std", "model.neck_std"),
    **{key: ("above 0", lambda value: value > 0) for key in ("train.lr", "train.gamma")},
    "rmsprop.alpha": ("from 0 to 1", lambda value: 0 <= value <= 1),
    "loss.weights": ("numbers of at least 0", lambda value: min(value, default=0) >= 0),
    "data.validation": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "data.thermal_range": (
        "empty, or two numbers, of which the second is larger",
        lambda value: not value or (len(value) == 2 and value[0] < value[1]),
    ),
    "data.norm_mean": ("three numbers", lambda value: len(value) == 3),
    "data.norm_std": ("three numbers above 1e-6", lambda value: len(value) == 3 and min(value) > 1e-6),
    "test.dist_metric": ("euclidean or cosine", lambda value: value in ("euclidean", "cosine")),
    "train.start_epoch": ("0, model.resume sets it", lambda value: value == 0),
    "train.stepsize": ("a list of epochs, from 1", lambda value: min(value, default=0) >= 1),
}
