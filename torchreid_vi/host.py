"""Access to torchreid that works for its PyPI package and its GitHub checkout alike.

The two differ in their module paths (``torchreid.reid.data`` against ``torchreid.data``), so everything
is reached by attribute. What the host offers no function for (registering a model) or refuses to do
twice (registering a dataset) is done here.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    # The host advises its Cython ranking; ours is vectorised and does not use it.
    warnings.filterwarnings("ignore", message="Cython evaluation")
    import torchreid

data: Any = torchreid.data
engine: Any = torchreid.engine
models: Any = torchreid.models
optim: Any = torchreid.optim
_datasets: Any = importlib.import_module(data.__name__ + ".datasets")
samplers: Any = importlib.import_module(data.__name__ + ".sampler")
transforms: Any = importlib.import_module(data.__name__ + ".transforms")

IMAGE_DATASETS: dict[str, type] = vars(_datasets)["__image_datasets"]
MODELS: dict[str, Callable[..., Any]] = vars(models)["__model_factory"]


def register_dataset(name: str, cls: type) -> None:
    """Add an image dataset to torchreid's registry; a second call, as by a reload, replaces it."""
    IMAGE_DATASETS.pop(name, None)
    data.register_image_dataset(name, cls)


def register_model(name: str, factory: Callable[..., Any]) -> None:
    """Add a model to torchreid's registry.

    Args:
        name: What ``model.name`` and ``torchreid.models.build_model`` call it.
        factory: Called with ``num_classes``, ``loss``, ``pretrained`` and ``use_gpu``.
    """
    MODELS[name] = factory
