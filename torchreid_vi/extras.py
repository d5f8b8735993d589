"""Packages that only some commands need: asked for before the work, in one sentence."""

from __future__ import annotations

import importlib
from typing import Any

from torchreid_vi.errors import InputError

#: What is imported from each extra of setup.py.
EXTRAS: dict[str, tuple[str, ...]] = {
    "search": ("faiss",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "demo": ("gradio",),
    "share": ("huggingface_hub",),
    "test": ("lightly",),
}


def require(extra: str, what: str) -> list[Any]:
    """Import the packages of an extra and return them.

    Args:
        extra: A key of :data:`EXTRAS`.
        what: What needs them, which begins the sentence.

    Raises:
        InputError: For a package that is not installed, or one that is and cannot be imported.
    """
    found = []
    for name in EXTRAS[extra]:
        try:
            found.append(importlib.import_module(name))
        except Exception as error:  # whatever a broken package raises
            install = f'pip install "torchreid_vi[{extra}]"'
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                raise InputError(f"{what} needs {name}, which is not installed: {install}") from error
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(
                f"{what} needs {name}, which is installed and cannot be imported ({reason}): install it anew, "
                f"pip install --force-reinstall {name.replace('faiss', 'faiss-cpu')}"
            ) from error
    return found
