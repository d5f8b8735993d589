"""Every command knows what a user's file registers; other people's settings import nothing."""

from pathlib import Path

import pytest
import yaml
from command_lines import call, forgotten

from torchreid_vi import InputError, load_config
from torchreid_vi.config import import_named

TINY = """model.pretrained False data.height 32 data.width 16 data.workers 0 sampler.num_instances 2
train.batch_size 16 train.max_epoch 1""".split()  # noqa: SIM905
CONFIG = Path(__file__).parents[1] / "configs" / "base_synthetic.yaml"
EXTENSION = """
from pathlib import Path

import torchreid
from torchreid_vi import Modality, register_dataset, register_loss, register_method, register_model
from torchreid_vi.data.datasets import VISynthetic
from torchreid_vi.evaluation import PROTOCOLS, Protocol
from torchreid_vi.losses import IdentityLoss
from torchreid_vi.methods import Supervised


class Own(VISynthetic):
    protocols = "own"


class OwnLoss(IdentityLoss):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def compute(self, inputs, pids, modality):
        return self.scale * super().compute(inputs, pids, modality)


class OwnMethod(Supervised):
    def __init__(self, settings, losses, depth=3):
        super().__init__(settings, losses)
        assert depth == 5


def own_model(num_classes, loss="softmax", pretrained=True, use_gpu=True):
    return torchreid.models.build_model("osnet_x0_25", num_classes, loss, pretrained, use_gpu)


register_dataset("own", Own)
register_model("own_net", own_model)
register_loss("own_loss", OwnLoss)
register_method("own_method", OwnMethod)
PROTOCOLS["own"] = {"night": Protocol(mode="all", query=Modality.INFRARED, gallery=Modality.VISIBLE, draw="seeded")}
with open("COUNT", "a") as file:
    file.write("imported\\n")
"""


@pytest.fixture(autouse=True)
def as_before():
    """Nothing that a test imports is known in the next one."""
    with forgotten():
        yield


@pytest.fixture
def extension(tmp_path):
    file = tmp_path / "own_part.py"
    file.write_text(EXTENSION.replace("COUNT", str(tmp_path / "count")))
    return file


SETTINGS = ["data.sources", "[own]", "model.name", "own_net", "loss.name", "own_method"]
SETTINGS += ["loss.own_loss.scale", "0.5", "loss.own_method.depth", "5"]
SETTINGS += ["loss.terms", "[own_loss]", "loss.weights", "[1.0]", *TINY]


