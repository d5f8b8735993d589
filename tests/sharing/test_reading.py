"""Packages that were changed or damaged are refused."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sharing_helpers import rewritten

from torchreid_vi import FeatureExtractor, InputError
from torchreid_vi.models import read_checkpoint
from torchreid_vi.sharing import CARD, MANIFEST, SETTINGS, WEIGHTS, locate


@pytest.mark.parametrize("name", [WEIGHTS, SETTINGS])
def test_a_changed_byte_is_refused(copied, name):
    whole = (copied / name).read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        (copied / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for named in (copied, copied / WEIGHTS):
            with pytest.raises(InputError, match=rf"copied/{name} is not what package\.json says"):
                FeatureExtractor(named)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"lacks {name}: get the package again"):
        locate(copied)


def test_the_card_is_for_its_author_to_edit(copied):
    (copied / CARD).write_text("We trained it by moonlight.")
    assert locate(copied).weights == copied / WEIGHTS


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1, "files": []}'])
def test_a_damaged_list_of_files_is_refused(copied, content):
    (copied / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=r"package\.json is damaged: get the package again$"):
        locate(copied)


def test_what_a_package_may_not_be_is_one_sentence(copied, tmp_path):
    rewritten(copied, format=2)
    with pytest.raises(InputError, match=r"has format 2: install a newer"):
        locate(copied)
    for change in ({"trained_on": 5}, {"trained_on": [1]}, {"format": "1"}):
        rewritten(copied, **{"format": 1} | change)
        with pytest.raises(InputError, match=r"package\.json is damaged: get the package again"):
            locate(copied)
    rewritten(copied, format=1, trained_on=[])
    assert locate(copied).settings == copied / SETTINGS
    for base in ("_BASE_", r'"\x5fBASE_"'):
        (copied / SETTINGS).write_text(f"{base}: {tmp_path}/other.yaml\n")
        rewritten(copied)
        with pytest.raises(InputError, match="reads a file outside of the package: it was refused"):
            locate(copied)
    (copied / SETTINGS).write_text("a: [")
    rewritten(copied)
    with pytest.raises(InputError, match=r"config\.yaml is damaged: get the package again"):
        locate(copied)
    with pytest.raises(
        InputError, match=r"holds no checkpoints/last\.pth and no package: name a run's folder"
    ):
        FeatureExtractor(tmp_path)


def test_a_damaged_safetensors_file_is_one_sentence(packaged, tmp_path):
    path, whole = tmp_path / "w.safetensors", (packaged() / WEIGHTS).read_bytes()
    for content in (b"", b"\xff" * 64, whole[:-1], b"\0" * 8 + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(
            InputError, match=r"w\.safetensors is no safetensors file or is damaged: get it again$"
        ):
            read_checkpoint(path)
    for about in ("[", "[]", "3"):
        save_file({"a": torch.zeros(1)}, path, {"about": about})
        with pytest.raises(InputError, match="is no safetensors file or is damaged"):
            read_checkpoint(path)
    save_file({"a": torch.zeros(1)}, path)
    assert read_checkpoint(path)["state_dict"].keys() == {"a"}


def test_weights_without_their_package_need_settings(packaged, tmp_path):
    alone = tmp_path / WEIGHTS
    shutil.copy(packaged() / WEIGHTS, alone)
    with pytest.raises(InputError, match=r"lies in no run's folder: name the run's config\.yaml"):
        FeatureExtractor(alone)
    image = np.full((9, 9), 90, np.uint8)
    found = FeatureExtractor(alone, packaged() / SETTINGS)([image])
    np.testing.assert_array_equal(found, FeatureExtractor(packaged())([image]))
