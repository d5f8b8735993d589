"""Files made to run code, to exhaust memory or to end the process: refused with a sentence, and nothing runs."""

import codecs
import copy
import io
import json
import os
import pickle
import tarfile
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import targets
import torch
import yaml
from command_lines import call
from safetensors.torch import save_file

from torchreid_vi import FeatureExtractor, InputError, load_config
from torchreid_vi.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex
from torchreid_vi.models import identities, load_weights, read_checkpoint
from torchreid_vi.report.collect import collect
from torchreid_vi.sharing import MANIFEST, SETTINGS, WEIGHTS, fetching, locate
from torchreid_vi.sharing.package import mark


class Call:
    """Unpickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.fixture
def marker(tmp_path):
    """A file that every payload would make."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


@pytest.fixture(params=["os.system", "eval", "exec", "open", "mkdir", "torch"])
def payload(request, marker):
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(marker), "w"),
        "mkdir": Call(os.mkdir, str(marker)),
        "torch": Call(torch.save, {}, str(marker)),
    }[request.param]


def zipped(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def legacy(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def tarred(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            body = pickle.dumps(content)
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


WAYS = {
    "zip": zipped,
    "legacy": legacy,
    "pickle": pickle.dumps,
    "pickle of protocol 0": lambda content: pickle.dumps(content, 0),
    "tar": tarred,
    "nested": lambda content: zipped({"state_dict": {"a": torch.ones(2), "b": [content]}, "epoch": 1}),
    "a name": lambda content: zipped({"state_dict": {"a": torch.ones(2)}, "about": {"backbone": content}}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_checkpoints_run_nothing(way, ending, payload, marker, tmp_path):
    path = tmp_path / f"last.{ending}"
    path.write_bytes(way(payload))
    with pytest.raises(
        InputError, match=rf"last\.{ending} (was refused|is not a checkpoint|is no safetensors)"
    ):
        read_checkpoint(path)
    with pytest.raises(InputError):
        load_weights(torch.nn.Linear(2, 2), path)


def test_names_of_tensors_are_names_alone(marker, tmp_path):
    for name in ("../../ran", str(marker), "a\0b", "__class__", "x" * 10**5):
        save_file({name: torch.ones(2)}, tmp_path / "a.safetensors", {"about": json.dumps({"epoch": 1})})
        assert list(read_checkpoint(tmp_path / "a.safetensors")["state_dict"]) == [name]


@pytest.mark.parametrize("about", ["[" * 100_000, "null", "[1]", '{"a": ' * 100_000, "1" * 5000])
def test_notes_in_safetensors_may_be_anything(about, tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", {"about": about})
    with pytest.raises(InputError, match="is no safetensors file or is damaged"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path):
    content = zipped({"state_dict": {"a": torch.zeros(10**6)}})
    with (
        zipfile.ZipFile(io.BytesIO(content)) as sound,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in sound.namelist():
            packed.writestr(name, sound.read(name))
    with pytest.raises(InputError, match=r"a\.pth was refused: it would unpack to 4,0.* bytes"):
        read_checkpoint(tmp_path / "a.pth")


def test_an_archive_whose_members_lie_in_one_place_is_not_unpacked(tmp_path):
    torch.save({"a": torch.ones(10_000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth", "a") as archive:
        archive.writestr("more", b"")
        (values,) = (member for member in archive.filelist if member.filename.endswith("data/0"))
        for number in range(1, 100):
            another = copy.copy(values)
            another.filename = f"{values.filename}{number}"
            archive.filelist.append(another)
    with pytest.raises(InputError, match=r"a\.pth was refused: it would unpack to 4,0.* bytes"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_classifier_larger_than_its_file_is_not_built(tmp_path):
    torch.save(
        {"state_dict": {"classifier.weight": torch.ones(1, 1).expand(10**9, 2048)}}, tmp_path / "a.pth"
    )
    with pytest.raises(InputError, match=r"a\.pth was refused: .* without a value for each of its elements"):
        read_checkpoint(tmp_path / "a.pth")
    for shape in ((10**7, 0), (10**7,), (10**7, 3), (0, 512), ()):
        with pytest.raises(InputError, match=r"a classifier of shape \(.*\), which is of no model"):
            identities({"state_dict": {"classifier.weight": torch.ones(shape, dtype=torch.uint8)}})
    assert identities({"state_dict": {"classifier.weight": torch.ones(7, 64)}}) == 7


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(1).expand(10**12),
        torch.ones(10**4).as_strided((10**4, 10**4), (1, 0)),
        torch.empty(10**6, 10**6, device="meta"),
        torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6), check_invariants=True),
    ],
    ids=["one value", "one row", "no values", "sparse"],
)
def test_tensors_larger_than_their_file_are_refused_wherever_they_lie(tensor, tmp_path):
    for content in ({"a": tensor}, {"optimizer": {"state": [({0: tensor},)]}}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(InputError, match="a tensor without a value for each of its elements"):
            read_checkpoint(tmp_path / "a.pth")


def test_content_that_holds_itself_and_tensors_that_share_memory_are_read(tmp_path):
    shared = torch.ones(6000)
    content = {"a": shared, "b": shared.view(2, 3000).T, "c": shared[:2], "d": torch.ones(0)}
    content["itself"] = [content]
    torch.save(content, tmp_path / "a.pth")
    assert (tmp_path / "a.pth").stat().st_size < 2 * shared.nbytes
    assert read_checkpoint(tmp_path / "a.pth")["b"].shape == (3000, 2)


@pytest.mark.parametrize("way", [zipped, legacy], ids=["zip", "legacy"])
def test_a_length_without_content_is_not_made(way, tmp_path):
    (tmp_path / "a.pth").write_bytes(way({"a": Call(bytearray, 3 * 10**9)}))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.pth was refused: it holds a bytearray"):
            read_checkpoint(tmp_path / "a.pth")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


class NumberType(Call):
    """Unpickles as a type of NumPy's that is given a state."""

    def __init__(self, name, *state):
        self.called = np.dtype, (name, False, True), state


@pytest.mark.parametrize(
    "kind",
    [
        NumberType("f8", 3, "O", None, None, None, -1, -1, 0),
        NumberType("O8", 3, "|", None, None, None, -1, -1, 63),
    ],
    ids=["order", "pointer"],
)
def test_types_of_numbers_are_not_numpys_own(kind, tmp_path):
    number = Call(np.float64(1).__reduce__()[0], kind, b"8 bytes.")
    torch.save({"state_dict": {}, "rank1": number}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth is not a checkpoint or is damaged"):
        read_checkpoint(tmp_path / "a.pth")


def test_numbers_of_either_order_and_their_types_are_read(tmp_path):
    state = (3, ">", None, None, None, -1, -1, 0)
    big = Call(np.float64(1).__reduce__()[0], NumberType("f8", *state), np.array(0.25, ">f8").tobytes())
    torch.save({"rank1": big, "type": np.dtype("f4")}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth") == {"rank1": 0.25, "type": "f4"}


@pytest.mark.parametrize("content", [b"8 bytes.", b"", b"x" * 16, "text"])
def test_a_state_that_numpy_crashes_with_and_strange_bytes_are_harmless(content, tmp_path):
    number = Call(np.float64(1).__reduce__()[0], NumberType("f8", 3, "<", None, -1, -1, 0), content)
    torch.save({"state_dict": {}, "rank1": number}, tmp_path / "a.pth")
    if content == b"8 bytes.":
        assert read_checkpoint(tmp_path / "a.pth")["rank1"] == np.frombuffer(content)[0]
    else:
        with pytest.raises(InputError, match=r"a\.pth (was refused|is not a checkpoint)"):
            read_checkpoint(tmp_path / "a.pth")


def pickled(content):
    return b"".join(pickle.dumps(each, 2) for each in (content, 1, 2, 3, 4))


@pytest.mark.parametrize("way", [zipped, legacy, pickled])
def test_one_text_is_not_encoded_again_and_again(way, tmp_path):
    text = "x" * 10**6
    content = {"a": [Call(codecs.encode, text, "latin1") for _ in range(2000)], "b": torch.ones(3)}
    (tmp_path / "a.pth").write_bytes(way(content))
    assert (tmp_path / "a.pth").stat().st_size < 1.1 * 10**6
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.pth was refused: its bytes are longer than it is"):
            read_checkpoint(tmp_path / "a.pth")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    (tmp_path / "a.pth").write_bytes(way({"rank1": np.float64(0.5), "best": b"short", "c": torch.ones(3)}))
    if way is not pickled:
        assert read_checkpoint(tmp_path / "a.pth")["rank1"] == 0.5


@pytest.mark.parametrize("way", [zipped, legacy], ids=["zip", "legacy"])
def test_bytes_are_made_in_the_one_way_that_python_writes(way, tmp_path):
    encode, grown = codecs.encode, Call(codecs.encode, "x" * 200, "latin1")
    for _ in range(20):
        grown = Call(encode, grown, "hex")
    kept = ("x", "latin1")
    for strange in (
        grown,
        Call(encode, "x", "utf-32"),
        Call(encode, "x"),
        [encode],
        Call(encode, *kept, "strict"),
    ):
        (tmp_path / "a.pth").write_bytes(way({"a": strange, "b": torch.ones(3)}))
        with pytest.raises(InputError, match=r"a\.pth is not a checkpoint or is damaged"):
            read_checkpoint(tmp_path / "a.pth")
    sound = {"cfg": "x" * 5000, "k" * 300: b"y" * 300, "twice": [b"z", b"z"], "rank1": np.float64(0.5)}
    (tmp_path / "a.pth").write_bytes(way(sound | {"a": torch.ones(3)}))
    assert {key: read_checkpoint(tmp_path / "a.pth")[key] for key in sound} == sound


def test_the_last_pickle_of_a_file_without_an_archive_is_looked_at_too(tmp_path):
    content = legacy({"a": torch.ones(3)})
    keys = content.rindex(b"\x80\x02]")
    text = "x" * 10**6
    many = pickle.dumps([Call(codecs.encode, text, "latin1") for _ in range(3)], 2)
    (tmp_path / "a.pth").write_bytes(content[:keys] + many + content[keys:])
    with pytest.raises(InputError, match=r"a\.pth was refused: its bytes are longer than it is"):
        read_checkpoint(tmp_path / "a.pth")


def test_of_two_members_with_one_name_neither_escapes(tmp_path):
    text = "x" * 10**5
    big = zipped({"a": [Call(codecs.encode, text, "latin1") for _ in range(300)]})
    small = zipped({"a": 1})
    for first, second in ((big, small), (small, big), (big.replace(b"data.pkl", b"DATA.pkl"), b"")):
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as out, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for content in filter(None, (first, second)):
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    for name in archive.namelist():
                        out.writestr(name, archive.read(name))
            out.writestr("archive/more", b"x" * 10**6)
        with pytest.raises(InputError, match=r"a\.pth was refused: its bytes are longer than it is"):
            read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("way", [zipped, legacy], ids=["zip", "legacy"])
def test_a_tensor_of_a_length_alone_is_refused(way, tmp_path):
    (tmp_path / "a.pth").write_bytes(way({"state_dict": {"a": Call(torch.FloatTensor, 10**9)}}))
    with pytest.raises(InputError, match="a tensor without a value for each of its elements"):
        read_checkpoint(tmp_path / "a.pth")


def test_two_stems_that_do_not_fit_together_are_refused(tmp_path):
    stems = {f"backbone.stems.{n}.conv1.weight": torch.ones(3 + n) for n in range(2)}
    torch.save(stems, tmp_path / "a.pth")
    model = torch.nn.ModuleDict({"conv1": torch.nn.Linear(3, 3, bias=False)})
    with pytest.raises(InputError, match="does not fit the model"):
        load_weights(model, tmp_path / "a.pth")


# Arrays


@pytest.fixture
def run(tmp_path):
    """What a comparison reads of a finished run."""
    target = targets.Rankings(tmp_path / "run")
    target.sound()
    return target.folder


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
        {"0/0/query": np.array([np.nan, 1, 2])},
        {"0/1/query": np.arange(3)},
        {"0/0/query": np.array(1)},
    ],
    ids=["short", "text", "NaN", "alone", "no list"],
)
def test_rankings_that_do_not_fit_together_are_refused(change, run):
    np.savez(run / "rankings.npz", **dict(np.load(run / "rankings.npz")) | change)
    with pytest.raises(InputError, match=r"rankings\.npz is damaged"):
        collect([run])[0].cmc("a")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4", pickle.dumps({})])
def test_what_are_no_rankings_is_refused(content, run):
    (run / "rankings.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"rankings\.npz is damaged"):
        collect([run])[0].scores("a")


def empty_but_long(path, **arrays):
    """Writes a file of a MiB whose arrays are of 300 MiB, and returns its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in arrays:
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": arrays[name], "fortran_order": False, "shape": (75 * 2**20,)}
                )
                for _ in range(300):
                    file.write(bytes(2**20))
    return path.read_bytes()


def test_arrays_of_hundreds_of_mebibytes_in_a_small_file_are_not_unpacked(run, galleries, tmp_path):
    empty_but_long(run / "rankings.npz", **{"0/0/query": "<i4"})
    long = empty_but_long(tmp_path / "a.npz", marks="<U1")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"rankings\.npz is damaged"):
            collect([run])[0].scores("a")
        galleries.read(long, None)  # embedded again
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


def test_arrays_that_ask_for_the_memory_to_unpack_them_are_refused(run):
    arrays = dict(np.load(run / "rankings.npz"))
    with zipfile.ZipFile(run / "rankings.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.save(file, array)
    with pytest.raises(InputError, match=r"rankings\.npz is damaged"):
        collect([run])[0].scores("a")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "{}", "null", '{"results": [1]}', "1" * 5000, "\udcff", ""]
)
def test_what_are_no_results_is_refused(content, run):
    (run / "results.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"results\.json (is damaged|holds no results)"):
        collect([run])


@pytest.fixture
def galleries(tmp_path):
    return targets.Galleries(tmp_path / "gallery")


def test_kept_features_run_nothing(galleries, payload, marker):
    for name in ("marks", "features"):
        kept = dict(np.load(galleries.store)) | {name: objects(payload)}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, **kept)
        galleries.read(buffer.getvalue(), None)  # embedded again
        assert np.load(galleries.store)[name].dtype.kind != "O"


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.ones(2, np.float32)},
        {"features": np.ones((2, 8), np.float64)},
        {"features": np.full((2, 8), np.nan, np.float32)},
        {"features": np.ones((3, 8), np.float32)},
        {"marks": np.array("a")},
        {"features": np.array(["a", "b"])},
    ],
    ids=["flat", "doubles", "NaN", "more", "one mark", "text"],
)
def test_kept_features_that_are_none_are_made_again(change, galleries):
    buffer = io.BytesIO()
    np.savez(buffer, **dict(np.load(galleries.store)) | change)
    galleries.read(buffer.getvalue(), None)
    assert np.load(galleries.store)["features"].shape == (2, 8)


def test_kept_features_of_another_length_are_named(galleries):
    kept = dict(np.load(galleries.store))
    buffer = io.BytesIO()
    np.savez(buffer, marks=kept["marks"], features=np.ones((2, 9), np.float32))
    with pytest.raises(
        InputError, match=r"\.npz holds features of another length than the model's: remove it"
    ):
        galleries.read(buffer.getvalue(), None)


# Indexes


@pytest.fixture
def index(tmp_path):
    target = targets.Indexes(tmp_path)
    target.sound()
    return tmp_path / "index"


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


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": 10**9},
        {"dimensions": 10**9},
        {"vectors": "8"},
        {"dimensions": None},
        {"vectors_sha256": 5},
        {"weights": 5},
        {"settings": ["a"]},
        {"weights_sha256": {}},
    ],
    ids=str,
)
def test_what_is_said_of_an_index_has_to_fit(change, index):
    about = json.loads((index / ABOUT).read_text()) | change
    (index / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"is no index, or damaged|files of different indexes"):
        EmbeddingIndex.load(index)


@pytest.mark.parametrize("name", [ABOUT, ITEMS])
@pytest.mark.parametrize("content", ["[" * 100_000, "1\n" * 8, '{"a":' * 100_000, "\udcff", "[]", "9" * 5000])
def test_json_of_an_index_may_be_anything(name, content, index):
    (index / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="is no index, or damaged"):
        EmbeddingIndex.load(index)


@pytest.mark.parametrize(
    "line", [b"{}", b'{"path": 5}', b'{"path": "' + b"x" * 10**5 + b'"}', b'{"path": null}']
)
def test_items_that_are_none_are_refused(line, index):
    lines = (index / ITEMS).read_bytes().splitlines()
    (index / ITEMS).write_bytes(b"\n".join([*lines[:-1], line]))
    with pytest.raises(InputError, match="is no index, or damaged"):
        EmbeddingIndex.load(index)


def test_of_too_many_items_one_is_read(index, monkeypatch):
    read = []
    monkeypatch.setattr(json, "loads", lambda text, loads=json.loads: read.append(text) or loads(text))
    (index / ITEMS).write_bytes(b'{"path": "a.jpg"}\n' * 10**5)
    with pytest.raises(InputError, match="files of different indexes"):
        EmbeddingIndex.load(index)
    assert len(read) == 1 + 8 + 1  # what is known of it, and an item more than there are vectors


@pytest.mark.parametrize("weights", ["https://127.0.0.1:9/a.zip", "hf://owner/name"])
def test_an_index_has_nothing_fetched(weights, index, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_download", pytest.fail)
    about = json.loads((index / ABOUT).read_text()) | {"weights": weights}
    (index / ABOUT).write_text(json.dumps(about))
    done = call("index.py", "search", "--index", index, "--query", tmp_path / "a.jpg", HF_HUB_OFFLINE=1)
    assert done.returncode == 2 and weights in done.stderr and "name them with --weights" in done.stderr


# Settings

BOMB = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{{', '.join(f'k{i}: *{a}' for i in range(9))}}}\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
LISTS = "a: &a [1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CONFIGS = {
    "a call": "model: !!python/object/apply:os.mkdir ['{ran}']",
    "an object": "model: !!python/object/new:os.system ['touch {ran}']",
    "a name": "model: {name: !!python/name:os.system }",
    "no end": "train: {lr: .inf}",
    "no number": "train: {lr: .nan}",
    "several lines": '"data.height\\n\\e[2J": 5',
    "sections in sections": BOMB,
    "sections in a section": BOMB + "train: *j",
    "sections as a value": BOMB + "train: {lr: *j}",
    "lists in lists": LISTS + "train: {lr: *j}",
    "lists as a list": LISTS + "train: {stepsize: *j}",
    "merged sections": MERGES,
    "itself": "train: &a {lr: *a}",
    "itself as a section": "model: &a {cmr: *a, mda: *a, name: *a}",
    "itself unknown": "x: &a {x: *a}",
    "nested": "a: " + "[" * 2000,
    "no date": "train: {lr: 2020-13-45}",
    "no time": "train: {lr: !!timestamp x}",
    "digits": "train: {max_epoch: " + "9" * 5000 + "}",
    "more digits": "train: {max_epoch: 0x" + "f" * 50_000 + "}",
    "digits as a name": "0x" + "f" * 50_000 + ": {1: 2}",
    "digits below a name": "train: {0x" + "f" * 50_000 + ": 1}",
    "digits as a fraction": "train: {lr: 0x" + "f" * 50_000 + "}",
    "a large picture": "data: {height: 1000000000}",
    "a long name": "train: {" + "x" * 100_000 + ": 1}",
    "a long value": "train: {lr: " + "x" * 100_000 + "}",
    "a long file": "#" * 300_000,
    "a base with NUL": '_BASE_: "a\\0"',
    "a base that is none": "_BASE_: [a, b]",
    "a base that is a pipe": "_BASE_: pipe.yaml",
    "a base that has no end": "_BASE_: /dev/zero",
    "a base in a circle of links": "_BASE_: loop.yaml",
    "a number as a name": "1: {2: 3}",
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_settings_run_nothing_and_end(text, marker, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("{ran}", str(marker)))
    begun = time.process_time()
    with pytest.raises(InputError) as caught:
        load_config(str(path))
    assert time.process_time() - begun < 5
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value", ["2020-13-45", "!!timestamp x", "9" * 5000, "0x" + "f" * 50_000, "[" * 2000]
)
def test_values_of_the_command_line_may_be_anything(value):
    with pytest.raises(InputError, match=r"setting 'train\.lr' is .*: expected float") as caught:
        load_config(options=["train.lr", value])
    assert len(str(caught.value)) < 1000


# Packages


@pytest.fixture
def package(tmp_path):
    target = targets.Packages(tmp_path / "package")
    target.sound()
    return target.folder


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_settings_of_a_package_run_nothing(text, marker, package):
    (package / SETTINGS).write_text(text.replace("{ran}", str(marker)))
    listed = json.loads((package / MANIFEST).read_text())
    listed["files"][SETTINGS] = mark(package / SETTINGS)
    (package / MANIFEST).write_text(json.dumps(listed))
    begun = time.process_time()
    with pytest.raises(InputError):
        load_config(str(locate(package).settings))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "change", [{"trained_on": 5}, {"trained_on": [1]}, {"format": "1"}, {"files": []}], ids=str
)
def test_a_list_of_files_that_is_none_is_refused(change, package):
    listed = json.loads((package / MANIFEST).read_text()) | change
    (package / MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"package\.json of .* is damaged: get the package again"):
        locate(package)


def test_weights_of_a_package_run_nothing(payload, marker, package):
    (package / WEIGHTS).write_bytes(zipped(payload))
    (package / SETTINGS).write_text(yaml.safe_dump({"model": {"name": "vi_osnet_x0_25"}}))
    listed = json.loads((package / MANIFEST).read_text())
    listed["files"] = {name: mark(package / name) for name in (WEIGHTS, SETTINGS)}
    (package / MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"model\.safetensors is no safetensors file"):
        FeatureExtractor(package)


# The command lines


def test_tools_answer_hostile_files_with_a_sentence(index, run, marker, tmp_path):
    (index / ABOUT).write_text("[" * 100_000)
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
