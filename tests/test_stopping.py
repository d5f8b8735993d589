"""Signals that end a program between two things that it does."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import active_children

import pytest
import torch

from torchreid_vi import InputError, stopping
from torchreid_vi.processes import worker_pool


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_raises_and_says_with_which_status_to_end(number, status):
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(stopping.Stopped) as stopped, stopping.handled():
        send(number)
    assert stopped.value.status == status and isinstance(stopped.value, KeyboardInterrupt)
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


def test_an_import_that_fails_for_it_is_it():
    """Extension modules raise an error of their own from what interrupts their initialisation."""
    with pytest.raises(stopping.Stopped) as stopped, stopping.handled():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error
    assert stopped.value.status == 130
    with pytest.raises(ImportError), stopping.handled():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("what went wrong while it was being handled")  # noqa: B904


def test_it_waits_for_what_is_to_be_finished():
    done = []
    with stopping.handled():
        with pytest.raises(stopping.Stopped), stopping.deferred():
            send()
            done.append("first")
        with pytest.raises(stopping.Stopped), stopping.deferred():
            assert not stopping.waiting()
            send()
            assert stopping.waiting()
            done.append("second")
        with stopping.deferred():
            done.append("third")
        with pytest.raises(stopping.Stopped):
            with stopping.deferred():
                with stopping.deferred():
                    send()
                    done.append("inner")
                done.append("outer")
            done.append("never")
    assert done == ["first", "second", "third", "inner", "outer"]


def test_a_second_one_does_not_wait_and_leaves_nothing():
    with stopping.handled():
        after = []
        with pytest.raises(stopping.Stopped) as stopped, stopping.deferred():
            send(signal.SIGTERM)
            send(signal.SIGINT)
            after.append("the second one")
        assert stopped.value.status == 130 and not after
        with stopping.deferred():
            pass


def test_one_that_waited_for_what_failed_is_not_raised_later():
    with stopping.handled(), pytest.raises(ZeroDivisionError), stopping.deferred():
        send()
        1 / 0  # noqa: B018
    with stopping.handled(), stopping.deferred():
        pass


def test_one_that_is_ignored_stays_so_and_other_threads_change_nothing():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.handled():
            send(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere():
        with stopping.handled(), stopping.deferred():
            seen.append(stopping._deferring)

    seen = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before and seen == [False]


@contextlib.contextmanager
def other_thread():
    """Another one, which the system may hand a signal to."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


def test_processes_that_are_started_meanwhile_get_no_signal():
    with stopping.blocked():
        child = os.fork()
        if not child:
            send(signal.SIGTERM)
            send(signal.SIGINT)
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    with stopping.handled(), other_thread():
        late = []
        with pytest.raises(stopping.Stopped), stopping.blocked():
            send()
            time.sleep(0.1)
            late.append(True)
        assert late


@pytest.mark.parametrize(
    ("work", "argument", "said"),
    [
        (os._exit, 3, "a process that worked for this one ended with status 3"),
        (signal.raise_signal, signal.SIGUSR2, "ended by SIGUSR2"),
        (signal.raise_signal, signal.SIGKILL, "killed, most often for want of memory: start fewer at a time"),
    ],
)
def test_how_a_worker_died_is_told(work, argument, said):
    with pytest.raises(InputError, match=said), worker_pool(2, "fork") as pool:
        pool.submit(work, argument).result()


PROGRAM = """
import multiprocessing, os
from torchreid_vi.processes import worker_pool

def work():
    with worker_pool(1) as pool:
        print("worked", pool.submit(os.getpid).result() != os.getpid())
"""
GUARD = "if __name__ == '__main__':\n    "


def started(start, tmp_path, guard):
    file = tmp_path / "program.py"
    file.write_text(f"{PROGRAM}\n{guard}multiprocessing.set_start_method({start!r}, force=True); work()\n")
    return subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_processes_work_however_they_are_started(start, tmp_path):
    done = started(start, tmp_path, GUARD)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "worked True\n"


def test_a_program_without_its_guard_is_told_of_it(tmp_path):
    done = started("spawn", tmp_path, "")
    assert "a process that worked for this one ended with status 1, and said why above" in done.stderr
    assert "needs 'if __name__ ==" in done.stderr


