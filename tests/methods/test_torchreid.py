"""torchreid's two methods equal its own engines, in loss and gradient."""

import pytest
import torch

from torchreid_vi import InputError, host
from torchreid_vi.methods import Batch, NetworkSettings, TorchreidSoftmax, TorchreidTriplet

SETTINGS = NetworkSettings("osnet_x0_25", 4)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 64, 32, generator=generator)
    return Batch(images, torch.arange(4).repeat(2), torch.arange(8) // 4)


def gradients(network, loss):
    network.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_equal(method, expected, compute):
    """Compare the weighted sum of a method's losses and its gradient with torchreid's."""
    losses, metrics = method(batch())
    total = sum(losses[name] * weight for name, (_, weight) in method.losses.items())
    own = gradients(method.network, total)
    loss, accuracy = compute(batch())
    assert losses.keys() == expected
    torch.testing.assert_close(total, loss)
    torch.testing.assert_close(metrics["acc"], accuracy)
    for name, gradient in gradients(method.network, loss).items():
        torch.testing.assert_close(own[name], gradient, atol=5e-5, rtol=1e-3)


def criteria(smooth):
    cross_entropy = host.engine.ImageSoftmaxEngine.__init__.__globals__["CrossEntropyLoss"]
    triplet = host.engine.ImageTripletEngine.__init__.__globals__["TripletLoss"]
    return cross_entropy(4, use_gpu=False, label_smooth=smooth), triplet(0.7)


@pytest.mark.parametrize("smooth", [True, False])
def test_softmax_is_torchreids(smooth):
    method = TorchreidSoftmax(SETTINGS, {}, label_smooth=smooth)
    cross_entropy, _ = criteria(smooth)

    def compute(given):
        logits = method.network(given.images)
        return cross_entropy(logits, given.pids), host.engine.engine.metrics.accuracy(logits, given.pids)[0][
            0
        ]

    assert_equal(method, {"loss_x"}, compute)


def test_triplet_is_torchreids():
    method = TorchreidTriplet(SETTINGS, {}, True, margin=0.7, weight_t=0.4, weight_x=2.0)
    cross_entropy, triplet = criteria(True)

    def compute(given):
        logits, features = method.network(given.images)
        loss = 0.4 * triplet(features, given.pids) + 2.0 * cross_entropy(logits, given.pids)
        return loss, host.engine.engine.metrics.accuracy(logits, given.pids)[0][0]

    assert_equal(method, {"loss_t", "loss_x"}, compute)


def test_several_outputs_count_by_their_mean():
    method = TorchreidSoftmax(SETTINGS, {})
    cross_entropy, _ = criteria(True)
    logits = [torch.randn(8, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    method.network.forward = lambda images: logits
    losses, metrics = method(batch())
    expected = sum(cross_entropy(each, batch().pids) for each in logits) / 3
    torch.testing.assert_close(losses["loss_x"], expected)
    assert metrics["acc"] == 100 * (logits[0].argmax(1) == batch().pids).float().mean()


def test_without_any_loss_it_is_refused():
    with pytest.raises(InputError, match=r"weight_t and weight_x are 0"):
        TorchreidTriplet(SETTINGS, {}, True, weight_t=0.0)


def test_a_setting_that_has_no_effect_is_said(caplog):
    TorchreidSoftmax(NetworkSettings("osnet_x0_25", 4, streams=2), {})
    assert "softmax training has no use for model.streams" in caplog.text
