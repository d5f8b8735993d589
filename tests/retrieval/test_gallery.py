"""Galleries rank by the cosine and keep features until an image changes; so do the commands that search."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import call
from crops import spread, tiles
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError
from torchreid_vi.data.listing import images_under
from torchreid_vi.report.ranked import NEUTRAL, RIGHT, WRONG
from torchreid_vi.retrieval.gallery import Gallery


@pytest.fixture
def weights(trained):
    return trained() / "checkpoints" / "last.pth"


@pytest.fixture
def photos(copy_of):
    return copy_of("vi_synthetic") / "vi_synthetic" / "cam1"


class Counting(FeatureExtractor):
    """Counts the files that are embedded."""

    count = 0

    def files(self, paths, *args, **kwargs):
        self.count += len(paths)
        return super().files(paths, *args, **kwargs)


def test_the_most_similar_comes_first(weights, photos, roots):
    extractor = FeatureExtractor(weights)
    gallery = Gallery(photos, extractor, cache="")
    queries = sorted((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))[:3]
    expected = extractor(queries, "infrared") @ extractor(gallery.paths).T
    for row, found in zip(expected, gallery.search(queries, top=4), strict=True):
        best = np.argsort(-row)[:4]
        assert [answer.path for answer in found] == [gallery.paths[i] for i in best]
        np.testing.assert_allclose([answer.similarity for answer in found], row[best], atol=1e-5)
    assert gallery.search(gallery.paths[:1], "visible", 1)[0][0].path == gallery.paths[0]


def test_only_what_changed_is_embedded_again(weights, photos, tmp_path):
    extractor, cache = Counting(weights), tmp_path / "kept"

    def embedded(modality="visible"):
        before, gallery = extractor.count, Gallery(photos, extractor, modality, cache)
        return gallery, extractor.count - before

    first, number = embedded()
    assert number == len(first.paths) > 3
    again, count = embedded()
    assert count == 0 and np.array_equal(again.features, first.features)
    changed, gone = first.paths[:2]
    Image.open(first.paths[2]).rotate(180).save(changed)
    gone.unlink()
    (photos / "broken.jpg").write_bytes(b"no image")
    third, count = embedded()
    assert count == 2 and third.unreadable == [photos / "broken.jpg"]
    assert third.paths == [path for path in first.paths if path != gone]
    where = third.paths.index(changed)
    np.testing.assert_allclose(third.features[where], extractor([changed])[0], atol=1e-5)
    assert embedded("infrared")[1] == number
    later = changed.stat().st_mtime_ns + 10**9
    os.utime(changed, ns=(later, later))
    assert embedded()[1] == 2  # it, and the broken one
    for store in cache.iterdir():
        store.write_bytes(store.read_bytes()[:100])
    renewed, count = embedded()
    assert count == number
    np.testing.assert_allclose(renewed.features, third.features, atol=1e-5)


def test_extractors_with_other_features_have_another_fingerprint(weights, photos, tmp_path):
    one, other = FeatureExtractor(weights), FeatureExtractor(weights)
    assert one.fingerprint == other.fingerprint
    other.embedder.flip = True
    galleries = [Gallery(photos, extractor, cache=tmp_path / "kept") for extractor in (one, other)]
    assert not np.allclose(*(gallery.features for gallery in galleries))
    assert len(list((tmp_path / "kept").glob("*.npz"))) == 2
    plain, file = (weights.parents[1] / "config.yaml").read_text(), tmp_path / "config.yaml"
    for change, same in (
        (("pooling: gem", "pooling: avg"), False),
        (("interpolation: bilinear", "interpolation: bicubic"), False),
        (("load_weights: ''", "load_weights: elsewhere.pth"), True),
    ):
        assert change[0] in plain
        file.write_text(plain.replace(*change))
        assert (FeatureExtractor(weights, file).fingerprint == one.fingerprint) == same


@pytest.fixture
def index(tmp_path):
    """Return a function that calls the command ``index``."""

    def run(command, *options, status=0):
        result = call("index.py", command, *options, cwd=tmp_path)
        assert result.returncode == status, result.stderr
        return result.stderr if status else result.stdout

    return run


def test_an_index_is_searched_with_what_it_was_built_with(weights, photos, tmp_path, index):
    search = ["search", "--index", "index", "--query", next(photos.rglob("*.jpg"))]
    built = index("build", "--weights", weights, "--gallery", photos, "--out", "index")
    assert "dimensions, Flat, recall@10 100.0% of exact search" in built
    run = shutil.copytree(weights.parents[1], tmp_path / "run")
    assert index(*search, "--weights", run) == index(*search)
    settings, moved = run / "config.yaml", run / "checkpoints" / "last.pth"
    plain, state = settings.read_text(), torch.load(moved, weights_only=True)
    settings.write_text(plain.replace("pooling: gem", "pooling: avg"))
    assert "built with other weights or settings" in index(*search, "--weights", run, status=2)
    settings.write_text(plain)
    torch.save(state | {"epoch": 99}, moved)
    assert "built with other weights or settings" in index(*search, "--weights", run, status=2)


def test_an_index_takes_in_another_folder_without_what_it_has(weights, photos, tmp_path, index):
    more = tmp_path / "more"
    shutil.copytree(photos, more / "new")
    (more / "empty.jpg").write_bytes(b"")
    index("build", "--weights", weights, "--gallery", photos, "--out", "one")
    number = len(list(photos.rglob("*.jpg")))
    has = "images; the index now has"
    added = index("add", "--index", "one", "--gallery", "more", "--out", "two")
    assert added == f"Added {number} {has} {2 * number}\n"
    added = index("add", "--index", "two", "--gallery", photos, "--out", "three")
    assert added == f"Added 0 {has} {2 * number}\n"
    query = next(more.rglob("0*.jpg"))
    found = index("search", "--index", "three", "--query", query, "--modality", "visible", "--top", "2")
    assert str(query) in found and str(photos) in found
    removed = index("remove", "--index", "three", "--images", "more/new", "--out", "four")
    assert removed == f"Removed {number} {has} {number}\n"


def test_features_that_cannot_be_kept_are_there_all_the_same(weights, photos, tmp_path, caplog):
    (tmp_path / "taken").write_text("")
    assert len(Gallery(photos, FeatureExtractor(weights), cache=tmp_path / "taken").paths) > 3
    assert "cannot be kept" in caplog.text


def test_a_folder_without_pictures_is_one_sentence(weights, tmp_path):
    extractor = FeatureExtractor(weights)
    with pytest.raises(InputError, match=r"holds no images \(\.bmp"):
        Gallery(tmp_path, extractor, cache="")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="can be read"):
        Gallery(tmp_path, extractor, cache="")
    for none in (tmp_path / "a.jpg", tmp_path / "gone"):
        with pytest.raises(InputError, match="is no folder: name one"):
            Gallery(none, extractor, cache="")


def test_a_folder_that_cannot_be_read_is_not_left_out_silently(tmp_path, monkeypatch):
    (tmp_path / "private").mkdir()
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "private":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"private cannot be read \(Permission denied\)"):
        images_under(tmp_path)


def test_names_of_pictures_and_folders_need_not_be_text(weights, photos, tmp_path):
    folder = os.fsencode(tmp_path) + b"/M\xfcller"
    os.mkdir(folder)
    shutil.copy(next(photos.rglob("*.jpg")), os.fsdecode(folder + b"/\xe4.jpg"))
    gallery = Gallery(os.fsdecode(folder), FeatureExtractor(weights), cache=tmp_path / "kept")
    assert [os.fsencode(path.name) for path in gallery.paths] == [b"\xe4.jpg"]
    assert len(list((tmp_path / "kept").iterdir())) == 1


@pytest.fixture
def search(weights, photos, roots, tmp_path):
    """Return a function that calls the command ``search``, with an infrared picture unless others are named."""
    query = next((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))
    options = ["--weights", weights, "--gallery", photos, "--query", query]
    return lambda *more: call("search.py", *options, *more, cwd=tmp_path, XDG_CACHE_HOME=tmp_path / "xdg")


def test_the_command_prints_and_draws_what_it_found(search, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"")
    table = search("--top", 3, "--picture", "found.png")
    assert table.returncode == 0, table.stderr
    first, *ranks = table.stdout.splitlines()
    assert ": 3 best of " in first and len(ranks) == 3
    assert "Left out 1 that cannot be read" in table.stderr and "broken.png" in table.stderr
    picture = Image.open(tmp_path / "found.png").convert("RGB")
    assert picture.size == (4 * (104 + 8) + 8, 248 + 2 * 16 + 8)
    colours = {colour for _, colour in picture.getcolors(2**24)}
    assert NEUTRAL in colours and not {RIGHT, WRONG} & colours  # who is on them is unknown
    assert len(list((tmp_path / "xdg" / "torchreid_vi").iterdir())) == 1
    hidden = search("--top", 3, "--json", "--picture", "hidden.png", "--people", "blurred")
    (found,) = json.loads(hidden.stdout)
    assert [each["path"] for each in found["found"]] == [line.split()[-1] for line in ranks]
    pictures = [tiles(Image.open(tmp_path / f"{name}.png"), 96, 240, 2) for name in ("found", "hidden")]
    spreads = [spread(picture) for picture in pictures]
    assert len(spreads[0]) == len(spreads[1]) == 4
    assert spreads[0].min() > 3 and spreads[1].max() < 0.5


def test_a_query_in_the_gallery_does_not_find_itself(search, photos):
    query = sorted(photos.rglob("*.jpg"))[0]
    (answer,) = json.loads(search("--query", query, "--top", 3, "--json").stdout)
    assert len(paths := [each["path"] for each in answer["found"]]) == 3 and str(query) not in paths


def test_folders_of_queries_are_searched_image_by_image(search, index, weights, photos, roots, tmp_path):
    *folders, last = sorted((roots / "vi_synthetic" / "cam3").iterdir())[:3]
    single = sorted(last.iterdir())[0]
    expected = [str(path) for folder in folders for path in sorted(folder.iterdir())] + [str(single)]
    queries = ["--query", *folders, single, "--json"]
    assert [each["query"] for each in json.loads(search(*queries).stdout)] == expected
    index("build", "--weights", weights, "--gallery", photos, "--out", "index")
    found = index("search", "--index", "index", *queries)
    assert [each["query"] for each in json.loads(found)] == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--top", 0], "--top: 0 is less than 1"),
        (["--query", "nowhere.jpg"], "nowhere.jpg is missing"),
        (["--query", "empty"], "empty holds no images"),
        (["--gallery-modality", "visble"], "did you mean 'visible'"),
        (["--picture", "/proc/nowhere/found.png"], "/proc/nowhere"),
    ],
)
def test_mistakes_are_one_sentence(search, tmp_path, changes, words):
    (tmp_path / "empty").mkdir()
    result = search(*changes)
    said = result.stderr.replace("\r", "\n").splitlines()
    assert result.returncode == 2 and words in next(line for line in said if "error: " in line)
    assert "Traceback" not in result.stderr
