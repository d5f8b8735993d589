"""Features outside of a run are those that evaluation extracts, in whatever form the images come."""

import contextlib

import numpy as np
import pytest
import torch
from command_lines import MMGL
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError, build, console, load_config
from torchreid_vi.data.images import read_image


@pytest.fixture(scope="module")
def extractor(trained):
    return FeatureExtractor(trained(), batch_size=2)


@pytest.mark.parametrize("method", ["supervised", "ddag", "softmax"])
def test_features_are_those_that_evaluation_extracts(trained, method):
    changes = {} if method == "softmax" else {"model__streams": 2, "test__flip": True}
    folder = trained(loss__name=method, **changes)
    weights = folder / "checkpoints" / "last.pth"
    cfg = load_config(str(folder / "config.yaml"), overrides={"model.load_weights": str(weights)})
    manager = build.build_datamanager(cfg, use_gpu=False)
    trainable = build.build_method(cfg, manager.num_train_pids)
    trainable.network.load_state_dict(torch.load(weights, weights_only=True)["state_dict"])
    evaluated = build.build_engine(cfg, manager, trainable.eval(), use_gpu=False)
    loaders = manager.test_loader["regdb"]
    expected, test_set = evaluated.evaluator.features([loaders["query"], loaders["gallery"]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    paths = [item[0] for side in ("query", "gallery") for item in loaders[side].dataset.data]
    extractor = FeatureExtractor(weights, batch_size=7, device="cpu")
    found = {side: extractor(paths, side) for side in ("visible", "infrared")}
    for number, side in enumerate(("visible", "infrared")):
        here = test_set.of("modality") == number
        assert here.any()
        np.testing.assert_allclose(found[side][here], expected[here], atol=1e-5)
    assert np.allclose(found["visible"], found["infrared"]) == (method == "softmax")


def test_one_image_and_many_of_every_kind(extractor, roots):
    paths = sorted((roots / "vi_synthetic" / "cam1").rglob("*.jpg"))[:3]
    pixels = np.stack([np.asarray(read_image(path)) for path in paths])
    tensors = torch.from_numpy(pixels).movedim(-1, 1)
    expected = extractor(paths)
    assert expected.dtype == np.float32

    def same(images, rows, **options):
        np.testing.assert_allclose(extractor(images, **options), expected[rows], atol=1e-6)

    last = tensors[1].movedim(0, 2)
    for one in (paths[1], str(paths[1]), read_image(paths[1]), pixels[1], tensors[1], last):
        same(one, [1])
    for many in (tuple(paths), pixels, tensors, np.array([str(path) for path in paths]), iter(paths)):
        same(many, [0, 1, 2])
    same((image for image in pixels), [0, 1, 2])
    same([paths[0], pixels[1], tensors[2]], [0, 1, 2])
    for reversed_ in (pixels[..., ::-1], list(pixels[..., ::-1])):
        same(reversed_, [0, 1, 2], bgr=True)
        assert not np.allclose(extractor(reversed_), expected, atol=1e-6)
    same(paths, [0, 1, 2], bgr=True)
    grey = pixels[0, ..., 0]
    np.testing.assert_allclose(*extractor([grey, Image.fromarray(grey)]), atol=1e-6)
    for image in (grey, torch.from_numpy(grey)):
        assert extractor(image, bgr=True).shape == (1, expected.shape[1])
    for none in ([], pixels[:0], iter([])):
        assert extractor(none).shape == (0, expected.shape[1])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (None, "NoneType is no image"),
        ([["a.jpg"]], "list is no image"),
        (np.zeros((2, 4, 4), np.uint8), r"an array of uint8 and shape \(2, 4, 4\) is no image"),
        (np.zeros((4, 4, 3)), r"float64 and shape .* is no image.*255"),
        (np.zeros((4, 4), np.float32), "no known range: set data.thermal_range"),
        (torch.zeros(3, 4, 4), r"a tensor of torch.float32 and shape \(3, 4, 4\) is no image.*255"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "a tensor of torch.uint8"),
        ([np.zeros((1, 4, 4, 3), np.uint8)], "is a batch of images: pass it alone"),
        ("gone.jpg", "image gone.jpg is missing: check its name$"),
        (".", "image . is a folder: name the images in it$"),
        (__file__, "is corrupt or truncated: name another image$"),
    ],
)
def test_what_is_no_image_is_refused_without_harm(extractor, images, words):
    with pytest.raises(InputError, match=words) as refused:
        extractor(images)
    assert "remove" not in str(refused.value)


@pytest.mark.parametrize(("shown", "bars"), [(None, 0), ({"quiet": True}, 0), ({}, 1)])
def test_a_bar_is_shown_in_commands_that_are_not_quiet(extractor, roots, capsys, monkeypatch, shown, bars):
    monkeypatch.setattr(console, "INTERVAL", 1e-9)
    paths = sorted((roots / "vi_synthetic" / "cam1").rglob("*.jpg"))[:3]
    with contextlib.nullcontext() if shown is None else console.attached(**shown):
        extractor.files(paths)
        extractor(paths)
    out, error = capsys.readouterr()
    assert out == "" and error.count("extracting features: image 3 of 3") == 2 * bars
    assert bool(error) == bool(bars)


def test_weights_without_their_settings_and_of_other_kinds_are_refused(trained, extractor, tmp_path):
    alone, settings = tmp_path / "last.pth", trained() / "config.yaml"
    content = torch.load(extractor.weights, weights_only=True)
    torch.save(content, alone)
    with pytest.raises(InputError, match="did you mean 'infrared'"):
        extractor([], "infrarot")
    with pytest.raises(InputError, match=r"lies in no run's folder: name the run's config\.yaml"):
        FeatureExtractor(alone)
    with pytest.raises(InputError, match=r"gone\.pth not found: name a run"):
        FeatureExtractor("gone.pth")
    image = np.zeros((9, 9), np.uint8)
    np.testing.assert_array_equal(FeatureExtractor(alone, settings)([image]), extractor([image]))
    pretext = trained(**MMGL)
    with pytest.raises(InputError, match="is of a pre-training"):
        FeatureExtractor(pretext)
    with pytest.raises(InputError, match="is a backbone without the rest"):
        FeatureExtractor(pretext / "backbone.pth", settings)
    torch.save({"state_dict": content["state_dict"] | {"neck.bias": torch.ones(512)}}, alone)
    with pytest.raises(InputError, match="has a neck with a shift, unlike our models"):
        FeatureExtractor(alone, settings)
    content["state_dict"]["neck.weight"] *= float("nan")
    torch.save(content, alone)
    with pytest.raises(InputError, match="NaN or infinity"):
        FeatureExtractor(alone, settings)([image])
