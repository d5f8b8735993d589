"""Weights load whole or say why not, and nothing in a file is ever run."""

import io
import json

import numpy as np
import pytest
import torch

from torchreid_vi import InputError
from torchreid_vi.methods.mmgl import MMGLModel
from torchreid_vi.models import (
    VIModel,
    identities,
    load_weights,
    read_checkpoint,
    save_backbone,
    torchreid_model,
)
from torchreid_vi.models.layouts import grouped


def saved(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_all_but_the_classifier_loads_across_numbers_of_identities(tmp_path, wrap):
    source, target = VIModel("osnet_x0_25", 5), VIModel("osnet_x0_25", 9)
    report = load_weights(target, saved(tmp_path, wrap(source.state_dict())))
    assert report.matched == len(source.state_dict()) - 1
    assert report.unused == ["classifier.weight"]
    for name, value in target.backbone.state_dict().items():
        torch.testing.assert_close(value, source.backbone.state_dict()[name])


def test_another_architecture_is_refused_with_layers_and_counts(tmp_path):
    path = saved(tmp_path, VIModel("resnet18", 5).state_dict())
    target = VIModel("osnet_x0_25", 5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(InputError, match=r"\d+ of \d+ tensors match; missing or of another shape: backbone"):
        load_weights(target, path)
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, before[name])


@pytest.mark.parametrize("number", [np.float32(0.5), np.linspace(0, 1, 5)])
def test_a_checkpoint_with_numpy_numbers_is_read(tmp_path, number):
    path = saved(tmp_path, {"state_dict": {}, "epoch": 2, "rank1": number})
    assert read_checkpoint(path)["epoch"] == 2
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "rank1": number}, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_checkpoint(path)["epoch"] == 3


def test_what_holds_no_weights_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no weights"):
        read_checkpoint(saved(tmp_path, torch.zeros(3)))
    with pytest.raises(InputError, match="holds no weights"):
        load_weights(torch.nn.Linear(1, 1), saved(tmp_path, {"state_dict": None}))


def pretrained(tmp_path, streams=1, name="osnet_x0_25"):
    """A pre-training model whose tensors all differ from their start, and its backbone.pth."""
    model = MMGLModel(name, 96, 32, streams, last_stride=1)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.rand_like(value) if value.is_floating_point() else value + 7)
    path = tmp_path / "backbone.pth"
    save_backbone(model, path, {"epochs": 3})
    return model.backbone, path


