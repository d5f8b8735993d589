"""Pictures of unknown origin: read alike whatever they are, or refused."""

import base64
import io
import os
import warnings

import numpy as np
import pytest
from pictures import NOISE, saved
from PIL import EpsImagePlugin, Image

from torchreid_vi import InputError
from torchreid_vi.data.images import read_image
from torchreid_vi.data.listing import images_in, images_under
from torchreid_vi.report.page import data_uri
from torchreid_vi.retrieval.images import one_image

ORDINARY = "RGB jpg, L jpg, CMYK jpg, RGB png, L png, 1 png, P png, RGB bmp, P bmp, RGB tif, 1 tif, CMYK tif"


@pytest.mark.parametrize(("mode", "ending"), map(str.split, ORDINARY.split(",")))
def test_ordinary_pictures_are_read_as_pillow_converts_them(mode, ending, tmp_path):
    path = saved(NOISE.convert(mode), tmp_path / f"a.{ending}")
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    found = read_image(path)
    assert found.mode == "RGB" and np.array_equal(np.asarray(found), expected)
    assert np.array_equal(np.asarray(read_image("elsewhere", path.read_bytes())), expected)


def test_pictures_of_the_drawn_datasets_are_read_as_pillow_converts_them(roots):
    for path in (*roots.rglob("*.jpg"), *roots.rglob("*.bmp")):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(read_image(path)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled(ending, tmp_path):
    values = np.array([[0, 128, 129, 257, 30000, 65535]], np.uint16)
    path = saved(Image.fromarray(values), tmp_path / f"a.{ending}")
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [0, 0, 1, 1, 117, 255]


def test_numbers_without_a_white_are_refused(tmp_path):
    for name, dtype in (("a.tif", np.float32), ("b.tif", np.int32)):
        path = saved(Image.fromarray(np.array([[1, 10**6]], dtype)), tmp_path / name)
        with pytest.raises(InputError, match=f"{name} has float or out-of-range values"):
            read_image(path)


def test_pillows_own_images_are_read_as_their_files_are(tmp_path):
    note = Image.Exif()
    note[0x0112] = 6
    paths = [
        saved(Image.fromarray(np.array([[0, 30000, 65535]], np.uint16)), tmp_path / "a.png"),
        saved(Image.new("RGBA", (3, 2), (9, 9, 9, 0)), tmp_path / "b.png"),
        saved(NOISE, tmp_path / "c.jpg", exif=note),
    ]
    for path in paths:
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(one_image(image)), np.asarray(read_image(path)))
    with pytest.raises(InputError, match="holds no pixels"):
        one_image(np.zeros((0, 5, 3), np.uint8))


def test_what_is_transparent_is_white(tmp_path):
    black = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    black.putpixel((1, 0), (0, 0, 0, 0))
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    grey = Image.new("LA", (2, 1), (0, 255))
    grey.putpixel((1, 0), (0, 0))
    palette.putpixel((1, 0), 1)
    paths = [
        saved(black, tmp_path / "a.png"),
        saved(black, tmp_path / "a.webp", lossless=True),
        saved(palette, tmp_path / "b.png", transparency=1),
        saved(palette, tmp_path / "b.gif", transparency=1),
        saved(grey, tmp_path / "c.png"),
    ]
    for path in paths:
        assert np.asarray(read_image(path))[0].tolist() == [[0] * 3, [255] * 3], path


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_of_what_moves_the_first_frame_is_read(kind, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    path = saved(frames[0], tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:])
    assert np.asarray(read_image(path)).min() > 250


def test_a_picture_that_was_taken_sideways_stands_upright(tmp_path):
    note = Image.Exif()
    note[0x0112] = 6
    path = saved(Image.new("RGB", (10, 20)), tmp_path / "a.jpg", exif=note)
    assert read_image(path).size == (20, 10)
    content = path.read_bytes()
    where = content.index(b"Exif\0\0") + 14
    path.write_bytes(content[:where] + b"\xff" * 8 + content[where + 8 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_image(path).size == (10, 20)


@pytest.mark.parametrize(("ending", "options"), [("jpg", {"comment": b"Jane Doe"}), ("png", {"dpi": (9, 9)})])
def test_notes_of_a_picture_are_not_in_what_is_made_of_it(ending, options, tmp_path):
    path = saved(NOISE, tmp_path / f"a.{ending}", **options)
    with Image.open(path) as image:
        assert image.info
        found = [one_image(image), read_image(path)]
    for picture in (*found, found[0].resize((5, 10))):
        assert not picture.info
        assert b"Jane Doe" not in base64.b64decode(data_uri(picture).partition(",")[2])


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused_by_name(content, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"^image .*a\.jpg is corrupt or truncated: name another image$"):
        read_image(tmp_path / "a.jpg")


def test_no_reader_that_runs_programs_is_tried(tmp_path, monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError("Ghostscript was asked")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    buffer = io.BytesIO()
    NOISE.save(buffer, "EPS")
    for kind in ("EPS", "PPM", "ICO", "PCX", "SGI"):
        path = tmp_path / f"{kind}.jpg"
        NOISE.save(path, kind)
        with pytest.raises(InputError, match="corrupt"):
            read_image(path)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(InputError, match="is a folder: name the images in it"):
        read_image(tmp_path / "folder.jpg")
    with pytest.raises(InputError, match="is missing"):
        read_image(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    saved(NOISE, tmp_path / "b.jpg")
    saved(NOISE, tmp_path / ".nomedia.jpg")
    (tmp_path / ".thumbnails").mkdir()
    saved(NOISE, tmp_path / ".thumbnails" / "b.jpg")
    assert images_under(tmp_path) == [tmp_path / "b.jpg"]
    assert str(tmp_path / ".nomedia.jpg") not in images_in(tmp_path)
