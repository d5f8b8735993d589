"""Labelled images of one's own: read, trained and evaluated as they lie, and a sentence for each mistake."""

import re
import shutil
from pathlib import Path

import pytest
from command_lines import TINY, call

from torchreid_vi import InputError, Modality, load_config, run
from torchreid_vi.data import DATASETS, VIDataManager
from torchreid_vi.data.datasets import VILabelled
from torchreid_vi.engine.evaluator import describe
from torchreid_vi.evaluation import PROTOCOLS, trials

CAMERAS = {"visible": ("cam1", "cam2"), "infrared": ("cam3", "cam6")}


@pytest.fixture
def own(request, roots, tmp_path):
    """A folder of eight people with names, of which one has visible images alone; of cameras in it if asked for."""
    folder = tmp_path / "people"
    for half, cameras in CAMERAS.items():
        for camera in cameras:
            for person in sorted((roots / "sysu_mm01" / camera).iterdir())[:8]:
                above = folder / half / (camera if getattr(request, "param", "") else "")
                shutil.copytree(person, above / f"person_{person.name}" / camera)
    for path in (folder / "infrared").rglob("person_0008"):
        shutil.rmtree(path)
    (folder / "visible" / ".DS_Store").write_text("")
    return folder


WITH_CAMERAS = pytest.mark.parametrize("own", ["", "with cameras"], indirect=True)


def names(dataset, items):
    """Return the names of the people that items show."""
    return {next(part for part in Path(item[0]).parts if part.startswith("person_")) for item in items}


@WITH_CAMERAS
def test_a_folder_for_each_identity_is_a_dataset(own):
    dataset = VILabelled(str(own), verbose=False)
    train, query, gallery = (names(dataset, part) for part in (dataset.train, dataset.query, dataset.gallery))
    assert query == gallery and len(query) == 4 and len(train) == 4 and not train & query
    assert "person_0008" in train and dataset.num_train_pids == 4
    assert {dataset.modality(item) for item in dataset.query} == {Modality.INFRARED}
    assert {dataset.modality(item) for item in dataset.gallery} == {Modality.VISIBLE}
    for item in (*dataset.train, *dataset.query, *dataset.gallery):
        assert dataset.modality(item).name.lower() in Path(item[0]).parts
    cameras = {(item[2], Path(item[0]).parent.name) for item in (*dataset.train, *dataset.query)}
    number = len({camid for camid, _ in cameras})
    assert number == len(dataset.cameras) == (4 if (own / "visible" / "cam1").exists() else 2)
    assert len(dataset.train) + len(dataset.query) + len(dataset.gallery) == 2 * 2 * 8 * 3 - 2 * 3


@WITH_CAMERAS
def test_every_query_is_compared_with_all_of_the_other_modality(own):
    dataset = VILabelled(str(own), verbose=False)
    view = dataset.with_items([*dataset.query, *dataset.gallery])
    view.mode = "query"
    test_set = describe([view])
    for protocol in PROTOCOLS[dataset.protocols].values():
        (trial,) = trials(protocol, test_set)
        assert len(trial.query) + len(trial.gallery) == len(test_set.pids)
        shared = set(test_set.of("number")[trial.query]) & set(test_set.of("number")[trial.gallery])
        assert protocol.exclude == "own camera" and not shared


