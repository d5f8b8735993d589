"""Features outside of a run: those that evaluation extracts, whatever form the images have."""

import numpy as np
import pytest
import torch
from command_lines import TINY
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError, build, load_config, run
from torchreid_vi.data.images import read_image


@pytest.fixture(scope="module")
def trained(roots, tmp_path_factory):
    """Run folders of one epoch, by method."""
    folders = {}

    def make(method="supervised", **changes):
        name = f"{method}{sorted(changes.items())}"
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("runs") / "run"
            settings = TINY | {
                "data.root": str(roots),
                "data.save_dir": str(folders[name]),
                "loss.name": method,
            }
            run(load_config(overrides=settings | changes))
        return folders[name]

    return make


@pytest.mark.parametrize("method", ["supervised", "ddag", "softmax"])
def test_features_are_those_that_evaluation_extracts(trained, method):
    folder = trained(method, **({} if method == "softmax" else {"model.streams": 2, "test.flip": True}))
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


def test_paths_pictures_and_arrays_give_the_same(trained, roots):
    extractor = FeatureExtractor(trained() / "checkpoints" / "last.pth")
    path = next((roots / "regdb").rglob("*.bmp"), None) or next((roots / "regdb").rglob("*.jpg"))
    picture = read_image(str(path))
    found = extractor([path, str(path), picture, np.asarray(picture)], "infrared")
    assert found.shape[0] == 4 and found.dtype == np.float32
    for row in found[1:]:
        np.testing.assert_allclose(row, found[0], atol=1e-6)
    grey = np.asarray(picture.convert("L"))
    np.testing.assert_allclose(*extractor([grey, Image.fromarray(grey)]), atol=1e-6)
    assert extractor([]).shape == (0, found.shape[1])


def test_one_image_and_many_of_every_kind(trained, roots):
    extractor = FeatureExtractor(trained() / "checkpoints" / "last.pth", batch_size=2)
    paths = sorted((roots / "vi_synthetic" / "cam1").rglob("*.jpg"))[:3]
    pixels = np.stack([np.asarray(read_image(path)) for path in paths])
    expected = extractor(paths)
    tensors = torch.from_numpy(pixels).movedim(-1, 1)

    def same(images, rows, **options):
        np.testing.assert_allclose(extractor(images, **options), expected[rows], atol=1e-6)

    for one in (
        paths[1],
        str(paths[1]),
        read_image(paths[1]),
        pixels[1],
        tensors[1],
        tensors[1].movedim(0, 2),
    ):
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
    assert (
        extractor(grey).shape == extractor(torch.from_numpy(grey), bgr=True).shape == (1, expected.shape[1])
    )
    assert len(extractor(pixels[:0])) == len(extractor(iter([]))) == 0


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (None, "NoneType is no image"),
        (b"a.jpg", "bytes is no image"),
        ({"a.jpg"}, "set is no image"),
        ([["a.jpg"]], "list is no image"),
        (np.zeros((2, 4, 4), np.uint8), r"an array of uint8 and shape \(2, 4, 4\) is no image"),
        (np.zeros((4, 4), np.float32), "no known range: set data.thermal_range"),
        (torch.zeros(3, 4, 4), r"a tensor of torch.float32 and shape \(3, 4, 4\) is no image.*255"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "a tensor of torch.uint8"),
        ([np.zeros((1, 4, 4, 3), np.uint8)], "is a batch of images: pass it alone"),
        ("gone.jpg", "image gone.jpg is missing: check its name$"),
        (".", "image . is a folder: name the images in it$"),
        (__file__, "is corrupt or truncated: name another image$"),
    ],
)
def test_what_is_no_image_is_refused_without_harm(trained, images, words):
    with pytest.raises(InputError, match=words) as refused:
        FeatureExtractor(trained() / "checkpoints" / "last.pth")(images)
    assert "remove" not in str(refused.value)


def test_what_cannot_be_used_is_one_sentence(trained, tmp_path):
    weights = trained() / "checkpoints" / "last.pth"
    extractor = FeatureExtractor(weights)
    with pytest.raises(InputError, match="did you mean 'infrared'"):
        extractor([], "infrarot")
    with pytest.raises(InputError, match=r"float64 and shape .* is no image"):
        extractor([np.zeros((4, 4, 3))])
    with pytest.raises(InputError, match=r"missing\.jpg is missing"):
        extractor(["missing.jpg"])
    alone = tmp_path / "last.pth"
    alone.write_bytes(weights.read_bytes())
    with pytest.raises(InputError, match=r"lies in no run's folder: name the run's config\.yaml"):
        FeatureExtractor(alone)
    with pytest.raises(InputError, match=r"gone\.pth not found: name a run"):
        FeatureExtractor("gone.pth")
    settings = trained() / "config.yaml"
    image = np.zeros((9, 9), np.uint8)
    np.testing.assert_array_equal(FeatureExtractor(alone, settings)([image]), extractor([image]))
    pretext = trained(
        "mmgl",
        **{
            "sampler.train_sampler": "ModalityPairSampler",
            "data.validation": 0.2,
            "loss.terms": ["permutation"],
            "loss.mmgl.stripes": 2,
        },
    )
    with pytest.raises(InputError, match="is of a pre-training"):
        FeatureExtractor(pretext / "checkpoints" / "last.pth")
    with pytest.raises(InputError, match="is a backbone without the rest"):
        FeatureExtractor(pretext / "backbone.pth", settings)
    content = torch.load(weights, weights_only=True)
    shifted = content["state_dict"] | {"neck.bias": torch.ones(512)}
    torch.save({"state_dict": shifted}, alone)
    with pytest.raises(InputError, match="has a neck with a shift, which no model here has"):
        FeatureExtractor(alone, settings)
    content["state_dict"]["neck.weight"] *= float("nan")
    torch.save(content, alone)
    with pytest.raises(InputError, match="NaN or infinity"):
        FeatureExtractor(alone, settings)([image])
