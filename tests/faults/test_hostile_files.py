"""What runs and indices keep, made to run code, is refused, and nothing runs."""

import io
import json
import os

import numpy as np
import pytest
import targets
from command_lines import call
from hostile import CONFIGS, Call, zipped

from torchreid_vi import InputError
from torchreid_vi.report.collect import collect
from torchreid_vi.retrieval.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex
from torchreid_vi.sharing import fetching


def objects(payload):
    array = np.empty(1, object)
    array[0] = payload
    return array


def test_rankings_run_nothing(run, payload, marker):
    arrays = dict(np.load(run / "rankings.npz"))
    for name in arrays:
        np.savez(run / "rankings.npz", allow_pickle=True, **arrays | {name: objects(payload)})
        with pytest.raises(
            InputError, match=r"rankings\.npz is damaged or holds objects: evaluate the run again"
        ):
            collect([run])[0].scores("a")


@pytest.mark.parametrize(
    "change",
    [
        {"0/0/ap": np.ones(2)},
        {"0/0/first": np.array(["a", "b", "c"])},
        {"0/1/query": np.arange(3)},
    ],
    ids=["short", "text", "alone"],
)
def test_rankings_that_do_not_fit_together_are_refused(change, run):
    np.savez(run / "rankings.npz", **dict(np.load(run / "rankings.npz")) | change)
    with pytest.raises(InputError, match=r"rankings\.npz is damaged"):
        collect([run])[0].cmc("a")


@pytest.fixture
def galleries(tmp_path):
    return targets.Galleries(tmp_path / "gallery")


def test_kept_features_run_nothing(galleries, payload, marker):
    for name in ("marks", "features"):
        kept = dict(np.load(galleries.store)) | {name: objects(payload)}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, **kept)
        galleries.store.write_bytes(buffer.getvalue())
        galleries.read()  # embedded again
        assert np.load(galleries.store)[name].dtype.kind != "O"


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.ones(2, np.float32)},
        {"features": np.full((2, 8), np.nan, np.float32)},
        {"features": np.ones((3, 8), np.float32)},
        {"marks": np.array("a")},
    ],
    ids=["flat", "NaN", "more", "one mark"],
)
def test_kept_features_that_are_none_are_made_again(change, galleries):
    buffer = io.BytesIO()
    np.savez(buffer, **dict(np.load(galleries.store)) | change)
    galleries.store.write_bytes(buffer.getvalue())
    galleries.read()
    assert np.load(galleries.store)["features"].shape == (2, 8)


def test_vectors_that_were_changed_do_not_reach_faiss(index, monkeypatch):
    import faiss

    asked = []
    monkeypatch.setattr(faiss, "read_index", asked.append)
    whole = (index / VECTORS).read_bytes()
    for content in (whole[:-1], whole + b"\0", whole[:40] + b"\xff" * 8 + whole[48:], b""):
        (index / VECTORS).write_bytes(content)
        with pytest.raises(InputError, match=r"is no index, or damaged: build it with tools/index\.py"):
            EmbeddingIndex.load(index)
    assert not asked


@pytest.mark.parametrize("change", [{"dimensions": None}, {"settings": ["a"]}], ids=str)
def test_what_is_said_of_an_index_has_to_fit(change, index):
    about = json.loads((index / ABOUT).read_text()) | change
    (index / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"is no index, or damaged|files of different indexes"):
        EmbeddingIndex.load(index)


@pytest.mark.parametrize("line", [b"{}", b'{"path": 5}'])
def test_items_that_are_none_are_refused(line, index):
    lines = (index / ITEMS).read_bytes().splitlines()
    (index / ITEMS).write_bytes(b"\n".join([*lines[:-1], line]))
    with pytest.raises(InputError, match="is no index, or damaged"):
        EmbeddingIndex.load(index)


@pytest.mark.parametrize("weights", ["https://127.0.0.1:9/a.zip", "hf://owner/name"])
def test_an_index_has_nothing_fetched(weights, index, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_download", pytest.fail)
    about = json.loads((index / ABOUT).read_text()) | {"weights": weights}
    (index / ABOUT).write_text(json.dumps(about))
    done = call("index.py", "search", "--index", index, "--query", tmp_path / "a.jpg", HF_HUB_OFFLINE=1)
    assert done.returncode == 2 and weights in done.stderr and "name them with --weights" in done.stderr


def test_tools_answer_hostile_files_with_a_sentence(index, run, marker, tmp_path):
    (index / ABOUT).write_text("[")
    (tmp_path / "a.pth").write_bytes(zipped(Call(os.system, f"touch {marker}")))
    (tmp_path / "config.yaml").write_text(CONFIGS["a call"].replace("{ran}", str(marker)))
    (tmp_path / "text.jpg").write_text("text")
    query = ["--query", tmp_path / "text.jpg"]
    lines = [
        ["index.py", "search", "--index", index, *query],
        ["search.py", "--weights", tmp_path / "a.pth", "--gallery", tmp_path, *query],
        ["train.py", "--config-file", tmp_path / "config.yaml"],
    ]
    for line in lines:
        done = call(*line)
        assert done.returncode == 2 and "error: " in done.stderr and "Traceback" not in done.stderr
