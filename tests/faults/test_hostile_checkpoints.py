"""Checkpoints made to run code, to exhaust memory or to end the process are refused, and nothing runs."""

import codecs
import copy
import io
import json
import pickle
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hostile import Call, legacy, less_memory_than, zipped
from safetensors.torch import save_file

from torchreid_vi import InputError
from torchreid_vi.models import identities, load_weights, read_checkpoint


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
    with (
        less_memory_than(2**20),
        pytest.raises(InputError, match=r"a\.pth was refused: it holds a bytearray"),
    ):
        read_checkpoint(tmp_path / "a.pth")


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
    refused = pytest.raises(InputError, match=r"a\.pth was refused: its bytes are longer than it is")
    with less_memory_than(2**25), refused:
        read_checkpoint(tmp_path / "a.pth")
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
