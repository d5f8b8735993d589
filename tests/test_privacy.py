"""Nothing is sent: what the package does with pictures, done where every way out is watched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Run by Python as it starts, in every process: writes down who is called, or looked up, outside of this machine.
WATCH = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments
    else:
        return
    if not isinstance(address, tuple):  # a socket of this machine's file system
        return
    if str(address[0]) not in ("127.0.0.1", "::1", "localhost", "None", ""):
        with open(os.environ["CALLED"], "a") as file:
            print(event, address, file=file)
        raise OSError(f"{event} {address} is not allowed")

sys.addaudithook(watch)
"""
WORK = """
import sys
from pathlib import Path
from urllib.request import urlopen

from command_lines import TINY
from torchreid_vi import FeatureExtractor, load_config, run
from torchreid_vi.demo import served
from torchreid_vi.retrieval.gallery import Gallery
from torchreid_vi.report import collect, write_comparison, write_report
from torchreid_vi.sharing import write_package

roots, here = map(Path, sys.argv[1:])
folder = here / "run"
settings = {"data.root": str(roots), "data.save_dir": str(folder), "train.max_epoch": 1}
run(load_config(overrides=TINY | settings))
write_report(folder)
write_comparison(collect([folder]), here / "compared")
write_package(folder, here / "shared")
gallery = Gallery(roots / "vi_synthetic" / "cam1", FeatureExtractor(here / "shared"), cache=here / "cache")
query = next((roots / "vi_synthetic" / "cam3").rglob("*.jpg"))
assert gallery.search([str(query)])[0]
with served(gallery) as address:
    assert urlopen(address).status == 200
print("all was done")
"""


@pytest.fixture
def watched(roots, tmp_path):
    """Runs Python's words; returns what ended and who was called."""

    def run(words):
        (tmp_path / "sitecustomize.py").write_text(WATCH)
        called = tmp_path / "called.txt"
        paths = map(str, (tmp_path, ROOT, ROOT / "tests"))
        own = {"PYTHONPATH": os.pathsep.join(paths), "CALLED": str(called), "OMP_NUM_THREADS": "1"}
        own |= {"XDG_CACHE_HOME": str(tmp_path / "xdg")}
        command = [sys.executable, "-W", "ignore", "-c", words, str(roots), str(tmp_path)]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True, timeout=300
        )
        return done, called.read_text() if called.exists() else ""

    return run


def test_training_reporting_searching_sharing_and_the_page_send_nothing(watched):
    done, called = watched(WORK)
    assert done.returncode == 0 and done.stdout.endswith("all was done\n"), done.stderr[-2000:]
    assert called == ""


def test_who_is_called_would_be_seen(watched):
    done, called = watched("import urllib.request as web; web.urlopen('https://example.org')")
    assert done.returncode == 1 and "getaddrinfo" in called and "example.org" in called
