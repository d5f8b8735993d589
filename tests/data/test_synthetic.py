"""The synthetic datasets: repeatable bytes, exact layouts, nothing left of an interrupted rendering."""

import shutil
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from forked import forked
from PIL import Image

from torchreid_vi.data import DATASETS
from torchreid_vi.data.datasets import vi_synthetic
from torchreid_vi.data.synthetic import LAYOUTS, published_sysu_layout, render_dataset, writer
from torchreid_vi.data.synthetic.person import random_person
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import PROTOCOLS, TestSet, trials
from torchreid_vi.modality import Modality

FOLDERS = {"sysu": "sysu_mm01", "regdb": "regdb", "llcm": "llcm"}
OFFICIAL_DRAWS = Path(__file__).parents[2].parent / "shared/data/sysu_mm01_splits/rand_perm_cam.mat"
SMALL = {"ids": 6, "images": 1, "size": (16, 40)}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leftovers(root):
    return [path.name for path in Path(root).iterdir()]


def read(root, layout, **options):
    return DATASETS[FOLDERS.get(layout, layout)](root=str(root), verbose=False, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_arguments_give_the_same_bytes(layout, tmp_path):
    trees = [contents(render_dataset(tmp_path / str(run), layout, **SMALL)) for run in range(2)]
    assert trees[0] == trees[1]
    assert any(name.startswith(("exp/", "idx/")) for name in trees[0])
    for content in (content for name, content in trees[0].items() if name.endswith(".mat")):
        assert content[:116].rstrip() == b"MATLAB 5.0 MAT-file"  # without the date


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_seed_gives_other_people_and_other_splits(layout, tmp_path):
    one = contents(render_dataset(tmp_path / "a", layout, seed=0, **(SMALL | {"ids": 12})))
    two = contents(render_dataset(tmp_path / "b", layout, seed=1, **(SMALL | {"ids": 12})))
    pictures = [name for name in one.keys() & two.keys() if name.endswith((".jpg", ".bmp"))]
    lists = [
        name
        for name in one.keys() & two.keys()
        if name.endswith((".txt", ".mat")) and "available" not in name
    ]
    assert pictures and all(one[name] != two[name] for name in pictures)
    assert lists and any(one[name] != two[name] for name in lists)


@pytest.mark.parametrize(
    ("layout", "people", "cameras", "sizes"),
    [
        ("sysu", 8, 6, (8 * 6 * 3, 4 * 2 * 3, 4 * 4 * 3)),
        ("regdb", 6, 2, (6 * 2 * 3, 6 * 3, 6 * 3)),
        # Everyone is under visible camera 3, which has no infrared twin, and under three pairs of cameras.
        ("llcm", 8, 17, (8 * 7 * 3, 4 * 3 * 3, 4 * 4 * 3)),
    ],
)
def test_a_layout_is_read_with_the_counts_that_were_rendered(layout, people, cameras, sizes, roots):
    for split in range(10 if layout == "regdb" else 1):
        dataset = read(roots, layout, split_id=split)
        assert (dataset.num_train_pids, dataset.num_train_cams) == (people, cameras)
        assert tuple(map(len, (dataset.train, dataset.query, dataset.gallery))) == sizes


def test_infrared_pictures_are_grey_and_visible_ones_are_not(roots):
    dataset = read(roots, "llcm")
    spread = {modality: [] for modality in Modality}
    for item in dataset.train + dataset.query + dataset.gallery:
        with Image.open(item[0]) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=int)
        spread[dataset.modality(item)].append(np.ptp(pixels, axis=2).mean())
    assert max(spread[Modality.INFRARED]) < 1
    assert min(spread[Modality.VISIBLE]) > 3


def test_infrared_reflectance_is_independent_of_colour():
    people = [random_person(np.random.default_rng([7, number])) for number in range(400)]
    for garment in ("top", "bottom", "shoes", "bag", "hair"):
        materials = [getattr(person, garment) for person in people]
        for which in range(2):
            luminance = [np.dot((0.299, 0.587, 0.114), m.colours[which]) for m in materials]
            reflectance = [m.reflectances[which] for m in materials]
            assert np.std(luminance) > 0.05 and np.std(reflectance) > 0.05
            assert abs(np.corrcoef(luminance, reflectance)[0, 1]) < 0.15, garment


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"layout": "sysuu"}, "did you mean 'sysu'"), ({"ids": 5}, "at least 6"), ({"size": (4, 40)}, "8 × 8")],
)
def test_arguments_that_give_no_dataset_are_named_and_leave_nothing(arguments, named, tmp_path):
    with pytest.raises(InputError, match=named) as caught:
        render_dataset(tmp_path, **arguments)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_a_folder_that_exists_is_not_rendered_over(tmp_path):
    (tmp_path / "sysu_mm01").mkdir()
    (tmp_path / "sysu_mm01" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="sysu_mm01 exists already"):
        render_dataset(tmp_path, **SMALL)
    assert contents(tmp_path) == {"sysu_mm01/mine.txt": b"keep"}


