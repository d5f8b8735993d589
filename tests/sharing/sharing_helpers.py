"""Helpers of the tests of packages."""

import hashlib
import json

from command_lines import MMGL

from torchreid_vi.sharing import MANIFEST, SETTINGS, WEIGHTS

#: Settings of runs of each kind.
KINDS = {
    "one stream": {},
    "two streams": {"model.streams": 2, "test.flip": True, "model.blocks": "mda"}
    | {"train.memory_format": "channels_last"},
    "ddag": {"loss.name": "ddag", "model.blocks": "non_local"},
    "torchreid's": {"loss.name": "softmax", "data.sources": ["vi_synthetic"]},
    "mmgl": MMGL,
}


def rewritten(folder, **changes):
    """Change a package's list of files, and make it right again otherwise."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    for name in (WEIGHTS, SETTINGS):
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
