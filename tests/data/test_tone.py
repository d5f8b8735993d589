"""Random tones: how often, from which weights and curves, and what stays as it was."""

import numpy as np
import torch
from augmenting import RAW, changed
from PIL import Image
from scipy.stats import binomtest, kstest

from torchreid_vi.data.changes import Settings
from torchreid_vi.data.tone import toned
from torchreid_vi.modality import Modality

#: A column of each level of grey.
LEVELS = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2))


def tones(image, number, modality=Modality.VISIBLE):
    """Change copies of an image; return their levels (n, 3, H, W)."""
    settings = Settings(image.height, image.width, *RAW)
    return (changed(["random_tone"], image, number, modality, settings) * 255).round().long()


def test_four_images_of_five_of_either_modality_are_changed():
    for modality in Modality:
        moved = (tones(LEVELS, 2000, modality) != torch.arange(256)).flatten(1).any(1)
        assert binomtest(int(moved.sum()), 2000, 0.8).pvalue > 1e-3


def test_a_curve_is_linear_between_five_uniform_levels():
    curves = tones(LEVELS, 2500)[:, :, 0]
    curves = curves[(curves != torch.arange(256)).flatten(1).any(1)]
    assert (curves == curves[:, :1]).all()  # grey
    curves = curves[:, 0].double()
    for knot in (0, 255):  # those of 64, 128 and 191 lie between two levels
        assert kstest(curves[:, knot] / 255, "uniform").pvalue > 1e-3
    knots = np.arange(5) * 255 / 4
    for curve in curves[:50].numpy():
        between = [np.polyval(np.polyfit(x, curve[x], 1), knots) for x in map(span, knots[:-1])]
        heights = [between[0][0], *(line[i + 1] for i, line in enumerate(between))]
        assert np.abs(np.interp(np.arange(256), knots, heights) - curve).max() < 1.5


def span(knot):
    """Return the levels of the piece of a curve that begins at a knot."""
    return np.arange(np.ceil(knot), np.floor(knot + 255 / 4) + 1).astype(int)


def test_colours_are_mixed_by_weights_that_sum_to_one():
    """Under the curve that changes nothing."""
    images = torch.randint(256, (3, 3, 8, 4), dtype=torch.uint8)
    weights = torch.tensor([[1, 0, 0], [0.2, 0.3, 0.5], [0.25, 0.5, 0.25]])
    grey = toned(images, torch.cat([weights, (torch.arange(5) * 255 / 4).expand(3, 5)], 1))
    expected = (images.double() * weights.double()[:, :, None, None]).sum(1, keepdim=True)
    assert ((grey.double() - expected).abs() < 0.51).all() and grey.dtype == torch.uint8
    primaries = Image.fromarray(np.diag([255] * 3).astype(np.uint8)[None])
    assert (tones(primaries, 500)[:, 0, 0].double().mean(0) - 127.5).abs().max() < 25
