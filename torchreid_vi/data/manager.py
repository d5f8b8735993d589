"""torchreid's image data manager for visible-infrared datasets, on our loaders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
from torchvision import transforms as tv

from torchreid_vi import host
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.data.datasets import open_dataset, require_split
from torchreid_vi.data.datasets.base import VIDataset, relabelled
from torchreid_vi.data.images import resizer
from torchreid_vi.data.loader import TestLoader, TrainLoader
from torchreid_vi.data.maa import MAA
from torchreid_vi.data.samplers import READ_IDENTITIES, build_sampler
from torchreid_vi.data.shares import own_places
from torchreid_vi.data.source import Reading, Source
from torchreid_vi.data.thermal import thermal_range as find_thermal_range
from torchreid_vi.data.validation import hold_out
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.folders import expanded
from torchreid_vi.modality import Modality, as_modality

log = logging.getLogger(__name__)


class VIDataManager(host.data.ImageDataManager):  # type: ignore[misc]
    """Loads visible-infrared sources and targets for an engine.

    Args:
        sources: Names of the training datasets (or one name), a visible-infrared one first.
        targets: Names of the test datasets; the sources when empty.
        root: Folder that holds the datasets' folders.
        transforms: Names from :data:`torchreid_vi.data.transforms.TRANSFORMS`.
        second_view: Names of the transforms of a second view of each visible image, which joins the batch
            as an image of its own; none when empty.
        maa: Branches of Modality Alignment Augmentation that are on.
        modalities: Which modalities to train on, ``visible`` and ``infrared``.
        train_sampler: A name from :data:`torchreid_vi.data.samplers.SAMPLERS`.
        identities: Whether training needs identities; without them no dataset has to have any, and
            all images count as one identity's.
        validation: Share of the training identities, or without them of the images, that is held out,
            from 0 to below 1.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        norm_mean: Mean of each channel, of values from 0 to 1.
        norm_std: Standard deviation of each channel.
        batch_size_train: Images of a training batch, in all processes together.
        batch_size_test: Images of a test batch.
        replacement: Whether ``CrossModalitySampler`` samples with replacement.
        interpolation: How images are resized, a name from :data:`torchreid_vi.data.images.INTERPOLATIONS`.
        cache: Folder of decoded images, under ``root`` or absolute; none when empty.
        thermal_range: What is black and white in images of more than 8 bits; percentiles of the infrared training
            images when empty.
        split_id: Which split, from 0, where a dataset has several.
        combineall: Train on queries and galleries, too.
        vi_labelled: Settings of :class:`~torchreid_vi.data.datasets.VILabelled`, ``test_share`` and ``test_list``.
        workers: Number of threads that read images; no batch depends on it.
        seed: Seed, with the epoch and the step, of everything random in training batches.
        k_tfm: Independent views of each training image.
        use_gpu: Whether batches go to the GPU.
        num_instances, num_cams, num_datasets: Options of the samplers.
        **kwargs: Options of torchreid's own datasets, such as ``market1501_500k``.

    Attributes:
        train_loader: A :class:`~torchreid_vi.data.loader.TrainLoader`.
        test_loader: For each target a :class:`~torchreid_vi.data.loader.TestLoader` of its query and its gallery.
        val_loader: The same for what is held out for validation; None without it.
        normalise: The normalisation of 8-bit images.

    Raises:
        InputError: For a name, dataset or share that cannot be used.
    """

    def __init__(
        self,
        sources: str | Sequence[str],
        targets: str | Sequence[str] = (),
        root: str = "",
        transforms: str | Sequence[str] = ("random_flip",),
        second_view: Sequence[str] = (),
        maa: Sequence[str] = MAA,
        modalities: Sequence[str] = ("visible", "infrared"),
        train_sampler: str = "RandomSampler",
        identities: bool = True,
        validation: float = 0.0,
        height: int = 256,
        width: int = 128,
        norm_mean: Sequence[float] = (0.485, 0.456, 0.406),
        norm_std: Sequence[float] = (0.229, 0.224, 0.225),
        batch_size_train: int = 32,
        batch_size_test: int = 32,
        num_instances: int = 4,
        num_cams: int = 1,
        num_datasets: int = 1,
        replacement: bool = False,
        interpolation: str = "bilinear",
        cache: str = "",
        thermal_range: Sequence[float] = (),
        split_id: int = 0,
        combineall: bool = False,
        vi_labelled: dict[str, Any] | None = None,
        workers: int = 4,
        seed: int = 1,
        k_tfm: int = 1,
        use_gpu: bool = True,
        **kwargs: Any,
    ) -> None:
        sources, targets, transforms = map(_names, (sources, targets, transforms))
        _check(sources, targets, split_id, second_view, k_tfm)
        size, norm = (height, width), (list(norm_mean), list(norm_std))
        augmentation = Augmentation(transforms, Settings(*size, *norm, maa, interpolation), second_view)
        # torchreid's base class knows names and sizes; its own manager would read the datasets for its loaders.
        base: Any = super(host.data.ImageDataManager, self)
        with redirect_stdout(StringIO()):  # it prints transforms that are not used
            base.__init__(sources, targets or None, *size, [], *norm, use_gpu)
        self.normalise, self._batch_size_test = augmentation.normalise, batch_size_test
        self.transform_te = tv.Compose([resizer(*size, interpolation), tv.ToTensor(), tv.Normalize(*norm)])
        options: dict[str, Any] = {"root": root, "split_id": split_id, "combineall": combineall, **kwargs}
        options |= {"transform": self.transform_te, "verbose": False}
        read = partial(open_dataset, own={"vi_labelled": vi_labelled or {}}, **options)
        dataset = self._training_set(read, identities, train_sampler)
        self.thermal_range = find_thermal_range(dataset, thermal_range)
        folder = expanded(root) / cache if cache else None
        reading = Reading(size, interpolation, self.thermal_range, folder, _device(self.use_gpu), workers)
        train = reading.source(dataset, [*sources[1:], *["all"] * combineall])
        self._test_loaders(read, reading)
        self._hold_out(train, _chosen_modalities(modalities), validation, identities)
        self._log(dataset, identities, augmentation)
        options = {"batch_size": batch_size_train, "replacement": replacement}
        options |= {"num_instances": num_instances, "num_cams": num_cams, "num_datasets": num_datasets}
        sampler = build_sampler(train_sampler, dataset, **options)
        places = own_places(train_sampler, batch_size_train, num_instances, bool(second_view))
        self.train_loader = TrainLoader(train, sampler, batch_size_train, places, augmentation, seed, k_tfm)

    def _training_set(
        self, read: Callable[[str, str], Any], identities: bool, train_sampler: str
    ) -> VIDataset:
        """Return the training set; without identities, all of its images are one identity's."""
        dataset = sum(read(name, "train") for name in self.sources)
        if not isinstance(dataset, VIDataset):
            raise InputError(
                f"data.sources begins with {self.sources[0]}: name a visible-infrared dataset first"
            )
        if identities:
            self._require_identities()
            return dataset
        if train_sampler in READ_IDENTITIES:
            raise InputError(
                f"sampler.train_sampler {train_sampler} reads identities, which pre-training does not: "
                "set it to ModalityPairSampler"
            )
        dataset.set_train([(path, 0, camid, dsetid) for path, _, camid, dsetid in dataset.train])
        return dataset

    def _log(self, dataset: VIDataset, identities: bool, augmentation: Augmentation) -> None:
        people = f"{dataset.num_train_pids:,} identities, " if identities else ""
        log.info(f"Training set, {', '.join(self.sources)}: {people}{len(dataset.train):,} images")
        for name, parts in self.test_dataset.items() if identities else ():
            query, gallery = parts["query"], parts["gallery"]
            log.info(
                f"Test set, {name}: {len({item[1] for item in query}):,} identities, {len(query):,} queries, "
                f"{len(gallery):,} gallery images"
            )
        for line in augmentation.described():
            log.info(line)

    def _test_loaders(self, read: Callable[[str, str], Any], reading: Reading) -> None:
        self.test_loader: dict[str, dict[str, TestLoader]] = {}
        self.test_dataset: dict[str, dict[str, Any]] = {}
        for name in self.targets:
            sources = {mode: reading.source(read(name, mode)) for mode in ("query", "gallery")}
            self.test_loader[name] = {
                mode: TestLoader(source, self._batch_size_test, self.normalise)
                for mode, source in sources.items()
            }
            self.test_dataset[name] = {mode: source.dataset.data for mode, source in sources.items()}

    def _hold_out(self, train: Source, keep: set[Modality], share: float, identities: bool) -> None:
        """Keep some modalities of the training set, and hold out a share of it."""
        dataset = train.dataset
        dataset.set_train(relabelled([item for item in dataset.train if dataset.modality(item) in keep]))
        held = hold_out(dataset, share, identities) if share else {}
        self.val_loader = {
            name: TestLoader(train.of(part), self._batch_size_test, self.normalise)
            for name, part in held.items()
        } or None
        self._num_train_pids, self._num_train_cams = dataset.num_train_pids, dataset.num_train_cams

    def _require_identities(self) -> None:
        for name in (*self.sources, *self.targets):
            if not getattr(host.IMAGE_DATASETS[name], "labelled", True):
                raise InputError(
                    f"dataset {name} has no identities to train or test on: pre-train on it with "
                    "loss.name mmgl, or name another one in data.sources and data.targets"
                )


def _device(use_gpu: bool) -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if use_gpu else torch.device("cpu")


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _check(
    sources: Sequence[str], targets: Sequence[str], split: int, second_view: Sequence[str], views: int
) -> None:
    if not sources:
        raise InputError("data.sources is empty: name at least one")
    if second_view and views > 1:
        raise InputError(f"data.k_tfm is {views} with a data.second_view: set it to 1, or leave the view out")
    for name in (*sources, *targets):
        if name not in host.IMAGE_DATASETS:
            raise unknown_name("dataset", name, host.IMAGE_DATASETS)
    require_split([*sources, *targets], split)


def _chosen_modalities(names: Sequence[str]) -> set[Modality]:
    if not names:
        raise InputError("data.modalities is empty: name at least one")
    return {as_modality(name, "modality in data.modalities") for name in names}
