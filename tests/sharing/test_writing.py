"""What a package of weights holds, that it computes the same, and what its card says."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_lines import call
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from sharing_helpers import KINDS

from torchreid_vi import FeatureExtractor, InputError, build, load_config, run
from torchreid_vi.config.defaults import flat
from torchreid_vi.models import VIModel, load_weights, read_checkpoint, save_backbone
from torchreid_vi.sharing import CARD, MANIFEST, SETTINGS, WEIGHTS, locate, write_package


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mmgl"])
def test_a_package_gives_the_features_of_its_checkpoint_to_the_bit(trained, packaged, roots, kind):
    before = FeatureExtractor(trained(kind) / "checkpoints" / "last.pth", device="cpu")
    after = FeatureExtractor(packaged(kind), device="cpu")
    for side, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        paths = sorted((roots / "regdb" / folder).rglob("*.*"))[:4]
        np.testing.assert_array_equal(after(paths, side), before(paths, side))
    state = after.model.state_dict()  # with the classifier, for whoever trains on
    for name, value in before.model.state_dict().items():
        assert torch.equal(state[name], value) and value.dtype == state[name].dtype, name


def test_files_are_for_whom_the_umask_says(trained, tmp_path, mask=0o077):
    before = os.umask(mask)
    try:
        write_package(trained(), tmp_path / "shared")
        save_backbone(VIModel("osnet_x0_25", 3), tmp_path / "shared" / "b.pth", {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "shared").iterdir()}
    assert len(modes) == 6 and set(modes.values()) == {0o666 & ~mask}


def test_a_package_is_the_same_bytes_every_time_and_says_what_is_in_it(trained, packaged, tmp_path):
    (tmp_path / "again").mkdir()
    write_package(trained(), tmp_path / "again")
    contents = [
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (packaged(), tmp_path / "again")
    ]
    assert contents[0] == contents[1] and contents[0].keys() == {WEIGHTS, SETTINGS, CARD, MANIFEST}
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["again"]
    manifest = json.loads(contents[0][MANIFEST])
    for name in (WEIGHTS, SETTINGS, CARD):
        found = {"sha256": hashlib.sha256(contents[0][name]).hexdigest(), "size": len(contents[0][name])}
        assert manifest["files"][name] == found
    results = json.loads((trained() / "results.json").read_text())
    assert [each["mean"] for each in manifest["results"]] == [each["mean"] for each in results["results"]]
    assert manifest["packages"] == json.loads((trained() / "environment.json").read_text())["packages"]
    assert (manifest["trained_on"], manifest["trained_on_more"]) == (["regdb"], False)
    state = read_checkpoint(trained() / "checkpoints" / "last.pth")["state_dict"]
    assert load_file(packaged() / WEIGHTS).keys() == state.keys()


@pytest.mark.parametrize("kind", ["one stream", "mmgl"])
def test_no_place_of_this_machine_is_in_it(trained, packaged, roots, kind):
    for path in packaged(kind).iterdir():
        content = path.read_bytes()
        for place in (str(roots), "secret-place", str(trained(kind)), str(Path.home()), os.getcwd()):
            assert place.encode() not in content, (path.name, place)
    shared = flat(yaml.safe_load((packaged(kind) / SETTINGS).read_text()))
    known = flat(load_config(str(trained(kind) / "config.yaml")))
    assert {key: known[key] for key in shared} == shared
    left_out = {"data.root", "data.save_dir", "data.cache", "data.workers", "model.load_weights"}
    assert known.keys() - shared.keys() == left_out | {
        "model.resume",
        "test.evaluate",
        "vi_labelled.test_list",
    }


def test_the_card_says_what_the_run_said(trained, packaged):
    card = ModelCard.load(packaged() / CARD)
    results = json.loads((trained() / "results.json").read_text())["results"]
    for result in results:
        mean, std = result["mean"], result["std"]
        assert f"| `{result['label']}` | {mean['R1']:.2f} ± {std['R1']:.2f} |" in card.text
        assert f"| {mean['mINP']:.2f} ± {std['mINP']:.2f} | {result['protocol']['trials']} |" in card.text
    table = (trained() / "train.log").read_text().split("=> Written")[0]
    spelt = [line.strip() for line in table.splitlines() if "CMC counts" in line][-len(results) :]
    for line in spelt:
        label, _, words = line.partition(": ")
        assert f"- `{label}`: {words}" in card.text
    found = {(each.dataset_config, each.metric_name): each.metric_value for each in card.data.eval_results}
    assert found == {
        (result["label"], name): round(result["mean"][figure], 2)
        for result in results
        for figure, name in (("R1", "Rank-1"), ("mAP", "mAP"))
    }
    assert (card.data.license, card.data.license_name) == ("other", "academic-research")
    assert card.data.library_name == "torchreid_vi" and card.data.datasets == ["regdb"]
    assert "give out RegDB for academic research alone" in card.text
    assert f"torch {torch.__version__.split('+')[0]}" in card.text


@pytest.mark.parametrize(
    ("kind", "licence", "expected", "said"),
    [
        ("one stream", "MIT", ("other", "academic-research-mit"), "academic research alone"),
        ("torchreid's", "", ("unknown", None), "named no licence"),
        ("torchreid's", "My own: ü", ("other", "my-own"), "These weights: My own: ü."),
    ],
)
def test_the_licence_is_the_authors_within_that_of_the_data(trained, tmp_path, kind, licence, expected, said):
    write_package(trained(kind), tmp_path / "out", licence=licence)
    card = ModelCard.load(tmp_path / "out" / CARD)
    assert (card.data.license, card.data.license_name) == expected and said in card.text
    assert ("bounds nothing" in card.text) == ("drawn people alone" in card.text) == (kind != "one stream")


def test_what_training_began_from_is_told_and_its_data_too(trained, packaged, tmp_path):
    def about(start, name, pretrained=False):
        folder = tmp_path / name
        shutil.copytree(trained("torchreid's"), folder)
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        settings["model"] |= {"load_weights": str(start), "pretrained": pretrained}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        told = write_package(folder, tmp_path / f"{name}-out")
        text = (tmp_path / f"{name}-out" / CARD).read_text()
        return (told["trained_on"], told["trained_on_more"], told["started_from"]), text

    both = ["vi_synthetic", "regdb"]
    for name, start in (("backbone", trained("mmgl") / "backbone.pth"), ("package", packaged())):
        told, card = about(start, name)
        assert told == (both, False, start.name) and "give out RegDB for academic research" in card
    told, card = about(trained() / "checkpoints" / "last.pth", "checkpoint")
    assert told == (both, False, "last.pth")
    told, card = about("https://user:word@host/a/w.zip?token=1", "address")
    assert told == (["vi_synthetic"], True, "w.zip") and "which is not known here" in card
    assert "word" not in card and "bounds nothing" not in card
    assert about("hf://someone/weights", "hub")[0][2] == "hf://someone/weights"
    assert about("", "first", pretrained=True)[0][0] == ["vi_synthetic", "imagenet"]
    told, card = about(tmp_path / "first" / "checkpoints" / "last.pth", "second")
    assert told[0] == ["vi_synthetic", "imagenet"] and "ImageNet" in card and "bounds nothing" not in card


def test_figures_are_of_the_weights_they_stand_beside_or_left_out(trained, roots, tmp_path):
    other = tmp_path / "best.pth"
    shutil.copy(trained() / "checkpoints" / "last.pth", other)
    assert write_package(trained(), tmp_path / "other", other)["results"] == []
    assert "None: the run's figures are not of these weights" in (tmp_path / "other" / CARD).read_text()
    assert ModelCard.load(tmp_path / "other" / CARD).data.eval_results is None
    folder = shutil.copytree(trained(), tmp_path / "run")
    content = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(content | {"epoch": 5}))
    with pytest.raises(InputError, match=r"figures are of epoch 5 and .*last\.pth of epoch 1: finish"):
        write_package(folder, tmp_path / "out")
    (folder / "results.json").unlink()
    with pytest.raises(InputError, match=r"no results\.json, so it is not finished"):
        write_package(folder, tmp_path / "out")
    (folder / "environment.json").unlink()
    write_package(folder, tmp_path / "out", folder / "checkpoints" / "last.pth")
    assert "Versions were not recorded" in (tmp_path / "out" / CARD).read_text()


def test_an_evaluation_shares_the_weights_that_it_measured(trained, packaged, roots, tmp_path):
    weights = trained() / "checkpoints" / "last.pth"
    changes = {"test.evaluate": True, "model.load_weights": str(weights), "test.flip": True}
    changes |= {"data.save_dir": str(tmp_path / "seen"), "train.lr": 0.5}
    run(load_config(str(trained() / "config.yaml"), overrides=changes))
    about = write_package(tmp_path / "seen-test", tmp_path / "out")
    measured = json.loads((tmp_path / "seen-test" / "results.json").read_text())["results"]
    assert about["results"][0]["mean"] == measured[0]["mean"] and about["results"][0]["settings"]["flip"]
    cfg = load_config(str(tmp_path / "out" / SETTINGS))
    assert cfg.test.flip and cfg.train.lr == load_config(str(trained() / "config.yaml")).train.lr
    assert about["started_from"] == "random values"
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (packaged() / WEIGHTS).read_bytes()
    moved = json.loads((tmp_path / "seen-test" / "results.json").read_text()) | {"weights": "gone/last.pth"}
    (tmp_path / "seen-test" / "results.json").write_text(json.dumps(moved))
    with pytest.raises(InputError, match="the run that trained it is not there"):
        write_package(tmp_path / "seen-test", tmp_path / "more")


def test_a_pre_training_shares_its_backbone(trained, packaged, tmp_path):
    folder = packaged("mmgl")
    assert all(name.startswith("backbone.") for name in load_file(folder / WEIGHTS))
    held = sum(value.numel() for value in load_file(folder / WEIGHTS).values())
    assert 0.9 * held < json.loads((folder / MANIFEST).read_text())["model"]["parameters"] < held
    card = (folder / CARD).read_text()
    assert "where training starts" in card and "The pretext, on" in card and "stripe_accuracy" in card
    with pytest.raises(InputError, match="of a pre-training, which retrieves nothing: fine-tune from it"):
        FeatureExtractor(folder)
    cfg = load_config(str(trained() / "config.yaml"))
    models = [build.build_method(cfg, 6).network for _ in range(2)]
    for model, start in zip(models, (trained("mmgl") / "backbone.pth", locate(folder).weights), strict=True):
        assert load_weights(model, start).epoch == 1
    for name, value in models[0].backbone.state_dict().items():
        assert torch.equal(models[1].backbone.state_dict()[name], value)
    with pytest.raises(InputError, match="is a backbone without the rest of a model"):
        write_package(trained(), tmp_path / "out", trained("mmgl") / "backbone.pth")


def test_what_cannot_be_shared_is_one_sentence_and_nothing_is_written(trained, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("chapter")
    again = call("package_weights.py", trained(), "--out", taken)
    assert again.returncode == 2 and "is there and not empty: name another folder" in again.stderr
    none = call("package_weights.py", taken, "--out", tmp_path / "out")
    assert none.returncode == 2 and "is no run, config.yaml is missing" in none.stderr
    for weights, said in (
        (trained("two streams") / "checkpoints" / "last.pth", "is not of the model in"),
        ("nowhere.pth", "nowhere.pth not found"),
    ):
        done = call("package_weights.py", trained(), "--weights", weights, "--out", tmp_path / "out")
        error = done.stderr
        assert done.returncode == 2
        assert said in error and error.count("\n") == 1
    folder = shutil.copytree(trained(), tmp_path / "run")
    for content in ("{", '{"epoch": 1}'):
        (folder / "results.json").write_text(content)
        with pytest.raises(InputError, match=r"is of another version|is damaged"):
            write_package(folder, tmp_path / "out")
    with pytest.raises(InputError, match="cannot be written"):
        write_package(trained(), taken / "thesis.tex" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]


def test_the_tool_says_what_it_wrote(trained, tmp_path):
    done = call("package_weights.py", trained(), "--out", tmp_path / "out", "--licence", "mit")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert hashlib.sha256((tmp_path / "out" / WEIGHTS).read_bytes()).hexdigest() in out
    assert f"=> Written: {tmp_path / 'out'}" in done.stderr
