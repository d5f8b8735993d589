"""Commands show results, notes and progress on their streams, and a run's log keeps all of them."""

import contextlib
import fcntl
import logging
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest
from command_lines import call

from torchreid_vi import cli, console

log = logging.getLogger("torchreid_vi.some.module")


def on_a_terminal(monkeypatch):
    """Return what a terminal of 80 columns shows of a loop with notes, and of an error."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    streams = os.fdopen(theirs, "w", 1), os.fdopen(os.dup(theirs), "w", 1)  # two, as a program has
    with streams[0] as out, streams[1] as error, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", error)
        with console.attached(), console.logged():
            for number in console.progress(range(3), "looking"):
                time.sleep(0.15)
                log.info("a note")
                print("epoch", number)
                console.RESULTS.info(f"result {number}")
        console.complain("a sentence")
    parts = []
    with contextlib.suppress(OSError):  # how it ends when nobody writes any more
        while part := os.read(ours, 4096):
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("around", "shown"),
    [
        ([], ("", "")),
        ([console.attached], ("a result\n", "a note\n")),
        ([lambda: console.attached(quiet=True)], ("a result\n", "")),
        ([console.attached, console.muted], ("", "")),
    ],
    ids=["library", "command", "quiet", "muted"],
)
def test_results_and_notes_are_shown_in_commands_alone(capsys, monkeypatch, around, shown):
    with contextlib.ExitStack() as stack:
        for context in around:
            stack.enter_context(context())
        log.info("a note")
        assert list(console.progress(range(1000), "looking")) == list(range(1000))  # which is soon over
        console.RESULTS.info("a result")
        assert capsys.readouterr() == shown
        monkeypatch.setattr(console, "INTERVAL", 1e-9)
        assert list(console.progress(range(3), "looking")) == [0, 1, 2]
        assert ("looking: image 3 of 3" in capsys.readouterr().err) == ("a note\n" in shown)
    log.info("later")
    assert capsys.readouterr() == ("", "")


def test_progress_is_plain_lines_where_there_is_no_terminal_and_one_bar_at_a_time(capsys, monkeypatch):
    monkeypatch.setattr(console, "INTERVAL", 1e-9)
    with console.attached(), console.progress(what="looking", total=2) as bar:
        bar.update()
        assert list(console.progress(range(2), "inside")) == [0, 1]
        bar.update()  # which has no time left
        assert list(console.progress(range(2), "after", leave=False)) == [0, 1]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("looking: image 1 of 2, 00:00 gone") and lines[0].endswith(" left")
    assert any(line.startswith("looking: image 2 of 2,") for line in lines)
    assert any(line.startswith("after: image 2 of 2,") for line in lines)
    assert not any("inside" in line for line in lines)
    assert all(line.strip() and "\r" not in line and "\x1b" not in line for line in lines)


@pytest.mark.parametrize("quiet", [True, False])
def test_a_log_keeps_everything_in_order_and_standard_output_has_results_alone(tmp_path, capsys, quiet):
    with console.attached(quiet), console.logged() as file:
        log.info("a note")
        file.to(tmp_path / "run.log")
        print("what torchreid\nprints")
        console.RESULTS.info("a result\nof two lines")
        with console.muted():
            log.info("M\udcfcller")  # which is no text
    text = (tmp_path / "run.log").read_text()
    time_of = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    expected = ["a note", "what torchreid", "prints", "a result\nof two lines", r"M\\udcfcller"]
    assert re.fullmatch("".join(f"{time_of}{line}\n" for line in expected), text)
    notes = "" if quiet else "a note\nwhat torchreid\nprints\n"
    assert capsys.readouterr() == ("a result\nof two lines\n", notes)
    print("later")
    assert capsys.readouterr().out == "later\n"


def test_a_terminal_shows_a_bar_with_the_time_left_and_notes_beside_it(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")  # as if it were not there
    text = on_a_terminal(monkeypatch)
    assert "\x1b[32m" in text and "\x1b[1;31merror:\x1b[0m a sentence" in text  # a green bar, a red word
    assert "looking" in text and "3/3" in text and "<00:0" in text
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    assert lines.count("a note") == 3
    assert {f"{word} {number}" for word in ("epoch", "result") for number in range(3)} < {*lines}


def test_colours_are_declined_by_no_color(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = on_a_terminal(monkeypatch)
    assert "3/3" in text and "error: a sentence" in text and not re.search(r"\x1b\[[\d;]*m", text)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_can_be_quiet_and_says_what_it_is_called(name, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0 and "--quiet" in out and f"usage: torchreid-vi {name} " in out


@pytest.mark.parametrize("command", ["build", "search"])
def test_a_command_of_a_tool_can_be_quiet_too(command):
    assert "--quiet" in call("index.py", command, "--help").stdout
