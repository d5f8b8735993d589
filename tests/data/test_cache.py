"""The image cache: what it holds, when it is built again, and what happens when it cannot be."""

import logging
import os
import time
from multiprocessing import SimpleQueue
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import forked
from PIL import Image
from torchvision import transforms as tv

from torchreid_vi import InputError
from torchreid_vi.data import VIDataManager, images
from torchreid_vi.data.cache import open_cache
from torchreid_vi.data.images import Decoder, planes, read_image


@pytest.fixture
def paths(tmp_path):
    """Files of several kinds and sizes."""
    random = np.random.default_rng(0)
    found = []
    for number, (mode, kind) in enumerate([("RGB", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "png")] * 3):
        pixels = random.integers(0, 256, (30 + number, 20 + number, 3), dtype=np.uint8)
        found.append(str(tmp_path / f"{number}.{kind}"))
        Image.fromarray(pixels).convert(mode).save(found[-1])
    return found


DECODER = Decoder(24, 12)


def files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith("lock"))


def test_an_image_is_what_decoding_and_resizing_gives(paths, tmp_path):
    cache = open_cache(tmp_path / "cache", "some", paths * 2, DECODER)
    assert cache.pixels.shape == (12, 3, 24, 12) and not cache.pixels.flags.writeable
    for path in paths:
        expected = planes(tv.Resize((24, 12))(read_image(path)))
        np.testing.assert_array_equal(cache(path), expected)
        np.testing.assert_array_equal(DECODER(path), expected)


@pytest.mark.parametrize("cache", ["", "cache"])
def test_training_and_test_images_are_resized_as_told(cache, roots, tmp_path):
    options = {"sources": ["sysu_mm01"], "root": str(roots), "height": 24, "width": 12, "workers": 0}
    options |= {"use_gpu": False, "transforms": [], "interpolation": "lanczos"}
    manager = VIDataManager(**options, cache=str(tmp_path / cache) if cache else "", batch_size_train=4)
    loaders = [manager.train_loader, *manager.test_loader["sysu_mm01"].values()]
    for batch in (next(iter(loader)) for loader in loaders):
        for path, image in zip(batch["impath"], batch["img"], strict=True):
            resized = read_image(path).resize((12, 24), Image.Resampling.LANCZOS)
            expected = tv.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(tv.ToTensor()(resized))
            torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)


def test_it_is_built_once_and_again_when_a_file_or_the_list_changes(paths, tmp_path, caplog):
    folder = tmp_path / "cache"

    def build(paths, height=24, interpolation="bilinear"):
        caplog.clear()
        open_cache(folder, "some", paths, Decoder(height, 12, interpolation))
        return "Cached" in caplog.text

    assert build(paths) and not build(paths) and not build(paths[::-1])
    assert len(files(folder)) == 1
    Image.new("RGB", (20, 30)).save(paths[0])
    assert build(paths) and not build(paths)
    os.utime(paths[0], ns=(1, 1))  # the same size at another time
    assert build(paths) and build(paths[1:]) and len(files(folder)) == 1
    assert build(paths[1:], height=25) and len(files(folder)) == 2 and not build(paths[1:])
    assert build(paths[1:], interpolation="lanczos") and len(files(folder)) == 3
    (whole,) = folder.glob("some-bilinear-24*.u8")
    whole.write_bytes(whole.read_bytes()[:-1])
    assert build(paths[1:]) and whole.stat().st_size == 11 * 24 * 12 * 3


def test_a_bad_image_is_named_and_leaves_nothing(paths, tmp_path):
    Path(paths[3]).write_bytes(b"no image")
    for said in ("is corrupt or truncated", "is missing"):
        with pytest.raises(InputError, match=f"{paths[3]} {said}"):
            open_cache(tmp_path / "cache", "some", paths, DECODER)
        assert files(tmp_path / "cache") == []
        Path(paths[3]).unlink(missing_ok=True)


def test_without_a_folder_training_goes_on_without_it(paths, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert open_cache(tmp_path / "file", "some", paths, DECODER) is None
    assert "No image cache" in caplog.text


def test_without_room_training_goes_on_without_it(paths, tmp_path, little_room, caplog):
    assert open_cache(tmp_path / "cache", "some", paths, DECODER) is None
    assert "File too large" in caplog.text and files(tmp_path / "cache") == []


def test_builders_beside_each_other_build_one_and_a_killed_one_leaves_none(paths, tmp_path, capfd):
    def build():
        logging.basicConfig(level="INFO", force=True)
        cache = open_cache(folder, "some", paths, Decoder(1200, 600))
        sums.put(int(cache.pixels.astype("u8").sum()))

    folder, sums = tmp_path / "cache", SimpleQueue()
    killed, *both = [forked(build) for _ in range(3)]
    killed.start()
    while not list(folder.glob(".*.partial.*")) and killed.is_alive():
        time.sleep(0.001)
    killed.kill()
    killed.join()
    assert not list(folder.glob("some*.u8"))
    capfd.readouterr()
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0]
    assert sums.get() == sums.get() and capfd.readouterr().err.count("Cached") == 1
    assert len(files(folder)) == 1 and not list(folder.glob(".*"))


def test_a_run_with_it_reads_no_image_file_again(roots, tmp_path, monkeypatch):
    settings = {"height": 24, "width": 12, "batch_size_train": 8, "workers": 0, "use_gpu": False}

    def manage(**options):
        return VIDataManager("sysu_mm01", root=str(roots), **settings | options)

    manager = manage(cache=str(tmp_path))
    assert len(files(tmp_path)) == 3
    monkeypatch.setattr(images, "read_image_file", None)
    assert len(list(manager.train_loader)) > 0
    manage(cache=str(tmp_path))
    with pytest.raises(TypeError):
        list(manage().train_loader)
