"""Samplers: torchreid's own by name, and those that balance modalities."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from torchreid_vi import host
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality


class CrossModalitySampler(Sampler[int]):
    """P identities a batch, K visible and K infrared images of each.

    Without replacement, identities come round in random order before any comes again, and so do the images of
    each identity and modality; only identities with fewer than K images show one twice in a batch. An epoch is as
    many whole batches as show the larger modality once: ⌈max(visible, infrared) / (P·K)⌉.

    With replacement, as in the public code of AGW, CAJ and DDAG, every batch samples its P identities anew and each
    of their images independently of the others, so a batch may show an image several times. An epoch has
    ⌊max(visible, infrared) / (P·K)⌋ + 1 batches.

    Args:
        pids: Identity of each training image (N,).
        modality: Modality of each training image (N,).
        batch_size: B = P·2K.
        num_instances: K.
        replacement: Whether images and, between batches, identities are sampled with replacement.

    Raises:
        InputError: When 2K does not divide the batch or fewer than P identities have both modalities.
    """

    def __init__(
        self,
        pids: Sequence[int],
        modality: Sequence[int],
        batch_size: int,
        num_instances: int,
        replacement: bool = False,
    ) -> None:
        _require_divides(batch_size, 2 * num_instances, "2 × sampler.num_instances (K of each modality)")
        self.batch_size, self.num_instances, self.replacement = batch_size, num_instances, replacement
        self.num_pids = batch_size // (2 * num_instances)
        images: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for index, (pid, kind) in enumerate(zip(pids, modality, strict=True)):
            images[pid][kind].append(index)
        self.images = {pid: both for pid, both in images.items() if all(both)}
        _require_identities(len(self.images), self.num_pids, " with images in both modalities")
        larger = max(sum(len(both[kind]) for both in self.images.values()) for kind in Modality)
        group = self.num_pids * num_instances
        self.num_batches = larger // group + 1 if replacement else math.ceil(larger / group)

    def __iter__(self) -> Iterator[int]:
        return self._sampled() if self.replacement else self._dealt()

    def _sampled(self) -> Iterator[int]:
        for _ in range(self.num_batches):
            for pid in random.sample(list(self.images), self.num_pids):
                for images in self.images[pid]:
                    yield from random.choices(images, k=self.num_instances)

    def _dealt(self) -> Iterator[int]:
        everyone = _Deck(list(self.images))
        decks = {pid: [_Deck(both[kind]) for kind in Modality] for pid, both in self.images.items()}
        for _ in range(self.num_batches):
            for pid in everyone.deal(self.num_pids):
                for deck in decks[pid]:
                    yield from deck.deal(self.num_instances)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size


class ModalityPairSampler(Sampler[int]):
    """Half a batch of visible and half a batch of infrared images, sampled without looking at identities.

    The images of a modality come round in random order before any comes again. An epoch is as many whole
    batches as show the larger modality once.

    Args:
        modality: Modality of each training image (N,).
        batch_size: B, even.

    Raises:
        InputError: For an odd batch, or a modality with fewer images than half of it.
    """

    def __init__(self, modality: Sequence[int], batch_size: int) -> None:
        _require_divides(batch_size, 2, "the number of modalities")
        self.half = batch_size // 2
        self.images: dict[Modality, list[int]] = {kind: [] for kind in Modality}
        for index, kind in enumerate(modality):
            self.images[Modality(kind)].append(index)
        for kind, images in self.images.items():
            if len(images) < self.half:
                raise InputError(
                    f"a batch needs {self.half} {kind.name.lower()} images and the training set has "
                    f"{len(images)}: lower train.batch_size or add {kind.name.lower()} images"
                )
        self.num_batches = max(len(images) for images in self.images.values()) // self.half

    def __iter__(self) -> Iterator[int]:
        decks = [_Deck(images) for images in self.images.values()]
        for _ in range(self.num_batches):
            for deck in decks:
                yield from deck.deal(self.half)

    def __len__(self) -> int:
        return self.num_batches * 2 * self.half


class _Deck:
    """Cards dealt in random order; when they run out they are shuffled again.

    A deal holds a card twice only when it is larger than the deck.
    """

    def __init__(self, cards: list[int]) -> None:
        self.cards, self.left = cards, list[int]()

    def deal(self, number: int) -> list[int]:
        dealt: list[int] = []
        distinct = number <= len(self.cards)
        while len(dealt) < number:
            if not self.left:
                self.left = random.sample(self.cards, len(self.cards))
            card = self.left.pop()
            if distinct and card in dealt:  # reshuffled in the middle of a deal: put it back for later
                self.left.insert(random.randrange(len(self.left) + 1), card)
                continue
            dealt.append(card)
        return dealt


def _require_divides(batch_size: int, group: int, name: str) -> None:
    if group < 1 or batch_size % group:
        raise InputError(
            f"train.batch_size {batch_size} is not a multiple of {name} = {group}: change either"
        )


def _require_identities(found: int, needed: int, which: str = "") -> None:
    if found < needed:
        remedy = "lower train.batch_size or raise sampler.num_instances"
        if not found:
            remedy = "check data.sources and data.modalities"
        raise InputError(
            f"a batch needs {needed} identities{which} and the training set has {found}: {remedy}"
        )


SamplerFactory = Callable[..., Sampler[int]]


def _cross_modality(
    dataset: Any, batch_size: int, num_instances: int, replacement: bool, **_: Any
) -> Sampler[int]:
    pids, modality = [item[1] for item in dataset.train], [dataset.modality(item) for item in dataset.train]
    return CrossModalitySampler(pids, modality, batch_size, num_instances, replacement)


def _modality_pair(dataset: Any, batch_size: int, **_: Any) -> Sampler[int]:
    return ModalityPairSampler([dataset.modality(item) for item in dataset.train], batch_size)


def _torchreids(name: str) -> SamplerFactory:
    """Return a factory of torchreid's sampler of that name, whose assertions become sentences."""

    def build(dataset: Any, batch_size: int, num_instances: int, **options: Any) -> Sampler[int]:
        if name == "RandomIdentitySampler":
            _require_divides(batch_size, num_instances, "sampler.num_instances")
            _require_identities(dataset.num_train_pids, batch_size // num_instances)
        try:
            return host.samplers.build_train_sampler(
                dataset.train, name, batch_size=batch_size, num_instances=num_instances, **options
            )
        except (AssertionError, ValueError) as error:
            raise InputError(
                f"{name} cannot fill a batch of {batch_size} from {dataset.num_train_cams} cameras and "
                f"{dataset.num_datasets} datasets: change train.batch_size, sampler.num_cams or num_datasets"
            ) from error

    return build


#: Samplers by the names that ``sampler.train_sampler`` uses.
SAMPLERS: dict[str, SamplerFactory] = {name: _torchreids(name) for name in host.samplers.AVAI_SAMPLERS}
READ_IDENTITIES = {"RandomIdentitySampler", "CrossModalitySampler"}
SAMPLERS |= {"CrossModalitySampler": _cross_modality, "ModalityPairSampler": _modality_pair}


def build_sampler(name: str, dataset: Any, **options: Any) -> Sampler[int]:
    """Return the sampler called ``name`` over a dataset's training images.

    Args:
        name: A key of :data:`SAMPLERS`.
        dataset: A :class:`~torchreid_vi.data.VIDataset`.
        **options: ``batch_size``, ``num_instances``, ``replacement``, ``num_cams``, ``num_datasets``.
    """
    if name not in SAMPLERS:
        raise unknown_name("sampler in sampler.train_sampler", name, SAMPLERS)
    return SAMPLERS[name](dataset, **options)
