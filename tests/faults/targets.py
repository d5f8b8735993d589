"""Sound files of every kind that the package reads, ways to change them, and ways to read them."""

import hashlib
import io
import json
import os
import random
import shutil
import zipfile

TOKENS = [
    *(
        b"../../",
        b"/etc/passwd",
        b"..\\..\\",
        b"\0",
        b"\r\n",
        b"\n\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"%s%n",
        b"~/",
    ),
    *(b"-1", b"9" * 400, b"1e999", b"nan", b"0x" + b"f" * 5000, "٣".encode(), "²".encode(), b"2147483648"),
    *(b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\xff" * 8, b"\0" * 8, b"\x80\0\0\0", b"\0\0\0\x80"),
    *(
        b"{",
        b"}",
        b"[" * 2000,
        b'"',
        b"null",
        b"true",
        b"1e9",
        b"&a [*a]",
        b"<<: *a",
        b"!!python/name:os.system",
    ),
    *(
        b"Visible/out/a.png 1\n",
        b"Visible/linked.png 1\n",
        b"Visible/pipe.png 1\n",
        b"Visible/../../secret/a.png 1\n",
    ),
    *(b"_BASE_: ../secret/a.yaml\n", b"2020-13-45", b"!!timestamp x", b"? [1]\n", b"_BASE_: pipe.yaml\n"),
    *(b"cos\nsystem\n(S'touch ran'\ntR.", b'c__builtin__\neval\n(S\'open("ran","w")\'\ntR.', b"\x93.", b"R."),
    *(b"O4:", b"|O", b"'descr': '|O'", b"'shape': (1000000000000,)"),
]


def mutated(content, rng):
    """The content with one to four changes: bits, cuts, copies, numbers and words that mean harm.

    Of an archive it may be a member that is changed, whose checksum is right again then.
    """
    if zipfile.is_zipfile(io.BytesIO(content)) and rng.random() < 0.7:
        return _with_a_changed_member(content, rng)
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice([1, 2, 4, 8, 64, 1024]))
        kind = rng.randrange(8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            to = rng.randrange(len(changed) + 1)
            changed[to:to] = changed[at:end]
        elif kind == 4:
            changed[at:at] = rng.choice(TOKENS)
        elif kind == 5:
            token = rng.choice(TOKENS)
            changed[at : at + len(token)] = token
        elif kind == 6:
            changed[at:end] = rng.randbytes(end - at)
        else:
            number = rng.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1, 10**9, len(changed)])
            changed[at : at + 4] = number.to_bytes(4, rng.choice(["little", "big"]))
    return bytes(changed)


def _with_a_changed_member(content, rng):
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(buffer, "w") as after:
        chosen = rng.choice(before.namelist())
        left_out = rng.random() < 0.05
        for name in before.namelist():
            if name != chosen:
                after.writestr(zipfile.ZipInfo(name), before.read(name))
            elif not left_out:
                after.writestr(zipfile.ZipInfo(name), mutated(before.read(name), rng))
    return buffer.getvalue()


class Target:
    """One kind of file: ``seeds`` are sound ones, ``read`` is what the package does with one.

    Args:
        folder: to work in, beside which lies ``secret``, of which nothing must be read.
    """

    share = 1  # of the cases

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.seeds = self.make()

    def case(self, rng):
        """Changes a sound file and reads it."""
        self.read(mutated(rng.choice(self.seeds), rng), rng)

    def sound(self):
        """Reads the sound files, as they are."""
        for content in self.seeds:
            self.read(content, random.Random(0))

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Identities(Target):
    share = 8

    def make(self):
        return [b"1,2,3,4,10,533\n", b"\xef\xbb\xbf1, 2\r\n3", b"", b"0001\n0002\n"]

    def read(self, content, rng):
        from torchreid_vi.data.datasets.base import read_ids

        assert all(0 <= pid < 10**9 for pid in read_ids(self.put("exp/train_id.txt", content), self.folder))


