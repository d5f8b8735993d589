"""Divide training batches among processes."""

from __future__ import annotations

import numpy as np

from torchreid_vi import distributed
from torchreid_vi.errors import InputError

BALANCED = ("CrossModalitySampler", "ModalityPairSampler")  # every process gets as many of each modality


def own_places(name: str, batch_size: int, num_instances: int, second_view: bool) -> list[int]:
    """Return which images of a batch this process loads.

    Args:
        name: A key of :data:`~torchreid_vi.data.samplers.SAMPLERS`.
        batch_size: B.
        num_instances: K.
        second_view: Whether visible images have a second view.

    Raises:
        InputError: When the processes would get unequal shares.
    """
    processes = distributed.size()
    if second_view and processes > 1 and name not in BALANCED:
        raise InputError(
            f"data.second_view makes the shares of {processes} processes uneven with {name}: set "
            f"sampler.train_sampler to {' or '.join(BALANCED)}"
        )
    return shard_batch(name, batch_size, num_instances, processes)[distributed.rank()]


def shard_batch(name: str, batch_size: int, num_instances: int, processes: int) -> list[list[int]]:
    """Divide a batch among several processes.

    With a sampler of identities a process gets all images of each of its identities, with a sampler of pairs
    as many images of each modality.

    Args:
        name: A key of :data:`~torchreid_vi.data.samplers.SAMPLERS`.
        batch_size: B.
        num_instances: K.
        processes: N.

    Returns:
        For each process the places in the batch, B/N from 0 to B−1, in ascending order.

    Raises:
        InputError: When the batch cannot be shared out evenly.
    """
    unit = {"CrossModalitySampler": 2 * num_instances, "RandomIdentitySampler": num_instances}.get(name, 1)
    places = np.arange(batch_size)
    if name == "ModalityPairSampler":
        unit = 2
    if batch_size % (processes * unit):
        raise InputError(
            f"train.batch_size {batch_size} cannot be shared out evenly among {processes} processes: "
            f"make it a multiple of {processes * unit}"
        )
    if name == "ModalityPairSampler":
        places = places.reshape(2, -1).T.ravel()
    return np.sort(places.reshape(processes, -1)).tolist()
