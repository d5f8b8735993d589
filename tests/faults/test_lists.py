"""Lists and links of unknown origin: read, or refused, and never out of a dataset's folder."""

import os
from pathlib import Path

import pytest
from pictures import NOISE, load, saved

from torchreid_vi import InputError
from torchreid_vi.data import VIDataset
from torchreid_vi.data.datasets.base import Splits
from torchreid_vi.data.datasets.lists import read_ids, read_index
from torchreid_vi.data.listing import images_in, images_under
from torchreid_vi.modality import Camera, Modality

HALVES = ("visible", "infrared")


LISTS = {
    "up": b"../secret/a.png 1",
    "up within": b"Visible/../../secret/a.png 1",
    "root": b"/etc/passwd 1",
    "NUL": b"Visible/\0.png 1",
    "escapes of a terminal": b"Visible/\x1b[2J.png 1",
    "a digit raised": "Visible/a.png ²".encode(),
    "no text": b"\xff\xfeV\0i\0",
}


@pytest.mark.parametrize("line", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("name", ["regdb", "llcm"])
def test_a_line_that_means_harm_is_refused(name, line, copy_of):
    root = copy_of(name)
    path = root / name / "idx" / ("train_visible_1.txt" if name == "regdb" else "train_vis.txt")
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(InputError, match=path.name) as caught:
        load(name, root)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


@pytest.mark.parametrize("line", ["../secret/a.bmp 1", "a/../../secret/a.bmp 1", "{}/a.bmp 1"])
def test_what_a_list_names_elsewhere_is_not_even_looked_for(line, secret, tmp_path):
    (tmp_path / "list.txt").write_text(f"a.bmp 1\n{line.format(secret)}\n")
    with pytest.raises(InputError, match=r"list\.txt, line 2: .* leads out of .*: restore the list"):
        read_index(tmp_path / "list.txt", tmp_path)


@pytest.mark.parametrize("token", ["²", "-1", "1e9", "1234567890", "\0", ".."])
def test_what_is_no_identity_is_refused(token, tmp_path):
    (tmp_path / "ids.txt").write_text(f"1,{token}", encoding="utf-8")
    with pytest.raises(InputError, match=r"ids\.txt holds .* where an identity number is expected"):
        read_ids(tmp_path / "ids.txt", tmp_path)


@pytest.mark.parametrize("text", ["0,1,0", "7\n8\n007"])
def test_an_identity_that_comes_twice_is_refused(text, tmp_path):
    (tmp_path / "ids.txt").write_text(text)
    with pytest.raises(InputError, match=r"ids\.txt holds identity [017] more than once: restore the list"):
        read_ids(tmp_path / "ids.txt", tmp_path)


def test_marks_of_byte_order_and_ends_of_lines_do_no_harm(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf1, 2\r\n3\r\n")
    assert read_ids(tmp_path / "ids.txt", tmp_path) == [1, 2, 3]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa b.png 1\r\n\r\nc.png 2")
    assert read_index(tmp_path / "list.txt", tmp_path) == [("a b.png", 1), ("c.png", 2)]


def test_a_list_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    for name in ("folder.txt", "loop.txt", "pipe.txt", "missing.txt"):
        with pytest.raises(InputError, match=rf"{name} (is no regular file|cannot be read)"):
            read_ids(tmp_path / name, tmp_path)


@pytest.fixture
def secret(tmp_path):
    """A folder beside a dataset, of which nothing must be read."""
    folder = tmp_path / "secret"
    folder.mkdir()
    for name in ("a.jpg", "a.bmp"):
        saved(NOISE, folder / name)
    return folder


def link_image(tree, secret):
    path = next(path for path in sorted(tree.rglob("*.*")) if path.suffix in (".jpg", ".bmp"))
    path.unlink()
    path.symlink_to(secret / f"a{path.suffix}")


def link_folder(tree, secret):
    path = next(path for path in sorted(tree.rglob("*.*")) if path.suffix in (".jpg", ".bmp")).parent
    for each in path.iterdir():
        each.rename(secret / each.name)
    path.rmdir()
    path.symlink_to(secret)


def link_list(tree, secret):
    path = next(path for path in sorted(tree.rglob("*train*.txt")))
    path.rename(secret / "list.txt")
    path.symlink_to(secret / "list.txt")


@pytest.mark.parametrize(
    ("name", "damage"),
    [("sysu_mm01", link_image), ("sysu_mm01", link_list), ("regdb", link_image), ("llcm", link_folder)],
)
def test_links_out_of_a_dataset_are_refused(name, damage, secret, copy_of):
    root = copy_of(name)
    damage(root / name, secret)
    with pytest.raises(InputError, match=rf"leads out of {root / name}: put the file itself there"):
        load(name, root)


def test_links_out_of_a_folder_of_ones_own_are_followed(secret, tmp_path):
    for half in HALVES:
        (tmp_path / "vi_folder" / half).mkdir(parents=True)
        saved(NOISE, tmp_path / "vi_folder" / half / "a.jpg")
    visible = tmp_path / "vi_folder" / "visible"
    (visible / "b.jpg").symlink_to(secret / "a.jpg")
    (visible / "more").symlink_to(secret)
    own = {visible / name for name in ("a.jpg", "b.jpg", "more/a.jpg", "more/a.bmp")}
    listed = {Path(item[0]) for item in load("vi_folder", tmp_path).train}
    assert set(images_under(visible)) == own
    assert listed == own | {visible.with_name("infrared") / "a.jpg"}
    (visible / "deep").mkdir()
    (visible / "deep" / "back").symlink_to("..")
    for listing in (lambda: images_under(visible), lambda: load("vi_folder", tmp_path)):
        with pytest.raises(InputError, match=r"the link .*deep/back leads back to .*: remove the link"):
            listing()


def test_what_is_hidden_trains_nowhere(tmp_path, copy_of):
    root = copy_of("sysu_mm01")
    number = len(load("sysu_mm01", root).train)
    folders = [root / "sysu_mm01" / "cam1" / "0001", *(tmp_path / "vi_folder" / s for s in HALVES)]
    for folder in folders:
        for hidden in ("._b.jpg", ".DS_Store", ".ipynb_checkpoints/b.jpg"):
            (folder / hidden).parent.mkdir(parents=True, exist_ok=True)
            saved(NOISE, folder / hidden, format="JPEG")
    assert len(load("sysu_mm01", root).train) == number
    for folder in folders[1:]:
        with pytest.raises(InputError, match="holds no images"):
            images_under(folder)
        saved(NOISE, folder / "b.jpg")
    assert len(load("vi_folder", tmp_path).train) == 2


def test_every_ending_that_is_read_is_listed(tmp_path):
    for ending in ("jpg", "jpeg", "PNG", "bmp", "tif", "tiff", "webp"):
        for half in HALVES:
            (tmp_path / "vi_folder" / half).mkdir(parents=True, exist_ok=True)
            saved(NOISE, tmp_path / "vi_folder" / half / f"a.{ending}")
    assert len(images_in(tmp_path / "vi_folder" / "visible")) == 7
    assert len(images_under(tmp_path)) == len(load("vi_folder", tmp_path).train) == 14


def test_links_within_a_dataset_and_to_it_are_followed(copy_of, tmp_path):
    root = copy_of("regdb")
    expected = len(load("regdb", root).train)
    real = (root / "regdb").rename(root / "real")
    (root / "regdb").symlink_to(real)
    (real / "Visible").rename(real / "elsewhere")
    (real / "Visible").symlink_to("elsewhere")
    image = next(path for path in (real / "elsewhere").rglob("*.bmp"))
    image.rename(real / "one.bmp")
    image.symlink_to(real / "one.bmp")
    assert len(load("regdb", root).train) == expected


def test_the_draws_are_not_read_from_elsewhere(copy_of, secret):
    root = copy_of("sysu_mm01")
    path = root / "sysu_mm01" / "exp" / "rand_perm_cam.mat"
    path.rename(secret / "draws.mat")
    path.symlink_to(secret / "draws.mat")
    with pytest.raises(InputError, match="leads out of"):
        load("sysu_mm01", root).gallery_permutations()


def test_a_dataset_of_ones_own_cannot_lead_out_of_its_folder(tmp_path, secret):
    class Own(VIDataset):
        cameras = (Camera(1, 1, Modality.VISIBLE), Camera(2, 2, Modality.INFRARED))
        folders = ("own",)

        def read(self, folder, split_id):
            records = [(str(folder / ".." / "secret" / "a.jpg"), 0, 0)]
            return Splits(records, records, records)

    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match="leads out of"):
        Own(root=str(tmp_path), verbose=False)