class Lists(Target):
    """RegDB's lists, in a tree with links that lead out of it, and a pipe."""

    share = 14

    def make(self):
        from PIL import Image

        tree, secret = self.folder / "regdb", self.folder.parent / "secret"
        for half in ("Visible", "Thermal"):
            (tree / half).mkdir(parents=True, exist_ok=True)
            for name in "abc":
                Image.new("RGB", (4, 8)).save(tree / half / f"{name}.png")
        if not (tree / "Visible" / "out").is_symlink():
            (tree / "Visible" / "out").symlink_to(secret)
            (tree / "Visible" / "linked.png").symlink_to(secret / "a.png")
            os.mkfifo(tree / "Visible" / "pipe.png")
        sound = {
            f"idx/{split}_{name.lower()}_1.txt": "".join(f"{half}/{a}.png {i}\n" for i, a in enumerate("abc"))
            for split in ("train", "test")
            for name, half in (("Visible", "Visible"), ("Thermal", "Thermal"))
        }
        for name, text in sound.items():
            self.put(f"regdb/{name}", text.encode())
        return [sound["idx/train_visible_1.txt"].encode()]

    def read(self, content, rng):
        from torchreid_vi.data import DATASETS
        from torchreid_vi.data.images import read_image

        path = self.folder / "regdb" / "idx" / "train_visible_1.txt"
        path.unlink(missing_ok=True)
        if rng.random() < 0.02:
            path.symlink_to(self.folder.parent / "secret" / "list.txt")
        else:
            path.write_bytes(content)
        for item in DATASETS["regdb"](root=str(self.folder), verbose=False).train:
            read_image(item[0])


class Images(Target):
    share = 20

    def make(self):
        import numpy as np
        from PIL import Image

        rng = np.random.default_rng(0)
        colour = Image.fromarray(rng.integers(0, 255, (20, 10, 3), dtype=np.uint8))
        deep = Image.fromarray(rng.integers(0, 65535, (20, 10), dtype=np.uint16))
        palette = colour.convert("P")
        turned = Image.Exif()
        turned[0x0112] = 6
        alpha = colour.convert("RGBA")
        alpha.putalpha(100)
        ways = [
            *((colour, "JPEG", {}), (colour.convert("L"), "JPEG", {}), (colour.convert("CMYK"), "JPEG", {})),
            *(
                (colour, "JPEG", {"exif": turned, "progressive": True}),
                (colour, "PNG", {}),
                (alpha, "PNG", {}),
            ),
            *((palette, "PNG", {"transparency": 3}), (deep, "PNG", {}), (colour.convert("1"), "PNG", {})),
            *(
                (colour, "BMP", {}),
                (palette, "BMP", {}),
                (colour.convert("1"), "BMP", {}),
                (deep, "TIFF", {}),
            ),
            *((colour, "TIFF", {"compression": "tiff_lzw"}), (colour, "TIFF", {"compression": "jpeg"})),
            *((palette, "GIF", {"save_all": True, "append_images": [palette]}), (alpha, "WEBP", {})),
        ]
        made = []
        for image, kind, options in ways:
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            made.append(buffer.getvalue())
        return made

    def read(self, content, rng):
        from torchreid_vi.data.images import read_image

        assert read_image(self.put("a.jpg", content)).mode == "RGB"


class Configs(Target):
    share = 7

    def make(self):
        os.path.lexists(self.folder / "pipe.yaml") or os.mkfifo(self.folder / "pipe.yaml")
        self.put("base.yaml", b"train: {max_epoch: 3}\n")
        return [
            b"_BASE_: base.yaml\nmodel: {name: vi_resnet50, streams: 2}\nloss:\n  cmr: {epsilon: 0.1}\n",
            b"data: {sources: [regdb], height: 288}\ntrain: {lr: 5e-4, stepsize: [20, 40]}\ntest: {flip: true}\n",
        ]

    def read(self, content, rng):
        from torchreid_vi import load_config

        load_config(str(self.put("a.yaml", content)))


class Checkpoints(Target):
    share = 14
    name = "last.pth"

    def make(self):
        import numpy as np
        import torch

        torch.manual_seed(0)
        content = {
            "state_dict": {"classifier.weight": torch.ones(4, 64), "classifier.bias": torch.ones(4)},
            "epoch": 3,
            "rank1": np.float64(0.5),
            "about": {"backbone": "a", "streams": 1},
        }
        made = []
        for packed in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=packed)
            made.append(buffer.getvalue())
        return made

    def read(self, content, rng):
        import torch

        from torchreid_vi.models import identities, load_weights, read_checkpoint

        path = self.put(self.name, content)
        number = identities(read_checkpoint(path))
        assert number < 10**6
        load_weights(torch.nn.ModuleDict({"classifier": torch.nn.Linear(64, 4)}), path)


class Safetensors(Checkpoints):
    share = 6
    name = "model.safetensors"

    def make(self):
        import torch

        from torchreid_vi.models import save_safetensors

        state = {"classifier.weight": torch.ones(4, 64), "classifier.bias": torch.ones(4)}
        save_safetensors(state, self.folder / self.name, {"epoch": 3})
        return [(self.folder / self.name).read_bytes()]


