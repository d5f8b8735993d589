"""Trains like tools/train.py, with convolutions and linear layers in simulated fp16.

python studies/half_precision.py --config-file configs/mcja_synthetic.yaml --seeds 1-3 data.save_dir log/fp16

Few processors compute in fp16. As a GPU's tensor cores do, inputs, weights and outputs are rounded to fp16 and sums
are taken in fp32; gradients are rounded under a loss scale of 1,024, so that small ones do not vanish.
"""

import sys

import torch
from torch.nn import functional as F

from torchreid_vi.cli import train

SCALE = 1024.0


class Rounded(torch.autograd.Function):
    """Round a tensor and its gradient to fp16."""

    @staticmethod
    def forward(ctx, values):
        return values.half().float()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * SCALE).half().float() / SCALE


def in_half(function):
    """Return a convolution or linear function that computes in simulated fp16."""

    def call(images, weight, *args, **kwargs):
        return Rounded.apply(function(Rounded.apply(images), Rounded.apply(weight), *args, **kwargs))

    return call


if __name__ == "__main__":
    F.conv2d, F.linear = in_half(F.conv2d), in_half(F.linear)
    sys.exit(train.main())
