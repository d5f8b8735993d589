"""Settings: files, overrides, types and the nearest match."""

import contextlib
import re
from pathlib import Path

import pytest
import torch

from torchreid_vi import LOSSES, InputError, build, config, load_config
from torchreid_vi.config import defaults, read_config
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.data.transforms import TRANSFORMS
from torchreid_vi.losses import IdentityLoss


def test_every_key_is_commented_once():
    source = Path(defaults.__file__).read_text()
    commented = re.findall(r'^    "([a-z0-9_.]+)": .*  # \S', source, re.MULTILINE)
    assert sorted(commented) == sorted(defaults.SETTINGS)


def test_settings_are_told_apart_by_what_they_affect():
    cfg = load_config()
    training, metrics = config.resumable(cfg), config.comparable(cfg)
    assert {"train.lr", "loss.cmr.epsilon", "data.split_id"} <= training.keys() < metrics.keys()
    assert config.evaluation(cfg).keys() >= {"data.targets", "test.flip", "rerank.k1", "mser.weight"}
    others = {"model.pretrained", "model.load_weights", "model.load_stem"}
    others |= {"train.max_epoch", "train.skip_nonfinite"}
    assert metrics.keys() == training.keys() | config.evaluation(cfg).keys() | others
    places = {"imports", "model.resume", "data.root", "data.workers", "data.cache", "data.save_dir"}
    places |= {"data.thermal_found", "train.print_freq", "train.start_epoch", "test.batch_size"}
    assert config.keys() - metrics.keys() == places
    cosine = load_config(options=["train.lr_scheduler", "cosine"])
    assert config.resumable(cosine).keys() - training.keys() == {"train.max_epoch"}


def test_a_file_changes_the_settings_of_its_base(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {lr: 5e-4, max_epoch: 3}\ndata: {sources: [regdb]}\n")
    (tmp_path / "b.yaml").write_text("_BASE_: a.yaml\ntrain: {max_epoch: 4}\n")
    (tmp_path / "c.yaml").write_text("_BASE_: b.yaml\ndata: {sources: [llcm]}\n")
    cfg = load_config(str(tmp_path / "c.yaml"))
    assert (cfg.train.lr, cfg.train.max_epoch, cfg.data.sources) == (5e-4, 4, ["llcm"])


def test_of_several_bases_the_later_wins_and_the_file_over_all(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "root.yaml").write_text("train: {lr: 1e-4, gamma: 0.5}\n")
    (tmp_path / "deep" / "a.yaml").write_text("_BASE_: root.yaml\ntrain: {max_epoch: 3, warmup: 1}\n")
    (tmp_path / "b.yaml").write_text("_BASE_: deep/root.yaml\ntrain: {lr: 5e-4, max_epoch: 4, seed: 2}\n")
    (tmp_path / "c.yaml").write_text("_BASE_: [deep/a.yaml, b.yaml]\ntrain: {seed: 3}\n")
    train = load_config(str(tmp_path / "c.yaml")).train
    assert (train.lr, train.gamma, train.max_epoch, train.warmup, train.seed) == (5e-4, 0.5, 4, 1, 3)


def test_a_part_of_a_config_is_no_config():
    with pytest.raises(InputError, match="unknown config 'mcja': did you mean 'mcja_"):
        load_config("mcja")


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("[other.yaml, c.yaml]", "is its own _BASE_"),
        ("[other.yaml, gone.yaml]", r"gone.yaml cannot be read .* _BASE_ of"),
        ("[other.yaml, 3]", "is no name of a file"),
        ("../{0}/c.yaml", "is its own _BASE_"),
        ("c.yaml", "is its own _BASE_"),
        ("gone.yaml", r"gone.yaml cannot be read .* _BASE_ of"),
    ],
)
def test_a_base_that_cannot_be_read_is_named(tmp_path, base, said):
    (tmp_path / "other.yaml").write_text("train: {lr: 1e-4}\n")
    (tmp_path / "c.yaml").write_text(f"_BASE_: {base.format(tmp_path.name)}\n")
    with pytest.raises(InputError, match=said):
        load_config(str(tmp_path / "c.yaml"))


