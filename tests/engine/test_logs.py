"""TensorBoard's events, and what happens when the system refuses to write them."""

import pytest
from engine_helpers import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchreid_vi.engine.logs import EventFile


def test_a_full_disk_is_reported_with_the_runs_folder(tmp_path, little_room):
    events = EventFile(tmp_path / "run", 0)
    with pytest.raises(OSError) as raised:
        for epoch in range(1000):
            events.add_scalar("Train/loss", 1.0, epoch)
    assert raised.value.filename == str(tmp_path / "run")


def test_tensorboard_reads_the_events_and_drops_those_that_are_void(tmp_path):
    for first, value in ((0, 1.0), (1, 2.0)):  # the second one resumes after an epoch
        events = EventFile(tmp_path, first)
        for epoch in range(first, 3):
            events.add_scalar("Train/loss", value, epoch)
        events.close()
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(each.step, each.value) for each in read.Scalars("Train/loss")] == [(0, 1.0), (1, 2.0), (2, 2.0)]


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
