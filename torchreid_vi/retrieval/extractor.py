"""From images to features, with the weights and the settings that a run has left."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms as tv

from torchreid_vi import build, config, console
from torchreid_vi.data.images import Range, read_image, resizer
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.files import sha256_of
from torchreid_vi.folders import expanded
from torchreid_vi.methods.embedder import Embedder
from torchreid_vi.modality import Modality
from torchreid_vi.models import identities, load_weights, read_checkpoint
from torchreid_vi.retrieval.images import ImageLike, each_image, one_image
from torchreid_vi.sharing import locate

log = logging.getLogger(__name__)


class FeatureExtractor:
    """Calling it with images gives their features (N, D), L2-normalised, float32: the inner product is the cosine.

    Args:
        weights: What :func:`~torchreid_vi.sharing.locate` takes: a run's folder, a checkpoint, a package, or the
            ``https://`` or ``hf://`` address of one.
        settings: The run's ``config.yaml``; the one in the folder of the run or the package when left out.
        device: where to compute; a GPU when there is one.
        batch_size: images at a time.
        imports: Whether what the settings name in ``imports`` is imported; a package's never is.

    Raises:
        InputError: for weights or settings that cannot be read, do not fit, or are of a pre-training.
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
        cfg = read(str(file), overrides={"model.pretrained": False})
        if build.method_class(cfg).self_supervised:
            raise InputError(
                f"{weights} is of a pre-training, which retrieves nothing: fine-tune from it first"
            )
        method = build.build_method(cfg, identities(read_checkpoint(self.weights)))
        loaded = load_weights(method.network, self.weights, cfg.model.load_stem)
        if any(not name.startswith("classifier.") for name in loaded.fresh):
            raise InputError(f"{weights} is a backbone without the rest of a model: fine-tune from it first")
        if any(name.startswith("neck.") for name in loaded.unused):
            raise InputError(
                f"{weights} has a neck with a shift, which no model here has: start a training from it"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.embedder = Embedder(method.to(self.device).eval(), cfg.test.flip)
        self.model = method.network
        self.batch_size = batch_size
        self.size = cfg.data.height, cfg.data.width
        self.interpolation = cfg.data.interpolation
        thermal = cfg.data.thermal_range or cfg.data.thermal_found
        self.thermal = Range(*thermal) if thermal else None
        self.split = cfg.data.split_id, dict(cfg.vi_labelled)
        where = ("pretrained", "load_weights", "resume")
        own = cfg.loss.get(cfg.loss.name, {})
        chosen = [each for each in (*cfg.model.items(), *own.items()) if each[0] not in where]
        self._model = [cfg.loss.name, *sorted(chosen)]
        normalise = tv.Normalize(cfg.data.norm_mean, cfg.data.norm_std)
        self.transform = tv.Compose([resizer(*self.size, cfg.data.interpolation), tv.ToTensor(), normalise])

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return sha256_of(self.weights)

    @property
    def fingerprint(self) -> str:
        """64 hex digits that tell extractors apart whose features differ."""
        what = f"{self.weights_sha256} {self.transform} {self.embedder.flip} {self._model}"
        if self.thermal:
            what += f" {self.thermal}"
        return hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        modality: str | Modality = Modality.VISIBLE,
        progress: bool = False,
        bgr: bool = False,
    ) -> np.ndarray:
        """Return the features (N, D) of images; of a single image (1, D).

        Args:
            images: One image, or a list, tuple or generator of images. An image is a path, one of Pillow's images,
                an array (H, W, 3) or (H, W) of uint8, or a tensor (3, H, W) or (H, W) of torch.uint8; a tensor
                (H, W, 3) is taken, too, where H is not 3. An array (H, W) of uint16 or float32 is scaled as the
                thermal images of the training were. An array (N, H, W, 3) or a tensor (N, 3, H, W) is N
                images. Arrays and tensors are RGB.
            modality: ``visible`` or ``infrared``: what light they were taken in.
            progress: Show a bar.
            bgr: Take arrays and tensors as BGR, as OpenCV has them.

        Raises:
            InputError: Naming an image that cannot be used.
        """
        single, number = each_image(images)
        return self._all(
            (one_image(image, bgr, self.thermal) for image in single), number, as_modality(modality), progress
        )

    def image(self, path: str | Path) -> Image.Image:
        """Return the image of a file in RGB, as it is embedded but for its size.

        Raises:
            InputError: Naming an image that cannot be used.
        """
        return read_image(path, thermal=self.thermal)

    def files(
        self, paths: Sequence[str | Path], modality: str | Modality = Modality.VISIBLE, progress: bool = False
    ) -> tuple[np.ndarray, list[int]]:
        """Features (M, D) of the images among some files that can be read, and which M of the files these are.

        Args:
            paths: files (N).
            modality, progress: as for images.
        """
        readable: list[int] = []

        def opened() -> Iterator[Image.Image]:
            for number, path in enumerate(paths):
                try:
                    image = self.image(path)
                except InputError:
                    continue
                readable.append(number)
                yield image

        features = self._all(opened(), len(paths), as_modality(modality), progress)
        if left := sorted(set(range(len(paths))) - set(readable)):
            names = ", ".join(str(paths[number]) for number in left[:3]) + (", …" if len(left) > 3 else "")
            log.info(f"Left out {len(left)} that cannot be read: {names}")
        return features, readable

    def _all(
        self, images: Iterator[Image.Image], number: int | None, side: Modality, progress: bool
    ) -> np.ndarray:
        """Return the features of images as they come, at most so many where that is known."""
        parts = []
        with console.progress(
            what="extracting features", total=number, shown=progress and number != 0
        ) as bar:
            while batch := [self.transform(image) for image in islice(images, self.batch_size)]:
                parts.append(self._features(torch.stack(batch), side))
                bar.update(len(batch))
        return np.concatenate(parts) if parts else np.zeros((0, self._dimensions(side)), np.float32)

    @torch.inference_mode()
    def _features(self, images: Tensor, side: Modality) -> np.ndarray:
        modality = torch.full((len(images),), int(side), device=self.device)
        features = self.embedder(images.to(self.device), modality)
        if not features.isfinite().all():
            raise InputError(f"the features of {self.weights} hold NaN or infinity: its training diverged")
        return nn.functional.normalize(features).cpu().numpy()

    def _dimensions(self, side: Modality) -> int:
        return self._features(torch.zeros(1, 3, *self.size), side).shape[1]


def as_modality(name: str | Modality) -> Modality:
    known = {kind.name.lower(): kind for kind in Modality}
    if isinstance(name, Modality):
        return name
    if name not in known:
        raise unknown_name("modality", name, known)
    return known[name]