@pytest.mark.parametrize(("jobs", "start"), [(1, "fork"), (2, "spawn")])
def test_who_works_for_a_process_leaves_ctrl_c_to_it_and_ends_when_told_to(jobs, start):
    with worker_pool(jobs, start) as pool:
        first = [pool.submit(os.getpid) for _ in range(jobs)]
        pids = {child.pid for child in active_children()}
        assert len(pids) == jobs
        for pid in pids:  # while it starts
            os.kill(pid, signal.SIGINT)
        assert {each.result() for each in first} <= pids
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        assert pool.submit(os.getpid).result() in pids
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        for _ in range(2):  # for good
            with pytest.raises(stopping.Stopped) as stopped:
                pool.submit(os.getpid).result()
            assert stopped.value.status == 143
    assert not active_children()


def test_one_that_is_killed_while_it_works_is_one_sentence():
    killed = pytest.raises(InputError, match="was killed, most often for want of memory: start fewer")
    with killed, worker_pool(1, "fork") as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        pool.submit(os.getpid).result()


def test_none_waits_for_what_one_that_was_killed_had_taken():
    """One of those that have nothing to do has the lock of the queue, and the others wait for it."""
    said = []

    def use():
        killed = pytest.raises(InputError, match="was killed, most often for want of memory: start fewer")
        with killed, worker_pool(6, "fork") as pool:
            pool.submit(os.getpid).result()
            for child in active_children()[1:]:
                child.kill()
            pool.submit(time.sleep, 60).result()
        said.append(True)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(20)
    left = active_children()
    for child in left:
        child.kill()
    assert said and not left


def test_what_is_under_way_is_finished_though_another_process_is_killed(tmp_path):
    killed = pytest.raises(InputError, match="was killed, most often for want of memory: start fewer")
    with killed, worker_pool(2, "fork") as pool:
        at_work = pool.submit(_finish_late, tmp_path / "begun", tmp_path / "done")
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        at_work.result()
    assert (tmp_path / "done").exists()


def _finish_late(begun, done):
    begun.touch()
    with stopping.deferred():  # as a step is
        time.sleep(3)
        done.touch()


def test_who_works_shares_the_processors_with_the_others():
    for jobs in (1, 2):
        with worker_pool(jobs, "fork") as pool:
            threads = pool.submit(torch.get_num_threads).result()
        assert threads == max(1, os.cpu_count() // jobs)


def test_what_is_under_way_is_finished_and_what_waits_is_not_begun():
    with worker_pool(1, "fork") as pool:
        asked = [pool.submit(time.sleep, 0.2) for _ in range(50)]
        while not asked[0].running():
            time.sleep(0.01)
    assert asked[0].result() is None and asked[-1].cancelled()


def finish(begun, saved):
    """Work that is told to stop and saves first."""
    with stopping.deferred():
        begun.touch()
        time.sleep(0.5)
        saved.touch()


def test_who_works_saves_when_interrupted_and_begins_nothing_more(tmp_path):
    files = {name: tmp_path / name for name in ("first", "first saved", "second", "second saved")}
    with pytest.raises(KeyboardInterrupt), worker_pool(2, "fork") as pool:
        pool.submit(finish, files["first"], files["first saved"])
        while not files["first"].exists():
            time.sleep(0.01)
        pool.submit(time.sleep, 60)
        pool.submit(finish, files["second"], files["second saved"])  # taken ahead
        time.sleep(0.1)
        raise KeyboardInterrupt
    assert {path.name for path in tmp_path.iterdir()} == {"first", "first saved"}


def test_an_interruption_is_passed_on_to_who_works(capfd):
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), worker_pool(1, "fork") as pool:
        pool.submit(time.sleep, 60)
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 30 and "Traceback" not in capfd.readouterr().err


def test_one_that_comes_while_an_object_is_removed_is_not_lost(capsys):
    class Removed:
        def __del__(self):
            send()
            time.sleep(0.01)  # it is raised here, where Python can but ignore it

    with stopping.handled(), pytest.raises(stopping.Stopped):
        one = Removed()
        del one
        time.sleep(10)
    assert capsys.readouterr().err == ""


def test_what_else_fails_while_an_object_is_removed_is_said(capsys):
    class Removed:
        def __del__(self):
            raise OSError("the disk is full")

    before = sys.unraisablehook
    with stopping.handled():
        one = Removed()
        del one
    assert sys.unraisablehook is before
    assert "OSError: the disk is full" in capsys.readouterr().err
