"""Indexes find what NumPy finds or most of it, and damaged folders are refused."""

import json
import os

import numpy as np
import pytest

from torchreid_vi import InputError
from torchreid_vi.retrieval.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex

#: Strings of FAISS's index factory, with the recall at 10 that is expected at least.
FACTORIES = {"Flat": 1.0, "HNSW32": 0.9, "IVF40,Flat": 0.8, "IVF40,PQ16": 0.5, "IDMap,SQ8": 0.9}
FACTORIES |= {"IVF4,Flat,RFlat": 1.0}


def features(number, dimensions=32, seed=0):
    """Unit vectors around a hundred centres."""
    rng = np.random.default_rng(seed)
    drawn = 3 * rng.normal(size=(100, dimensions))[np.arange(number) % 100] + rng.normal(
        size=(number, dimensions)
    )
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def items(number):
    return [{"path": f"{i}.jpg", "camera": i % 7} for i in range(number)]


def exact(queries, gallery, k):
    """Return the similarities and numbers (Q, k) of the nearest by NumPy."""
    similarity = queries @ gallery.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(similarity, order, 1), order


def test_flat_search_is_exact_and_returns_the_items():
    gallery, queries = features(500), features(20, seed=1)
    index = EmbeddingIndex.build(gallery, items(500))
    for scores, order, each in zip(*exact(queries, gallery, 5), index.search(queries, 5), strict=True):
        assert [item for _, item in each] == [items(500)[i] for i in order]
        np.testing.assert_allclose([score for score, _ in each], scores, atol=1e-5)
    assert index.about["recall_at_10"] == 1
    assert len(index.search(queries, 1000)[0]) == 500


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_kind_states_its_recall_takes_more_and_comes_back_from_its_folder(factory, tmp_path):
    gallery, queries = features(10_200), features(30, seed=2)
    index = EmbeddingIndex.build(gallery[:10_000], items(10_000), factory, weights="w.pth")
    found = [[int(item["path"][:-4]) for _, item in each] for each in index.search(queries, 10)]
    order = exact(queries, gallery[:10_000], 10)[1]
    recall = np.mean([len({*each} & {*row}) / 10 for each, row in zip(found, order, strict=True)])
    assert recall >= FACTORIES[factory] and abs(recall - index.about["recall_at_10"]) < 0.2
    index.add(gallery[10_000:], items(10_200)[10_000:])
    index.save(tmp_path / "deep" / "index")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index"]
    again = EmbeddingIndex.load(tmp_path / "deep" / "index")
    assert again.about == {"factory": factory, "dimensions": 32, "weights": "w.pth"}
    assert len(again) == len(again.items) == 10_200
    assert again.search(queries, 10) == index.search(queries, 10)
    assert again.search(gallery[10_100:10_101], 1)[0][0][1] == items(10_101)[-1]
    if recall == 1:
        for row, each in zip(exact(queries, gallery, 5)[1], again.search(queries, 5), strict=True):
            assert [item["path"] for _, item in each] == [f"{i}.jpg" for i in row]
    with pytest.raises(InputError, match="for an index of 32 dimensions"):
        again.add(features(1, 31), items(1))


@pytest.mark.parametrize("factory", ["Flat", "IVF20,Flat", "SQ8"])
def test_what_is_removed_is_not_found_and_the_rest_as_before(factory, tmp_path):
    vectors, queries = features(1_000), features(20, seed=3)
    paths = [f"/photos/cam{i % 7}/{i}.jpg" for i in range(1_000)]
    index = EmbeddingIndex.build(vectors, [{"path": path} for path in paths], factory)
    before, gone = index.search(queries, 1_000), {*paths[3::7], paths[1]}
    assert index.remove(["/photos/cam3", paths[1]]) == len(gone)
    index.save(tmp_path / "index")
    again = EmbeddingIndex.load(tmp_path / "index")
    assert len(again) == 1_000 - len(gone) and "recall_at_10" not in again.about
    for found, each in zip(again.search(queries, 1_000), before, strict=True):
        kept = {item["path"]: score for score, item in each if item["path"] not in gone}
        assert {item["path"]: score for score, item in found} == pytest.approx(kept, abs=1e-6)
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
    with pytest.raises(InputError, match=r"FAISS makes no index 'Flot' of 32 dimensions: choose Flat"):
        EmbeddingIndex.build(gallery, items(50), "Flot")
    for factory, least in (("IVF4,Flat", "156"), ("PQ8", "9,984")):
        with pytest.raises(InputError, match=f"needs {least} images, not 50: choose Flat"):
            EmbeddingIndex.build(gallery, items(50), factory)
    with pytest.raises(InputError, match="a Flat index needs 1 images, not 0"):
        EmbeddingIndex.build(gallery[:0], [])
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
