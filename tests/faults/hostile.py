"""What runs code, or asks for memory, when a file that holds it is read carelessly."""

import contextlib
import io
import tracemalloc

import torch


@contextlib.contextmanager
def less_memory_than(limit):
    """Fail when the block allocates as many bytes in Python."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


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


BOMB = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{{', '.join(f'k{i}: *{a}' for i in range(9))}}}\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
LISTS = "a: &a [1]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
CONFIGS = {
    "a call": "model: !!python/object/apply:os.mkdir ['{ran}']",
    "an object": "model: !!python/object/new:os.system ['touch {ran}']",
    "a name": "model: {name: !!python/name:os.system }",
    "no end": "train: {lr: .inf}",
    "no number": "train: {lr: .nan}",
    "several lines": '"data.height\\n\\e[2J": 5',
    "sections in sections": BOMB,
    "sections in a section": BOMB + "train: *j",
    "sections as a value": BOMB + "train: {lr: *j}",
    "lists in lists": LISTS + "train: {lr: *j}",
    "lists as a list": LISTS + "train: {stepsize: *j}",
    "merged sections": MERGES,
    "itself": "train: &a {lr: *a}",
    "itself as a section": "model: &a {cmr: *a, mda: *a, name: *a}",
    "itself unknown": "x: &a {x: *a}",
    "nested": "a: " + "[" * 2000,
    "no date": "train: {lr: 2020-13-45}",
    "no time": "train: {lr: !!timestamp x}",
    "digits": "train: {max_epoch: " + "9" * 5000 + "}",
    "more digits": "train: {max_epoch: 0x" + "f" * 50_000 + "}",
    "digits as a name": "0x" + "f" * 50_000 + ": {1: 2}",
    "digits below a name": "train: {0x" + "f" * 50_000 + ": 1}",
    "digits as a fraction": "train: {lr: 0x" + "f" * 50_000 + "}",
    "a large picture": "data: {height: 1000000000}",
    "a long name": "train: {" + "x" * 100_000 + ": 1}",
    "a long value": "train: {lr: " + "x" * 100_000 + "}",
    "a long file": "#" * 300_000,
    "a base with NUL": '_BASE_: "a\\0"',
    "a base that is none": "_BASE_: [a, b]",
    "a base that is a pipe": "_BASE_: pipe.yaml",
    "a base that has no end": "_BASE_: /dev/zero",
    "a base in a circle of links": "_BASE_: loop.yaml",
    "a number as a name": "1: {2: 3}",
}
