"""Weights to share: what is written, that it computes the same, and that nothing changed or hostile is used."""

import functools
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_lines import call
from huggingface_hub import ModelCard, constants
from safetensors.torch import load_file, save_file
from test_series import TINY

from torchreid_vi import FeatureExtractor, InputError, build, load_config, run
from torchreid_vi.config.defaults import flat
from torchreid_vi.models import load_weights, read_checkpoint, save_safetensors
from torchreid_vi.sharing import CARD, MANIFEST, SETTINGS, WEIGHTS, locate, write_package

KINDS = {
    "one stream": {},
    "two streams": {"model.streams": 2, "test.flip": True},
    "mcja_journal": {"model.streams": 2, "model.blocks": "mda", "train.channels_last": True},
    "ddag": {"loss.name": "ddag", "model.blocks": "non_local"},
    "torchreid's": {"loss.name": "softmax", "data.sources": ["vi_synthetic"]},
    "mmgl": {
        "loss.name": "mmgl",
        "loss.terms": ["permutation"],
        "sampler.train_sampler": "ModalityPairSampler",
        "data.validation": 0.2,
        "mmgl.stripes": 2,
    },
}


@pytest.fixture(scope="module")
def trained(roots, tmp_path_factory):
    """Run folders of one epoch, by kind, made once."""

    @functools.cache
    def make(kind="one stream"):
        folder = tmp_path_factory.mktemp("secret-place") / "run"
        settings = TINY | {
            "data.root": str(roots),
            "data.save_dir": str(folder),
            "data.cache": str(folder.parent / "cache"),
            "train.max_epoch": 1,
        }
        run(load_config(overrides=settings | KINDS[kind]))
        return folder

    return make


@pytest.fixture(scope="module")
def packaged(trained, tmp_path_factory):
    """A package of each run, made once; not to be changed."""

    @functools.cache
    def make(kind="one stream"):
        folder = tmp_path_factory.mktemp("packages") / "shared"
        write_package(trained(kind), folder)
        return folder

    return make


