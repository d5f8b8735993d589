"""The datasets: items, cameras and modalities, sums, and what a damaged tree makes them say."""

import re
import warnings
from pathlib import Path

import pytest

from torchreid_vi.data import DATASETS
from torchreid_vi.data.datasets import require_split
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

FOLDERS = ["sysu_mm01", "regdb", "llcm", "vi_synthetic"]


def load(name, root, **options):
    return DATASETS[name](root=str(root), verbose=False, **options)


def everything(dataset):
    return dataset.train + dataset.query + dataset.gallery


def one_sentence(error):
    text = str(error)
    assert "\n" not in text and "Traceback" not in text and len(text) < 1000
    return text


@pytest.mark.parametrize("name", FOLDERS)
def test_items_are_torchreids_and_training_identities_are_relabelled(name, roots):
    dataset = load(name, roots)
    for mode in ("train", "query", "gallery"):
        assert load(name, roots, mode=mode).data == getattr(dataset, mode)
    for path, pid, camid, dsetid in everything(dataset):
        assert Path(path).is_file()
        assert type(pid) is int and 0 <= camid < len(dataset.cameras) and dsetid == 0
    assert {item[1] for item in dataset.train} == set(range(dataset.num_train_pids))
    assert len({item[0] for item in everything(dataset)}) == len(everything(dataset))


@pytest.mark.parametrize("name", ["sysu_mm01", "vi_synthetic"])
def test_sysu_items_agree_with_their_folders(name, roots):
    dataset = load(name, roots)
    lists = {
        split: (roots / name / "exp" / f"{split}_id.txt").read_text() for split in ("train", "val", "test")
    }
    ids = {split: sorted(map(int, text.split(","))) for split, text in lists.items()}
    label = {pid: i for i, pid in enumerate(sorted(ids["train"] + ids["val"]))}
    for path, pid, camid, _ in everything(dataset):
        camera, folder = Path(path).parts[-3:-1]
        assert dataset.cameras[camid].number == int(camera[3:])
        assert pid == (label[int(folder)] if int(folder) in label else int(folder))
    assert {item[1] for item in dataset.query} == {item[1] for item in dataset.gallery} == set(ids["test"])


def test_sysu_cameras_have_the_published_modalities_and_places(roots):
    dataset = load("sysu_mm01", roots)
    camera = {camera.number: camera for camera in dataset.cameras}
    assert [n for n in camera if camera[n].modality is Modality.INFRARED] == [3, 6]
    assert camera[2].location == camera[3].location
    assert len({camera[n].location for n in camera}) == 5
    assert {dataset.modality(item) for item in dataset.query} == {Modality.INFRARED}
    assert {dataset.modality(item) for item in dataset.gallery} == {Modality.VISIBLE}
    assert {dataset.modality(item) for item in dataset.train} == set(Modality)


def test_regdb_modality_is_that_of_the_folder_and_labels_are_those_of_the_list(roots):
    dataset = load("regdb", roots)
    expected = {"Visible": Modality.VISIBLE, "Thermal": Modality.INFRARED}
    for item in everything(dataset):
        assert dataset.modality(item) is expected[Path(item[0]).parts[-3]]
    assert {Path(item[0]).parts[-3] for item in dataset.query} == {"Visible"}
    assert {Path(item[0]).parts[-3] for item in dataset.gallery} == {"Thermal"}
    lines = (roots / "regdb" / "idx" / "test_visible_1.txt").read_text().splitlines()
    listed = [(str(roots / "regdb" / line.split()[0]), int(line.split()[1])) for line in lines]
    assert [item[:2] for item in dataset.query] == listed


