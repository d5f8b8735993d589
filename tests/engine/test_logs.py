"""What TensorBoard's thread does when the system refuses to write."""

import threading

import pytest
from engine_helpers import diverge_at, run

from torchreid_vi import InputError


def heard_by(monkeypatch):
    """The errors that threads end with from now on; called within a test, since pytest hears them, too."""
    errors = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: errors.append(failed.exc_type))
    return errors


def test_what_the_system_refuses_to_log_is_said_once(make, tmp_path, monkeypatch, little_room):
    """TensorBoard's thread fails with the disk full, and so does the next call that logs."""
    heard = heard_by(monkeypatch)
    before = threading.active_count()
    for number in range(2):
        engine, cfg = make(train__max_epoch=1)
        with pytest.raises(OSError) as raised:
            run(engine, cfg, save_dir=str(tmp_path / f"run{number}"))
        assert raised.value.filename.startswith(str(tmp_path / f"run{number}"))
    assert threading.active_count() == before and not heard


@pytest.mark.parametrize(
    "error", [OSError("400 requested and 0 written"), FileNotFoundError(2, "no", "x")], ids=str
)
def test_what_others_refuse_keeps_its_words_and_its_name(make, error):
    engine, cfg = make()

    def fail(data):
        raise error

    engine.forward_backward = fail
    before = str(error)
    with pytest.raises(OSError) as raised:
        run(engine, cfg)
    assert str(raised.value) == before


def test_tensorboards_thread_has_ended_when_a_run_has(make, tmp_path):
    before = threading.active_count()
    engine, cfg = make()
    diverge_at(engine, 1)
    with pytest.raises(InputError):
        run(engine, cfg)
    assert threading.active_count() == before
