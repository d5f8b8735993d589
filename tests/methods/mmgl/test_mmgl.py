"""Pre-training by MMGL: runs repeat and resume, and a backbone is left behind."""

import json

import pytest
import torch
from engine_helpers import assert_identical, run, run_until, weights

from torchreid_vi import InputError
from torchreid_vi import run as run_config
from torchreid_vi.methods.mmgl import PartCycleContrastLoss, PermutationRecoveryLoss
from torchreid_vi.methods.mmgl.stripes import random_orders, shuffle_stripes
from torchreid_vi.models import VIModel, load_weights, read_checkpoint
from torchreid_vi.seeds import seed_everything


@pytest.mark.parametrize("streams", [1, 2])
def test_a_step_is_the_weighted_sum_of_both_pretexts(pretrain, streams):
    engine, _ = pretrain(
        loss__part_cycle__reading="part",
        model__streams=streams,
        train__optim="sgd",
        train__weight_decay=0.0,
        train__lr=0.1,
    )
    data = next(iter(engine.train_loader))
    engine.model.train()
    before = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    seed_everything(5, 5)
    summary = engine.forward_backward(data)
    after = {name: p.detach().clone() for name, p in engine.model.named_parameters()}
    with torch.no_grad():
        for name, parameter in engine.model.named_parameters():
            parameter.copy_(before[name])
    seed_everything(5, 5)
    orders = random_orders(len(data["img"]), 6)
    engine.model.zero_grad()
    guess, shuffled_parts = engine.model(shuffle_stripes(data["img"], orders), data["modality"])
    parts = torch.stack([image[order.argsort()] for image, order in zip(shuffled_parts, orders, strict=True)])
    permutation = PermutationRecoveryLoss()(guess, orders)
    cycle = PartCycleContrastLoss(reading="part")(parts, data["modality"])
    (permutation + 0.5 * cycle).backward()
    assert summary["permutation"].item() == pytest.approx(permutation.item(), rel=1e-5)
    assert summary["part_cycle"].item() == pytest.approx(cycle.item(), rel=1e-5)
    assert summary["loss"].item() == pytest.approx((permutation + 0.5 * cycle).item(), rel=1e-5)
    for name, parameter in engine.model.named_parameters():
        torch.testing.assert_close(after[name], before[name] - 0.1 * parameter.grad, atol=1e-5, rtol=1e-3)


def test_a_resumed_run_ends_as_the_unbroken_one_bit_for_bit(pretrain, tmp_path):
    unbroken, cfg = pretrain(train__max_epoch=2)
    run(unbroken, cfg)
    broken, cfg = pretrain(train__max_epoch=2, data__workers=2)
    run_until(broken, cfg, 1, tmp_path / "broken")
    about = json.loads((tmp_path / "broken" / "backbone.json").read_text())
    assert about["epochs"] == 1
    assert set(about["pretext"]) == {"stripe_accuracy", "exact_match", "residual"}
    torch.rand(17)
    resumed, cfg = pretrain(train__max_epoch=2)
    start = resumed.resume(read_checkpoint(tmp_path / "broken" / "checkpoints" / "last.pth"))
    run(resumed, cfg, save_dir=str(tmp_path / "broken"), start_epoch=start)
    assert_identical(weights(resumed), weights(unbroken))
    assert resumed.results == unbroken.results


def test_a_run_leaves_a_backbone_and_says_what_it_is(pretrain, tmp_path):
    _, cfg = pretrain(model__streams=2, train__max_epoch=2, data__save_dir=str(tmp_path / "run"))
    results = run_config(cfg)
    scores = results[0].scores
    about = json.loads((tmp_path / "run" / "backbone.json").read_text())
    assert about["backbone"] == "osnet_x0_25"
    assert (about["streams"], about["epochs"], about["sources"]) == (2, 2, ["vi_synthetic"])
    assert about["pretext"] == scores
    assert set(scores) == {"stripe_accuracy", "exact_match", "residual"}
    assert 0 <= scores["exact_match"] <= scores["stripe_accuracy"] <= 100
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("stripe_accuracy") == 3  # after each epoch and at the end
    assert "permutation" in log and "part_cycle" in log and "residual" in log
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["results"][0]["pretext"] == scores
    trained = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.pth")["state_dict"]
    torch.load(tmp_path / "run" / "backbone.pth", weights_only=True)  # plain data, which any reader takes
    model = VIModel("osnet_x0_25", 3, streams=2)
    assert load_weights(model, tmp_path / "run" / "backbone.pth").epoch == 2
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, trained[f"backbone.{name}"]), name