def test_llcm_modality_comes_from_the_folder_though_camera_numbers_are_shared(roots):
    dataset = load("llcm", roots)
    seen = {modality: set() for modality in Modality}
    for path, _, camid, _ in everything(dataset):
        camera = dataset.cameras[camid]
        assert camera.number == int(re.search(r"_c(\d\d)_", Path(path).name)[1])
        folder = Path(path).relative_to(roots / "llcm").parts[0]
        assert camera.modality is (Modality.INFRARED if "nir" in folder else Modality.VISIBLE)
        seen[camera.modality].add((camera.number, camid))
    visible, infrared = dict(seen[Modality.VISIBLE]), dict(seen[Modality.INFRARED])
    assert len(visible.keys() & infrared.keys()) >= 5
    assert not set(visible.values()) & set(infrared.values())
    assert 3 in visible and 3 not in infrared
    for item in dataset.query:
        path = Path(item[0])
        assert path.parts[-4:-2] == ("test_nir", f"cam{dataset.cameras[item[2]].number}")
        assert int(path.parts[-2]) == item[1]


def test_sysu_image_numbers_are_those_of_the_file_names(copy_of):
    root = copy_of("sysu_mm01")
    folder = Path(load("sysu_mm01", root).query[0][0]).parent
    (folder / "0001.jpg").unlink()
    dataset = load("sysu_mm01", root)
    items = [item for item in dataset.query if Path(item[0]).parent == folder]
    assert dataset.image_numbers(items).tolist() == [2, 3]


def test_split_id_chooses_the_split(roots):
    for split in (0, 3, 9):
        lines = (roots / "regdb" / "idx" / f"train_visible_{split + 1}.txt").read_text().splitlines()
        listed = {str(roots / "regdb" / line.split()[0]) for line in lines}
        dataset = load("regdb", roots, split_id=split)
        assert {item[0] for item in dataset.train if item[2] == 0} == listed
    assert load("regdb", roots, split_id=0).train != load("regdb", roots, split_id=3).train


def test_a_split_that_does_not_exist_is_named(roots, split=10):
    with pytest.raises(InputError, match=rf"{split}\b.*0 to 9"):
        load("regdb", roots, split_id=split)
    for names in (["regdb"], ["sysu_mm01"], ["regdb", "llcm"]):
        with pytest.raises(InputError, match=f"data.split_id is {split}: {names[0]}"):
            require_split(names, split)
    require_split(["cuhk03", "sysu_mm01"], split)  # torchreid's own looks itself
    require_split(["sysu_mm01", "regdb"], 9)  # one of several has it
    assert load("sysu_mm01", roots, split_id=9).train


@pytest.mark.parametrize("name", FOLDERS)
def test_combineall_trains_on_every_image_with_contiguous_identities(name, roots):
    plain, combined = load(name, roots), load(name, roots, combineall=True)
    assert {item[0] for item in combined.train} == {item[0] for item in everything(plain)}
    assert len(combined.data) == len(combined.train) == len(everything(plain))
    assert combined.num_train_pids == 12
    assert {item[1] for item in combined.train} == set(range(12))
    assert combined.train[: len(plain.train)] == plain.train
    owner = {}
    for path, pid, _, _ in combined.train[len(plain.train) :]:
        person = re.search(r"(\d+)$", str(Path(path).parent))[1].lstrip("0")
        assert owner.setdefault(pid, person) == person


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("sysu_mm01", r"cam1/0001 has 3 of 29 images"),
        ("regdb", r"regdb is not the complete RegDB: 18 of 2060 visible train images"),
        ("llcm", r"llcm is not the complete LLCM: 8 of 713 training identities"),
    ],
)
def test_an_incomplete_real_tree_is_read_with_a_warning_that_names_the_folder(name, named, copy_of):
    root = copy_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        complete = load(name, root)
    (root / name / "synthetic.json").unlink()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = load(name, root)
    said = [str(warning.message) for warning in caught]
    assert any(re.search(named, text) for text in said)
    assert all(str(root / name) in text for text in said)
    assert found.train == complete.train


