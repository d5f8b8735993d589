"""Thermal images of 16 bits and of floats: scaled by one range, wherever they are read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_lines import TINY, call
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError, load_config, run
from torchreid_vi.data import DATASETS
from torchreid_vi.data.cache import open_cache
from torchreid_vi.data.checking import examine
from torchreid_vi.data.images import Decoder, Range, dataset_image, planes, read_image
from torchreid_vi.data.thermal import thermal_range

COLD, HOT = 7000, 8000


def thermal(grey, kind):
    """Counts of a thermal camera: a narrow band of what 16 bits can hold, with one dead pixel."""
    counts = COLD + np.asarray(grey, np.float64) / 255 * (HOT - COLD)
    counts[0, 0] = 0
    return Image.fromarray(counts.astype(np.uint16 if kind == "png" else np.float32))


@pytest.fixture
def regdb(copy_of):
    """A root whose infrared images are 16-bit PNG and float TIFF."""
    root = copy_of("regdb")
    for number, path in enumerate(sorted((root / "regdb" / "Thermal").rglob("*.bmp"))):
        kind = "png" if number % 2 else "tif"
        thermal(Image.open(path).convert("L"), kind).save(path, {"png": "PNG", "tif": "TIFF"}[kind])
    return root


def test_the_range_is_that_of_the_infrared_images(regdb, caplog):
    dataset = DATASETS["regdb"](root=str(regdb), verbose=False)
    found = thermal_range(dataset)
    counts = []
    for path, _, camid, _ in dataset.train:
        if camid == 1:
            counts.append(np.asarray(Image.open(path), np.float64).ravel())
    np.testing.assert_allclose(found, np.percentile(np.concatenate(counts), (1, 99)), rtol=0.01)
    assert "is black and" in caplog.text
    caplog.clear()
    assert thermal_range(dataset, [1.0, 2.0]) == Range(1, 2) and not caplog.text
    dataset.scale_by(found)
    grey = np.asarray(dataset.image(dataset.train[-1][0]))
    assert len(np.unique(grey)) > 30 and grey.min() == 0 and grey.max() > 200
    path = next(item[0] for item in dataset.train if item[2] == 1 and Image.open(item[0]).mode != "F")
    assert len(np.unique(np.asarray(read_image(path)))) < 8  # as it was
    assert examine(DATASETS["regdb"], str(regdb))[1] == []


def test_images_of_8_bits_have_no_range(roots):
    dataset = DATASETS["regdb"](root=str(roots), verbose=False)
    assert thermal_range(dataset) is None
    path = dataset.train[-1][0]
    assert np.array_equal(dataset_image(path, Range(3, 5)), dataset_image(path))


def test_scaling_is_linear_and_clipped(tmp_path):
    values = np.array([[np.nan, -np.inf, 0, 100, 120, 200, 300, np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    found = np.asarray(read_image(tmp_path / "a.tif", thermal=Range(100, 200)))[0, :, 0]
    assert found.tolist() == [0, 0, 0, 0, 51, 255, 255, 255]
    with pytest.raises(InputError, match=r"no known range: set data\.thermal_range"):
        read_image(tmp_path / "a.tif")


def test_a_cache_is_of_one_range(tmp_path):
    path = tmp_path / "a.png"
    thermal(np.arange(100, dtype=np.uint8).reshape(10, 10), "png").save(path)
    caches = [
        open_cache(tmp_path, "a", [str(path)], Decoder(10, 10, thermal=Range(COLD, HOT + extra)))
        for extra in (0, 1000)
    ]
    assert caches[0].file != caches[1].file
    assert not np.array_equal(caches[0].pixels, caches[1].pixels)
    assert np.array_equal(caches[0].pixels[0], planes(dataset_image(path, Range(COLD, HOT))))


def test_who_uses_the_weights_scales_as_the_training_did(regdb, tmp_path, caplog):
    settings = TINY | {"data.root": str(regdb), "data.save_dir": str(tmp_path / "run"), "data.cache": "kept"}
    run(load_config(overrides=settings))
    said = caplog.text
    assert said.count("Infrared images of more than 8 bits") == 1
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    saved = load_config(str(tmp_path / "run" / "config.yaml")).data.thermal_found
    dataset = DATASETS["regdb"](root=str(regdb), verbose=False)
    assert saved == list(thermal_range(dataset))
    extractor = FeatureExtractor(weights)
    assert extractor.decoder.thermal == Range(*saved)
    path = next(item[0] for item in dataset.train if item[2] == 1)
    scaled = extractor([extractor.image(path)], "infrared")
    np.testing.assert_allclose(extractor(path, "infrared"), scaled, atol=1e-6)
    np.testing.assert_allclose(extractor(Image.open(path), "infrared"), scaled, atol=1e-6)
    np.testing.assert_allclose(extractor(np.asarray(Image.open(path)), "infrared"), scaled, atol=1e-6)
    np.testing.assert_allclose(extractor.files([path], "infrared")[0], scaled, atol=1e-6)
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    config = tmp_path / "other" / "config.yaml"
    config.write_text(config.read_text().replace(str(saved[1]), str(saved[1] + 500)))
    other = FeatureExtractor(tmp_path / "other" / "checkpoints" / "last.pth")
    assert other.fingerprint != extractor.fingerprint and not np.allclose(other(path), extractor(path))
    folder = regdb / "regdb" / "Visible"
    arguments = ["--weights", weights, "--gallery", folder, "--query", path, "--json", "--cache", ""]
    found = call("search.py", *arguments, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)[0]["query"] == path


def test_a_run_goes_on_with_the_range_that_it_began_with(regdb, tmp_path, caplog):
    settings = TINY | {"data.root": str(regdb), "data.save_dir": str(tmp_path / "run"), "data.cache": ""}
    run(load_config(overrides=settings))
    first = load_config(str(tmp_path / "run" / "config.yaml")).data.thermal_found
    (tmp_path / "run" / "results.json").unlink()
    for path in Path(regdb / "regdb" / "Thermal").rglob("*.bmp"):
        Image.fromarray(np.full((40, 16), 9999, np.uint16)).save(path, "PNG")
    caplog.clear()
    run(load_config(overrides=settings), exactly=True)
    assert "Resumed after epoch" in caplog.text
    assert load_config(str(tmp_path / "run" / "config.yaml")).data.thermal_found == first


@pytest.mark.parametrize("value", ["[1.0]", "[2.0, 1.0]", "[a, b]"])
def test_what_is_no_range_is_refused(value):
    with pytest.raises(InputError, match=r"data\.thermal_range"):
        load_config(options=["data.thermal_range", value])
