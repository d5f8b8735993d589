"""Packages compute what their run computes, hold no place of its machine, and have a truthful card."""

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

from torchreid_vi import FeatureExtractor, InputError, build, load_config
from torchreid_vi.config.defaults import flat
from torchreid_vi.evaluation import explain, explain_settings
from torchreid_vi.models import VIModel, load_weights, read_checkpoint, save_backbone
from torchreid_vi.sharing import CARD, MANIFEST, SETTINGS, WEIGHTS, locate, write_package


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mmgl"])
def test_a_package_gives_the_features_of_its_checkpoint_to_the_bit(run_of, packaged, roots, kind):
    before = FeatureExtractor(run_of(kind) / "checkpoints" / "last.pth", device="cpu")
    after = FeatureExtractor(packaged(kind), device="cpu")
    for side, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        paths = sorted((roots / "regdb" / folder).rglob("*.*"))[:4]
        np.testing.assert_array_equal(after(paths, side), before(paths, side))
    state = after.model.state_dict()  # with the classifier, for whoever trains on
    for name, value in before.model.state_dict().items():
        assert torch.equal(state[name], value) and value.dtype == state[name].dtype, name


def test_files_are_for_whom_the_umask_says(run_of, tmp_path, mask=0o077):
    before = os.umask(mask)
    try:
        write_package(run_of(), tmp_path / "shared")
        save_backbone(VIModel("osnet_x0_25", 3), tmp_path / "shared" / "b.pth", {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "shared").iterdir()}
    assert len(modes) == 6 and set(modes.values()) == {0o666 & ~mask}


def test_a_package_is_the_same_bytes_every_time_and_says_what_is_in_it(run_of, packaged, tmp_path):
    (tmp_path / "again").mkdir()
    write_package(run_of(), tmp_path / "again")
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
    results = json.loads((run_of() / "results.json").read_text())
    assert [each["mean"] for each in manifest["results"]] == [each["mean"] for each in results["results"]]
    assert manifest["packages"] == json.loads((run_of() / "environment.json").read_text())["packages"]
    assert manifest["trained_on"] == ["regdb"]
    state = read_checkpoint(run_of() / "checkpoints" / "last.pth")["state_dict"]
    assert load_file(packaged() / WEIGHTS).keys() == state.keys()


@pytest.mark.parametrize("kind", ["one stream", "mmgl"])
def test_no_place_of_this_machine_is_in_it(run_of, packaged, roots, kind):
    for path in packaged(kind).iterdir():
        content = path.read_bytes()
        for place in (str(roots), "secret-place", str(run_of(kind)), str(Path.home()), os.getcwd()):
            assert place.encode() not in content, (path.name, place)
    shared = flat(yaml.safe_load((packaged(kind) / SETTINGS).read_text()))
    known = flat(load_config(str(run_of(kind) / "config.yaml")))
    assert {key: known[key] for key in shared} == shared
    left_out = {"data.root", "data.save_dir", "data.cache", "data.workers", "model.load_weights"}
    assert known.keys() - shared.keys() == left_out | {
        "model.resume",
        "test.evaluate",
        "vi_labelled.test_list",
    }


def test_the_card_says_what_the_run_said(run_of, packaged):
    card = ModelCard.load(packaged() / CARD)
    results = json.loads((run_of() / "results.json").read_text())["results"]
    for result in results:
        mean, std = result["mean"], result["std"]
        assert f"| RegDB | `{result['label']}` | {mean['R1']:.2f} ± {std['R1']:.2f} |" in card.text
        assert f"| {mean['mINP']:.2f} ± {std['mINP']:.2f} |\n" in card.text
        assert f"- `{result['label']}`: {explain(result)}; {explain_settings(result)}" in card.text
    assert (card.data.license, card.data.license_name) == ("other", "academic-research")
    assert card.data.library_name == "torchreid_vi" and card.data.datasets == ["regdb"]
    assert "RegDB give it out for academic research alone" in card.text
    assert f"torch {torch.__version__.split('+')[0]}" in card.text
    settings = yaml.safe_load(card.text.split("```yaml")[1].split("```")[0])
    assert settings["data.sources"] == ["regdb"] and "data.root" not in settings


