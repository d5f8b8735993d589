"""Backbones, streams, pooling, neck and the two ways to call a model."""

import pytest
import torch
import torchreid

from torchreid_vi import InputError, host
from torchreid_vi.models import Backbone, VIModel, VIOutput
from torchreid_vi.models.vi import POOLING, AveragePooling, GeM

#: torchreid's models that compute one spatial feature map on the way.
BACKBONES = """resnet18 resnet50 osnet_x1_0 osnet_x0_25 osnet_ain_x1_0 resnet50_ibn_a se_resnet50
mobilenetv2_x1_0 shufflenet_v2_x0_5 densenet121 squeezenet1_1 xception""".split()  # noqa: SIM905
TWO_STREAMS = ["osnet_x0_25", "resnet50_ibn_a", "se_resnet50", "mobilenetv2_x1_0", "shufflenet_v2_x0_5"]


def images(batch=4):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, 96, 48, generator=generator), torch.arange(batch) % 2


@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone_is_a_one_stream_trunk(name):
    model = VIModel(name, num_classes=5).eval()
    x, modality = images(2)
    with torch.no_grad():
        assert model(x, modality).shape == (2, model.feature_dim)


def test_the_head_starts_as_its_method_publishes():
    torch.manual_seed(0)
    agw, mcja = VIModel("resnet50", 395, neck_std=0.01), VIModel("resnet50", 395, classifier_std=0)
    assert agw.classifier.weight.std().item() == pytest.approx(0.001, rel=0.01)
    assert agw.neck.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert mcja.classifier.weight.std().item() == pytest.approx(0.0128, rel=0.01)  # 1 / √(3 · 2048)
    assert mcja.classifier.weight.abs().max() <= 2048**-0.5
    assert (mcja.neck.weight == 1).all()


@pytest.mark.parametrize("name", TWO_STREAMS)
def test_a_backbone_with_a_stem_is_a_two_stream_trunk(name):
    model = VIModel(name, num_classes=5, streams=2).eval()
    x, modality = images()
    with torch.no_grad():
        both = model(x, modality)
        one_by_one = torch.cat([model(x[i : i + 1], modality[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(both, one_by_one, atol=1e-4, rtol=1e-3)


def test_two_streams_start_equal_to_one_and_differ_in_the_stem_alone():
    torch.manual_seed(0)
    one = Backbone("resnet18").eval()
    torch.manual_seed(0)
    two = Backbone("resnet18", streams=2).eval()
    x, modality = images()
    with torch.no_grad():
        torch.testing.assert_close(two(x, modality), one(x))
        two.stems[1].conv1.weight.zero_()
        changed = two(x, modality)
    torch.testing.assert_close(changed[modality == 0], one(x)[modality == 0])
    assert not torch.allclose(changed[modality == 1], one(x)[modality == 1])


def test_two_streams_train_on_a_batch_of_one_modality():
    model = VIModel("osnet_x0_25", num_classes=3, streams=2)
    x, _ = images()
    model(x, torch.zeros(4, dtype=torch.long)).logits.sum().backward()


def test_the_last_stride_doubles_the_map_where_there_is_one(caplog):
    x, _ = images()
    for name in ("resnet18", "resnet50", "resnet50_ibn_a", "se_resnet50"):
        with torch.no_grad():
            coarse, fine = (Backbone(name, last_stride=stride).eval()(x) for stride in (2, 1))
        assert fine.shape[2:] == (6, 3) and coarse.shape[2:] == (3, 2)
    Backbone("osnet_x0_25", last_stride=1)
    assert "no last stride" in caplog.text


@pytest.mark.parametrize("name", ["shufflenet", "hacnn", "resnet50mid", "inceptionresnetv2x"])
def test_a_model_without_a_map_is_refused(name):
    with pytest.raises(InputError, match=r"model\.name"):
        Backbone(name)


def test_a_download_that_fails_says_what_to_do():
    host.register_model("offline", lambda **kwargs: (_ for _ in ()).throw(OSError("no network")))
    try:
        with pytest.raises(InputError, match=r"model\.pretrained False"):
            Backbone("offline", pretrained=True)
    finally:
        host.MODELS.pop("offline")


def test_training_returns_a_named_tuple_and_evaluation_the_embedding_after_the_neck():
    model = VIModel("osnet_x0_25", num_classes=6)
    x, modality = images()
    out = model(x, modality)
    assert isinstance(out, VIOutput)
    assert out.pooled.shape == out.embedding.shape == (4, model.feature_dim) and out.logits.shape == (4, 6)
    torch.testing.assert_close(model.classifier(out.embedding), out.logits)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(x, modality), model.neck(model.pooling(model.backbone(x, modality))))


def test_torchreids_way_of_calling_gets_torchreids_answers():
    x, _ = images()
    softmax = torchreid.models.build_model("vi_osnet_x0_25", 6, loss="softmax", pretrained=False)
    triplet = torchreid.models.build_model("vi_osnet_x0_25", 6, loss="triplet", pretrained=False)
    assert softmax(x).shape == (4, 6)
    assert [tuple(part.shape) for part in triplet(x)] == [(4, 6), (4, triplet.feature_dim)]


def test_gem_is_the_formula_between_mean_and_maximum():
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = torch.stack(
        [
            torch.stack([(sum(v**3 for v in c.flatten()) / 20 + 1e-12) ** (1 / 3) for c in image])
            for image in maps
        ]
    )
    torch.testing.assert_close(GeM()(maps), expected)
    torch.testing.assert_close(GeM(1.0)(maps), AveragePooling()(maps))
    assert (GeM()(maps) <= maps.amax((2, 3))).all() and (GeM()(maps) >= maps.mean((2, 3))).all()


@pytest.mark.parametrize("name", POOLING)
def test_pooling_is_finite_in_half_precision(name):
    maps = torch.full((1, 1, 2, 2), 60.0, dtype=torch.float16)  # 60³ overflows float16
    assert POOLING[name]()(maps).item() == pytest.approx(60, rel=1e-2)
