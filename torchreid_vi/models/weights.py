"""Reading checkpoints and loading weights: nothing unpickled, nothing skipped without a word."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from torchreid_vi import files
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.folders import expanded
from torchreid_vi.modality import Modality
from torchreid_vi.models.backbone import HEADS, INSERTED, Backbone
from torchreid_vi.models.layouts import tensors_of, where_tensors_lie
from torchreid_vi.models.pickles import NUMPYS, check_pickles

SAFETENSORS = ".safetensors"
STEMS = ("average", "visible", "infrared")  # what a one-stream model can take of two stems

_NARROWEST = 64  # features that a classifier tells identities apart by


class Loaded(NamedTuple):
    """What loading did.

    Attributes:
        matched: how many tensors of the model were loaded.
        total: how many it has.
        fresh: those that the file lacks and that kept their values: a head, or the classifier.
        unused: those of the file that are not for this model.
        epoch: after how many epochs they were saved, where the file says so.
    """

    matched: int
    total: int
    fresh: list[str]
    unused: list[str]
    epoch: int | None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint or of a ``.safetensors`` file, on the CPU; only tensors and plain data are read.

    Raises:
        InputError: when the file is missing, is no checkpoint, or holds pickled objects.
    """
    path = expanded(path)
    if not path.is_file():
        raise InputError(
            f"weights {path} not found: check the path that names them; pre-training leaves backbone.pth"
        )
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    try:
        _check_archive(path)
        with torch.serialization.safe_globals(NUMPYS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise InputError(
                f"{path} was refused: it holds pickled objects, which could run code; "
                "have its author save tensors and plain data alone"
            ) from error
        raise InputError(
            f"{path} is not a checkpoint or is damaged: name a file that torch.save wrote"
        ) from error
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(
            f"{path} is not a checkpoint or is damaged: name a file that torch.save wrote"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no weights: a dictionary of tensors is expected")
    _check_tensors(content, path)
    return content


def _check_archive(path: Path) -> None:
    """Refuses what PyTorch would not: damage, and more in memory than on disk; torch.save compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            held = sum(member.file_size for member in members)
            if held > path.stat().st_size or any(member.compress_type for member in members):
                raise InputError(
                    f"{path} was refused: it would unpack to {held:,} bytes; have torch.save write it"
                )
            if archive.testzip():
                raise zipfile.BadZipFile
    check_pickles(path)


def _check_tensors(content: dict[str, Any], path: Path) -> None:
    """Refuses tensors, at any depth of dictionaries and lists, without a value in the file for each element."""
    left: list[Any] = [content]
    seen: set[int] = set()  # containers, and where values lie
    room = path.stat().st_size
    while left:
        found = left.pop()
        if isinstance(found, Tensor):
            strided = found.layout is torch.strided and found.device.type == "cpu"
            values = found.untyped_storage() if strided else torch.UntypedStorage()
            if values.data_ptr() not in seen:
                seen.add(values.data_ptr())
                room -= values.nbytes()
            if not strided or found.nbytes > values.nbytes() or room < 0:
                raise InputError(
                    f"{path} was refused: it holds a tensor without a value for each of its elements; have its "
                    "author save contiguous tensors"
                )
        elif isinstance(found, (dict, list, tuple)) and id(found) not in seen:
            seen.add(id(found))
            left.extend(found.values() if isinstance(found, dict) else found)


def _read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors as ``state_dict``, and beside it what :func:`save_safetensors` was told about them."""
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
            about = json.loads((file.metadata() or {}).get("about", "{}"))
        return {**about, "state_dict": state}
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{path} is no safetensors file or is damaged: get it again") from error


def save_safetensors(state: dict[str, Tensor], path: Path, about: dict[str, Any]) -> None:
    """Writes tensors alone, the same bytes for the same tensors.

    Args:
        state: tensors by name; those that share memory are written each for itself.
        path: of the file, ``.safetensors``.
        about: plain data on them, which :func:`read_checkpoint` returns beside them.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    path.write_bytes(
        save(tensors, {"about": json.dumps(about, sort_keys=True)})
    )  # save_file hides it from others


def identities(content: dict[str, Any]) -> int:
    """The number of identities that a checkpoint's classifier tells apart, or one.

    Raises:
        InputError: when the classifier has no weights for each of them.
    """
    weight = tensors_of(content).get("classifier.weight")
    if not isinstance(weight, Tensor):
        return 1
    if weight.ndim != 2 or not len(weight) or weight.shape[1] < _NARROWEST:
        raise InputError(
            f"the weights have a classifier of shape {tuple(weight.shape)}, which is of no model: get them again"
        )
    return len(weight)


def load_weights(model: nn.Module, path: str | Path, stem: str = "average") -> Loaded:
    """Loads weights into a model of this package or of torchreid, from a file of either.

    The backbone has to match whole. A head after it is loaded whole when the file has one for this model
    and keeps its values when not, so a pre-trained backbone starts any head; the classifier may differ
    in the number of identities. A two-stream model takes both stems from a single one, and a one-stream
    model what ``stem`` says of two.

    Args:
        model: receives the weights.
        path: a checkpoint, a ``backbone.pth``, a dictionary of tensors or a ``.safetensors`` file, of this package,
            torchreid or a code that ``torchreid_vi.models.layouts`` knows, with or without ``module.`` in its
            names.
        stem: ``average``, ``visible`` or ``infrared``.

    Raises:
        InputError: naming the tensors, when any of the backbone, or some of the head, is missing or of
            another shape.
    """
    if stem not in STEMS:
        raise unknown_name("stem in model.load_stem", stem, STEMS)
    content = read_checkpoint(path)
    state = tensors_of(content)
    if not state:
        raise InputError(f"{path} holds no weights: {where_tensors_lie(content)}")
    source = _Source(state)
    own = model.state_dict()
    found = {name: source.find(name, stem) for name in own}
    fitting = {
        name: value for name, value in found.items() if value is not None and value.shape == own[name].shape
    }
    unused = source.unused({_shared_name(name)[0] for name in fitting})
    surplus = [name for name in unused if not _is_head(name, source.names.values())]
    count = "num_batches_tracked"  # which older files lack, and no result depends on
    absent = [
        name
        for name in own
        if name not in fitting
        and not (name.endswith(count) and f"{name.removesuffix(count)}running_mean" in fitting)
    ]
    lacking = [name for name in absent if not name.startswith("classifier.")]
    head = [name for name in own if _is_head(name, own) and not name.startswith("classifier.")]
    if not any(name in fitting for name in head):  # a backbone for a head that stays as it is
        lacking = [name for name in lacking if name not in head]
    if odd := lacking or surplus:
        raise InputError(
            f"{path}{_described(content)} does not fit the model: {len(fitting)} of {len(own)} tensors match; "
            f"{'missing or of another shape' if lacking else 'not in the model'}: "
            f"{', '.join(odd[:3])}{', …' if len(odd) > 3 else ''}; "
            "set model.name and the settings of the head to those the weights were made with"
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(len(fitting), len(own), absent, unused, _epoch(content))


def save_backbone(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    """Writes ``path``, the weights of ``model.backbone`` alone, and what they are beside it as JSON.

    Args:
        model: has a :class:`~torchreid_vi.models.Backbone` as ``backbone``.
        path: of the weights, ``.pth``.
        about: plain data on how they came to be.
    """
    backbone = cast(Backbone, model.backbone)
    about = {
        "backbone": backbone.name,
        "streams": backbone.streams,
        "torchreid_vi": version("torchreid_vi"),
        **about,
    }
    about = json.loads(json.dumps(about))  # plain data alone, which every reader opens
    state = {f"backbone.{name}": value.cpu() for name, value in backbone.state_dict().items()}
    with files.whole(path) as file:
        torch.save({"state_dict": state, "about": about}, file)
    files.write_text(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")


class _Source:
    """The tensors of a file by the name they have in a model of one stream."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.names: dict[str, str] = {}  # of the file, by the one of one stream
        self.shared: dict[str, Tensor] = {}
        self.stems: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            shared, stream = _shared_name(name)
            self.names.setdefault(shared, name)
            where = self.shared if stream is None else self.stems.setdefault(shared, {})
            where[shared if stream is None else stream] = value

    def find(self, name: str, stem: str) -> Tensor | None:
        """The tensor for a model's ``name``."""
        shared, stream = _shared_name(name)
        if shared in self.shared:
            return self.shared[shared]
        stems = self.stems.get(shared, {})
        wanted = stream or stem
        if wanted == "average" and len(stems) == 2:
            visible, infrared = stems.values()
            if visible.shape != infrared.shape or visible.dtype != infrared.dtype:
                return None
            return torch.lerp(visible, infrared, 0.5) if visible.is_floating_point() else visible
        return stems.get(wanted)

    def unused(self, used: set[str]) -> list[str]:
        """The file's names, but for those of the tensors ``used``."""
        return [name for shared, name in self.names.items() if shared not in used]


def _shared_name(name: str) -> tuple[str, str | None]:
    """What torchreid's own model calls a tensor, and the modality whose stem it belongs to, if any."""
    for stream, modality in enumerate(Modality):
        if name.startswith(prefix := f"backbone.stems.{stream}."):
            return name.removeprefix(prefix), modality.name.lower()
    return name.removeprefix("backbone.trunk."), None


def _is_head(name: str, own: Iterable[str]) -> bool:
    """Whether a tensor is none of torchreid's backbone: a block between its layers, or after its maps.

    Args:
        name: of the tensor.
        own: the names of all tensors of its model.
    """
    if f"{INSERTED}." in name:
        return True
    if any(other.startswith("backbone.") for other in own):
        return not name.startswith("backbone.")
    return name.startswith(tuple(f"{head}." for head in HEADS))


def _epoch(content: dict[str, Any]) -> int | None:
    about = content.get("about")
    epoch = content.get("epoch", about.get("epochs") if isinstance(about, dict) else None)
    return epoch if isinstance(epoch, int) else None


def _described(content: dict[str, Any]) -> str:
    about = content.get("about")
    if not isinstance(about, dict):
        return ""
    return f" ({about.get('backbone')}, {about.get('streams')} streams)"
