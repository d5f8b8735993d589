"""The data manager: repeatable loaders, held-out identities, and what it says of bad images and names."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchreid
from PIL import Image

from torchreid_vi import host
from torchreid_vi.data import TRANSFORMS, VIDataManager
from torchreid_vi.data.datasets.base import VIDataset
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality


def manage(root, **options):
    options = {
        "sources": ["sysu_mm01"],
        "height": 40,
        "width": 16,
        "batch_size_train": 8,
        "batch_size_test": 8,
        "workers": 0,
        "use_gpu": False,
    } | options
    return VIDataManager(root=str(root), **options)


def seed_all(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def person(path):
    """The identity that a SYSU-MM01 path belongs to."""
    return int(Path(path).parts[-2])


def train_items(manager):
    return manager.train_loader.dataset.train


def test_a_batch_carries_the_modality_of_its_cameras(roots):
    manager = manage(roots, sources=["llcm"], train_sampler="CrossModalitySampler", num_instances=2)
    for batch in manager.train_loader:
        assert batch["img"].shape == (8, 3, 40, 16) and batch["img"].dtype == torch.float32
        infrared = ["_nir" in path for path in batch["impath"]]
        assert batch["modality"].bool().tolist() == infrared and sum(infrared) == 4
        assert len(set(batch["pid"].tolist())) == 2


def check_test_images(manager, mean, std):
    for split in ("query", "gallery"):
        loader = manager.test_loader["sysu_mm01"][split]
        batch = next(iter(loader))
        with Image.open(batch["impath"][0]) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255).permute(2, 0, 1)
        expected = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        assert torch.allclose(batch["img"][0], expected, atol=1e-5)
        assert sum(len(batch["pid"]) for batch in loader) == len(loader.dataset)


def test_test_images_are_normalised_with_the_settings_of_training(roots):
    mean, std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]
    check_test_images(manage(roots, transforms=list(TRANSFORMS), norm_mean=mean, norm_std=std), mean, std)


def modalities(batch):
    return zip(batch["impath"], batch["modality"].tolist(), strict=True)


def test_training_on_one_modality_leaves_the_test_as_it_is(roots):
    manager = manage(roots, modalities=["visible"])
    assert {int(m) for batch in manager.train_loader for m in batch["modality"]} == {Modality.VISIBLE}
    assert len(train_items(manager)) == 8 * 4 * 3 and manager.num_train_cams == 4
    assert len(manager.test_loader["sysu_mm01"]["query"].dataset) == 24
    assert len(train_items(manage(roots, modalities=["infrared"]))) == 8 * 2 * 3


@pytest.mark.parametrize("sampler", ["RandomSampler", "CrossModalitySampler"])
def test_validation_holds_out_identities_with_both_modalities(sampler, roots):
    whole = manage(roots)
    manager = manage(
        roots, validation=0.5, train_sampler=sampler, num_instances=2, transforms=list(TRANSFORMS)
    )
    query, gallery = manager.val_loader["query"], manager.val_loader["gallery"]
    held = {person(item[0]) for item in query.dataset.data + gallery.dataset.data}
    trained = {person(item[0]) for item in train_items(manager)}
    assert len(held) == 4 and len(trained) == 4 and not held & trained
    parts = train_items(manager) + query.dataset.data + gallery.dataset.data
    assert sorted(item[0] for item in parts) == sorted(item[0] for item in train_items(whole))
    assert manager.num_train_pids == 4 and {item[1] for item in train_items(manager)} == set(range(4))
    assert max(int(batch["pid"].max()) for batch in manager.train_loader) == 3
    for loader, modality in ((query, Modality.INFRARED), (gallery, Modality.VISIBLE)):
        seen = list(loader)
        assert {m for batch in seen for m in batch["modality"].tolist()} == {modality}
        assert {pid for batch in seen for pid in batch["pid"].tolist()} == {
            item[1] for item in query.dataset.data
        }
        first = manager.transform_te(Image.open(seen[0]["impath"][0]).convert("RGB"))
        torch.testing.assert_close(seen[0]["img"][0], first, atol=1e-5, rtol=0)


def test_the_held_out_identities_do_not_depend_on_the_seed_or_on_views(roots):
    drawn = []
    for number in range(2):
        seed_all(number)
        manager = manage(roots, validation=0.25, k_tfm=number + 1)
        drawn.append([item[0] for item in manager.val_loader["query"].dataset.data])
        assert next(iter(manager.val_loader["query"]))["img"].shape == (8, 3, 40, 16)
    assert drawn[0] == drawn[1]


def pictures(root, split):
    manager = manage(root)
    if split == "train":
        return [item[0] for item in train_items(manager)]
    return [item[0] for item in manager.test_loader["sysu_mm01"][split].dataset.data]


def truncate(path):
    Path(path).write_bytes(Path(path).read_bytes()[:-60])


@pytest.mark.parametrize(("split", "workers"), [("train", 0), ("train", 2), ("query", 2), ("gallery", 0)])
def test_an_unreadable_image_stops_the_loader_with_one_sentence(split, workers, copy_of):
    root = copy_of("sysu_mm01")
    path = pictures(root, split)[7]
    truncate(path)
    manager = manage(root, workers=workers)
    loader = manager.train_loader if split == "train" else manager.test_loader["sysu_mm01"][split]
    with pytest.raises(InputError) as caught:
        list(loader)
    assert str(caught.value).startswith(f"image {path} is corrupt or truncated: ")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"second_view": ["random_flip"], "k_tfm": 2}, r"data\.k_tfm is 2 with a data\.second_view"),
        ({"targets": ["regbd"]}, r"dataset 'regbd': did you mean 'regdb'"),
        ({"transforms": ["maa"], "maa": ["wgg"]}, r"'wgg': did you mean 'wg'"),
        ({"modalities": ["visibel"]}, r"'visibel': did you mean 'visible'"),
        ({"interpolation": "lanczo"}, r"'lanczo': did you mean 'lanczos'"),
        ({"second_view": ["channel_swap"]}, r"data\.second_view 'channel_swap'"),
        ({"split_id": 1}, r"data\.split_id is 1: sysu_mm01 has one split, 0"),
        ({"batch_size_train": 145}, r"144 training images fill no batch of 145"),
        ({"modalities": ["infrared"], "train_sampler": "CrossModalitySampler"}, "both modalities"),
        ({"sources": []}, r"data\.sources"),
        ({"validation": 0.25, "modalities": ["visible"]}, r"data\.validation needs both modalities"),
        ({"validation": 0.01}, r"data\.validation 0\.01 "),
        ({"validation": 1.0}, r"data\.validation 1\.0 "),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_named_in_one_sentence(options, named, roots):
    with pytest.raises(InputError, match=named) as caught:
        manage(roots, **options)
    assert "\n" not in str(caught.value)


class Plain(torchreid.data.ImageDataset):
    """A torchreid dataset of six visible images under ``root``."""

    def __init__(self, root="", **kwargs):
        folder = Path(root) / "plain"
        items = [(str(path), number // 2, number % 2) for number, path in enumerate(sorted(folder.iterdir()))]
        super().__init__(items, items[::2], items[1::2], **kwargs)


@pytest.fixture
def with_plain(copy_of):
    """A root with ``sysu_mm01`` and a torchreid dataset that is registered as ``plain``."""
    root = copy_of("sysu_mm01")
    (root / "plain").mkdir()
    for number in range(6):
        Image.new("RGB", (16, 40), (40 * number, 100, 10)).save(root / "plain" / f"{number}.png")
    host.register_dataset("plain", Plain)
    yield root
    host.IMAGE_DATASETS.pop("plain")


def test_sources_that_begin_with_a_torchreid_dataset_are_refused(with_plain):
    for sources in (["plain"], ["plain", "sysu_mm01"]):
        with pytest.raises(InputError, match=r"data\.sources begins with plain"):
            manage(with_plain, sources=sources, targets=["sysu_mm01"])


def test_a_torchreid_dataset_after_ours_is_trained_on_as_visible(with_plain):
    manager = manage(with_plain, sources=["sysu_mm01", "plain"], targets=["sysu_mm01"], batch_size_train=10)
    assert isinstance(manager.train_loader.dataset, VIDataset)
    assert manager.num_train_pids == 11 and manager.num_train_cams == 8
    seen = {path: kind for batch in manager.train_loader for path, kind in modalities(batch)}
    plain = {path: kind for path, kind in seen.items() if "/plain/" in path}
    assert len(plain) == 6 and set(plain.values()) == {Modality.VISIBLE}


@pytest.fixture
def footage(roots, tmp_path):
    for half, camera in (("visible", "cam1"), ("infrared", "cam3")):
        shutil.copytree(roots / "sysu_mm01" / camera, tmp_path / "footage" / half)
    return tmp_path / "footage"


def test_unlabelled_images_load_with_a_share_held_out(footage):
    options = {"sources": "vi_folder", "identities": False, "train_sampler": "ModalityPairSampler"}
    manager = manage(footage, **options, validation=0.25)
    total = len(list(footage.glob("*/*/*.jpg")))
    held = {name: [item[0] for item in loader.dataset.data] for name, loader in manager.val_loader.items()}
    assert all("infrared" in path for path in held["query"])
    assert all("visible" in path for path in held["gallery"])
    training = [item[0] for item in manager.train_loader.dataset.data]
    assert len(training) + len(held["query"]) + len(held["gallery"]) == total
    assert not set(training) & {*held["query"], *held["gallery"]}
    for batch in manager.train_loader:
        assert batch["modality"].tolist() == [0] * 4 + [1] * 4