@pytest.fixture
def trained(extension, roots, tmp_path):
    """A run that needs all that the file registers, and does not know it any more."""
    options = ["--config-file", CONFIG, "--root", roots, "--imports", extension.name, *SETTINGS]
    result = call("train.py", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    return tmp_path / "log" / "base_synthetic"


def test_every_command_reads_a_runs_imports_back_from_anywhere(trained, roots, tmp_path, extension):
    kept = yaml.safe_load((trained / "config.yaml").read_text())["imports"]
    assert kept == [str(extension)]
    weights, photos = trained / "checkpoints" / "last.pth", roots / "vi_synthetic" / "cam1"
    night = next((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))
    away = tmp_path / "away"
    away.mkdir()
    for command in (
        ["report.py", trained, "--people", "none"],
        ["search.py", "--weights", weights, "--query", night, "--gallery", photos, "--cache", ""],
        ["test.py", "--config-file", trained / "config.yaml", "model.load_weights", weights],
        ["index.py", "build", "--weights", weights, "--gallery", photos, "--out", "photos.index"],
        ["export.py", "--weights", weights, "--out", "exported", "--format", "torch"],
        ["package_weights.py", trained, "--out", "shared"],
        ["compare.py", "--runs", trained, "--out", "compared"],
    ):
        result = call(*command, cwd=away)
        assert result.returncode == 0, f"{command}\n{result.stderr}"


def test_commands_without_a_config_take_them_as_an_option(extension, roots, tmp_path):
    unknown = call("check_data.py", "own", "--root", roots, cwd=tmp_path)
    assert unknown.returncode == 2 and "unknown dataset 'own'" in unknown.stderr
    known = call("check_data.py", "own", "--root", roots, "--imports", "own_part.py", cwd=tmp_path)
    assert known.returncode in (0, 1), known.stderr


def test_compare_runs_what_needs_them_in_processes_of_their_own(extension, roots, tmp_path):
    options = ["--configs", CONFIG, "--root", roots, "--out", "compared", "--seeds", "1", "--jobs", "2"]
    result = call("compare.py", *options, "--imports", extension, *SETTINGS, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_importing_twice_runs_a_file_once(extension, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(extension), "own_part.py", "./own_part.py", "torchreid_vi.errors"]
    assert import_named(names) == [str(extension), "torchreid_vi.errors"]
    import_named(names)
    assert (tmp_path / "count").read_text() == "imported\n"


@pytest.mark.parametrize(
    "name, program, said",
    [
        ("broken.py", "nothing", "broken.py cannot be imported (NameError: name 'nothing' is not defined)"),
        ("broken.py", "import no_such_part", "No module named 'no_such_part'): install what it needs"),
        ("json.py", "", "has the name of another module, json: rename the file"),
        ("missing.py", None, "missing.py, which is no file: check the name"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(name, program, said, tmp_path):
    if program is not None:
        (tmp_path / name).write_text(program)
    result = call("check_data.py", "regdb", "--imports", name, cwd=tmp_path)
    assert result.returncode == 2 and said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_settings_that_came_with_weights_import_nothing(trained, tmp_path, extension, capsys, roots):
    assert call("package_weights.py", trained, "--out", "shared", cwd=tmp_path).returncode == 0
    settings = tmp_path / "shared" / "config.yaml"
    assert yaml.safe_load(settings.read_text())["imports"] == ["own_part.py"]
    (tmp_path / "shared" / "own_part.py").write_text("raise SystemExit('ran')")
    (tmp_path / "own.yaml").write_text("_BASE_: shared/config.yaml\n")
    night = next((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))
    search = ["search.py", "--weights", ".", "--query", night, "--gallery", night.parent, "--cache", ""]
    refused = call(*search, cwd=tmp_path / "shared")
    assert refused.returncode == 2 and "'own_part.py'" in refused.stderr and "--imports" in refused.stderr
    assert load_config(str(settings)).imports == []
    with pytest.raises(InputError, match=r"unknown setting 'loss\.own_loss\.scale'"):
        load_config(str(tmp_path / "own.yaml"))
    accepted = call(*search, "--imports", extension, cwd=tmp_path / "shared")
    assert accepted.returncode == 0, accepted.stderr


def test_an_index_does_not_say_what_is_imported(trained, tmp_path, extension, roots):
    weights, photos = trained / "checkpoints" / "last.pth", roots / "vi_synthetic" / "cam1"
    build = ["index.py", "build", "--weights", weights, "--gallery", photos, "--out", "photos.index"]
    assert call(*build, cwd=tmp_path).returncode == 0
    search = ["index.py", "search", "--index", "photos.index", "--query", next(photos.rglob("*.jpg"))]
    assert call(*search, cwd=tmp_path).returncode == 2
    for more in (["--imports", extension], ["--weights", weights]):
        result = call(*search, *more, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    build = [*build[:-1], "other.index", "--settings", trained / "config.yaml"]
    assert call(*build, cwd=tmp_path).returncode == 0
    search[3] = "other.index"  # whose author named the settings, so naming the weights is not enough
    assert call(*search, "--weights", weights, cwd=tmp_path).returncode == 2
    settings = ["--weights", weights, "--settings", trained / "config.yaml"]
    assert call(*search, *settings, cwd=tmp_path).returncode == 0


def test_a_yaml_file_and_key_value_pairs_name_them_too(extension, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("imports: [own_part.py]\n")
    assert load_config("own.yaml").imports == [str(extension)]
    assert load_config(options=["imports", "[own_part.py]"]).imports == [str(extension)]
    with pytest.raises(InputError, match="setting 'imports' is 3"):
        load_config(options=["imports", "3"])
