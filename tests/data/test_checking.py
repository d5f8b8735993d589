"""What is wrong with a dataset is found, named and told by the exit status."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_lines import TINY, call
from crops import spread
from PIL import Image

from torchreid_vi import Camera, InputError, host, load_config, run
from torchreid_vi.data import DATASETS
from torchreid_vi.data.checking import examine, overview
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.evaluation import PROTOCOLS, Protocol
from torchreid_vi.modality import Modality


@pytest.mark.parametrize("name", ["sysu_mm01", "regdb", "llcm", "vi_synthetic"])
def test_nothing_is_wrong_with_what_was_drawn(roots, name):
    dataset, findings = examine(DATASETS[name], str(roots))
    assert findings == []
    parts = {part.name: part for part in overview(dataset)}
    assert list(parts) == ["train", "query", "gallery"]
    assert parts["train"].visible + parts["train"].infrared == len(dataset.train)
    assert parts["train"].identities == dataset.num_train_pids
    assert 0 in (parts["query"].visible, parts["query"].infrared)


def test_unreadable_images_are_named(copy_of):
    root = copy_of("sysu_mm01")
    bad = sorted((root / "sysu_mm01" / "cam1").rglob("*.jpg"))[:2]
    bad[0].write_bytes(b"")
    bad[1].write_bytes(bad[1].read_bytes()[:300])
    _, findings = examine(DATASETS["sysu_mm01"], str(root))
    assert len(findings) == 1 and findings[0].what.startswith("2 images cannot be read")
    assert sorted(findings[0].where) == sorted(map(str, bad))


def test_a_name_that_testing_refuses_is_found(copy_of):
    root = copy_of("sysu_mm01")
    path = Path(DATASETS["sysu_mm01"](root=str(root), verbose=False).gallery[0][0])
    path.rename(path.with_name("b.jpg"))
    _, (finding,) = examine(DATASETS["sysu_mm01"], str(root))
    assert "b.jpg is not named by its number" in finding.what


def test_identities_of_one_modality_are_found(copy_of):
    root = copy_of("sysu_mm01")
    dataset = DATASETS["sysu_mm01"](root=str(root), verbose=False)
    for item in dataset.train:
        if item[1] in (0, 1) and dataset.modality(item) is Modality.INFRARED:
            Path(item[0]).unlink()
    (finding,) = examine(DATASETS["sysu_mm01"], str(root))[1]
    assert finding.what.startswith("2 training identities have visible images alone: add the others")
    assert finding.where == [next(item[0] for item in dataset.train if item[1] == pid) for pid in (0, 1)]


CAMERAS = (Camera(1, 5, Modality.VISIBLE), Camera(1, 5, Modality.INFRARED))


class OneCamera(DATASETS["regdb"]):
    """Both modalities under one number and at one location."""

    cameras = CAMERAS
    protocols = "cross_modality"


class OneLocation(OneCamera):
    protocols = "one_location"


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (OneCamera, "share camera number 1 and exclude 'own camera' hides what a query shares its camera"),
        (OneLocation, "share location 5 and exclude 'location' hides what a query shares its location"),
    ],
)
def test_a_set_without_a_possible_match_is_refused(dataset, words, roots, tmp_path, monkeypatch):
    night = Protocol("all", Modality.INFRARED, Modality.VISIBLE, "everything", exclude="location", trials=1)
    monkeypatch.setitem(PROTOCOLS, "one_location", {"night": night})
    monkeypatch.setitem(DATASETS, "one", dataset)
    monkeypatch.setitem(host.IMAGE_DATASETS, "one", dataset)
    found = check("one", "--root", roots)
    assert found.returncode == 1 and words in found.stdout
    places = {"data.root": str(roots), "data.save_dir": str(tmp_path / "run")}
    with pytest.raises(InputError, match=re.escape(words)):
        run(load_config(overrides=TINY | places | {"data.sources": ["one"]}))
    assert not (tmp_path / "run").exists()


def test_images_of_both_halves_and_of_two_people_are_found(copy_of):
    root = copy_of("sysu_mm01")
    dataset, _ = examine(DATASETS["sysu_mm01"], str(root))
    train, query = dataset.train[0][0], dataset.query[0]
    other = next(item for item in dataset.query if item[1] != query[1])
    visible = next(item for item in dataset.gallery if item[1] == query[1])
    shutil.copy(train, visible[0])
    shutil.copy(query[0], other[0])
    _, findings = examine(DATASETS["sysu_mm01"], str(root))
    both, people = findings
    assert both.what.startswith("1 image is both in training and in testing")
    assert both.where == [" = ".join(sorted([train, visible[0]]))]
    assert people.what.startswith("1 image is under several identities")
    assert people.where == [" = ".join(sorted([query[0], other[0]]))]


def test_images_of_the_other_modality_are_found(copy_of):
    root = copy_of("sysu_mm01")
    dataset, _ = examine(DATASETS["sysu_mm01"], str(root))
    infrared = [item[0] for item in dataset.query[:2]]
    visible = [item[0] for item in dataset.gallery[:1]]
    colours = np.random.default_rng(0).integers(0, 255, (40, 16, 3), dtype=np.uint8)
    for i, path in enumerate(infrared):
        Image.fromarray(np.roll(colours, i, 0)).save(path)
    Image.open(visible[0]).convert("L").save(visible[0])
    (root / "sysu_mm01" / "synthetic.json").unlink()
    _, (few, grey, coloured) = examine(DATASETS["sysu_mm01"], str(root))
    assert grey.what.startswith("1 image is filed as visible and has no colour") and grey.where == visible
    assert coloured.what.startswith("2 images are filed as infrared and have colours")
    assert coloured.where == infrared and "is not the complete SYSU-MM01" in few.what


def check(*arguments):
    return call("check_data.py", *arguments)


def hidden_heads(path):
    """Count the crops of a contact sheet that have cells in place of their heads; all have to, or none."""
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(float)
    left = [*range(0, 320, 64), *range(328, 648, 64)]
    crops = [sheet[top : top + 160, x : x + 64] for top in range(0, len(sheet), 160) for x in left]
    found = spread(np.stack([crop for crop in crops if crop.min() < 255])) < 0.5
    assert found.all() or not found.any()
    return int(found.sum())


def test_the_tool_tells_by_its_status(copy_of, tmp_path):
    root = copy_of("regdb")
    sheet = tmp_path / "people.png"
    good = check("regdb", "--root", root, "--split", 2, "--sheet", sheet)
    assert good.returncode == 0, good.stderr
    assert good.stderr == f"Written: {sheet}\n" and Image.open(sheet).width > 100
    place, *table, verdict = good.stdout.splitlines()
    assert (place, verdict) == (str(root / "regdb"), "=> Nothing is wrong")
    assert [line.split()[0] for line in table] == ["part", "train", "query", "gallery"]
    assert hidden_heads(sheet) == 0
    check("regdb", "--root", root, "--split", 2, "--sheet", sheet, "--people", "blurred")
    assert hidden_heads(sheet) > 6
    bad = sorted((root / "regdb" / "Thermal").rglob("*.*"))
    for path in bad:
        path.write_bytes(b"no image")
    none = check("sysu_mm01", "--root", root, "--split", 2)
    assert none.returncode == 2 and "sysu_mm01 has one split, 0" in none.stderr
    found = check("regdb", "--root", root)
    assert found.returncode == 1 and f"{len(bad)} images cannot be read" in found.stdout
    assert found.stdout.count(str(root / "regdb" / "Thermal")) == 3 and "more" in found.stdout
    bad[0].unlink()
    missing = check("regdb", "--root", root)
    assert missing.returncode == 2 and missing.stderr.startswith("error: ")
    assert len([line for line in missing.stderr.splitlines() if line]) == 1
    assert "did you mean 'regdb'" in check("regdbs", "--root", root).stderr


def test_footage_without_identities_is_checked_too(roots, tmp_path):
    for name, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        shutil.copytree(roots / "regdb" / folder, tmp_path / name)
    dataset, findings = examine(DATASETS["vi_folder"], str(tmp_path))
    assert findings == [] and isinstance(dataset, VIDataset)
    train = overview(dataset)[0]
    assert train.identities == 0 and train.visible == train.infrared == len(dataset.train) // 2
    assert {dataset.modality(item) for item in dataset.train} == set(Modality)
