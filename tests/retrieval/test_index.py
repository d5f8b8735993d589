"""Indexes: exact search as NumPy finds it, the others close to it, and folders that are whole or refused."""

import json
import os

import numpy as np
import pytest

from torchreid_vi import InputError
from torchreid_vi.retrieval.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex

#: Strings of FAISS's index factory, with the recall at 10 that is expected at least.
FACTORIES = {"Flat": 1.0, "HNSW32": 0.9, "IVF40,Flat": 0.8, "IVF40,PQ16": 0.5, "IDMap,SQ8": 0.9}


def features(number, dimensions=32, seed=0):
    """Unit vectors around a hundred centres."""
    rng = np.random.default_rng(seed)
    drawn = 3 * rng.normal(size=(100, dimensions))[np.arange(number) % 100] + rng.normal(
        size=(number, dimensions)
    )
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def items(number):
    return [{"path": f"{i}.jpg", "camera": i % 7} for i in range(number)]


def test_flat_search_is_exact_and_brings_the_items():
    gallery, queries = features(500), features(20, seed=1)
    index = EmbeddingIndex.build(gallery, items(500))
    found = index.search(queries, 5)
    similarity = queries @ gallery.T
    for row, each in zip(similarity, found, strict=True):
        order = np.argsort(-row, kind="stable")[:5]
        assert [item["path"] for _, item in each] == [f"{i}.jpg" for i in order]
        np.testing.assert_allclose([score for score, _ in each], row[order], atol=1e-5)
        assert all(item["camera"] == int(item["path"][:-4]) % 7 for _, item in each)
    assert index.about["recall_at_10"] == 1
    assert len(index.search(queries, 1000)[0]) == 500


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_kind_comes_back_from_its_folder_and_states_its_recall(factory, tmp_path):
    gallery, queries = features(10_100), features(30, seed=2)
    index = EmbeddingIndex.build(gallery, items(10_100), factory, weights="w.pth")
    index.save(tmp_path / "deep" / "index")
    again = EmbeddingIndex.load(tmp_path / "deep" / "index")
    assert (
        again.about == index.about and again.about["weights"] == "w.pth" and again.about["factory"] == factory
    )
    assert again.search(queries, 10) == index.search(queries, 10)
    exact = np.argsort(-(queries @ gallery.T), axis=1)[:, :10]
    held = [
        len({f"{i}.jpg" for i in row} & {item["path"] for _, item in each}) / 10
        for row, each in zip(exact, index.search(queries, 10), strict=True)
    ]
    assert FACTORIES[factory] <= np.mean(held)
    assert abs(np.mean(held) - again.about["recall_at_10"]) < 0.2
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index"]


@pytest.mark.parametrize("factory", FACTORIES)
def test_what_is_added_is_found_like_the_rest(factory, tmp_path):
    whole, queries = features(10_200), features(20, seed=3)
    index = EmbeddingIndex.build(whole[:10_000], items(10_000), factory)
    index.add(whole[10_000:], [{"path": f"new {i}.jpg"} for i in range(200)])
    index.save(tmp_path / "index")
    again = EmbeddingIndex.load(tmp_path / "index")
    assert len(again) == len(again.items) == 10_200 and "recall_at_10" not in again.about
    assert again.search(whole[10_100:10_101], 1)[0][0][1] == {"path": "new 100.jpg"}
    if factory == "Flat":
        similarity = queries @ whole.T
        for row, each in zip(similarity, again.search(queries, 5), strict=True):
            expected = np.argsort(-row, kind="stable")[:5]
            names = [f"{i}.jpg" if i < 10_000 else f"new {i - 10_000}.jpg" for i in expected]
            assert [item["path"] for _, item in each] == names
    with pytest.raises(InputError, match="for an index of 32 dimensions"):
        again.add(features(1, 31), items(1))


