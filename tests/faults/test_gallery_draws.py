"""The official gallery draws: whatever MATLAB wrote is read, or refused in one sentence."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io

from torchreid_vi import InputError
from torchreid_vi.data.datasets.sysu_mm01 import SYSUMM01


def draws(matrix):
    cell = np.empty((6, 1), object)
    for camera in range(6):
        cell[camera, 0] = np.empty((3, 1), object)
        for pid in range(3):
            cell[camera, 0][pid, 0] = matrix
    return cell


def permutations(folder):
    return SYSUMM01.gallery_permutations(SimpleNamespace(root=folder))


@pytest.mark.parametrize(("dtype", "packed"), [("float64", True), ("uint8", False), ("int16", True)])
def test_draws_of_any_type_are_read(dtype, packed, tmp_path):
    cell = draws(np.array([np.random.default_rng(i).permutation(30) + 1 for i in range(10)], dtype))
    cell[2, 0][1, 0] = np.zeros((0, 0))
    path = tmp_path / "rand_perm_cam.mat"
    variables = {"other": "text", "rand_perm_cam": cell, "last": 1.0}
    scipy.io.savemat(path, variables, do_compression=packed)
    found = permutations(tmp_path)
    assert len(found) == 17 and (3, 2) not in found
    for (camera, pid), order in found.items():
        assert order.dtype == np.int64
        assert np.array_equal(order, cell[camera - 1, 0][pid - 1, 0])


@pytest.mark.parametrize("numbers", [[[np.nan, 1]], [[1.5, 2]], [[0, 1]], [[1j, 2]], ["text"]], ids=str)
def test_draws_of_no_image_numbers_are_refused(numbers, tmp_path):
    scipy.io.savemat(tmp_path / "rand_perm_cam.mat", {"rand_perm_cam": draws(np.array(numbers))})
    with pytest.raises(InputError, match=r"rand_perm_cam\.mat is not the official"):
        permutations(tmp_path)


@pytest.mark.parametrize("content", [b"no matrix", None])
def test_damaged_draws_are_named(content, tmp_path):
    path = tmp_path / "rand_perm_cam.mat"
    scipy.io.savemat(path, {"rand_perm_cam": draws(np.array([[1, 2]]))})
    path.write_bytes(content or path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"rand_perm_cam\.mat"):
        permutations(tmp_path)