def wait_for_pictures(root):
    """Waits until a rendering under ``root`` has written its first pictures."""
    deadline = time.monotonic() + 60
    while not any(Path(root).glob(".*.partial.*/cam6/0002/*.jpg")):
        assert time.monotonic() < deadline, "nothing was rendered"
        time.sleep(0.005)


def test_an_interrupted_rendering_leaves_nothing(tmp_path, monkeypatch):
    original, drawn = writer.render, iter(range(10**6))

    def render(*args):
        if next(drawn) == 20:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(writer, "render", render)
        render_dataset(tmp_path, **SMALL)
    assert next(drawn) > 20 and leftovers(tmp_path) == []
    assert render_dataset(tmp_path, **SMALL).is_dir()


def test_of_two_processes_that_need_the_people_one_renders_and_the_other_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(vi_synthetic, "render_dataset", partial(render_dataset, **SMALL))
    processes = [forked(lambda: read(tmp_path / "data", "vi_synthetic")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_killed_rendering_leaves_no_dataset_and_the_next_one_cleans_up(tmp_path):
    process = forked(lambda: render_dataset(tmp_path, ids=150, images=6, size=(64, 160)))
    process.start()
    try:
        wait_for_pictures(tmp_path)
    finally:
        process.kill()
        process.join()
    (partial,) = leftovers(tmp_path)
    assert partial.startswith(f".{process.pid}@") and partial.endswith(".partial.sysu_mm01")
    with pytest.raises(InputError, match="not found"):
        read(tmp_path, "sysu")
    render_dataset(tmp_path, **SMALL)
    assert leftovers(tmp_path) == ["sysu_mm01"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The published tree with empty files for pictures."""
    root = tmp_path_factory.mktemp("published")
    plan = published_sysu_layout(0)
    folder = root / plan.folder
    for parent in {(folder / path).parent for path in (*plan.lists, *(p.path for p in plan.pictures))}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, content in plan.lists.items():
        (folder / path).write_bytes(content)
    for picture in plan.pictures:
        (folder / picture.path).touch()
    yield root
    shutil.rmtree(root)


def test_the_published_structure_has_the_published_counts(published):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the reader's warning that the tree is not complete
        dataset = read(published, "sysu")
    kinds = [dataset.modality(item) for item in dataset.train]
    assert kinds.count(Modality.VISIBLE) == 22258
    assert kinds.count(Modality.INFRARED) == 11909
    assert dataset.num_train_pids == 395
    assert len(dataset.query) == 3803
    assert len(dataset.gallery) == 6775
    assert len({item[1] for item in dataset.query + dataset.gallery}) == 96
    queries = [dataset.cameras[item[2]].number for item in dataset.query]
    assert (queries.count(3), queries.count(6)) == (1883, 1920)


def as_test_set(published):
    query, gallery = (read(published, "sysu", mode=mode) for mode in ("query", "gallery"))
    items = query.data + gallery.data
    return TestSet(
        pids=np.array([item[1] for item in items]),
        cameras=np.array([item[2] for item in items]),
        numbers=np.concatenate([query.image_numbers(query.data), gallery.image_numbers(gallery.data)]),
        table=query.cameras,
        permutations=query.gallery_permutations(),
    )


def check_galleries(test_set):
    for mode, shots, size in (("all", 1, 301), ("all", 10, 3010), ("indoor", 1, 112), ("indoor", 10, 1120)):
        drawn = list(trials(PROTOCOLS["sysu_mm01"][f"{mode}/{shots}-shot/official"], test_set))
        assert [len(trial.gallery) for trial in drawn] == [size] * 10
        assert [len(trial.query) for trial in drawn] == [3803] * 10
        assert len({tuple(trial.gallery) for trial in drawn}) == 10


def test_the_generated_draws_give_galleries_of_the_published_sizes(published):
    check_galleries(as_test_set(published))


@pytest.mark.skipif(not OFFICIAL_DRAWS.is_file(), reason="the official rand_perm_cam.mat is not here")
def test_the_official_draws_give_galleries_of_the_published_sizes(published):
    generated = as_test_set(published)
    shutil.copy(OFFICIAL_DRAWS, published / "sysu_mm01" / "exp" / "rand_perm_cam.mat")
    official = as_test_set(published)
    check_galleries(official)
    protocol = PROTOCOLS["sysu_mm01"]["all/1-shot/official"]
    assert set(next(trials(protocol, official)).gallery) != set(next(trials(protocol, generated)).gallery)
