"""Indexes: exact search as NumPy finds it, the others close to it, and folders that are whole or refused."""

import json
import os

import numpy as np
import pytest

from torchreid_vi import InputError
from torchreid_vi.retrieval.index import ABOUT, ITEMS, KINDS, VECTORS, EmbeddingIndex


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


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_comes_back_from_its_folder_and_states_its_recall(kind, tmp_path):
    gallery, queries = features(10_100), features(30, seed=2)
    index = EmbeddingIndex.build(gallery, items(10_100), kind, weights="w.pth")
    index.save(tmp_path / "deep" / "index")
    again = EmbeddingIndex.load(tmp_path / "deep" / "index")
    assert again.about == index.about and again.about["weights"] == "w.pth" and again.about["kind"] == kind
    assert again.search(queries, 10) == index.search(queries, 10)
    exact = np.argsort(-(queries @ gallery.T), axis=1)[:, :10]
    held = [
        len({f"{i}.jpg" for i in row} & {item["path"] for _, item in each}) / 10
        for row, each in zip(exact, index.search(queries, 10), strict=True)
    ]
    assert {"flat": 1.0, "hnsw": 0.9, "ivf-pq": 0.5}[kind] <= np.mean(held)
    assert abs(np.mean(held) - again.about["recall_at_10"]) < 0.2
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["index"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_added_is_found_like_the_rest(kind, tmp_path):
    whole, queries = features(10_200), features(20, seed=3)
    index = EmbeddingIndex.build(whole[:10_000], items(10_000), kind)
    index.add(whole[10_000:], [{"path": f"new {i}.jpg"} for i in range(200)])
    index.save(tmp_path / "index")
    again = EmbeddingIndex.load(tmp_path / "index")
    assert again.about["vectors"] == len(again.items) == 10_200 and "recall_at_10" not in again.about
    assert again.search(whole[10_100:10_101], 1)[0][0][1] == {"path": "new 100.jpg"}
    if kind == "flat":
        similarity = queries @ whole.T
        for row, each in zip(similarity, again.search(queries, 5), strict=True):
            expected = np.argsort(-row, kind="stable")[:5]
            names = [f"{i}.jpg" if i < 10_000 else f"new {i - 10_000}.jpg" for i in expected]
            assert [item["path"] for _, item in each] == names
    with pytest.raises(InputError, match="for an index of 32 dimensions"):
        again.add(features(1, 31), items(1))


def test_mistakes_are_one_sentence(tmp_path):
    gallery = features(50)
    with pytest.raises(InputError, match="did you mean 'ivf-pq'"):
        EmbeddingIndex.build(gallery, items(50), "ivfpq")
    with pytest.raises(InputError, match="there are 50: choose flat or hnsw"):
        EmbeddingIndex.build(gallery, items(50), "ivf-pq")
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