def test_a_list_or_a_share_says_who_is_tested(own, tmp_path):
    def tested(**settings):
        size = {"height": 16, "width": 8, "batch_size_train": 2, "workers": 0, "use_gpu": False}
        manager = VIDataManager(["vi_labelled"], root=str(own), **size, **settings)
        loaders = manager.test_loader["vi_labelled"]
        return names(None, loaders["query"].dataset.data)

    splits = [tested(split_id=number) for number in range(3)]
    assert len(set(map(frozenset, splits))) > 1 and splits[0] == tested(split_id=0)
    assert len(tested(vi_labelled={"test_share": 0.2})) == 1
    (tmp_path / "who.txt").write_text("person_0003\n\nperson_0001\n")
    chosen = {"person_0001", "person_0003"}
    assert tested(vi_labelled={"test_list": str(tmp_path / "who.txt")}) == chosen
    shutil.copy(tmp_path / "who.txt", own / "test.txt")
    assert tested() == chosen
    (own / "other.txt").write_text("person_0002")
    assert tested(vi_labelled={"test_list": "other.txt"}) == {"person_0002"}
    with pytest.raises(InputError, match=r"data\.split_id is 2: .*test\.txt makes one split, 0"):
        tested(split_id=2)


def test_it_trains_and_evaluates_from_one_line_of_settings(own, tmp_path):
    settings = TINY | {"data.sources": ["vi_labelled"], "vi_labelled.test_share": 0.3, "data.root": str(own)}
    settings |= {"data.save_dir": str(tmp_path / "run"), "train.max_epoch": 1}
    results = run(load_config(overrides=settings))
    assert [result.name for result in results] == ["infrared-to-visible", "visible-to-infrared"]
    assert results[0].trials[0]["queries"] == 2 * 2 * 3


def test_it_is_checked(own):
    found = call("check_data.py", "vi_labelled", "--root", own)
    assert found.returncode == 1, found.stderr
    assert "=> 1 training identity has visible images alone" in found.stdout
    assert found.stdout.count("=>") == 1
    for path in (own / "visible").rglob("person_0008"):
        shutil.rmtree(path)
    assert "Nothing is wrong" in call("check_data.py", "vi_labelled", "--root", own).stdout


def rename_people(folder):
    for path in (folder / "infrared").rglob("person_*"):
        path.rename(path.with_name(path.name.replace("person_", "p")))


def listed(text):
    return lambda folder: (folder / "test.txt").write_text(text)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: shutil.rmtree(f / "infrared"), "infrared not found: put a folder with infrared images"),
        (lambda f: f.rename(f.with_name("gone")), "holds neither visible/ nor infrared/: name the folder"),
        (
            rename_people,
            "no identity has images of both modalities, 'person_0001' is visible and 'p0001' inf",
        ),
        (lambda f: shutil.copy(next(f.rglob("*.jpg")), f / "visible"), ".jpg is in no folder of an identity"),
        (listed(""), "test.txt names no identity: write one a line"),
        (listed("person_001"), "names 'person_001', which has no images: did you mean"),
        (listed("person_0008"), "'person_0008', which has images of one modality"),
        (listed("\n".join(f"person_000{i}" for i in range(1, 8))), "tests every identity of both modalities"),
    ],
)
def test_each_mistake_is_one_sentence(own, damage, words):
    damage(own)
    with pytest.raises(InputError, match=re.escape(words)):
        VILabelled(str(own), verbose=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"test_share": 1.5}, "vi_labelled.test_share is 1.5: it must be above 0"),
        (
            {"test_list": "gone.txt"},
            "gone.txt cannot be read (No such file or directory): restore it, or name",
        ),
    ],
)
def test_a_split_that_cannot_be_made_is_one_sentence(own, settings, words):
    with pytest.raises(InputError, match=re.escape(words)):
        VILabelled(str(own), verbose=False, **settings)


@WITH_CAMERAS
def test_folders_of_cameras_are_for_all_or_none(own):
    camera = own / "visible" / "cam9" / "person_0001"
    if not (own / "visible" / "cam1").exists():
        shutil.copytree(own / "visible" / "person_0001", camera)
        other = "person_0001"
    else:
        shutil.copytree(own / "visible" / "cam1" / "person_0001", own / "visible" / "hall" / "person_0001")
        other = "hall"
    with pytest.raises(
        InputError, match=f"holds folders of cameras, such as 'cam.', and others, such as '{other}'"
    ):
        DATASETS["vi_labelled"](root=str(own), verbose=False)
