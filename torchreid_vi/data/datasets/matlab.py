"""The numbers in a MATLAB file's cell of cells: all of its format that the official gallery draws need.

SciPy's reader follows cells into cells for as long as a file has any, which ends the process when these are many;
here they end at the second. Format: MAT-File Level 5, MathWorks, "MAT-File Format", chapter 1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

_LARGEST = 2**25  # bytes of all variables, unpacked
_MOST = 2**15  # elements beside each other, and matrices; the official file has 3,198 of these
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _NUMERIC = 1, range(6, 16)


class _Element(NamedTuple):
    kind: int
    content: memoryview


def read_cells(content: bytes, name: str) -> list[list[np.ndarray]]:
    """A variable that is a cell of cells of matrices, in MATLAB's order.

    Args:
        content: of the file.
        name: of the variable.

    Raises:
        ValueError: when there is no such variable, or it is something else or damaged.
    """
    if content[124:128] not in (b"\0\1IM", b"\1\0MI"):
        raise ValueError("no MATLAB file of level 5")
    order = "<" if content[126:128] == b"IM" else ">"
    left = _LARGEST
    for element in _elements(memoryview(content)[128:], order):
        if element.kind == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(element.content, left)
            left = max(1, left - len(unpacked))
            element = next(_elements(memoryview(unpacked), order))
        start = list(islice(_elements(element.content, order), 3)) if element.kind == _MATRIX else []
        if len(start) == 3 and bytes(start[2].content) == name.encode():
            return _read(element, order)
    raise ValueError(f"no variable {name}")


def _read(element: _Element, order: str) -> list[list[np.ndarray]]:
    """The matrices in a cell of cells, as long as they are not too many."""
    found: list[list[np.ndarray]] = []
    left = _MOST
    for cell in _cell(element, order):
        found.append([_matrix(inner, order) for inner in _cell(cell, order, left)])
        left -= len(found[-1])
    return found


def _elements(content: memoryview, order: str, most: int = _MOST) -> Iterator[_Element]:
    """The elements that follow each other; all but compressed ones are padded to eight bytes."""
    at = number = 0
    while at + 8 <= len(content):
        number += 1
        if number > most:
            raise ValueError("too many elements")
        kind, size = struct.unpack_from(f"{order}II", content, at)
        start = at + 8
        if kind >> 16:  # a small one: its content stands in the place of its size
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
        if start + size > len(content) or (start == at + 4 and size > 4):
            raise ValueError("an element is cut off")
        yield _Element(kind, content[start : start + size])
        at = start + size
        if kind != _COMPRESSED:
            at += -(at) % 8


def _cell(element: _Element, order: str, most: int = _MOST) -> list[_Element]:
    """What a cell holds, after its class, its size and its name."""
    if element.kind != _MATRIX:
        raise ValueError("no cell")
    parts = list(_elements(element.content, order, most + 3))
    kind, _ = _described(parts, order)
    if kind != _CELL:
        raise ValueError("no cell")
    return parts[3:]


def _matrix(element: _Element, order: str) -> np.ndarray:
    if element.kind != _MATRIX:
        raise ValueError("no matrix")
    if not len(element.content):
        return np.zeros((0, 0))
    parts = list(_elements(element.content, order))
    kind, shape = _described(parts, order)
    if kind not in _NUMERIC or len(parts) != 4 or parts[3].kind not in _NUMBERS:
        raise ValueError("no matrix of real numbers")
    numbers = np.frombuffer(parts[3].content, f"{order}{_NUMBERS[parts[3].kind]}")
    return numbers.reshape(shape, order="F")


def _described(parts: list[_Element], order: str) -> tuple[int, tuple[int, ...]]:
    """The class of a matrix, and its size."""
    if len(parts) < 3 or len(parts[0].content) != 8 or len(parts[1].content) % 4:
        raise ValueError("no matrix")
    flags = struct.unpack(f"{order}II", parts[0].content)[0]
    return flags & 0xFF, struct.unpack(f"{order}{len(parts[1].content) // 4}i", parts[1].content)