@pytest.mark.parametrize("factory", ["Flat", "IVF20,Flat", "SQ8"])
def test_what_is_removed_is_not_found_and_the_rest_as_before(factory, tmp_path):
    vectors, queries = features(1_000), features(20, seed=3)
    paths = [f"/photos/cam{i % 7}/{i}.jpg" for i in range(1_000)]
    index = EmbeddingIndex.build(vectors, [{"path": path} for path in paths], factory)
    before = index.search(queries, 1_000)
    assert index.remove(["/photos/cam3", "/photos/cam1/1.jpg"]) == len(paths[3::7]) + 1
    index.save(tmp_path / "index")
    again = EmbeddingIndex.load(tmp_path / "index")
    gone = {*paths[3::7], paths[1]}
    assert len(again) == 1_000 - len(gone) and "recall_at_10" not in again.about
    kept = [[(score, item) for score, item in each if item["path"] not in gone] for each in before]
    for found, expected in zip(again.search(queries, 1_000), kept, strict=True):
        np.testing.assert_allclose([score for score, _ in found], [score for score, _ in expected], atol=1e-6)
        assert {item["path"] for _, item in found} == {item["path"] for _, item in expected}
    again.add(vectors[:1], [{"path": "new.jpg"}])  # after what was removed
    assert "new.jpg" in [item["path"] for _, item in again.search(vectors[:1], 2)[0]]


def test_what_cannot_be_removed_is_one_sentence():
    index = EmbeddingIndex.build(features(50), items(50), "HNSW32")
    with pytest.raises(InputError, match="a HNSW32 index cannot shrink: build it again"):
        index.remove(["1.jpg"])
    with pytest.raises(InputError, match=r"has no image 90\.jpg: name paths"):
        index.remove(["1.jpg", "90.jpg"])
    with pytest.raises(InputError, match="no image would be left"):
        index.remove(f"{i}.jpg" for i in range(50))
    assert len(index) == 50 and len(index.search(features(1), 50)[0]) == 50


def test_mistakes_are_one_sentence(tmp_path):
    gallery = features(50)
    with pytest.raises(InputError, match=r"FAISS makes no index 'Flot' of 32 dimensions .* choose Flat"):
        EmbeddingIndex.build(gallery, items(50), "Flot")
    for factory, least in (("IVF4,Flat", "156"), ("PQ8", "9,984")):
        with pytest.raises(InputError, match=f"at least {least} vectors and there are 50: choose Flat"):
            EmbeddingIndex.build(gallery, items(50), factory)
    with pytest.raises(InputError, match="at least one image"):
        EmbeddingIndex.build(gallery[:0], [])
    with pytest.raises(ValueError, match="for 49 items"):
        EmbeddingIndex.build(gallery, items(49))
    for odd in ({}, {"path": 5}):
        with pytest.raises(ValueError, match="an item without a path"):
            EmbeddingIndex.build(gallery, [*items(49), odd])
    index = EmbeddingIndex.build(gallery, items(50))
    with pytest.raises(InputError, match="for an index of 32 dimensions"):
        index.search(features(1, 31))
    index.save(tmp_path / "index")
    with pytest.raises(InputError, match="name another folder"):
        index.save(tmp_path / "index")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        index.save(tmp_path / "file" / "index")
    with pytest.raises(InputError, match="is no text in UTF-8"):
        index.save(tmp_path / os.fsdecode(b"M\xfcller"))


@pytest.mark.parametrize("name", [VECTORS, ITEMS, ABOUT])
def test_a_damaged_folder_is_refused(name, tmp_path):
    EmbeddingIndex.build(features(50), items(50)).save(tmp_path / "index")
    file = tmp_path / "index" / name
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"null"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"is no index, or damaged|files of different indexes"):
            EmbeddingIndex.load(tmp_path / "index")
    file.unlink()
    with pytest.raises(InputError, match="is no index, or damaged"):
        EmbeddingIndex.load(tmp_path / "index")


def test_files_of_different_indexes_are_refused(tmp_path):
    for number in (50, 60):
        EmbeddingIndex.build(features(number), items(number)).save(tmp_path / str(number))
    (tmp_path / "50" / ITEMS).write_text("".join(json.dumps(item) + "\n" for item in items(60)))
    with pytest.raises(InputError, match="files of different indexes"):
        EmbeddingIndex.load(tmp_path / "50")


def test_a_disk_that_faiss_cannot_write_to_is_one_sentence_and_leaves_nothing(tmp_path, little_room):
    with pytest.raises(InputError, match=r"cannot be written .*: free some space, or name another folder"):
        EmbeddingIndex.build(features(100), items(100)).save(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []
