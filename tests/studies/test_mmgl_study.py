"""The study of MMGL: its plan, one chain of runs on a tiny tree, and the report on what is there."""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torchvision
from command_lines import call
from PIL import Image
from torchvision.transforms import functional as tvf

STUDY = Path(__file__).parents[2] / "studies" / "mmgl"
sys.path.insert(0, str(STUDY))

import plan as runs  # noqa: E402
import report  # noqa: E402
import study  # noqa: E402

from torchreid_vi import LOSSES, METHODS, InputError, host, load_config  # noqa: E402
from torchreid_vi.data.augmentation import Augmentation  # noqa: E402
from torchreid_vi.data.changes import Settings  # noqa: E402
from torchreid_vi.data.transforms import TRANSFORMS  # noqa: E402

CHAINS = runs.plan(list(runs.PARTS), seeds=2)


@pytest.fixture(autouse=True, scope="module")
def the_studys_own_entries():
    """SimCLR and MobileNetV2 are registered here alone: tests of other files look at every entry of the tables."""
    import simclr  # noqa: F401

    yield
    own = ((METHODS, "simclr"), (LOSSES, "ntxent"), (TRANSFORMS, "simclr"), (TRANSFORMS, "simclr_batched"))
    for table, name in (*own, (host.MODELS, "mobilenetv2")):
        table.pop(name, None)


def test_every_run_has_a_name_of_its_own_and_starts_from_one_before_it():
    names = [run.name for chain in CHAINS for run in chain]
    assert len(names) == len(set(names))
    for chain in CHAINS:
        for i, run in enumerate(chain):
            assert run.start in {"", *(before.name for before in chain[:i])}


@pytest.mark.parametrize("part", runs.PARTS)
def test_a_part_alone_is_a_share_of_the_whole(part):
    whole = {run for chain in CHAINS for run in map(repr, chain)}
    alone = {run for chain in runs.plan([part], seeds=2) for run in map(repr, chain)}
    assert alone < whole


def test_every_run_has_settings_that_load():
    for run in (run for chain in CHAINS for run in chain):
        cfg = load_config(str(study.CONFIGS / f"{run.config}.yaml"), runs.COMMON | run.settings)
        assert cfg.loss.name in METHODS
        assert all(term in LOSSES for term in cfg.loss.terms)


def test_pretrainings_of_a_backbone_have_the_same_number_of_steps():
    """To within one epoch: what changes is what they learn from. The visible rival is counted below."""
    larger = {"mmgl": 2736, "simclr": 2736 * 2, "mmgl_plus": 2736 * 2, "mmgl_25": 684, "mmgl_50": 1368}
    for chain in CHAINS:
        _, backbone, variant = chain[0].name.split("/")[:3]
        if variant in larger:
            steps = chain[0].settings["train.max_epoch"] * (larger[variant] // 32)
            assert steps == pytest.approx(runs.STEPS["pretraining"][backbone], rel=0.15)


def run_transfer(out):
    """Run a chain with epochs of one step on 16 images a batch."""
    steps = {"pretraining": {runs.OSNET: 1}, "fine-tuning": 1}
    common = {"train.batch_size": 16, "train.precision": "fp32"}
    with patch.dict(runs.COMMON, common), patch.dict(runs.STEPS, steps):
        for chain in runs.plan(["transfer"], seeds=1):
            study.execute(chain, out)


@pytest.fixture(scope="module")
def studied(roots, tmp_path_factory):
    """A study of three chains, on tiny data, of OSNet with one epoch each."""
    out = tmp_path_factory.mktemp("study")
    for name in ("full", "other", "regdb"):
        (out / "data" / name).mkdir(parents=True)
        tree = "regdb" if name == "regdb" else "vi_synthetic"
        (out / "data" / name / tree).symlink_to(roots / tree)
    run_transfer(out)
    return out


def test_a_chain_leaves_results_and_a_backbone_and_no_checkpoint(studied):
    for start in ("mmgl", "mmgl_plus", "visible", "simclr"):
        folder = studied / "1" / "osnet_x0_25" / start
        about = json.loads((folder / "run" / "backbone.json").read_text())
        assert (about["backbone"], about["streams"]) == ("osnet_x0_25", 1)
        tuned = folder / "base_regdb" / "run"
        log = (tuned / "train.log").read_text()
        assert f"tensors from {folder / 'run' / 'backbone.pth'}" in log
    assert not list(studied.glob("**/last.pth"))
    assert (studied / "1" / "osnet_x0_25" / "random" / "base_regdb" / "run" / "results.json").is_file()


def test_what_is_finished_is_not_run_again(studied):
    before = {path: path.stat().st_mtime_ns for path in studied.glob("**/results.json")}
    run_transfer(studied)
    assert {path: path.stat().st_mtime_ns for path in studied.glob("**/results.json")} == before


def test_the_report_shows_what_is_there(studied):
    report.write(studied)
    text = (studied / "report.md").read_text()
    stripes = json.loads((studied / "1/osnet_x0_25/mmgl/run/results.json").read_text())
    accuracy = stripes["results"][0]["pretext"]["stripe_accuracy"]
    assert f"| OSNet ×0.25, one stream | {accuracy:.2f} | {accuracy:.2f} |" in text
    regdb = json.loads((studied / "1/osnet_x0_25/mmgl/base_regdb/run/results.json").read_text())["results"]
    figures = [regdb[i]["mean"][f] for i in (0, 1) for f in ("R1", "mAP")]
    assert f"| MMGL | {' | '.join(f'{value:.2f}' for value in figures)} |" in text
    assert "ResNet-18" not in text and "–" not in text  # which did not run
    with Image.open(studied / "figure.png") as image:
        assert image.size[0] > 1000


@pytest.mark.parametrize("content", ["", "[]", '{"results": []}', '{"results": [{"mean": {"R1": "a"}}]}'])
def test_damaged_results_of_a_study_are_named(tmp_path, content):
    folder = tmp_path / "1" / "resnet18" / "mmgl" / "run"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(content)
    with pytest.raises(InputError, match=r"run/results\.json .*remove that run's folder, and start"):
        report.write(tmp_path)
    assert not list(tmp_path.glob("*.*"))


def test_imagenets_network_is_the_published_one():
    """Its weights, layer by layer in order, have the shapes of torchvision's MobileNetV2."""
    import imagenet  # registers a model, which tests of other files should not see

    ours = imagenet.mobilenetv2(1).state_dict()
    theirs = torchvision.models.mobilenet_v2().features.state_dict()
    shapes = [value.shape for name, value in ours.items() if not name.startswith("classifier")]
    assert shapes == [value.shape for value in theirs.values()]


def test_simclrs_views_of_batches_are_torchvisions():
    import simclr

    images = torch.randint(256, (3, 3, 24, 12), dtype=torch.uint8)
    boxes = torch.tensor([[2, 1, 12, 9], [0, 0, 24, 12], [5, 3, 19, 6]])
    crops = simclr.cropped(images, boxes.float())
    assert torch.equal(crops[1], images[1])
    for image, crop, box in zip(images, crops, boxes.tolist(), strict=True):
        expected = tvf.resized_crop(image, *box, size=[24, 12], antialias=False)
        inner = (crop.int() - expected.int())[:, 1:-1, 1:-1]  # at the border one of them reads beyond the box
        assert inner.abs().max() <= 1
    factors = torch.tensor([[0.6, 1.4, 0.7], [1.4, 0.6, 1.4], [1.0, 1.0, 1.0]])
    changed = simclr.jittered(images, factors)
    for image, found, (brightness, contrast, saturation) in zip(
        images, changed, factors.tolist(), strict=True
    ):
        expected = tvf.adjust_brightness(image / 255, brightness)
        expected = tvf.adjust_saturation(tvf.adjust_contrast(expected, contrast), saturation)
        assert (found - 255 * expected).abs().max() < 1


def test_simclrs_views_of_batches_differ_and_keep_their_size():
    settings = Settings(48, 24, (0.5,) * 3, (0.5,) * 3)
    images = torch.randint(256, (1, 3, 48, 24), dtype=torch.uint8).expand(200, 3, 48, 24)
    views = Augmentation(["simclr_batched"], settings).augment(images, [0, 1] * 100, 1)
    assert views.shape == images.shape and views.abs().max() <= 1
    assert len(views.flatten(1).unique(dim=0)) == 200
    grey = (views.amax(1) - views.amin(1)).flatten(1).amax(1) < 1e-4
    assert 20 <= grey.sum() <= 60


def test_a_study_of_no_seed_is_refused(tmp_path):
    result = call(STUDY / "study.py", "--out", tmp_path / "study", "--seeds", "0")
    assert result.returncode == 2 and "--seeds and --jobs are at least 1" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_mean_and_a_deviation_by_hand():
    assert report.spread([1.0, 2.0, 3.0]) == "2.00 ± 1.00"
    assert (report.spread([1.0]), report.spread([])) == ("1.00", "–")


def test_the_visible_rivals_sampler_draws_the_steps_that_the_plan_counts_on():
    """120 people with 24 visible images each, as in the study."""
    people = [("", pid, 0, 0) for pid in range(120) for _ in range(24)]
    steps = runs.STEPS["pretraining"][runs.RESNET]
    seen = 0
    run = runs.supervised_on_visible(1, runs.RESNET)
    for _ in range(run.settings["train.max_epoch"]):
        drawn = host.samplers.build_train_sampler(
            people, "RandomIdentitySampler", batch_size=64, num_instances=4
        )
        seen += len(list(drawn)) // 64
    assert seen == pytest.approx(steps, rel=0.06)
