"""The stripe shuffle on batches."""

import pytest
import torch

from torchreid_vi.methods.mmgl.stripes import batch_orders, random_orders, shuffle_stripes


def test_stripe_k_is_the_original_stripe_at_order_k():
    images, orders = torch.randn(5, 3, 12, 4), random_orders(5, 6)
    shuffled = shuffle_stripes(images, orders)
    for b in range(5):
        for k in range(6):
            origin = int(orders[b, k])
            assert torch.equal(shuffled[b, :, 2 * k : 2 * k + 2], images[b, :, 2 * origin : 2 * origin + 2])


def test_the_inverse_order_puts_them_back():
    images, orders = torch.randn(4, 3, 12, 4), random_orders(4, 4)
    assert torch.equal(shuffle_stripes(shuffle_stripes(images, orders), orders.argsort(1)), images)


def test_orders_are_uniform():
    orders = random_orders(12_000, 3)
    assert torch.equal(orders.sort(1).values, torch.arange(3).expand_as(orders))
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert counts.min() > 1800  # 2,000 ± 41 expected
    assert counts.max() < 2200


@pytest.mark.parametrize("modality", [[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [1, 1, 0, 1, 0, 0]])
def test_both_images_of_a_pair_have_one_order_when_asked(modality):
    modality = torch.tensor(modality)
    for _ in range(20):
        orders = batch_orders(modality, 6, shared=True)
        assert torch.equal(orders[modality == 0], orders[modality == 1])
    assert len(orders.unique(dim=0)) > 1


@pytest.mark.parametrize("view", [None, [[0, 0, 0, 0, 1, 1], [1, 0, 0, 0, 0, 1]]])
def test_an_order_depends_on_the_place_among_the_images_of_a_modality_and_view_alone(view):
    found = []
    for i, modality in enumerate((torch.tensor([0, 0, 1, 1, 0, 1]), torch.tensor([0, 0, 1, 0, 1, 1]))):
        of = torch.zeros(6, dtype=torch.long) if view is None else torch.tensor(view[i])
        torch.manual_seed(0)
        orders = batch_orders(modality, 6, view=None if view is None else of)
        assert len(orders.unique(dim=0)) == 6
        found.append([orders[(modality == m) & (of == v)] for m in (0, 1) for v in (0, 1)])
    assert all(map(torch.equal, *found))


def test_images_without_a_partner_are_shuffled_too():
    orders = batch_orders(torch.tensor([0, 0, 0, 1]), 6, shared=True)
    assert torch.equal(orders[0], orders[3])
    assert torch.equal(orders.sort(1).values, torch.arange(6).expand(4, 6))
    assert len(batch_orders(torch.tensor([1, 1]), 6)) == 2


def test_a_height_that_the_stripes_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="6 stripes do not divide a height of 100"):
        shuffle_stripes(torch.zeros(1, 3, 100, 4), random_orders(1, 6))
