"""Checkpoints that hold a call are refused, and nothing runs."""

import io
import pickle
import tarfile

import numpy as np
import pytest
import torch
from hostile import Call, legacy, zipped

from torchreid_vi import InputError
from torchreid_vi.models import identities, load_weights, read_checkpoint
from torchreid_vi.models.checkpoints import NumPyValue


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


class NumberType(Call):
    """Unpickles as a type of NumPy's that is given a state."""

    def __init__(self, name, *state):
        self.called = np.dtype, (name, False, True), state


@pytest.mark.parametrize(
    "kind",
    [
        NumberType("f8", 3, "<", None, -1, -1, 0),  # NumPy ends the process
        NumberType("f8", 3, "O", None, None, None, -1, -1, 0),
        NumberType("O8", 3, "|", None, None, None, -1, -1, 63),  # and would take these bytes for a pointer
    ],
    ids=["short", "order", "pointer"],
)
def test_a_state_that_numpy_crashes_with_does_not_reach_it(kind, tmp_path):
    number = Call(np.float64(1).__reduce__()[0], kind, b"8 bytes.")
    torch.save({"state_dict": {}, "rank1": number}, tmp_path / "a.pth")
    assert isinstance(read_checkpoint(tmp_path / "a.pth")["rank1"], NumPyValue)


def test_content_that_holds_itself_is_read(tmp_path):
    content = {"a": torch.ones(2)}
    content["itself"] = [content]
    torch.save(content, tmp_path / "a.pth")
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["a"], torch.ones(2))


@pytest.mark.parametrize("shape", [(), (7, 2, 2)])
def test_a_classifier_that_is_no_matrix_is_refused(shape):
    with pytest.raises(InputError, match=r"a classifier of shape \(.*\), which is of no model"):
        identities({"state_dict": {"classifier.weight": torch.ones(shape)}})