def test_the_pretext_of_saved_weights_is_measured_alike(pretrain, tmp_path):
    engine, cfg = pretrain(train__max_epoch=1)
    run(engine, cfg)
    again, cfg = pretrain()
    load_weights(again.model, tmp_path / "run" / "checkpoints" / "last.pth")
    torch.rand(5)
    run(again, cfg, test_only=True)
    assert again.results == engine.results


def test_the_settings_of_sinkhorn_reach_the_head(pretrain):
    engine, _ = pretrain(loss__mmgl__rounds=3, loss__mmgl__temperature=0.5)
    head = engine.model.permutation_head
    assert (head.rounds, head.temperature) == (3, 0.5)


def test_it_learns_the_order_of_stripes(pretrain):
    """On one batch, seen again and again."""
    engine, _ = pretrain(loss__weights=[1.0, 0.02], train__lr=0.005, data__transforms=[])
    data = next(iter(engine.train_loader))
    engine.model.train()
    first = last = 0.0
    for step in range(60):
        torch.manual_seed(step % 2)  # two orders
        last = engine.forward_backward(data)["permutation"].item()
        first = first or last
    assert last < 0.5 * first


@pytest.mark.parametrize(
    "changes",
    [
        {"loss__mmgl__parts": False, "loss__part_cycle__reading": "batch"},
        {"loss__mmgl__shared_order": True},
        {"model__streams": 2},
    ],
)
@pytest.mark.parametrize("terms", [["permutation"], ["part_cycle"], ["permutation", "part_cycle"]])
def test_every_variant_takes_a_step(pretrain, changes, terms):
    engine, _ = pretrain(loss__terms=terms, loss__weights=[1.0] * len(terms), **changes)
    engine.model.train()
    summary = engine.forward_backward(next(iter(engine.train_loader)))
    assert set(summary) == {"loss", "stripes", "nonfinite", *terms}
    assert all(torch.isfinite(value) for value in summary.values())


def test_the_images_of_a_pair_share_an_order_when_asked(pretrain, monkeypatch):
    from torchreid_vi.methods.mmgl import method

    seen = []
    monkeypatch.setattr(
        method, "shuffle_stripes", lambda x, orders: (seen.append(orders), shuffle_stripes(x, orders))[1]
    )
    for shared, different in ((True, 8), (False, 16)):
        engine, _ = pretrain(loss__mmgl__shared_order=shared)
        engine.forward_backward(next(iter(engine.train_loader)))
        assert len(seen[-1].unique(dim=0)) == different


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_on_the_cpu_when_asked(pretrain, precision):
    summaries = []
    for chosen in (precision, "fp32"):
        engine, _ = pretrain(train__precision=chosen)
        data = next(iter(engine.train_loader))
        engine.model.train()
        seed_everything(1, 1)
        summaries.append(engine.forward_backward(data))
    assert summaries[0]["loss"].item() == pytest.approx(summaries[1]["loss"].item(), rel=0.05)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__validation": 0.0}, "data.validation is 0: pre-training is judged on held-out images"),
        ({"data__validation": 0.001}, "holds out 0 of .* visible images"),
        ({"data__modalities": ["visible"]}, "0 of 0 infrared images"),
        ({"train__batch_size": 512}, "a batch needs 256 visible images and the training set has"),
        ({"train__batch_size": 15}, "not a multiple of the number of modalities"),
        ({"data__height": 100}, "data.height 100 is not a multiple of loss.mmgl.stripes 6"),
        ({"loss__mmgl__stripes": 4}, "6 rows at data.height 96, which 4 stripes do not divide"),
        ({"model__name": "hacnn"}, "no feature maps"),
        ({"loss__terms": ["identity", "part_cycle"]}, "loss.terms identity reads"),
        ({"loss__mmgl__parts": False}, "loss.part_cycle.reading pair compares the stripes of an image"),
        ({"loss__permutation__reduction": "max"}, "reduction is 'max'"),
        ({"loss__mmgl__rounds": 0}, "loss.mmgl .*rounds is 0"),
    ],
)
def test_what_cannot_be_pretrained_on_is_one_sentence(pretrain, changes, said):
    with pytest.raises(InputError, match=said):
        pretrain(**changes)


def test_a_supervised_engine_refuses_the_pretexts(make):
    with pytest.raises(InputError, match=r"loss\.terms permutation reads"):
        make(loss__terms=["permutation"], loss__weights=[1.0])
