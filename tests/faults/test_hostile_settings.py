"""Settings that would run code or make no sense are refused, those of a package of weights too."""

import hashlib
import json

import pytest
import targets
from hostile import CALLS, CONFIGS, zipped

from torchreid_vi import FeatureExtractor, InputError, load_config
from torchreid_vi.sharing import MANIFEST, SETTINGS, WEIGHTS, locate


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_settings_run_nothing(text, marker, tmp_path):
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    path = tmp_path / "a.yaml"
    path.write_text(text.replace("{ran}", str(marker)))
    with pytest.raises(InputError) as caught:
        load_config(str(path))
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["2020-13-45", "!!timestamp x"])
def test_values_of_the_command_line_may_be_anything(value):
    with pytest.raises(InputError, match=r"setting 'train\.lr' is .*: expected float"):
        load_config(options=["train.lr", value])


@pytest.fixture
def package(tmp_path):
    return targets.Packages(tmp_path / "package").folder


def put(package, name, content):
    """Write a file of a package, and list it as it is."""
    (package / name).write_bytes(content)
    listed = json.loads((package / MANIFEST).read_text())
    listed["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    (package / MANIFEST).write_text(json.dumps(listed))


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_settings_of_a_package_run_nothing(text, marker, package):
    put(package, SETTINGS, text.replace("{ran}", str(marker)).encode())
    with pytest.raises(InputError):
        load_config(str(locate(package).settings))


def test_weights_of_a_package_run_nothing(payload, marker, package):
    put(package, WEIGHTS, zipped(payload))
    put(package, SETTINGS, b"model: {name: vi_osnet_x0_25}")
    with pytest.raises(InputError, match=r"model\.safetensors is no safetensors file"):
        FeatureExtractor(package)