@pytest.mark.parametrize(
    ("licence", "expected", "said"),
    [("", "unknown", "named no licence"), ("My own: ü", "my own: ü", "These weights: My own: ü.")],
)
def test_the_licence_is_the_authors(run_of, tmp_path, licence, expected, said):
    write_package(run_of("torchreid's"), tmp_path / "out", licence)
    card = ModelCard.load(tmp_path / "out" / CARD)
    assert card.data.license == expected and said in card.text
    assert "seen synthetic people alone" in card.text and "academic research" not in card.text


@pytest.mark.parametrize(
    ("start", "named"),
    [("https://user:word@host/a/w.pth?token=1", "w.pth"), ("hf://someone/weights", "hf://someone/weights")],
)
def test_what_training_began_from_is_named_without_its_place(run_of, tmp_path, start, named):
    folder = shutil.copytree(run_of("torchreid's"), tmp_path / "run")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["model"]["load_weights"] = start
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    assert write_package(folder, tmp_path / "out")["started_from"] == named
    card = (tmp_path / "out" / CARD).read_text()
    assert f"Started from {named};" in card and "terms of what training started from" in card
    assert "word" not in card and "seen synthetic people alone" not in card


def test_results_are_of_the_weights_they_stand_beside_or_left_out(run_of, tmp_path):
    folder = shutil.copytree(run_of(), tmp_path / "run")
    content = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(content | {"epoch": 5}))
    assert write_package(folder, tmp_path / "other")["results"] == []
    (folder / "results.json").unlink()
    (folder / "environment.json").unlink()
    write_package(folder, tmp_path / "out")
    card = (tmp_path / "out" / CARD).read_text()
    assert "the run has not been evaluated" in card and "Trained with" not in card


def test_a_pre_training_shares_its_backbone(run_of, packaged, tmp_path):
    folder = packaged("mmgl")
    assert all(name.startswith("backbone.") for name in load_file(folder / WEIGHTS))
    held = sum(value.numel() for value in load_file(folder / WEIGHTS).values())
    assert 0.9 * held < json.loads((folder / MANIFEST).read_text())["model"]["parameters"] < held
    card = (folder / CARD).read_text()
    assert "Training starts from it" in card and "The pretext, on" in card and "stripe_accuracy" in card
    with pytest.raises(InputError, match="of a pre-training: fine-tune from it"):
        FeatureExtractor(folder)
    cfg = load_config(str(run_of() / "config.yaml"))
    models = [build.build_method(cfg, 6).network for _ in range(2)]
    for model, start in zip(models, (run_of("mmgl") / "backbone.pth", locate(folder).weights), strict=True):
        assert load_weights(model, start).epoch == 1
    for name, value in models[0].backbone.state_dict().items():
        assert torch.equal(models[1].backbone.state_dict()[name], value)


def test_what_cannot_be_shared_is_one_sentence_and_nothing_is_written(run_of, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("chapter")
    again = call("package_weights.py", run_of(), "--out", taken)
    assert again.returncode == 2 and "is there and not empty: name another folder" in again.stderr
    none = call("package_weights.py", taken, "--out", tmp_path / "out")
    assert none.returncode == 2 and "is no run, config.yaml is missing" in none.stderr
    folder = shutil.copytree(run_of(), tmp_path / "run")
    (folder / "results.json").write_text("{")
    with pytest.raises(InputError, match="is damaged: run it again"):
        write_package(folder, tmp_path / "out")
    with pytest.raises(InputError, match="cannot be written"):
        write_package(run_of(), taken / "thesis.tex" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]


def test_the_tool_says_what_it_wrote(run_of, tmp_path):
    done = call("package_weights.py", run_of(), "--out", tmp_path / "out", "--licence", "mit")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert hashlib.sha256((tmp_path / "out" / WEIGHTS).read_bytes()).hexdigest() in out
    assert f"Written: {tmp_path / 'out'}" in done.stderr
