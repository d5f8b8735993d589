"""What the pickles in a checkpoint may make: plain data and tensors, in no more memory than the file takes.

PyTorch's ``weights_only`` lets them call a handful of functions, three of which are too much for a stranger's file:
``bytearray`` takes a length without a content, ``_codecs.encode`` doubles what it is given as often as it is asked,
and ``numpy.dtype`` takes a state that NumPy crashes with. The first is refused, the second is held to what Python
writes for bytes, and NumPy's numbers are made here.
"""

from __future__ import annotations

import mmap
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from torchreid_vi.errors import InputError

_BYTEARRAY, _ENCODE = b"\nbytearray\n", b"_codecs\nencode\n"  # as pickles name them
_PICKLES = 5  # that come before the values where torch.save makes no archive
_NUMBERS = ("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


class NumberType(str):
    """The name of a NumPy number's type, in the place of the type."""

    order = "="

    def __new__(cls, name: str, *how: bool) -> NumberType:
        if name not in _NUMBERS:
            raise pickle.UnpicklingError(f"{name!r} is the type of no number")
        return super().__new__(cls, name)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", ">", "|"):
            raise pickle.UnpicklingError(f"{state[1]!r} is no order of bytes")
        self.order = state[1]


def _number(kind: NumberType, content: bytes) -> Any:
    return np.frombuffer(content, f"{kind.order}{kind}").item()


class Numbers(list[Any]):
    """The elements of a NumPy array in one row, in the place of the array."""

    def __setstate__(self, state: Any) -> None:
        _, _, kind, _, content = state
        if not isinstance(kind, NumberType):
            raise pickle.UnpicklingError("an array holds other things than numbers")
        self[:] = np.frombuffer(content, f"{kind.order}{kind}").tolist()


def _numbers(*_: Any) -> Numbers:
    return Numbers()


#: For ``torch.serialization.safe_globals``: torchreid saves its Rank-1 as a NumPy number, AGW's code its CMC as an
#: array.
NUMPYS: list[Any] = [
    (NumberType, "numpy.dtype"),
    (Numbers, "numpy.ndarray"),
    (_numbers, "numpy._core.multiarray._reconstruct"),
    (_numbers, "numpy.core.multiarray._reconstruct"),
    (_number, "numpy._core.multiarray.scalar"),
    (_number, "numpy.core.multiarray.scalar"),  # before NumPy 2
]


def check_pickles(path: Path) -> None:
    """Reads a checkpoint's pickles without running them.

    Raises:
        InputError: for one that would fill the memory.
        Exception: whatever a damaged file makes the reader raise.
    """
    remedy = "have its author save tensors and plain data alone"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(_BYTEARRAY) >= 0:
            raise InputError(
                f"{path} was refused: it holds a bytearray, which may be as long as memory; {remedy}"
            )
        if content.find(_ENCODE) >= 0 and sum(_encoded(path)) > len(content):
            raise InputError(f"{path} was refused: its bytes are longer than it is; {remedy}")


def _encoded(path: Path) -> Iterator[int]:
    """The length of each text that a checkpoint's pickles encode."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():  # of which two may have one name
                if member.filename.lower().endswith("data.pkl"):
                    with archive.open(member) as file:
                        yield from _encoded_by(file)
        return
    with path.open("rb") as file:
        for _ in range(_PICKLES):
            yield from _encoded_by(file)


def _encoded_by(file: IO[bytes]) -> Iterator[int]:
    """The same of one pickle; each call has to be the one that Python writes for bytes: of a text, to Latin-1."""
    kept: dict[Any, str | bytes | None] = {}  # by the place that the pickle keeps it at
    made: str | bytes | None = None  # a text, or the function
    stage = 0  # of a call
    for operation, argument, _ in pickletools.genops(file):
        if "PUT" in operation.name:
            kept[argument] = made
            continue
        made = None
        if "UNICODE" in operation.name:
            made = argument
        elif "GET" in operation.name:
            made = kept.get(argument)
        elif operation.name == "GLOBAL" and argument == "_codecs encode":
            made = _ENCODE
        if not stage:
            stage = int(made == _ENCODE)
            continue
        ends = operation.name == ("TUPLE2" if stage == 3 else "REDUCE")
        if not (isinstance(made, str), made == "latin1", ends, ends)[stage - 1]:
            raise pickle.UnpicklingError("bytes are made in a strange way")
        if stage == 1:
            yield len(str(made))
        stage = (stage + 1) % 5
    if stage:
        raise pickle.UnpicklingError("bytes are begun and not made")
