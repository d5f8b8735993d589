"""A run gets a folder of its own and continues from the newest sound checkpoint."""

import os
from multiprocessing import Pipe

import pytest
import torch
from forked import forked

from torchreid_vi import InputError, load_config, runs
from torchreid_vi.engine import CHECKPOINTS


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that was cut off, with both checkpoints."""
    folder = tmp_path / "run"
    (folder / CHECKPOINTS).mkdir(parents=True)
    (folder / "config.yaml").write_text(settings(folder).dump())
    for epoch, name in ((3, "last.pth"), (2, "previous.pth")):
        torch.save({"epoch": epoch}, folder / CHECKPOINTS / name)
    return folder


def settings(folder, **changes):
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return load_config(overrides={"data.save_dir": str(folder)} | changes)


def found(cfg, **options):
    with runs.find(cfg, **options) as folder:
        return folder.path, [path.name for path in folder.checkpoints]


def test_a_run_that_was_cut_off_goes_on_and_any_other_gets_a_folder_of_its_own(begun, tmp_path, caplog):
    (begun / CHECKPOINTS / ".7@there.partial.last.pth").write_text("half")
    assert found(settings(begun)) == (begun, ["last.pth", "previous.pth"])
    assert sorted(path.name for path in (begun / CHECKPOINTS).iterdir()) == ["last.pth", "previous.pth"]
    assert found(settings(begun, data__workers=0)) == (begun, ["last.pth", "previous.pth"])
    assert found(settings(begun, train__lr=0.1)) == (tmp_path / "run-2", [])
    assert "holds a run with train.lr 0.0003, not 0.1: this run gets another" in caplog.text
    (tmp_path / "run-2").mkdir()
    for name in (".lock", ".7@here.partial.config.yaml"):  # of a run that was killed as it began
        (tmp_path / "run-2" / name).touch()
    assert found(settings(begun, train__lr=0.1)) == (tmp_path / "run-2", [])
    (tmp_path / "run-2" / ".git").mkdir()
    assert found(settings(begun, train__lr=0.1)) == (tmp_path / "run-3", [])
    with pytest.raises(InputError, match=r"holds a run with train\.lr.*choose another data\.save_dir"):
        runs.find(settings(begun, train__lr=0.1), exactly=True)
    (begun / "results.json").write_text("{}")  # a half one is none
    assert found(settings(begun)) == (begun, ["last.pth", "previous.pth"])
    (begun / "results.json").write_text('{"results": []}')
    assert found(settings(begun))[0] == tmp_path / "run-3"
    assert "holds this run, finished" in caplog.text


def test_what_is_no_runs_checkpoint_is_not_answered_with_the_removal_of_a_run(begun, tmp_path):
    for other in (begun / CHECKPOINTS / "other.pth", tmp_path / "readme.md"):
        other.write_text("no checkpoint")
        with (
            runs.find(settings(begun, model__resume=str(other))) as folder,
            pytest.raises(InputError, match=r"set model\.resume to a run's checkpoints/last\.pth") as caught,
        ):
            folder.read()
        assert "remove" not in str(caught.value)


def test_an_evaluation_never_goes_on(begun, tmp_path):
    cfg = settings(begun, test__evaluate=True, model__load_weights="x.pth")
    assert found(cfg) == (tmp_path / "run-test", [])
    (tmp_path / "run-test").mkdir()
    (tmp_path / "run-test" / "config.yaml").write_text(cfg.dump())
    assert found(cfg) == (tmp_path / "run-test-2", [])


def test_a_run_has_its_folder_for_itself(begun, tmp_path, caplog):
    """Held by another process; that one killed, it is free."""
    ours, theirs = Pipe()

    def hold():
        folder = runs.RunFolder(begun)
        theirs.send(folder.hold())
        theirs.recv()

    other = forked(hold)
    other.start()
    assert ours.recv()
    assert found(settings(begun)) == (tmp_path / "run-2", [])
    assert "is being written by another process: this run gets another folder" in caplog.text
    for cfg, options in (
        (settings(begun), {"exactly": True}),
        (settings("x", model__resume=str(begun / CHECKPOINTS / "last.pth")), {}),
    ):
        with pytest.raises(InputError, match="is being written by another process"):
            runs.find(cfg, **options)
    other.kill()
    other.join()
    assert found(settings(begun)) == (begun, ["last.pth", "previous.pth"])
    assert found(settings(begun)) == (begun, ["last.pth", "previous.pth"])  # and this one let it go


def cut(path):
    os.truncate(path, 100)


def flip(path):
    torch.save({"epoch": 3, "state_dict": {"weight": torch.full((999,), 7, dtype=torch.uint8)}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\7" * 999) + 500] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_checkpoint_is_not_taken_and_the_one_before_it_is(begun, caplog, damage):
    last, previous = (begun / CHECKPOINTS / name for name in ("last.pth", "previous.pth"))
    damage(last)
    content = last.read_bytes()
    with runs.find(settings(begun)) as folder:
        path, state = folder.read()
    assert path == previous and state["epoch"] == 2
    assert "last.pth is not a checkpoint or is damaged" in caplog.text
    assert not last.exists() and last.with_name("damaged.pth").read_bytes() == content  # never to replace it
    last.write_bytes(b"damaged again")
    with (
        runs.find(settings("x", model__resume=str(last))) as folder,
        pytest.raises(InputError, match=rf"damaged.*; set model\.resume to {previous}, or if that is d"),
    ):
        folder.read()
    cut(previous)
    with runs.find(settings(begun)) as folder, pytest.raises(InputError, match=f"damaged.*; remove {begun}"):
        folder.read()
    assert not last.exists()
    previous.unlink()
    with runs.find(settings(begun)) as folder:
        assert folder.path == begun and not folder.checkpoints


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"results": [1]}'])
def test_half_results_are_none(begun, text):
    (begun / "results.json").write_text(text)
    assert runs.content(begun) == {}
