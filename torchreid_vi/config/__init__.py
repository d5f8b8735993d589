"""Settings: defaults, how they are changed, what they name, and the arguments made of them."""

from torchreid_vi.config.defaults import default_config
from torchreid_vi.config.fingerprint import comparable, evaluation, fingerprint, keys, resumable, short
from torchreid_vi.config.importing import import_named
from torchreid_vi.config.kwargs import (
    data_kwargs,
    network_settings,
    optimizer_kwargs,
    run_kwargs,
    scheduler_kwargs,
    step_kwargs,
)
from torchreid_vi.config.loading import load_config, read_config

__all__ = [
    "comparable",
    "data_kwargs",
    "default_config",
    "evaluation",
    "fingerprint",
    "import_named",
    "keys",
    "load_config",
    "network_settings",
    "optimizer_kwargs",
    "read_config",
    "resumable",
    "run_kwargs",
    "scheduler_kwargs",
    "short",
    "step_kwargs",
]
