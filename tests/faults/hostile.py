"""Payloads that run code when a file that holds them is read carelessly."""

import io

import torch


class Call:
    """Unpickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def zipped(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def legacy(content):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


CALLS = {
    "a call": "model: !!python/object/apply:os.mkdir ['{ran}']",
    "an object": "model: !!python/object/new:os.system ['touch {ran}']",
    "a name": "model: {name: !!python/name:os.system }",
}
CONFIGS = CALLS | {
    "no end": "train: {lr: .inf}",
    "no number": "train: {lr: .nan}",
    "several lines": '"data.height\\n\\e[2J": 5',
    "itself": "train: &a {lr: *a}",
    "itself as a section": "model: &a {cmr: *a, mda: *a, name: *a}",
    "itself unknown": "x: &a {x: *a}",
    "no date": "train: {lr: 2020-13-45}",
    "no time": "train: {lr: !!timestamp x}",
    "a large picture": "data: {height: 1000000000}",
    "a base with NUL": '_BASE_: "a\\0"',
    "a base that is none": "_BASE_: [{a: b}]",
    "bases that are none": "_BASE_: [a, b]",
    "a base in a circle of links": "_BASE_: loop.yaml",
    "a number as a name": "1: {2: 3}",
}