def test_later_settings_win(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("train: {lr: 5e-4, max_epoch: 3}\ndata: {sources: [regdb]}\n")
    cfg = load_config(str(file), {"data.sources": ["llcm"]}, ["train.max_epoch", "7", "data.maa", "[wg]"])
    assert (cfg.train.lr, cfg.train.max_epoch, cfg.data.sources, cfg.data.maa) == (5e-4, 7, ["llcm"], ["wg"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["train.max_epochs", "3"], "did you mean 'train.max_epoch'"),
        (["train.max_epoch", "three"], "'train.max_epoch' is 'three': expected int"),
        (["train.lr", "fast"], "'train.lr' is 'fast': expected float"),
        (["data.sources", "regdb"], "expected list"),
        (["train.lr"], "'train.lr' has no value"),
        (["loss.weights", "[1.0, 2.0]"], "give each term one weight"),
        (["train.batch_size", "1"], "at least 2"),
        (["data.type", "video"], "only image"),
        (["data.workers", "-1"], "at least 0"),
        (["model.mda.contexts", "0"], "model.mda.contexts is 0: it must be at least 1"),
        (["train.lr", "-1"], "train.lr is -1.0: it must be above 0"),
        (["train.stepsize", "[a]"], "'train.stepsize' is 'a': expected int"),
        (["train.stepsize", "[]"], "a list of epochs"),
        (["data.sources", "[1]"], "expected str"),
        (["train", "3"], "it is a section, with keys such as train."),
        (["train.lr", "1e30"], "expected float of less than 2**63, such as 0.0003"),
        (["data.norm_std", "[1, 1e-300, 1]"], "three numbers above 1e-6"),
        (["data.norm_std", "[1, .nan, 1]"], "'data.norm_std' is nan: expected float"),
        (["data.validation", ".nan"], "'data.validation' is nan: expected float"),
        (["train.lr", ".inf"], "'train.lr' is inf: expected float"),
        (["train.stepsize", "[5, 0]"], "a list of epochs, from 1"),
        (["train.gamma", "-1"], "train.gamma is -1.0: it must be above 0"),
        (["train.base_lr_mult", "-1"], "at least 0"),
        (["rmsprop.alpha", "2"], "from 0 to 1"),
        (["loss.weights", "[-1.0, 2.0]", "loss.terms", "[identity, cmr]"], "numbers of at least 0"),
        (
            ["loss.terms", "[cmr, cmr]", "loss.weights", "[1.0, 3.0]"],
            "names cmr more than once: name it once",
        ),
        (["test.dist_metric", "cosin"], "euclidean or cosine"),
        (["train.start_epoch", "9"], "model.resume sets it"),
        (["data.load_train_targets", "True"], "domain adaptation is not supported"),
    ],
)
def test_a_bad_setting_is_one_sentence(options, said):
    with pytest.raises(InputError, match=re.escape(said)):
        load_config(options=options)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is not YAML"),
        ("{" * 3000, "is not YAML"),
        ("just text", "holds no settings"),
        ("", "holds no settings"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, said):
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=f"bad.yaml {said}"):
        load_config(str(file))


def test_the_file_of_a_bad_setting_is_named(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("train: {lrr: 1}")
    with pytest.raises(InputError, match=rf"^{file}: unknown setting 'train.lrr': did you mean 'train.lr'"):
        load_config(str(file))


def test_yaml_runs_no_code(tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text(f"model: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(str(file))
    assert not (tmp_path / "made").exists()


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"nowhere.yaml cannot be read .*: check its name"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["loss.name", "supervise"], "did you mean 'supervised'"),
        (["loss.terms", "[identiti]"], "did you mean 'identity'"),
        (["model.name", "resnet51"], "did you mean 'resnet50"),
        (["model.pooling", "gemm"], "did you mean 'gem'"),
        (["model.streams", "3"], "it is 1 or 2"),
        (["model.blocks", "nonlocal"], "did you mean 'non_local'"),
        (["train.optim", "addam"], "did you mean 'adam'"),
        (["train.lr_scheduler", "cosinus"], "did you mean 'cosine'"),
        (["train.staged_lr", "True", "train.new_layers", "[clasifier]"], "did you mean 'classifier'"),
        (["loss.terms", "[cmr]", "loss.cmr.epsilon", "0"], "loss.cmr: epsilon"),
        (["loss.identity.label_smoothing", "2"], "must lie in [0, 1]"),
        (["model.last_stride", "3"], "it is 1 or 2"),
        (["train.fixbase_epoch", "1", "train.open_layers", "[]"], "train.open_layers [] has no weights"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(options, said):
    cfg = load_config(options=["model.name", "osnet_x0_25", "model.pretrained", "False", *options])
    with pytest.raises(InputError, match=re.escape(said)):
        model = build.build_method(cfg, 3).network
        build.build_scheduler(cfg, build.build_optimizer(cfg, model))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_is_built_and_runs(name):
    images = torch.randint(256, (4, 3, 32, 16), dtype=torch.uint8)
    changed = Augmentation([name], Settings(32, 16, [0.5] * 3, [0.5] * 3)).augment(images, [0, 0, 1, 1], 1)
    assert changed.shape == images.shape and changed.isfinite().all()


def test_a_tuple_of_a_constructor_is_set_as_a_list(tmp_path, monkeypatch):
    def loss(sizes=(1, 2), depth=None):
        return IdentityLoss()

    monkeypatch.setitem(LOSSES, "own", loss)
    cfg = load_config(options=["loss.own.sizes", "[3, 4]"])
    assert cfg.loss.own == {"sizes": [3, 4]}
    (tmp_path / "config.yaml").write_text(cfg.dump())
    assert load_config(str(tmp_path / "config.yaml")).loss.own.sizes == [3, 4]


@pytest.mark.parametrize(
    "text", ["imports: [3]", "imports: [[a]]", "loss: {terms: {x: 1}}", "loss: {name: {x: 1}}"]
)
def test_a_setting_of_another_kind_is_one_sentence_wherever_it_is_read(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    for came_with_weights in (False, True):
        if came_with_weights:
            (tmp_path / "package.json").write_text("{}")
        for read in (load_config, read_config):
            with contextlib.suppress(InputError):
                read(str(tmp_path / "config.yaml"))
                assert came_with_weights and text.startswith("imports")