#: Trees to damage: the dataset, a file or folder in it, its new content or None for no file, and what is said.
BAD_TREES = [
    ("sysu_mm01", "cam3", None, "cam3"),
    ("sysu_mm01", "exp/val_id.txt", None, "exp/val_id.txt"),
    ("sysu_mm01", "exp/train_id.txt", "1,2,x3\n", "exp/train_id.txt holds 'x3'"),
    ("sysu_mm01", "exp/test_id.txt", "\n", "no query images"),
    ("regdb", "Thermal", None, "Thermal"),
    ("regdb", "idx/test_thermal_1.txt", None, "idx/test_thermal_1.txt"),
    (
        "regdb",
        "idx/train_visible_1.txt",
        "Visible/1/person_v_00001_1.bmp\n",
        "idx/train_visible_1.txt, line 1",
    ),
    ("regdb", "idx/train_thermal_1.txt", "a.bmp one\n", "idx/train_thermal_1.txt, line 1"),
    ("regdb", "idx/train_visible_1.txt", "Visible/999/none.bmp 3\n", "Visible/999/none.bmp"),
    ("llcm", "test_nir", None, "test_nir"),
    ("llcm", "idx/test_id.txt", "1, two", "idx/test_id.txt holds 'two'"),
    ("llcm", "idx/train_nir.txt", "nir/x.jpg 1\n", "nir/x.jpg"),
]


@pytest.mark.parametrize(("name", "path", "content", "named"), BAD_TREES)
def test_a_damaged_tree_is_refused_in_one_sentence_that_names_the_file(name, path, content, named, copy_of):
    root = copy_of(name)
    target = root / name / path
    if content is None:
        target.rename(root / "elsewhere")
    else:
        target.write_text(content)
    with pytest.raises(InputError) as caught:
        load(name, root)
    assert named in one_sentence(caught.value)
    assert str(root / name) in str(caught.value)


@pytest.mark.parametrize("name", ["sysu_mm01", "regdb", "llcm"])
def test_a_missing_root_and_another_datasets_tree_are_named(name, copy_of):
    other = "llcm" if name == "regdb" else "regdb"
    root = copy_of(other)
    with pytest.raises(InputError, match="not found") as missing:
        load(name, root)
    (root / other).rename(root / name)
    with pytest.raises(InputError, match="layout") as mistaken:
        load(name, root)
    assert all(str(root / name) in one_sentence(caught.value) for caught in (missing, mistaken))


def test_gallery_draws_are_found_in_exp_and_in_the_root_and_none_when_absent(copy_of):
    root = copy_of("sysu_mm01")
    tree = root / "sysu_mm01"
    dataset = load("sysu_mm01", root)
    draws = dataset.gallery_permutations()
    assert set(draws) == {(camera, pid) for camera in range(1, 7) for pid in range(1, 13)}
    assert all(sorted(order) == [1, 2, 3] for orders in draws.values() for order in orders.tolist())
    assert all(len(orders) == 10 for orders in draws.values())
    (tree / "exp" / "rand_perm_cam.mat").rename(tree / "rand_perm_cam.mat")
    moved = dataset.gallery_permutations()
    assert all((moved[key] == draws[key]).all() for key in draws) and len(moved) == len(draws)
    (tree / "rand_perm_cam.mat").unlink()
    assert dataset.gallery_permutations() is None


@pytest.fixture
def footage(roots, tmp_path):
    """visible/ and infrared/ with images at several depths, and a file that is no image."""
    for half, camera in (("visible", "cam1"), ("infrared", "cam3")):
        for i, path in enumerate(sorted((roots / "sysu_mm01" / camera).glob("*/*.jpg"))[:20]):
            target = tmp_path / "footage" / half / ("" if i % 2 else "monday/door")
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{i}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "footage" / "visible" / "notes.txt").write_text("no image")
    return tmp_path / "footage"


def test_a_folder_of_visible_and_infrared_images_is_a_training_set(footage):
    dataset = load("vi_folder", footage)
    assert len(dataset.train) == 40 and (dataset.query, dataset.gallery) == ([], [])
    for item in dataset.train:
        assert dataset.modality(item).name.lower() in Path(item[0]).parts
    assert set(dataset[0]) == {"img", "pid", "camid", "impath", "dsetid", "modality"}
    footage.rename(footage.with_name("vi_folder"))
    assert len(load("vi_folder", footage.parent).train) == 40
