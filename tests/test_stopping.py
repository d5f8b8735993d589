"""Signals: training finishes its step, anything else ends at once, and processes of a command end with it."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from torchreid_vi import InputError, stopping
from torchreid_vi.cli import common, jobs, train


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_waits_for_the_end_of_the_block_and_says_with_which_status_to_end(number, status):
    before = [signal.getsignal(each) for each in stopping.SIGNALS]
    seen = []
    with pytest.raises(stopping.Stopped) as stopped, stopping.handled():
        seen.append(stopping.requested())
        send(number)
        seen.append(stopping.requested())
    assert seen == [False, True]
    assert stopped.value.status == status and isinstance(stopped.value, KeyboardInterrupt)
    assert [signal.getsignal(each) for each in stopping.SIGNALS] == before


def test_a_second_one_does_not_wait_and_leaves_nothing():
    after = []
    with pytest.raises(stopping.Stopped) as stopped, stopping.handled():
        send(signal.SIGTERM)
        send(signal.SIGINT)
        after.append("the second one")
    assert stopped.value.status == 130 and not after
    with stopping.handled():
        pass


def test_one_that_waited_for_what_failed_is_not_raised_later():
    with pytest.raises(ZeroDivisionError), stopping.handled():
        send()
        1 / 0  # noqa: B018
    with stopping.handled():
        pass


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_does_not_train_ends_at_once(number, status, capfd):
    child = os.fork()
    if not child:
        args = type("Args", (), {"quiet": False, "imports": [], "onward": "it goes on"})
        common.status(lambda: (send(number), time.sleep(60)), args)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    assert capfd.readouterr().err == "interrupted: it goes on\n"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Make a command line of a script, which gets a folder and its number."""

    def make(script):
        file = tmp_path / "tool.py"
        start = "import os, sys, time\nfrom pathlib import Path\n"
        file.write_text(f"{start}folder, number = Path(sys.argv[1]), int(sys.argv[3])\n{script}")
        monkeypatch.setattr(sys, "argv", [str(file), str(tmp_path)])
        return tmp_path

    return make


def test_one_that_fails_is_said_and_the_others_finish(tool, caplog):
    tool("if number == 0: sys.exit('error: too large')\nif number == 1: os.kill(os.getpid(), 9)")
    done = []
    with pytest.raises(InputError, match=r"^a: too large \(2 runs failed, see above\)"):
        jobs.run_all({0: "a", 1: "b", 2: "c", 5: "d"}, 1, done.append)
    assert done == [2, 5]
    assert caplog.messages[0] == "Failed, a: too large"
    assert "b: its process ended with SIGKILL" in caplog.messages[1]


def test_so_many_run_at_a_time_and_share_the_processors(tool, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    folder = tool(
        "(folder / f'begun {number}').touch()\n"
        "while len(list(folder.glob('begun*'))) < 2: time.sleep(0.01)\n"
        "(folder / f'threads {number}').write_text(os.environ['OMP_NUM_THREADS'])"
    )
    jobs.run_all({0: "a", 1: "b"}, 2, lambda number: None)
    threads = str(max(1, os.cpu_count() // 2))
    assert [path.read_text() for path in folder.glob("threads*")] == [threads, threads]


def test_a_signal_lets_each_finish_its_step_and_begins_no_other(tool):
    folder = tool(
        "from torchreid_vi.cli import jobs; jobs.end_with_parent()\n"
        "from torchreid_vi import stopping\n"
        "with stopping.handled():\n"
        "    (folder / f'begun {number}').touch()\n"
        "    while not stopping.requested(): time.sleep(0.01)\n"
        "    (folder / f'saved {number}').touch()"
    )

    def strike():
        while len(list(folder.glob("begun*"))) < 2:
            time.sleep(0.05)
        send(signal.SIGINT)

    threading.Thread(target=strike).start()
    with pytest.raises(stopping.Stopped) as stopped:
        jobs.run_all({0: "a", 1: "b", 2: "c"}, 2, lambda number: None)
    assert stopped.value.status == 130
    found = sorted(path.name for path in folder.iterdir() if path.suffix != ".py")
    assert found == ["begun 0", "begun 1", "saved 0", "saved 1"]


def test_parts_start_when_they_are_ready_and_the_others_are_left_out(tool):
    folder = tool("(folder / f'begun {number}').touch()")
    done = []
    jobs.run_all(
        {0: "a", 1: "b", 2: "c"}, 2, done.append, ready=lambda number: number == 1 or number + 1 in done
    )
    assert done == [1, 0]
    assert sorted(path.name for path in folder.glob("begun*")) == ["begun 0", "begun 1"]


def test_at_the_deadline_running_parts_finish_their_step_and_no_other_begins(tool):
    folder = tool(
        "from torchreid_vi.cli import jobs; jobs.end_with_parent()\n"
        "from torchreid_vi import stopping\n"
        "with stopping.handled():\n"
        "    (folder / f'begun {number}').touch()\n"
        "    while not stopping.requested(): time.sleep(0.01)\n"
        "    (folder / f'saved {number}').touch()"
    )
    done = []

    class WhenBegun:
        def __le__(self, now):
            return (folder / "begun 0").exists()

    jobs.run_all({0: "a", 1: "b"}, 1, done.append, deadline=WhenBegun())
    assert (done, sorted(path.name for path in folder.glob("[bs]*"))) == ([], ["begun 0", "saved 0"])


def test_a_signal_while_the_report_is_written_says_how_to_get_it(monkeypatch, capfd):
    child = os.fork()
    if not child:
        monkeypatch.setattr(train, "run_in_folder", lambda cfg: (Path("log/my run"), []))
        monkeypatch.setattr(train, "write_report", lambda folder: (send(), time.sleep(60)))
        train.main(["--config-file", "configs/mcja_synthetic.yaml", "-q"])
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
    assert (
        "interrupted: the run is finished, its report by: torchreid-vi report 'log/my run'\n"
        in capfd.readouterr().err
    )
