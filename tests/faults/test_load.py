"""Long runs leave nothing behind."""

import json
import subprocess
import sys
from pathlib import Path


def test_two_hundred_epochs_leave_the_process_as_it_was():
    command = [sys.executable, Path(__file__).with_name("load.py"), "200"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout[done.stdout.index("\n{") :])
    assert found["growth, %"] < 1, found
    for name in ("files", "processes", "threads"):
        before, after = found[name]
        assert after <= before, found
