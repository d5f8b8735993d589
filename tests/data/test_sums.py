"""Sums of datasets, by + and by torchreid's own data manager."""

import torchreid
from torchvision import transforms as tv

from torchreid_vi.data import DATASETS, VIDataset
from torchreid_vi.modality import Modality


def load(name, root, **options):
    return DATASETS[name](root=str(root), verbose=False, **options)


def check_sum(total, parts):
    """Require every item of the parts once, with its own modality, and nothing shared between them."""
    assert isinstance(total, VIDataset)
    modality = {item[0]: total.modality(item) for item in total.train}
    assert len(modality) == len(total.train) == sum(len(part.train) for part in parts)
    assert total.num_train_pids == len({item[1] for item in total.train})
    assert {item[1] for item in total.train} == set(range(sum(part.num_train_pids for part in parts)))
    assert total.num_datasets == len(parts)
    used = []
    for number, part in enumerate(parts):
        paths = {item[0]: item for item in part.train}
        mine = [item for item in total.train if item[0] in paths]
        for item in mine:
            assert modality[item[0]] is part.modality(paths[item[0]])
            assert item[3] == number
        assert len({(item[1], paths[item[0]][1]) for item in mine}) == part.num_train_pids
        assert len({(item[2], paths[item[0]][2]) for item in mine}) == part.num_train_cams
        used.append(({item[1] for item in mine}, {item[2] for item in mine}))
    for column in range(2):
        assert len(set.union(*(each[column] for each in used))) == sum(len(each[column]) for each in used)


def test_a_sum_keeps_subclass_modalities_views_and_distinct_numbers(roots):
    view = tv.Compose([tv.ToTensor()])
    first, second = (load(name, roots, k_tfm=2, transform=view) for name in ("llcm", "sysu_mm01"))
    before = list(first.train), first.num_train_pids, first.cameras
    total = first + second
    check_sum(total, [first, second])
    assert type(total) is type(first) and total.k_tfm == 2 and total.transform is view
    assert total.data == total.train and len(total[len(total) - 1]["img"]) == 2
    assert (first.train, first.num_train_pids, first.cameras) == before
    assert total.query == first.query and total.gallery == first.gallery


def test_torchreids_own_data_manager_sums_and_loads_our_datasets(roots):
    names = {"sources": ["llcm", "sysu_mm01"], "targets": ["sysu_mm01"]}
    options = {"height": 40, "width": 16, "batch_size_train": 12, "workers": 0, "use_gpu": False, "k_tfm": 2}
    manager = torchreid.data.ImageDataManager(root=str(roots), **names, **options)
    parts = [load("llcm", roots), load("sysu_mm01", roots)]
    check_sum(manager.train_loader.dataset, parts)
    assert manager.num_train_pids == 16
    expected = {item[0]: int(part.modality(item)) for part in parts for item in part.train}
    seen = 0
    for batch in manager.train_loader:
        assert batch["modality"].tolist() == [expected[path] for path in batch["impath"]]
        assert len(batch["img"]) == 2 and batch["img"][0].shape == (12, 3, 40, 16)
        seen += len(batch["pid"])
    assert seen == len(expected)
    query = next(iter(manager.test_loader["sysu_mm01"]["query"]))
    assert set(query["modality"].tolist()) == {Modality.INFRARED}
