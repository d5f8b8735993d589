"""The kinds of index that FAISS makes, by the strings of its index factory."""

from __future__ import annotations

from typing import Any

from torchreid_vi.errors import InputError
from torchreid_vi.extras import require

_LEAST = 39  # vectors to learn a centroid from, as FAISS asks


def faiss() -> Any:
    """Return FAISS.

    Raises:
        InputError: When it is missing.
    """
    return require("search", "an index")[0]


def empty(factory: str, dimensions: int) -> Any:
    """Return an empty index of FAISS that keeps ids and searches well: its own settings favour speed."""
    library = faiss()
    try:
        vectors = library.index_factory(dimensions, factory, library.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-120:]
        raise InputError(
            f"FAISS makes no index {factory[:100]!r} of {dimensions} dimensions (… {reason}): choose Flat, HNSW32 "
            "or another string of its index factory"
        ) from error
    cells = library.downcast_index(library.try_extract_index_ivf(vectors))
    if hasattr(part := cells or vectors, "do_polysemous_training"):
        part.do_polysemous_training = False  # minutes, for a search that nobody asks for
    if cells:
        cells.nprobe = max(min(cells.nlist, 16), cells.nlist // 16)
        if not isinstance(vectors, library.IndexRefine):  # else they keep ids by themselves
            return vectors
    if isinstance(vectors, library.IndexHNSW):
        vectors.hnsw.efConstruction, vectors.hnsw.efSearch = 200, 128
    return vectors if isinstance(vectors, library.IndexIDMap) else library.IndexIDMap2(vectors)


def check(factory: str, dimensions: int, number: int) -> None:
    """Find out before features are extracted whether an index of a number of them can be made.

    Raises:
        InputError: For an unknown kind of index, too few vectors for it, or FAISS that is missing.
    """
    if not number:
        raise InputError("an index needs at least one image: check the folder")
    cells = faiss().try_extract_index_ivf(empty(factory, dimensions))
    least = _LEAST * max(cells.nlist if cells else 0, 256 if "PQ" in factory else 0)
    if number < least:
        raise InputError(
            f"a {factory} index learns from at least {least:,} vectors and there are {number:,}: choose Flat or "
            "HNSW32"
        )