class Indexes(Target):
    share = 5

    def make(self):
        import numpy as np

        from torchreid_vi.index import ABOUT, ITEMS, VECTORS, EmbeddingIndex

        shutil.rmtree(self.folder / "index", ignore_errors=True)
        features = np.eye(8, 16, dtype=np.float32)
        items = [{"path": f"{i}.jpg"} for i in range(8)]
        EmbeddingIndex.build(features, items, "hnsw", weights="w.pth").save(self.folder / "index")
        self.parts = {name: (self.folder / "index" / name).read_bytes() for name in (ABOUT, ITEMS, VECTORS)}
        return []

    def case(self, rng):
        chosen = rng.choice(list(self.parts))
        for name, content in self.parts.items():
            self.put(f"index/{name}", mutated(content, rng) if name == chosen else content)
        self.sound()

    def sound(self):
        import numpy as np

        from torchreid_vi.index import EmbeddingIndex

        EmbeddingIndex.load(self.folder / "index").search(np.ones((1, 16), np.float32), 3)


class Galleries(Target):
    share = 4

    def make(self):
        from PIL import Image

        (self.folder / "photos").mkdir(exist_ok=True)
        for name in "ab":
            Image.new("RGB", (4, 8)).save(self.folder / "photos" / f"{name}.png")
        shutil.rmtree(self.folder / "kept", ignore_errors=True)
        self.read(None, None)
        (self.store,) = (self.folder / "kept").iterdir()
        return [self.store.read_bytes()]

    def read(self, content, rng):
        import numpy as np

        from torchreid_vi.gallery import Gallery

        class Extractor:
            identity = "a"

            def files(self, paths, *args):
                return np.ones((len(paths), 8), np.float32), list(range(len(paths)))

            def __call__(self, images, modality):
                return np.ones((len(images), 8), np.float32)

        if content is not None:
            self.store.write_bytes(content)
        gallery = Gallery(self.folder / "photos", Extractor(), cache=self.folder / "kept")
        assert len(gallery.search(["query"])[0]) == 2


def mark(path):
    """What a package's manifest says of a file."""
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


class Packages(Target):
    """The list of files, or settings that the list vouches for."""

    share = 4

    def make(self):
        from torchreid_vi.sharing import SETTINGS, WEIGHTS

        self.settings = b"model: {name: vi_resnet50}\ntrain: {lr: 5e-4}\n"
        self.put(WEIGHTS, b"weights")
        self.put(SETTINGS, self.settings)
        files = {name: mark(self.folder / name) for name in (WEIGHTS, SETTINGS)}
        return [json.dumps({"format": 1, "files": files, "trained_on": ["regdb"]}).encode()]

    def case(self, rng):
        from torchreid_vi.sharing import MANIFEST, SETTINGS

        manifest = self.seeds[0]
        if rng.random() < 0.5:
            self.put(SETTINGS, self.settings)
            self.put(MANIFEST, mutated(manifest, rng))
        else:
            listed = json.loads(manifest)
            listed["files"][SETTINGS] = mark(self.put(SETTINGS, mutated(self.settings, rng)))
            self.put(MANIFEST, json.dumps(listed).encode())
        self.load()

    def sound(self):
        from torchreid_vi.sharing import MANIFEST

        self.put(MANIFEST, self.seeds[0])
        self.load()

    def load(self):
        from torchreid_vi import load_config
        from torchreid_vi.sharing import locate

        load_config(str(locate(self.folder).settings))


class Rankings(Target):
    """What a comparison reads of finished runs."""

    share = 4

    def make(self):
        import numpy as np

        arrays = {"query": np.arange(3), "first": np.array([1, 2, 1]), "ap": np.array([1.0, 0.5, 1])}
        np.savez(self.folder / "rankings.npz", **{f"0/0/{name}": array for name, array in arrays.items()})
        self.put("config.yaml", b"train: {lr: 5e-4}\n")
        result = {"label": "a", "dataset": {"name": "b"}, "mean": {"R1": 0.5}}
        results = json.dumps({"results": [result]}).encode()
        self.put("results.json", results)
        self.parts = {"rankings.npz": (self.folder / "rankings.npz").read_bytes(), "results.json": results}
        return []

    def case(self, rng):
        chosen = rng.choice(list(self.parts))
        for name, content in self.parts.items():
            self.put(name, mutated(content, rng) if name == chosen else content)
        self.sound()

    def sound(self):
        from torchreid_vi.report.collect import collect

        (method,) = collect([self.folder])
        for label in method.labels:
            method.scores(label)
            method.cmc(label)


TARGETS = {
    kind.__name__.lower(): kind
    for kind in (
        *(Identities, Lists, Images, Configs, Checkpoints, Safetensors, Indexes, Galleries, Packages),
        Rankings,
    )
}
