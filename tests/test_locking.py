"""A lock keeps other processes out, and a disk without locks stops nobody."""

import errno
import fcntl
import os
from multiprocessing import Pipe

import pytest
from filelock import Timeout
from forked import forked

from torchreid_vi import locking, runs
from torchreid_vi.data.cache import open_cache
from torchreid_vi.data.images import Decoder
from torchreid_vi.locking import locked

WITHOUT = [errno.ENOSYS, errno.ENOLCK]


@pytest.fixture
def without_locks(monkeypatch, request):
    """A disk that has none, as the C library tells it."""

    def flock(file, operation):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locking, "_told", False)


def test_a_lock_is_waited_for_and_let_go(tmp_path):
    ours, theirs = Pipe()

    def hold():
        with locked(tmp_path / "lock"):
            theirs.send("held")
            theirs.recv()

    other = forked(hold)
    other.start()
    assert ours.recv() == "held"
    with pytest.raises(Timeout), locked(tmp_path / "lock", timeout=0.1):
        pass
    ours.send("let go")
    with locked(tmp_path / "lock", timeout=30):
        pass
    other.join()


@pytest.mark.parametrize("without_locks", WITHOUT, indirect=True)
def test_without_locks_all_goes_on_and_it_is_said_once(without_locks, tmp_path, roots, caplog):
    folder = runs.RunFolder(tmp_path / "run")
    assert folder.hold() and folder.hold()
    folder.release()
    paths = list(map(str, (roots / "vi_synthetic" / "cam1").rglob("*.jpg")))
    assert open_cache(tmp_path / "cache", "some", paths, Decoder(8, 4)) is not None
    (note,) = [note for note in caplog.messages if "without locks" in note]
    assert note.startswith(f"{tmp_path / 'run'} is on a disk without locks (")