@pytest.fixture
def copied(packaged, tmp_path):
    """A package to be changed."""
    return Path(shutil.copytree(packaged(), tmp_path / "copied"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where what is fetched is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "torchreid_vi" / "weights"


# What computes the same


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mmgl"])
def test_a_package_gives_the_features_of_its_checkpoint_to_the_bit(trained, packaged, roots, kind):
    before = FeatureExtractor(trained(kind) / "checkpoints" / "last.pth", device="cpu")
    after = FeatureExtractor(packaged(kind), device="cpu")
    for side, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        paths = sorted((roots / "regdb" / folder).rglob("*.*"))[:4]
        np.testing.assert_array_equal(after(paths, side), before(paths, side))
    state = after.model.state_dict()  # with the classifier, for whoever trains on
    for name, value in before.model.state_dict().items():
        assert torch.equal(state[name], value) and value.dtype == state[name].dtype, name


def test_training_on_from_it_ends_with_the_same_weights(trained, packaged, roots, tmp_path, capsys):
    ends = []
    starts = {
        trained() / "checkpoints" / "last.pth": trained() / "config.yaml",
        packaged(): packaged() / SETTINGS,
    }
    for number, (start, file) in enumerate(starts.items()):
        settings = {"model.load_weights": str(start), "data.save_dir": str(tmp_path / f"{number}")}
        settings |= {"data.root": str(roots), "data.cache": "", "data.workers": 0}
        run(load_config(str(file), overrides=settings))
        ends.append(read_checkpoint(tmp_path / f"{number}" / "checkpoints" / "last.pth")["state_dict"])
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    assert f"from {packaged()}, saved after epoch 1" in capsys.readouterr().out


def test_tensors_that_share_memory_or_lie_otherwise_are_written_each_for_itself(tmp_path):
    whole = torch.arange(24.0).reshape(1, 2, 3, 4)
    state = {"a": whole[:, :1], "b": whole, "c": whole.contiguous(memory_format=torch.channels_last)}
    state |= {"d": whole.half().transpose(1, 2), "e": torch.tensor(7), "f": torch.tensor([True])}
    save_safetensors(state, tmp_path / "w.safetensors", {"epoch": 3})
    content = read_checkpoint(tmp_path / "w.safetensors")
    assert content["epoch"] == 3 and content["state_dict"].keys() == state.keys()
    assert all(torch.equal(content["state_dict"][name], value) for name, value in state.items())


# What is written


def test_a_package_is_the_same_bytes_every_time_and_says_what_is_in_it(trained, packaged, tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / ".again.partial").mkdir()
    (tmp_path / ".again.partial" / "junk").write_text("of a call that was cut off")
    write_package(trained(), tmp_path / "again")
    contents = [
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (packaged(), tmp_path / "again")
    ]
    assert contents[0] == contents[1] and contents[0].keys() == {WEIGHTS, SETTINGS, CARD, MANIFEST}
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["again"]
    manifest = json.loads(contents[0][MANIFEST])
    for name in (WEIGHTS, SETTINGS, CARD):
        found = {"sha256": hashlib.sha256(contents[0][name]).hexdigest(), "size": len(contents[0][name])}
        assert manifest["files"][name] == found
    results = json.loads((trained() / "results.json").read_text())
    assert [each["mean"] for each in manifest["results"]] == [each["mean"] for each in results["results"]]
    assert manifest["packages"] == json.loads((trained() / "environment.json").read_text())["packages"]
    assert (manifest["trained_on"], manifest["trained_on_more"]) == (["regdb"], False)
    state = read_checkpoint(trained() / "checkpoints" / "last.pth")["state_dict"]
    assert load_file(packaged() / WEIGHTS).keys() == state.keys()


@pytest.mark.parametrize("kind", ["one stream", "mmgl"])
def test_no_place_of_this_machine_is_in_it(trained, packaged, roots, kind):
    for path in packaged(kind).iterdir():
        content = path.read_bytes()
        for place in (str(roots), "secret-place", str(trained(kind)), str(Path.home()), os.getcwd()):
            assert place.encode() not in content, (path.name, place)
    shared = flat(yaml.safe_load((packaged(kind) / SETTINGS).read_text()))
    known = flat(load_config(str(trained(kind) / "config.yaml")))
    assert {key: known[key] for key in shared} == shared
    left_out = {"data.root", "data.save_dir", "data.cache", "data.workers", "model.load_weights"}
    assert known.keys() - shared.keys() == left_out | {"model.resume", "test.evaluate"}


def test_the_card_says_what_the_run_said(trained, packaged):
    card = ModelCard.load(packaged() / CARD)
    results = json.loads((trained() / "results.json").read_text())["results"]
    for result in results:
        mean, std = result["mean"], result["std"]
        assert f"| `{result['label']}` | {mean['R1']:.2f} ± {std['R1']:.2f} |" in card.text
        assert f"| {mean['mINP']:.2f} ± {std['mINP']:.2f} | {result['protocol']['trials']} |" in card.text
    table = (trained() / "train.log").read_text().split("=> Written")[0]
    spelt = [line.strip() for line in table.splitlines() if "CMC counts" in line][-len(results) :]
    for line in spelt:
        label, _, words = line.partition(": ")
        assert f"- `{label}`: {words}" in card.text
    found = {(each.dataset_config, each.metric_name): each.metric_value for each in card.data.eval_results}
    assert found == {
        (result["label"], name): round(result["mean"][figure], 2)
        for result in results
        for figure, name in (("R1", "Rank-1"), ("mAP", "mAP"))
    }
    assert (card.data.license, card.data.license_name) == ("other", "academic-research")
    assert card.data.library_name == "torchreid_vi" and card.data.datasets == ["regdb"]
    assert "give out RegDB for academic research alone" in card.text
    assert f"torch {torch.__version__.split('+')[0]}" in card.text


@pytest.mark.parametrize(
    ("kind", "licence", "expected", "said"),
    [
        ("one stream", "MIT", ("other", "academic-research-mit"), "academic research alone"),
        ("torchreid's", "", ("unknown", None), "named no licence"),
        ("torchreid's", "CC-BY-4.0", ("cc-by-4.0", None), "These weights: CC-BY-4.0."),
        ("torchreid's", "My own: ü", ("other", "my-own"), "These weights: My own: ü."),
    ],
)
def test_the_licence_is_the_authors_within_that_of_the_data(trained, tmp_path, kind, licence, expected, said):
    write_package(trained(kind), tmp_path / "out", licence=licence)
    card = ModelCard.load(tmp_path / "out" / CARD)
    assert (card.data.license, card.data.license_name) == expected and said in card.text
    assert ("bounds nothing" in card.text) == ("drawn people alone" in card.text) == (kind != "one stream")


def test_what_training_began_from_is_told_and_its_data_too(trained, packaged, tmp_path):
    def about(start, name):
        folder = tmp_path / name
        shutil.copytree(trained("torchreid's"), folder)
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        settings["model"]["load_weights"] = str(start)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        told = write_package(folder, tmp_path / f"{name}-out")
        text = (tmp_path / f"{name}-out" / CARD).read_text()
        return (told["trained_on"], told["trained_on_more"], told["started_from"]), text

    both = ["vi_synthetic", "regdb"]
    for name, start in (("backbone", trained("mmgl") / "backbone.pth"), ("package", packaged())):
        told, card = about(start, name)
        assert told == (both, False, start.name) and "give out RegDB for academic research" in card
    told, card = about(trained() / "checkpoints" / "last.pth", "checkpoint")
    assert told == (both, False, "last.pth")
    told, card = about("https://user:word@host/a/w.zip?token=1", "address")
    assert told == (["vi_synthetic"], True, "w.zip") and "which is not known here" in card
    assert "word" not in card and "bounds nothing" not in card
    assert about("hf://someone/weights", "hub")[0][2] == "hf://someone/weights"


def test_imagenet_is_named_however_many_trainings_ago_it_was(trained, tmp_path):
    first = Path(shutil.copytree(trained("torchreid's"), tmp_path / "first"))
    settings = yaml.safe_load((first / "config.yaml").read_text())
    settings["model"]["pretrained"] = True
    (first / "config.yaml").write_text(yaml.safe_dump(settings))
    second = Path(shutil.copytree(trained("torchreid's"), tmp_path / "second"))
    settings["model"] |= {"pretrained": False, "load_weights": str(first / "checkpoints" / "last.pth")}
    (second / "config.yaml").write_text(yaml.safe_dump(settings))
    for folder in (first, second):
        assert write_package(folder, tmp_path / "out")["trained_on"] == ["vi_synthetic", "imagenet"]
        card = (tmp_path / "out" / CARD).read_text()
        assert "ImageNet" in card and "bounds nothing" not in card and "drawn people alone" not in card
        shutil.rmtree(tmp_path / "out")


def test_figures_are_of_the_weights_they_stand_beside_or_left_out(trained, roots, tmp_path):
    other = tmp_path / "best.pth"
    shutil.copy(trained() / "checkpoints" / "last.pth", other)
    assert write_package(trained(), tmp_path / "other", other)["results"] == []
    assert "None: the run's figures are not of these weights" in (tmp_path / "other" / CARD).read_text()
    assert ModelCard.load(tmp_path / "other" / CARD).data.eval_results is None
    folder = shutil.copytree(trained(), tmp_path / "run")
    content = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(content | {"epoch": 5}))
    with pytest.raises(InputError, match=r"figures are of epoch 5 and .*last\.pth of epoch 1: finish"):
        write_package(folder, tmp_path / "out")
    (folder / "results.json").unlink()
    with pytest.raises(InputError, match=r"no results\.json, so it is not finished"):
        write_package(folder, tmp_path / "out")
    (folder / "environment.json").unlink()
    write_package(folder, tmp_path / "out", folder / "checkpoints" / "last.pth")
    assert "Versions were not recorded" in (tmp_path / "out" / CARD).read_text()


def test_an_evaluation_shares_the_weights_that_it_measured(trained, packaged, roots, tmp_path):
    weights = trained() / "checkpoints" / "last.pth"
    changes = {"test.evaluate": True, "model.load_weights": str(weights), "test.flip": True}
    changes |= {"data.save_dir": str(tmp_path / "seen"), "train.lr": 0.5}
    run(load_config(str(trained() / "config.yaml"), overrides=changes))
    about = write_package(tmp_path / "seen-test", tmp_path / "out")
    measured = json.loads((tmp_path / "seen-test" / "results.json").read_text())["results"]
    assert about["results"][0]["mean"] == measured[0]["mean"] and about["results"][0]["settings"]["flip"]
    cfg = load_config(str(tmp_path / "out" / SETTINGS))
    assert cfg.test.flip and cfg.train.lr == load_config(str(trained() / "config.yaml")).train.lr
    assert about["started_from"] == "random values"
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (packaged() / WEIGHTS).read_bytes()
    moved = json.loads((tmp_path / "seen-test" / "results.json").read_text()) | {"weights": "gone/last.pth"}
    (tmp_path / "seen-test" / "results.json").write_text(json.dumps(moved))
    with pytest.raises(InputError, match="the run that trained it is not there"):
        write_package(tmp_path / "seen-test", tmp_path / "more")


def test_a_pre_training_shares_its_backbone(trained, packaged, tmp_path):
    folder = packaged("mmgl")
    assert all(name.startswith("backbone.") for name in load_file(folder / WEIGHTS))
    held = sum(value.numel() for value in load_file(folder / WEIGHTS).values())
    assert 0.9 * held < json.loads((folder / MANIFEST).read_text())["model"]["parameters"] < held
    card = (folder / CARD).read_text()
    assert "where training starts" in card and "The pretext, on" in card and "stripe_accuracy" in card
    with pytest.raises(InputError, match="of a pre-training, which retrieves nothing: fine-tune from it"):
        FeatureExtractor(folder)
    cfg = load_config(str(trained() / "config.yaml"))
    models = [build.build_model(cfg, 6) for _ in range(2)]
    for model, start in zip(models, (trained("mmgl") / "backbone.pth", locate(folder).weights), strict=True):
        assert load_weights(model, start).epoch == 1
    for name, value in models[0].backbone.state_dict().items():
        assert torch.equal(models[1].backbone.state_dict()[name], value)
    with pytest.raises(InputError, match="is a backbone without the rest of a model"):
        write_package(trained(), tmp_path / "out", trained("mmgl") / "backbone.pth")


def test_what_cannot_be_shared_is_one_sentence_and_nothing_is_written(trained, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("chapter")
    again = call("package_weights.py", trained(), "--out", taken)
    assert again.returncode == 2 and "is there and not empty: name another folder" in again.stderr
    none = call("package_weights.py", taken, "--out", tmp_path / "out")
    assert none.returncode == 2 and "is no run, config.yaml is missing" in none.stderr
    for weights, said in (
        (trained("two streams") / "checkpoints" / "last.pth", "is not of the model in"),
        ("nowhere.pth", "nowhere.pth not found"),
    ):
        done = call("package_weights.py", trained(), "--weights", weights, "--out", tmp_path / "out")
        error = done.stderr
        assert done.returncode == 2
        assert said in error and error.count("\n") == 1
    folder = shutil.copytree(trained(), tmp_path / "run")
    (folder / "results.json").write_text("{")
    with pytest.raises(InputError, match="is damaged: run or evaluate it again"):
        write_package(folder, tmp_path / "out")
    for content in ('{"results": [{}], "epoch": 1}', '{"epoch": 1}', "[1]"):
        (folder / "results.json").write_text(content)
        with pytest.raises(InputError, match=r"is of another version|is damaged"):
            write_package(folder, tmp_path / "out")
    with pytest.raises(InputError, match="cannot be written"):
        write_package(trained(), taken / "thesis.tex" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "taken"]
    assert [path.name for path in taken.iterdir()] == ["thesis.tex"]


def test_the_tool_says_what_it_wrote(trained, tmp_path):
    done = call("package_weights.py", trained(), "--out", tmp_path / "out", "--licence", "mit")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert hashlib.sha256((tmp_path / "out" / WEIGHTS).read_bytes()).hexdigest() in out
    assert f"=> Written: {tmp_path / 'out'}" in done.stderr


# What is damaged


@pytest.mark.parametrize("name", [WEIGHTS, SETTINGS])
def test_a_changed_byte_is_refused(copied, name):
    whole = (copied / name).read_bytes()
    for place in (0, len(whole) // 2, len(whole) - 1):
        (copied / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for named in (copied, copied / WEIGHTS):
            with pytest.raises(InputError, match=rf"{name} of .*copied is not what package\.json says"):
                FeatureExtractor(named)
    for content in (whole[:-1], whole + b"\0", b""):
        (copied / name).write_bytes(content)
        with pytest.raises(InputError, match="is not what"):
            locate(copied)
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"lacks {name}: get the package again"):
        locate(copied)


def test_the_card_is_for_its_author_to_edit(copied):
    (copied / CARD).write_text("We trained it by moonlight.")
    assert locate(copied).weights == copied / WEIGHTS


@pytest.mark.parametrize(
    "content",
    ["", "[]", "null", "{}", '{"format": 1}', '{"format": 1, "files": []}', "[" * 5000, "\0" * 2000000],
)
def test_a_damaged_list_of_files_is_refused(copied, content):
    (copied / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=r"^package\.json of .* is damaged: get the package again$"):
        locate(copied)


def rewritten(folder, **changes):
    """Changes a package's list of files, and makes it right again otherwise."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    for name in (WEIGHTS, SETTINGS):
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_a_package_may_not_be_is_one_sentence(copied, tmp_path):
    rewritten(copied, format=2)
    with pytest.raises(InputError, match=r"format 2, of which this version knows 1: install a newer"):
        locate(copied)
    rewritten(copied, format=1)
    assert locate(copied).settings == copied / SETTINGS
    for base in ("_BASE_", r'"\x5fBASE_"'):
        (copied / SETTINGS).write_text(f"{base}: {tmp_path}/other.yaml\n")
        rewritten(copied)
        with pytest.raises(InputError, match="reads a file outside of the package: it was refused"):
            locate(copied)
    for text in ("{" * 3000, "a: [", "\t"):
        (copied / SETTINGS).write_text(text)
        rewritten(copied)
        with pytest.raises(InputError, match=r"config\.yaml of .* is damaged: get the package again"):
            locate(copied)
    with pytest.raises(InputError, match=r"is a folder without package\.json: name a run's checkpoints"):
        FeatureExtractor(tmp_path)


def test_a_damaged_safetensors_file_is_one_sentence(packaged, tmp_path):
    path, whole = tmp_path / "w.safetensors", (packaged() / WEIGHTS).read_bytes()
    bad = [b"", b"\xff" * 64, whole[:-1], whole[: len(whole) // 2], b"\0" * 8 + whole[8:]]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(
            InputError, match=r"w\.safetensors is no safetensors file or is damaged: get it again$"
        ):
            read_checkpoint(path)
    for about in ("[", "[]", "3"):
        save_file({"a": torch.zeros(1)}, path, {"about": about})
        with pytest.raises(InputError, match="is no safetensors file or is damaged"):
            read_checkpoint(path)
    save_file({"a": torch.zeros(1)}, path)
    assert read_checkpoint(path)["state_dict"].keys() == {"a"}


def test_weights_without_their_package_need_settings(packaged, tmp_path):
    alone = tmp_path / WEIGHTS
    shutil.copy(packaged() / WEIGHTS, alone)
    with pytest.raises(InputError, match=r"name the run's config\.yaml as settings"):
        FeatureExtractor(alone)
    image = np.full((9, 9), 90, np.uint8)
    found = FeatureExtractor(alone, packaged() / SETTINGS)([image])
    np.testing.assert_array_equal(found, FeatureExtractor(packaged())([image]))


# What is fetched


class Site(ThreadingHTTPServer):
    """A server on this machine: ``pages`` by path, each a status, headers and a body; ``asked`` for what came."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked = {}, []

    def put(self, path, body=b"", status=200, **headers):
        headers.setdefault("Content-Length", str(len(body)))
        self.pages[path] = status, headers, body
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        status, headers, body = self.server.pages.get(self.path, (404, {"Content-Length": "0"}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_CONNECT = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def archive(folder, kind="zip", top=""):
    """A package as bytes of an archive."""
    buffer = io.BytesIO()
    paths = {f"{top}{path.name}": path for path in sorted(folder.iterdir())}
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as content:
            for name, path in paths.items():
                content.write(path, name)
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind.partition('.')[2]}") as content:
            for name, path in paths.items():
                content.add(path, name)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "top"), [("zip", ""), ("zip", "shared/"), ("tar", "./"), ("tar.gz", "a/b/"), ("tar.xz", "")]
)
def test_an_archive_is_fetched_once(site, packaged, cache, capsys, kind, top):
    body = archive(packaged(), kind, top)
    url = site.put(f"/shared.{kind}", body)
    for named in (url, url, f"{url}#sha256={hashlib.sha256(body).hexdigest()}"):
        for name, path in zip((WEIGHTS, SETTINGS), locate(named), strict=True):
            assert path.name == name and path.read_bytes() == (packaged() / name).read_bytes()
    assert site.asked == [f"GET /shared.{kind}"]
    assert capsys.readouterr().err.count(f"=> Fetching {url}") == 1
    folder = locate(url).weights.parent
    assert folder.name == hashlib.sha256(body).hexdigest()
    assert {path.name for path in folder.iterdir()} == {SETTINGS, WEIGHTS, MANIFEST}
    assert not list(cache.glob(".*"))


def test_what_was_found_stays_when_something_else_lies_there(site, copied):
    first = archive(copied)
    url = site.put("/a.zip", first)
    found = locate(url).settings
    before = found.read_bytes()
    (copied / SETTINGS).write_bytes(before + b"# changed\n")
    rewritten(copied)
    second = archive(copied)
    site.put("/a.zip", second)
    assert locate(url).settings == found  # which is used again
    other = locate(f"{url}#sha256={hashlib.sha256(second).hexdigest()}").settings
    assert other != found and other.read_bytes() == before + b"# changed\n" and found.read_bytes() == before
    assert locate(f"{url}#sha256={hashlib.sha256(first).hexdigest()}").settings == found
    assert len(site.asked) == 2


def test_what_was_damaged_in_the_cache_is_fetched_again(site, packaged):
    url = site.put("/a.zip", archive(packaged()))
    locate(url).weights.write_bytes(b"damaged")
    assert locate(url).weights.read_bytes() == (packaged() / WEIGHTS).read_bytes()
    assert site.asked == ["GET /a.zip"] * 2


def test_another_archive_than_asked_for_is_refused(site, packaged, cache):
    body = archive(packaged())
    url = site.put("/a.zip", body)
    with pytest.raises(InputError, match=r"has SHA-256 [0-9a-f]{64}, and not the one that was asked for"):
        locate(f"{url}#sha256={'0' * 64}")
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    locate(url)
    with pytest.raises(InputError, match="not the one that was asked for"):
        locate(f"{url}#sha256={'0' * 64}")
    assert locate(f"{url}#sha256={hashlib.sha256(body).hexdigest().upper()}").weights.is_file()
    for fragment in ("sha256=12", "md5=" + "0" * 32, "part"):
        with pytest.raises(InputError, match="write #sha256= and 64 hexadecimal digits"):
            locate(f"{url}#{fragment}")


def test_what_is_cut_off_changed_or_gone_is_not_used(site, copied, cache):
    whole = archive(copied)
    changed = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    cases = {
        "it ended after": site.put("/cut.zip", whole[:-1000], **{"Content-Length": str(len(whole))}),
        "is damaged: get it again|neither a zip nor a tar": site.put("/short.zip", whole[: len(whole) // 2]),
        "model.safetensors of http.* is not what": site.put("/changed.zip", archive(copied)),
        r"cannot be fetched \(HTTP Error 404: Not Found\)": site.put("/x", status=404),
        "larger than 4 GiB": site.put("/large.zip", b"", **{"Content-Length": str(5 * 2**30)}),
        "neither a zip nor a tar archive": site.put("/page", b"<html>Please sign in</html>"),
        r"cannot be fetched \(.*refused": "http://127.0.0.1:9/a.zip",
    }
    for said, url in cases.items():
        with pytest.raises(InputError, match=said) as refused:
            locate(url)
        assert "\n" not in str(refused.value)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_an_address_is_encrypted_or_on_this_machine_wherever_it_leads(site, packaged):
    for url in (
        "http://example.com/a.zip",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "http://[",
        "s3://b/k",
    ):
        with pytest.raises(InputError, match="is no address to fetch weights from"):
            locate(url)
    site.put("/a.zip", archive(packaged()))
    assert locate(site.put("/here", status=302, Location="/a.zip")).weights.is_file()
    for target in ("http://example.com/a.zip", "file:///etc/passwd", "ftp://127.0.0.1/a"):
        with pytest.raises(InputError, match=r"is no address to fetch weights from|is not allowed\): check"):
            locate(site.put("/there", status=302, Location=target))


def test_a_folder_for_the_cache_that_cannot_be_written_is_one_sentence(site, packaged, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set XDG_CACHE_HOME to another folder"):
        locate(site.put("/a.zip", archive(packaged())))


def test_a_header_as_long_as_memory_is_not_read(site, cache):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", pax_headers={"comment": "x" * 2**22}) as content:
        content.addfile(tarfile.TarInfo("a"))
    url = site.put("/a.tgz", buffer.getvalue())
    with pytest.raises(InputError, match="neither a zip nor a tar archive"):
        locate(url)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, body, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            content.writestr(info, body)
    return buffer.getvalue()


def tarred(*members):
    """Members with a type and a size that may be a lie."""
    buffer = io.BytesIO()
    for name, body, kind, size in members:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, len(body) if size is None else size, "/etc/passwd"
        buffer.write(info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512))
    return buffer.getvalue() + b"\0" * 10240


LINK, FILE = stat.S_IFLNK | 0o777, stat.S_IFREG | 0o644
HOSTILE = {
    "up": zipped(("../../evil", b"x", FILE)),
    "root": zipped(("/tmp/evil", b"x", FILE)),
    "drive": zipped(("C:\\evil", b"x", FILE)),
    "zip link": zipped((WEIGHTS, b"/etc/passwd", LINK)),
    "tar up": tarred(("a/../../evil", b"x", tarfile.REGTYPE, None)),
    "tar root": tarred(("/tmp/evil", b"x", tarfile.REGTYPE, None)),
    "tar link": tarred((WEIGHTS, b"", tarfile.SYMTYPE, 0)),
    "tar hard link": tarred((WEIGHTS, b"", tarfile.LNKTYPE, 0)),
    "tar pipe": tarred((WEIGHTS, b"", tarfile.FIFOTYPE, 0)),
    "tar large": tarred((WEIGHTS, b"", tarfile.REGTYPE, 5 * 2**30)),
    "many": zipped(*((f"{number}", b"", FILE) for number in range(1001))),
    "long list": zipped((MANIFEST, b"0" * 2000000, FILE), (SETTINGS, b"", FILE), (WEIGHTS, b"", FILE)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_writes_nothing(site, cache, tmp_path, case):
    with pytest.raises(InputError, match=r"it was refused$"):
        locate(site.put("/a", HOSTILE[case]))
    assert not list(tmp_path.rglob("evil*")) and not Path("/tmp/evil").exists()
    assert [path for path in cache.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (zipped(("a.txt", b"x", FILE)), r"holds no package\.json"),
        (zipped((MANIFEST, b"", FILE), (f"a/{MANIFEST}", b"", FILE)), r"holds 2 package\.json"),
        (zipped((MANIFEST, b"{}", FILE)), r"lacks config\.yaml"),
        (tarred((MANIFEST, b"{}", tarfile.REGTYPE, 900)), r"is damaged|lacks"),
    ],
    ids=["none", "two", "half", "cut off"],
)
def test_an_archive_of_something_else_is_one_sentence(site, body, said):
    with pytest.raises(InputError, match=said):
        locate(site.put("/a", body))


def test_a_pickle_in_an_archive_is_never_read(site, copied):
    torch.save({"state_dict": {}}, copied / "model.pth")
    (copied / WEIGHTS).write_bytes((copied / "model.pth").read_bytes())
    rewritten(copied)
    with pytest.raises(InputError, match=r"model\.safetensors is no safetensors file"):
        FeatureExtractor(site.put("/a.zip", archive(copied)))


@pytest.mark.parametrize(
    "link",
    [
        "https://drive.google.com/file/d/1aB_c-9/view?usp=sharing",
        "https://drive.google.com/uc?export=download&id=1aB_c-9",
        "https://docs.google.com/uc?id=1aB_c-9",
    ],
)
def test_a_link_to_google_drive_goes_to_google_drive(site, monkeypatch, link):
    proxy = f"http://127.0.0.1:{site.server_port}"
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(InputError, match=r"cannot be fetched .*: check the address and the network$"):
        locate(link)
    assert site.asked and {each.split()[1] for each in site.asked} == {"drive.google.com:443"}


def test_a_link_to_no_file_of_google_drive_is_one_sentence():
    with pytest.raises(InputError, match="use the link that its Share button gives"):
        locate("https://drive.google.com/drive/my-drive")


def test_every_tool_takes_an_address(site, packaged, roots, tmp_path):
    url = site.put("/a.zip", archive(packaged()))
    folder = roots / "regdb" / "Visible"
    query = next((roots / "regdb" / "Thermal").rglob("*.*"))
    searched = call("search.py", "--weights", url, "--query", query, "--gallery", folder, "--top", 2)
    index = tmp_path / "index"
    built = call("index.py", "build", "--weights", url, "--gallery", folder, "--out", index)
    found = call("index.py", "search", "--index", index, "--query", query, "--top", 2)
    assert not any(done.returncode for done in (searched, built, found))
    out = searched.stdout + built.stdout + found.stdout
    found = re.findall(r"^ +\d+ +([-\d.]+)  .*?([^/\n]+/[^/\n]+)$", out, flags=re.MULTILINE)
    assert len(found) == 4 and found[:2] == found[2:]


# The Hub


def hub(site, folder, commit, name="someone/weights", revisions=("main",)):
    """Serves a repository as the Hub does, as far as files are asked for."""
    for path in folder.iterdir():
        body = path.read_bytes()
        for revision in (*revisions, commit):
            etag = hashlib.sha256(body).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
            site.put(f"/{name}/resolve/{revision}/{path.name}", body, **headers)


def test_the_hub_is_asked_for_the_files_of_one_commit(site, packaged, copied, tmp_path, monkeypatch):
    endpoint = (
        f"http://127.0.0.1:{site.server_port}"  # as HF_ENDPOINT and HF_HOME set it at the library's import
    )
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    hub(site, packaged(), "a" * 40)
    (copied / WEIGHTS).write_bytes(b"\0" * (copied / WEIGHTS).stat().st_size)
    hub(site, copied, "b" * 40, revisions=("v2",))
    (copied / MANIFEST).write_text("{}")
    hub(site, copied, "c" * 40, name="someone/else")
    for named in ("hf://someone/weights", "hf://someone/weights@" + "a" * 40):
        found = locate(named)
        assert found.weights.read_bytes() == (packaged() / WEIGHTS).read_bytes()
        assert found.settings == found.weights.with_name(SETTINGS) and found.weights.parent.name == "a" * 40
    with pytest.raises(InputError, match=rf"{WEIGHTS} of hf://someone/weights@v2 is not what package\.json"):
        locate("hf://someone/weights@v2")
    with pytest.raises(InputError, match=r"^package\.json of hf://someone/else is damaged"):
        locate("hf://someone/else")
    for named in ("hf://nobody/nothing", "hf://someone/weights@v3", "hf://a/b/c/d", "hf://"):
        with pytest.raises(
            InputError, match=r"cannot be fetched \(.*\): check OWNER/NAME@REVISION"
        ) as refused:
            locate(named)
        assert "\n" not in str(refused.value)
    assert not [each for each in site.asked if "else" in each and WEIGHTS in each]
    assert not any(CARD in each for each in site.asked)


def test_without_the_hubs_library_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[share]"')):
        locate("hf://someone/weights")
