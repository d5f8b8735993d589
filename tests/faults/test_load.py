"""Long runs and long lists."""

import load
import pytest


def test_two_hundred_epochs_leave_the_process_as_it_was():
    found = load.in_a_process("epochs", 200)
    assert found["growth, %"] < 1, found
    for name in ("files", "processes", "threads"):
        before, after = found[name]
        assert after <= before, found


@pytest.mark.faults
def test_a_million_images_are_listed_in_seconds():
    found = load.in_a_process("list", 1_000_000)
    assert found["images"] >= 990_000
    assert found["seconds"] < 30 and found["memory, GiB"] < 2, found
