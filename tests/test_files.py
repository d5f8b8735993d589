"""Files are there whole or not at all."""

import os
import subprocess
import time
from multiprocessing import Pipe, get_context
from pathlib import Path

import pytest
import torch

from torchreid_vi import files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def being_written(path):
    """Return the name of a file that is being written by this process."""
    before = set(path.parent.iterdir())
    with pytest.raises(KeyboardInterrupt), files.atomic_write(path):
        (partial,) = set(path.parent.iterdir()) - before
        raise KeyboardInterrupt
    return partial.name


def test_a_file_appears_whole_and_the_one_before_it_stays_if_asked(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "ä")
    assert path.read_text(encoding="utf-8") == "ä"
    with files.atomic_write(path, tmp_path / "before.txt") as file:
        file.write(b"new")
        assert path.read_text(encoding="utf-8") == "ä"
    assert path.read_text() == "new" and (tmp_path / "before.txt").read_text(encoding="utf-8") == "ä"
    with files.atomic_write(path) as file:
        file.write(b"newest")
    assert path.read_text() == "newest" and names(tmp_path) == ["a.txt", "before.txt"]
    path.unlink()
    with files.atomic_write(path, tmp_path / "before.txt") as file:
        file.write(b"first")
    assert path.read_text() == "first" and (tmp_path / "before.txt").read_text(encoding="utf-8") == "ä"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_after_an_error_the_file_is_what_it_was(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), files.atomic_write(path, tmp_path / "before.txt") as file:
        file.write(b"half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_what_is_on_the_disk_before_it_has_the_name_is_all_of_it(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, original=original: (done.append(name), original(*a))[1]
        )
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append("rename"), replace(self, to))[1])
    files.write_text(tmp_path / "a.txt", "text")
    order = [each for each in done if each != "replace"]
    assert order == ["fsync", "rename", "fsync"]  # the content, the name, and the folder that has the name


def test_what_a_disk_refuses_is_the_systems_error_and_names_the_file(tmp_path, little_room):
    with pytest.raises(OSError, match="too large") as raised, files.atomic_write(tmp_path / "a.pth") as file:
        torch.save({"a": torch.zeros(1_000_000)}, file)
    assert raised.value.filename == str(tmp_path / "a.pth") and names(tmp_path) == []


def test_two_that_make_the_same_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    ours, theirs = Pipe()

    def write():
        with files.atomic_write(path) as file:
            file.write(b"theirs")
            theirs.send(1)
            theirs.recv()

    other = get_context("fork").Process(target=write)
    other.start()
    ours.recv()
    with files.atomic_write(path) as file:
        file.write(b"own")
    assert path.read_text() == "own" and len(names(tmp_path)) == 2
    ours.send(1)
    other.join()
    assert other.exitcode == 0 and path.read_text() == "theirs" and names(tmp_path) == ["a.txt"]


def test_what_others_began_and_cannot_end_any_more_is_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    own = being_written(tmp_path / "a[1].txt")
    _, here = own.partition(".partial")[0].split("@")
    mark = ".partial.a[1].txt"
    kept = [f".{os.getppid()}@{here}{mark}", f".1@elsewhere{mark}", f".strange{mark}"]
    kept += [f".{ended.pid}@{here}.partial.b.txt", f".4@elsewhere{mark}"]
    gone = [own, f".{ended.pid}@{here}{mark}", f".2@elsewhere{mark}", f".3@elsewhere{mark}"]
    for name in kept + gone:
        (tmp_path / name).write_text("half")
    for name in (gone[1], gone[3], kept[4]):
        (tmp_path / name).unlink()
        (tmp_path / name / "folder").mkdir(parents=True)
    (tmp_path / kept[4] / "folder" / "file").write_text("just now")
    for name, hours in (
        *((gone[2], 25), (f"{gone[3]}/folder", 25), (gone[3], 25)),
        *((kept[1], 23), (kept[4], 25), (kept[0], 25)),  # who makes the last is here, and at work
    ):
        os.utime(tmp_path / name, (time.time() - hours * 3600,) * 2)
    files.write_text(tmp_path / "a[1].txt", "text")
    assert names(tmp_path) == sorted([*kept, "a[1].txt"]) and (tmp_path / "a[1].txt").read_text() == "text"


def test_what_stands_in_the_way_and_is_a_link_goes_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("kept")
    link = tmp_path / being_written(tmp_path / "a.txt")
    for target in (tmp_path / "folder", tmp_path / "folder" / "file"):
        link.symlink_to(target)
        files.write_text(tmp_path / "a.txt", "text")
        assert names(tmp_path) == ["a.txt", "folder"] and not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "folder" / "file").read_text() == "kept"


def test_what_pytorch_makes_of_a_full_disk_is_the_systems_error_again(tmp_path):
    with pytest.raises(OSError, match="No space left") as raised, files.atomic_write(tmp_path / "a.pth"):
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 - as its writer does
    assert raised.value.filename == str(tmp_path / "a.pth")


class Interrupted:
    """A file in whose writing a signal comes, of which PyTorch makes an error after the first bytes."""

    begun = False

    def write(self, content):
        if self.begun:
            raise KeyboardInterrupt
        self.begun = True
        return len(content)

    def flush(self):
        pass


def test_a_signal_within_the_writing_of_a_checkpoint_is_that_signal(tmp_path):
    (tmp_path / "last.pth").write_text("before")
    with pytest.raises(KeyboardInterrupt), files.atomic_write(tmp_path / "last.pth"):
        torch.save({"a": torch.zeros(9999)}, Interrupted())
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
