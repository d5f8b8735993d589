"""Part contrast across the views of an image against plain loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi import InputError
from torchreid_vi.methods.mmgl import PartViewContrastLoss

IMAGE = torch.tensor([0, 1, 2, 0, 1, 2])


def random_parts(views=6, stripes=3, dim=5):
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(views, stripes, dim, dtype=torch.float64, generator=generator), dim=2)


def plain_loss(parts, image, temperature):
    """Compute the loss one part of one view at a time."""
    terms = []
    for i in range(parts.shape[1]):
        for b in range(len(parts)):
            others = [a for a in range(len(parts)) if a != b]
            score = {a: torch.exp(parts[b, i] @ parts[a, i] / temperature) for a in others}
            same = [a for a in others if image[a] == image[b]]
            terms.append(-sum(torch.log(score[a] / sum(score.values())) for a in same) / len(same))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("image", [IMAGE, torch.tensor([4, 4, 4, 7, 7, 7])], ids=["two views", "three views"])
def test_value_and_gradient_are_those_of_plain_loops(image):
    ours, plain = random_parts().requires_grad_(), random_parts().requires_grad_()
    loss, expected = PartViewContrastLoss(0.2)(ours, image), plain_loss(plain, image, 0.2)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_views_that_agree_cost_nothing_and_equal_images_the_logarithm_of_their_number():
    same_part = torch.eye(5)[:3, None].expand(3, 4, 5).repeat(2, 1, 1)
    assert PartViewContrastLoss()(same_part, IMAGE).item() == pytest.approx(0, abs=1e-3)
    assert PartViewContrastLoss()(torch.ones(6, 4, 5) / math.sqrt(5), IMAGE).item() == pytest.approx(
        math.log(5)
    )


def test_a_code_of_the_modality_alone_does_not_help():
    """Images 0 and 1 are visible, image 2 is infrared: knowing that leaves one in three to guess."""
    code = torch.eye(2)[torch.tensor([0, 0, 1, 0, 0, 1])][:, None]
    assert PartViewContrastLoss()(code, IMAGE).item() == pytest.approx(2 / 3 * math.log(3), abs=1e-3)


def test_half_precision_is_computed_in_full():
    parts = random_parts().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = PartViewContrastLoss()(parts, IMAGE)
    torch.testing.assert_close(loss, PartViewContrastLoss()(parts.float(), IMAGE))


def test_one_view_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"set data\.k_tfm to 2"):
        PartViewContrastLoss()(random_parts(), torch.arange(6))
    with pytest.raises(ValueError, match="expected"):
        PartViewContrastLoss()(random_parts(), torch.arange(5))
    with pytest.raises(ValueError, match="temperature"):
        PartViewContrastLoss(0)
