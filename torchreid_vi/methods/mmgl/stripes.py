"""The stripe shuffle of MMGL: images cut in full-width stripes, put back in another order.

Reference:
    MMGL. arXiv 2112.06147.
"""

from __future__ import annotations

import torch
from torch import Tensor


def random_orders(count: int, stripes: int) -> Tensor:
    """Sample orders (count, stripes) uniformly, each a permutation of 0..stripes−1, on the CPU."""
    return torch.rand(count, stripes).argsort(1)


def batch_orders(modality: Tensor, stripes: int, shared: bool = False, view: Tensor | None = None) -> Tensor:
    """Sample an order for every image of a batch.

    An order depends on the image's place among those of its modality and view alone, so several processes, which
    hold the images in another order, sample the same.

    Args:
        modality: 0 visible, 1 infrared (B,).
        stripes: S, the number of stripes.
        shared: Give the first visible image the order of the first infrared one, and so on.
        view: Number of the view that each row is (B,); all are first views when left out.

    Returns:
        Orders (B, S), on the device of ``modality``.
    """
    view = torch.zeros_like(modality) if view is None else view
    kind = 2 * view + modality
    group = view if shared else kind
    place = (kind[:, None] == kind).tril(-1).sum(1) + (group[:, None] > group).sum(1)
    return random_orders(len(modality), stripes).to(modality.device)[place]


def shuffle_stripes(images: Tensor, orders: Tensor) -> Tensor:
    """Shuffle images so that stripe k is the original stripe ``orders[:, k]``.

    Args:
        images: (B, C, H, W).
        orders: (B, S), rows are permutations of 0..S−1.

    Returns:
        Shuffled images (B, C, H, W).

    Raises:
        ValueError: When S does not divide H.

    >>> image = torch.arange(6.0).view(1, 1, 6, 1)
    >>> shuffle_stripes(image, torch.tensor([[2, 0, 1]])).flatten().tolist()
    [4.0, 5.0, 0.0, 1.0, 2.0, 3.0]
    """
    stripes = orders.shape[1]
    if images.shape[2] % stripes:
        raise ValueError(f"{stripes} stripes do not divide a height of {images.shape[2]}")
    cut = images.unflatten(2, (stripes, -1))
    rows = torch.arange(len(images), device=images.device)[:, None]
    return cut.transpose(1, 2)[rows, orders].transpose(1, 2).flatten(2, 3)


def sort_stripes(parts: Tensor, orders: Tensor) -> Tensor:
    """Put what was computed from shuffled stripes, (B, S, D), back in the original order.

    A tensor (B, 1, D) of whole images stays as it is.

    >>> sort_stripes(torch.tensor([[[4.0], [0.0], [2.0]]]), torch.tensor([[2, 0, 1]])).flatten().tolist()
    [0.0, 2.0, 4.0]
    """
    if parts.shape[1] == 1:
        return parts
    return parts.gather(1, orders.argsort(1)[..., None].expand_as(parts))
