"""Extract features of images with the weights and settings of a run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from torchreid_vi import build, config, console
from torchreid_vi.data.augmentation import Normalise
from torchreid_vi.data.images import Decoder, Range, read_image
from torchreid_vi.errors import InputError
from torchreid_vi.files import sha256_of
from torchreid_vi.folders import expanded
from torchreid_vi.methods.embedder import Embedder
from torchreid_vi.modality import Modality, as_modality
from torchreid_vi.models import identities, load_weights, read_checkpoint
from torchreid_vi.retrieval.images import ImageLike, each_image, one_image
from torchreid_vi.sharing import locate

log = logging.getLogger(__name__)


class FeatureExtractor:
    """Extract features (N, D) of images, float32 and L2-normalised: their inner product is the cosine.

    Args:
        weights: A run's folder, a checkpoint, a package, or the ``https://`` or ``hf://`` address of one; see
            :func:`~torchreid_vi.sharing.locate`.
        settings: The run's ``config.yaml``; the one beside the weights when left out.
        device: Device to compute on; a GPU when there is one.
        batch_size: Number of images in a batch.
        imports: Whether to import what the settings name in ``imports``; a package's names are never imported.

    Raises:
        InputError: For weights or settings that cannot be read, do not fit, or are of a pre-training.
    """

    def __init__(
        self,
        weights: str | Path,
        settings: str | Path = "",
        device: str | torch.device | None = None,
        batch_size: int = 64,
        imports: bool = True,
    ) -> None:
        self.weights, beside = locate(weights)
        file = expanded(settings) if settings else beside
        if file is None:
            raise InputError(f"{weights} lies in no run's folder: name the run's config.yaml as settings")
        read = config.load_config if imports else config.read_config
        self.cfg = cfg = read(str(file), overrides={"model.pretrained": False})
        if build.method_class(cfg).self_supervised:
            raise InputError(f"{weights} is of a pre-training: fine-tune from it first")
        method = build.build_method(cfg, identities(read_checkpoint(self.weights)))
        loaded = load_weights(method.network, self.weights, cfg.model.load_stem)
        if any(not name.startswith("classifier.") for name in loaded.fresh):
            raise InputError(f"{weights} is a backbone without the rest of a model: fine-tune from it first")
        if any(name.startswith("neck.") for name in loaded.unused):
            raise InputError(
                f"{weights} has a neck with a shift, unlike our models: start a training from it"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.embedder = Embedder(method.to(self.device).eval(), cfg.test.flip)
        self.model = method.network
        self.batch_size = batch_size
        thermal = cfg.data.thermal_range or cfg.data.thermal_found
        self.decoder = Decoder(
            cfg.data.height, cfg.data.width, cfg.data.interpolation, Range(*thermal) if thermal else None
        )
        self.normalise = Normalise(cfg.data.norm_mean, cfg.data.norm_std)

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the file of weights."""
        return sha256_of(self.weights)

    @property
    def fingerprint(self) -> str:
        """64 hex digits that differ between extractors whose features differ."""
        cfg, start = self.cfg, ("pretrained", "load_weights", "resume")
        own = cfg.loss.get(cfg.loss.name, {})
        model = {name: value for name, value in (*cfg.model.items(), *own.items()) if name not in start}
        inputs: tuple[Any, ...] = self.decoder.size, self.decoder.interpolation, self.decoder.thermal
        inputs += cfg.data.norm_mean, cfg.data.norm_std, self.embedder.flip
        what = json.dumps([self.weights_sha256, cfg.loss.name, model, inputs], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        modality: str | Modality = Modality.VISIBLE,
        bgr: bool = False,
    ) -> np.ndarray:
        """Return the features (N, D) of images; of a single image (1, D).

        Args:
            images: One image, or a list, tuple or generator of images. An image is a path, one of Pillow's images,
                an array (H, W, 3) or (H, W) of uint8, or a tensor (3, H, W) or (H, W) of torch.uint8; a tensor
                (H, W, 3) is taken, too, where H is not 3. An array (H, W) of uint16 or float32 is scaled as the
                thermal images of the training were. An array (N, H, W, 3) or a tensor (N, 3, H, W) is N
                images. Arrays and tensors are RGB.
            modality: Modality of the images, ``visible`` or ``infrared``.
            bgr: Take arrays and tensors as BGR, as OpenCV has them.

        Raises:
            InputError: Naming an image that cannot be used.
        """
        side, thermal = as_modality(modality), self.decoder.thermal
        each = console.progress(each_image(images), "extracting features", leave=False)
        return self._extract((self.decoder.resized(one_image(image, bgr, thermal)) for image in each), side)

    def image(self, path: str | Path) -> Image.Image:
        """Return the image of a file in RGB and in its own size.

        Raises:
            InputError: Naming an image that cannot be used.
        """
        return read_image(path, thermal=self.decoder.thermal)

    def files(
        self, paths: Sequence[str | Path], modality: str | Modality = Modality.VISIBLE
    ) -> tuple[np.ndarray, list[int]]:
        """Return the features (M, D) of the files that can be read, and the places of these M in ``paths``.

        Args:
            paths: Image files (N).
            modality: Modality of the images.
        """
        side, readable, left_out = as_modality(modality), [], []

        def images() -> Iterator[np.ndarray]:
            for number, path in enumerate(console.progress(paths, "extracting features", leave=False)):
                try:
                    image = self.image(path)
                except InputError:
                    left_out.append(str(path))
                else:
                    readable.append(number)
                    yield self.decoder.resized(image)

        features = self._extract(images(), side)
        if left_out:
            names = ", ".join(left_out[:3]) + (", …" if len(left_out) > 3 else "")
            log.info(f"Left out {len(left_out)} that cannot be read: {names}")
        return features, readable

    def _extract(self, images: Iterator[np.ndarray], side: Modality) -> np.ndarray:
        """Return the features (N, D) of images (3, H, W), uint8, a batch at a time."""
        parts = []
        while batch := list(islice(images, self.batch_size)):
            parts.append(self._embed(np.stack(batch), side))
        return np.concatenate(
            parts or [self._embed(np.zeros((1, 3, *self.decoder.size), np.uint8), side)[:0]]
        )

    @torch.inference_mode()
    def _embed(self, images: np.ndarray, side: Modality) -> np.ndarray:
        modality = torch.full((len(images),), int(side), device=self.device)
        features = self.embedder(self.normalise(torch.from_numpy(images).to(self.device)), modality)
        if not features.isfinite().all():
            raise InputError(f"the features of {self.weights} hold NaN or infinity: its training diverged")
        return nn.functional.normalize(features).cpu().numpy()
