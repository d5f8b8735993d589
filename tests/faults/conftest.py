"""Payloads, and sound folders to change."""

import os

import pytest
import targets
import torch
from hostile import Call


@pytest.fixture
def marker(tmp_path):
    """A file that every payload would make."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


@pytest.fixture(params=["os.system", "eval", "exec", "open", "mkdir", "torch"])
def payload(request, marker):
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "open": Call(open, str(marker), "w"),
        "mkdir": Call(os.mkdir, str(marker)),
        "torch": Call(torch.save, {}, str(marker)),
    }[request.param]


@pytest.fixture
def run(tmp_path):
    """What a comparison reads of a finished run."""
    return targets.Rankings(tmp_path / "run").folder


@pytest.fixture
def index(tmp_path):
    return targets.Indexes(tmp_path).folder / "index"
