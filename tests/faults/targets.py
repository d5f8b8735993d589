"""Sound files of every kind that the package reads, ways to damage them, and ways to read them."""

import hashlib
import io
import json
import shutil

import numpy as np
import torch
from hostile import legacy, zipped
from PIL import Image

from torchreid_vi import load_config
from torchreid_vi.data.datasets.lists import read_ids, read_index
from torchreid_vi.data.images import read_image
from torchreid_vi.models import identities, load_weights, read_checkpoint, save_safetensors
from torchreid_vi.report.collect import collect
from torchreid_vi.retrieval.gallery import Gallery
from torchreid_vi.retrieval.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex
from torchreid_vi.sharing import MANIFEST, SETTINGS, WEIGHTS, locate

TOKENS = [
    *(b"../../", b"/etc/passwd", b"\0", b"\r\n", b"\xff\xfe", b"~/", b"{", b"}", b'"', b"null", b"[" * 9),
    *(b"-1", b"9" * 40, b"1e999", b"nan", "٣".encode(), b"\xff" * 8, b"\0" * 8),
    *(b"&a [*a]", b"!!python/name:os.system", b"2020-13-45", b"!!timestamp x", b"? [1]\n"),
    *(b"cos\nsystem\n(S'touch ran'\ntR.", b"\x93.", b"R.", b"O4:", b"'descr': '|O'"),
]


def damaged(content, rng):
    """Return the content with one to four changes: bits, cuts, copies and words that mean harm."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice([1, 2, 4, 8, 64, 1024]))
        kind = rng.randrange(6)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = changed[at:end]
        elif kind == 4:
            changed[at:at] = rng.choice(TOKENS)
        else:
            changed[at:end] = rng.randbytes(end - at)
    return bytes(changed)


class Target:
    """A kind of file: ``make`` returns sound ones by name, ``read`` reads those in the folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.files = self.make()
        self.restore()

    def restore(self):
        for name, content in self.files.items():
            self.put(name, content)

    def damage(self, rng):
        """Change one of the files."""
        self.restore()
        name = rng.choice(sorted(self.files))
        self.put(name, damaged(self.files[name], rng))

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Lists(Target):
    def make(self):
        return {"ids.txt": b"1,2,3,4,10,533\n", "list.txt": b"a/b.png 0\nc d.png 12\n"}

    def read(self):
        assert all(0 <= pid < 10**9 for pid in read_ids(self.folder / "ids.txt", self.folder))
        for name, _ in read_index(self.folder / "list.txt", self.folder):
            assert (self.folder / name).resolve().is_relative_to(self.folder.resolve())


class Images(Target):
    def make(self):
        rng = np.random.default_rng(0)
        colour = Image.fromarray(rng.integers(0, 255, (20, 10, 3), dtype=np.uint8))
        deep = Image.fromarray(rng.integers(0, 65535, (20, 10), dtype=np.uint16))
        palette = colour.convert("P")
        turned = Image.Exif()
        turned[0x0112] = 6
        ways = [
            (colour, "JPEG", {"exif": turned, "progressive": True}),
            (palette, "PNG", {"transparency": 3}),
            (deep, "PNG", {}),
            (colour, "BMP", {}),
            (colour, "TIFF", {"compression": "tiff_lzw"}),
            (palette, "GIF", {"save_all": True, "append_images": [palette]}),
            (colour, "WEBP", {}),
        ]
        made = {}
        for number, (image, kind, options) in enumerate(ways):
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            made[f"{number}.jpg"] = buffer.getvalue()
        return made

    def read(self):
        for name in self.files:
            assert read_image(self.folder / name).mode == "RGB"


class Configs(Target):
    def make(self):
        return {
            "base.yaml": b"train: {max_epoch: 3, lr: 5e-4, stepsize: [20, 40]}\ntest: {flip: true}\n",
            "a.yaml": b"_BASE_: base.yaml\nmodel: {name: vi_resnet50, streams: 2}\nloss:\n  cmr: {epsilon: 0.1}\n",
        }

    def read(self):
        load_config(str(self.folder / "a.yaml"))


class Checkpoints(Target):
    def make(self):
        torch.manual_seed(0)
        state = {"classifier.weight": torch.ones(4, 64), "classifier.bias": torch.ones(4)}
        content = {"state_dict": state, "epoch": 3, "rank1": np.float64(0.5)}
        save_safetensors(state, self.folder / "a.safetensors", {"epoch": 3})
        tensors = (self.folder / "a.safetensors").read_bytes()
        return {"zip.pth": zipped(content), "legacy.pth": legacy(content), "a.safetensors": tensors}

    def read(self):
        for name in self.files:
            identities(read_checkpoint(self.folder / name))
            load_weights(torch.nn.ModuleDict({"classifier": torch.nn.Linear(64, 4)}), self.folder / name)


class Indexes(Target):
    def make(self):
        folder = self.folder / "index"
        shutil.rmtree(folder, ignore_errors=True)
        items = [{"path": f"{i}.jpg"} for i in range(8)]
        EmbeddingIndex.build(np.eye(8, 16, dtype=np.float32), items, "HNSW32", weights="w.pth").save(folder)
        return {f"index/{name}": (folder / name).read_bytes() for name in (ABOUT, ITEMS, VECTORS)}

    def read(self):
        EmbeddingIndex.load(self.folder / "index").search(np.ones((1, 16), np.float32), 3)


class Extractor:
    fingerprint = "a"

    def files(self, paths, *args):
        return np.ones((len(paths), 8), np.float32), list(range(len(paths)))

    def __call__(self, images, modality):
        return np.ones((len(images), 8), np.float32)


class Galleries(Target):
    """The features that are kept of a folder."""

    def make(self):
        (self.folder / "photos").mkdir(exist_ok=True)
        for name in "ab":
            Image.new("RGB", (4, 8)).save(self.folder / "photos" / f"{name}.png")
        self.read()
        (self.store,) = (self.folder / "kept").iterdir()
        return {f"kept/{self.store.name}": self.store.read_bytes()}

    def read(self):
        gallery = Gallery(self.folder / "photos", Extractor(), cache=self.folder / "kept")
        assert len(gallery.search(["query"])[0]) == 2


class Packages(Target):
    def make(self):
        files = {WEIGHTS: b"weights", SETTINGS: b"model: {name: vi_resnet50}\ntrain: {lr: 5e-4}\n"}
        listed = {name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
        about = {"format": 1, "files": listed, "trained_on": ["regdb"]}
        return files | {MANIFEST: json.dumps(about).encode()}

    def read(self):
        load_config(str(locate(self.folder).settings))


class Rankings(Target):
    """What a comparison reads of a finished run."""

    def make(self):
        arrays = {"query": np.arange(3), "first": np.array([1, 2, 1]), "ap": np.array([1.0, 0.5, 1])}
        buffer = io.BytesIO()
        np.savez(buffer, **{f"0/0/{name}": array for name, array in arrays.items()})
        result = {"label": "a", "dataset": {"name": "b"}, "mean": {"R1": 0.5}}
        return {
            "config.yaml": b"train: {lr: 5e-4}\n",
            "results.json": json.dumps({"training": {}, "results": [result]}).encode(),
            "rankings.npz": buffer.getvalue(),
        }

    def read(self):
        (method,) = collect([self.folder])
        for label in method.labels:
            method.scores(label)
            method.cmc(label)


TARGETS = [Lists, Images, Configs, Checkpoints, Indexes, Galleries, Packages, Rankings]
