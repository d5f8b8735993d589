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


def paired_orders(modality: Tensor, stripes: int) -> Tensor:
    """Sample an order for every image of a batch, the same for both images of a pair.

    The first visible image is paired with the first infrared one, and so on; images that are left over
    have an order of their own.

    Args:
        modality: 0 visible, 1 infrared (B,).
        stripes: S, the number of stripes.

    Returns:
        Orders (B, S), on the device of ``modality``.
    """
    place = torch.where(modality == 0, (modality == 0).cumsum(0), (modality == 1).cumsum(0)) - 1
    return random_orders(len(modality), stripes).to(modality.device)[place]


def shuffle_stripes(images: Tensor, orders: Tensor) -> Tensor:
    """Shuffle images so that stripe k is the original stripe ``orders[:, k]``.

    Args:
        images: (B, C, H, W).
        orders: (B, S), rows are permutations of 0..S−1.

    Returns:
        Shuffled images (B, C, H, W).

    Raises:
        ValueError: when S does not divide H.

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
