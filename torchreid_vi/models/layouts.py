"""Find the tensors in checkpoints of other code, and translate their names into ours.

These are torchvision's and timm's ResNets, which have the names of torchreid's, and the public code of AGW
(https://github.com/mangye16/Cross-Modal-Re-ID-baseline, with CAJ's) and of MCJA's journal version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from torchreid_vi.models.backbone import HEADS, INSERTED

_KEYS = (
    "state_dict",
    "model",
    "net",
    "model_state_dict",
)  # keys that tensors may lie under
_WRAPPERS = ("module.", "_orig_mod.")  # prefixes of DataParallel and torch.compile
_DEEPEST = 4  # levels of dictionaries that are searched
_UNUSED = "copy."  # prefix of tensors that the code which saved them does not use

#: For each layout, by the prefix that identifies it: a regular expression of names, and our name.
_LAYOUTS: dict[str, dict[str, str]] = {
    "base_resnet.": {
        r"visible_module\.(?:visible\.)?((?:conv1|bn1)\..+)": r"backbone.stems.0.\1",
        r"thermal_module\.(?:thermal\.)?((?:conv1|bn1)\..+)": r"backbone.stems.1.\1",
        r"base_resnet\.(?:base\.)?(layer\d\..+)": r"backbone.trunk.\1",
        r"((?:visible_module|thermal_module|base_resnet)\..+)": rf"{_UNUSED}\1",
        r"bottleneck\.(.+)": r"neck.\1",
    },
    "backbone.": {
        r"backbone\.(fc\..+)": rf"{_UNUSED}\1",
        r"backbone\.(?!trunk\.|stems\.)(.+)": r"backbone.trunk.\1",
        r"(?:bn_neck|bottleneck)\.(.+)": r"neck.\1",
    },
}
#: The same for blocks between layers, for the part of the name after the block's number.
_BLOCKS: dict[str, dict[str, str]] = {
    "NL": {r"g\.0\.(.+)": r"g.\1", r"W\.0\.(.+)": r"out.\1", r"W\.1\.(.+)": r"norm.\1"},
    "MDA": {
        r"sc_conv\.(.+)": r"attention.\1",
        r"ca_conv\.(.+)": r"mix.\1",
        r"ca_bn\.(.+)": r"gate_norm.\1",
        r"norm_bn\.(.+)": r"norm.\1",
    },
}
_BLOCK = re.compile(r"(?P<kind>NL|MDA)_(?P<stage>[1-4])\.(?P<number>\d{1,4})\.(?P<inner>.+)")
_GROUPS = {
    "theta": "non-local block",
    "attention": "modality distribution adapter",
}  # by one of its modules


def of_a_run(name: str) -> bool:
    """Return whether a tensor tells how far a run has come and is no weight: its name begins with ``run_``."""
    return name.rpartition(".")[2].startswith("run_")


def tensors_of(content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by our names; none when they lie somewhere else than is usual."""
    for state in (*(content.get(key) for key in _KEYS), content):
        if isinstance(state, dict) and any(isinstance(value, Tensor) for value in state.values()):
            return _translated({_bare(str(name)): value for name, value in state.items()})
    return {}


def where_tensors_lie(content: dict[str, Any]) -> str:
    """Say where in a checkpoint its tensors lie, when :func:`tensors_of` finds none."""
    found = next(_places(content, ()), None)
    if found is None:
        return "a dictionary of tensors is expected"
    return f"the tensors lie under {'.'.join(found)[:200]!r}: save that dictionary alone"


def _places(content: dict[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each dictionary with tensors."""
    if above and any(isinstance(value, Tensor) for value in content.values()):
        yield above
    elif len(above) < _DEEPEST:
        for key, value in content.items():
            if isinstance(value, dict):
                yield from _places(value, (*above, str(key)))


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _translated(state: dict[str, Any]) -> dict[str, Tensor]:
    layout = next((_LAYOUTS[start] for start in _LAYOUTS if any(n.startswith(start) for n in state)), None)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if layout is None:
        return tensors
    named = {_renamed(name, layout): value for name, value in tensors.items()}
    depth = {stage: _depth(named, stage) for stage in range(1, 5)}
    matches = {name: match for name in named if (match := _BLOCK.fullmatch(name))}
    last: dict[str, int] = {}
    for match in matches.values():
        last[match["stage"]] = max(int(match["number"]), last.get(match["stage"], 0))
    found = {}
    for name, value in named.items():
        if match := matches.get(name):
            stage, inner = match["stage"], _renamed(match["inner"], _BLOCKS[match["kind"]])
            layer = depth[int(stage)] - 1 - last[stage] + int(match["number"])
            name = f"backbone.trunk.layer{stage}.{layer}{INSERTED}.{inner}"
            if inner == "mix.weight":  # which has no bias in MCJA's code
                found[name.removesuffix("weight") + "bias"] = torch.zeros(value.shape[:1], dtype=value.dtype)
        found[name] = value
    shift = found.get("neck.bias")
    if shift is not None and not shift.any():  # frozen at zero, it is no shift
        del found["neck.bias"]
    return found


def _renamed(name: str, rules: dict[str, str]) -> str:
    for pattern, replacement in rules.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return name


def _depth(names: Iterable[str], stage: int) -> int:
    """Return how many layers a ResNet's stage has."""
    layers = (re.match(rf"backbone\.trunk\.layer{stage}\.(\d{{1,4}})\.", name) for name in names)
    return max((int(match[1]) + 1 for match in layers if match), default=0)


def grouped(names: Iterable[str]) -> str:
    """Summarise which parts of a model tensors belong to, such as ``5 non-local blocks, neck, classifier``.

    >>> grouped(["neck.weight", "neck.running_mean", "classifier.weight"])
    'neck, classifier'
    """
    names = list(names)
    kinds = dict(_block(name) for name in names if _block(name)[1])
    groups: dict[tuple[str, str], set[str]] = {}
    for name in names:
        first = name.partition(".")[0]
        if INSERTED in name:
            block = _block(name)[0]
            kind = kinds.get(block, "block")
            groups.setdefault((kind, f"{kind}s"), set()).add(block)
        elif name.startswith(_UNUSED):
            kind = "of the backbone that its own code does not use"
            groups.setdefault((f"tensor {kind}", f"tensors {kind}"), set()).add(name)
        elif first == "backbone" or "layer" in first:
            groups.setdefault(("tensor of the backbone", "tensors of the backbone"), set()).add(name)
        else:
            groups.setdefault(("", "classifier" if first in HEADS else first), set())
    return ", ".join(
        many if not one else f"{len(of)} {many if len(of) > 1 else one}" for (one, many), of in groups.items()
    )


def _block(name: str) -> tuple[str, str]:
    """Return the block between layers that a tensor belongs to, and its kind if the tensor tells it."""
    block, _, inner = name.partition(f"{INSERTED}.")
    return block, _GROUPS.get(inner.partition(".")[0], "")