def test_a_backbone_file_says_what_it_is(tmp_path):
    _, path = pretrained(tmp_path, streams=2)
    about = json.loads(path.with_suffix(".json").read_text())
    assert about == read_checkpoint(path)["about"]
    assert (about["backbone"], about["streams"], about["epochs"]) == ("osnet_x0_25", 2, 3)
    assert all(name.startswith("backbone.") for name in read_checkpoint(path)["state_dict"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backbone.json", "backbone.pth"]


@pytest.mark.parametrize(("name", "streams"), [("osnet_x0_25", 1), ("resnet18", 2)])
def test_a_backbone_starts_a_model_of_as_many_streams(tmp_path, name, streams):
    backbone, path = pretrained(tmp_path, streams, name)
    target = VIModel(name, 5, streams=streams)
    neck = target.neck.weight.clone()
    report = load_weights(target, path)
    assert report.matched == len(backbone.state_dict())
    assert report.matched + len(report.fresh) == report.total
    assert {n.split(".")[0] for n in report.fresh} == {"neck", "classifier"}
    assert report.unused == []
    for key, value in backbone.state_dict().items():
        assert torch.equal(target.backbone.state_dict()[key], value), key
    assert torch.equal(target.neck.weight, neck)


def test_both_stems_start_from_a_single_one(tmp_path):
    backbone, path = pretrained(tmp_path)
    target = VIModel("osnet_x0_25", 5, streams=2)
    report = load_weights(target, path)
    assert report.matched == len(target.backbone.state_dict())
    assert report.unused == []
    for stem in target.backbone.stems:
        for key, value in stem.state_dict().items():
            assert torch.equal(value, backbone.trunk.state_dict()[key]), key


@pytest.mark.parametrize("stem", ["average", "visible", "infrared"])
def test_one_stem_starts_from_two(tmp_path, stem):
    backbone, path = pretrained(tmp_path, streams=2)
    target = VIModel("osnet_x0_25", 5)
    assert load_weights(target, path, stem).unused == []
    visible, infrared = (each.state_dict() for each in backbone.stems)
    got = target.backbone.trunk.state_dict()
    for key in visible:
        mean = (visible[key] + infrared[key]) / 2
        expected = {"average": mean, "visible": visible[key], "infrared": infrared[key]}[stem]
        torch.testing.assert_close(got[key], expected.to(got[key].dtype))
    assert any("conv1" in key for key in visible)


@pytest.mark.parametrize(("name", "streams"), [("osnet_x0_25", 2), ("resnet18", 1)])
def test_torchreids_own_model_starts_from_it_too(tmp_path, name, streams):
    source = MMGLModel(name, 96, 32, streams, last_stride=1)
    save_backbone(source, tmp_path / "b.pth", {})
    target = torchreid_model(name, 4)
    report = load_weights(target, tmp_path / "b.pth")
    assert {n.split(".")[0] for n in report.fresh} <= {"classifier", "fc"}
    assert report.matched > 50
    images = torch.randn(2, 3, 64, 32)
    one = VIModel(name, 4)
    load_weights(one, tmp_path / "b.pth")
    torch.testing.assert_close(target.eval().featuremaps(images), one.eval().backbone(images))


def trained(model):
    """Change every tensor of a model; return it in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=generator)
                value.copy_(0.5 + noise if "running_var" in name else 0.05 * (noise - 0.3))
    return model.eval()


def same_embeddings(one, other):
    images, modality = torch.rand(4, 3, 64, 32), torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(one(images, modality), other.eval()(images, modality))


INNER = {"g.0.": "g.", "W.0.": "out.", "W.1.": "norm.", "theta.": "theta.", "phi.": "phi."}
MDA = {"sc_conv.": "attention.", "ca_conv.": "mix.", "ca_bn.": "gate_norm.", "norm_bn.": "norm."}


def theirs(model, places):
    """A state whose names are written by hand from those of the public code."""
    own = model.state_dict()
    state = {}
    for their, ours in places.items():
        found = {name: value for name, value in own.items() if name.startswith(ours)}
        assert found, ours
        state |= {their + name.removeprefix(ours): value for name, value in found.items()}
    return state


def agw(blocks):
    """A two-stream ResNet-50, and its weights as AGW's code saves them, whole ResNets for the stems and all."""
    model = trained(VIModel("resnet50", 7, streams=2, last_stride=1, blocks="non_local" if blocks else ""))
    places = {"bottleneck.": "neck.", "classifier.": "classifier."}
    for number, name in enumerate(("visible", "thermal")):
        for layer in ("conv1.", "bn1."):
            places[f"{name}_module.{name}.{layer}"] = f"backbone.stems.{number}.{layer}"
    for stage, layers in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for layer in range(layers):
            places[f"base_resnet.base.layer{stage}.{layer}."] = f"backbone.trunk.layer{stage}.{layer}."
    inserted = ((2, 0, 2), (2, 1, 3), (3, 0, 3), (3, 1, 4), (3, 2, 5)) if blocks else ()
    for stage, number, layer in inserted:
        for their, ours in INNER.items():
            block = f"backbone.trunk.layer{stage}.{layer}_inserted."
            places[f"NL_{stage}.{number}.{their}"] = block + ours
    state = theirs(model, places) | {"bottleneck.bias": torch.zeros(2048)}
    state |= {f"visible_module.visible.layer{stage}.0.conv1.weight": torch.ones(1) for stage in (1, 2)}
    return model, state | {"base_resnet.base.conv1.weight": torch.ones(1)}


@pytest.mark.parametrize("key", ["net", ""])
def test_agws_weights_give_its_embeddings(tmp_path, key):
    model, state = agw(blocks=True)
    content = {key: state, "epoch": 3, "cmc": np.linspace(0, 1, 5), "mAP": np.float64(0.5)} if key else state
    path = saved(tmp_path, content)
    target = VIModel("resnet50", 9, streams=2, last_stride=1, blocks="non_local")
    report = load_weights(target, path)
    same_embeddings(model, target)
    assert report.fresh == ["classifier.weight"]
    assert grouped(report.unused) == ("classifier, 3 tensors of the backbone that its own code does not use")
    assert identities(read_checkpoint(path)) == 7


def test_agws_blocks_are_told_as_blocks(tmp_path):
    plain = VIModel("resnet50", 7, streams=2, last_stride=1)
    report = load_weights(plain, saved(tmp_path, agw(blocks=True)[1]))
    assert grouped(report.unused).startswith("5 non-local blocks, 3 tensors of")
    with_blocks = VIModel("resnet50", 7, streams=2, last_stride=1, blocks="non_local")
    backbone = {name: value for name, value in agw(blocks=False)[1].items() if "_" in name.split(".")[0]}
    report = load_weights(with_blocks, saved(tmp_path, backbone))
    assert grouped(report.fresh) == "5 non-local blocks, neck, classifier"


def test_mcjas_weights_give_its_embeddings(tmp_path):
    model = trained(VIModel("resnet50", 7, blocks="mda"))
    places = {"bn_neck.": "neck.", "classifier.": "classifier.", "backbone.": "backbone.trunk."}
    state = theirs(model, places)
    state = {name: value for name, value in state.items() if "_inserted" not in name}
    for stage, number, layer in ((2, 0, 2), (2, 1, 3), (3, 0, 3), (3, 1, 4), (3, 2, 5)):
        for their, ours in MDA.items():
            block = f"backbone.trunk.layer{stage}.{layer}_inserted."
            state |= theirs(model, {f"MDA_{stage}.{number}.{their}": block + ours})
            if their == "ca_conv.":
                model.state_dict()[f"{block}mix.bias"].zero_()
                del state[f"MDA_{stage}.{number}.ca_conv.bias"]
    state |= {"bn_neck.bias": torch.zeros(2048), "backbone.fc.weight": torch.ones(10, 2048)}
    target = VIModel("resnet50", 7, blocks="mda")
    report = load_weights(target, saved(tmp_path, {f"module.{name}": value for name, value in state.items()}))
    same_embeddings(model, target)
    assert report.fresh == [] and grouped(report.unused).startswith("1 tensor of the backbone that")


@pytest.mark.parametrize("streams", [1, 2])
def test_torchvisions_weights_start_a_backbone(tmp_path, streams):
    from torchvision.models import resnet50

    source = trained(resnet50(num_classes=10))
    state = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    target = VIModel("resnet50", 5, streams=streams)
    report = load_weights(target, saved(tmp_path, state))
    assert grouped(report.fresh) == "neck, classifier" and grouped(report.unused) == "classifier"
    images = torch.rand(2, 3, 64, 32)
    maps = torch.nn.Sequential(*list(source.children())[:-2])(images)
    torch.testing.assert_close(target.eval().backbone(images, torch.tensor([0, 1])), maps)
