"""Exported models compute what they come from, on both modalities and in batches of any size."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_lines import TINY, call
from packaging.version import Version
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError, load_config, run
from torchreid_vi.retrieval.export import FORMATS, export


@pytest.fixture(scope="module")
def trained(roots, tmp_path_factory):
    """Extractors of runs of one epoch, by their settings."""
    known = {}

    def make(**changes):
        name = str(sorted(changes.items()))
        if name not in known:
            folder = tmp_path_factory.mktemp("runs") / "run"
            settings = TINY | {
                "data.root": str(roots),
                "data.save_dir": str(folder),
                "model.name": "resnet18",
            }
            run(load_config(overrides=settings | {k.replace("__", "."): v for k, v in changes.items()}))
            known[name] = FeatureExtractor(folder / "checkpoints" / "last.pth", device="cpu")
        return known[name]

    return make


def features(path, images):
    """What an exported file computes, and what it says of itself."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"images": images})[0], session.get_modelmeta().custom_metadata_map
    content = {"about.json": ""}
    program = torch.export.load(path, extra_files=content)
    found = program.module()(torch.from_numpy(images)).detach().numpy()
    return found, json.loads(content["about.json"])


def test_a_model_that_pytorch_cannot_write_is_one_sentence(trained, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise torch.onnx.OnnxExporterError("no")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(InputError, match=r"cannot write this model as ONNX: update it \(2\.8 can\)"):
        export(trained(), tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "format"),
    [
        ({}, "onnx"),
        ({"model__streams": 2, "test__flip": True}, "onnx"),
        ({"loss__name": "ddag"}, "onnx"),
        ({"loss__name": "softmax"}, "torch"),
    ],
    ids=str,
)
def test_files_compute_the_features_of_real_images(trained, roots, tmp_path, changes, format):
    if format == "onnx" and Version(torch.__version__) < Version("2.8"):
        with pytest.raises(InputError, match="cannot write this model as ONNX: update it"):
            export(trained(**changes), tmp_path / "out", format)
        pytest.skip("PyTorch before 2.8 says that it cannot")
    extractor = trained(**changes)
    done = export(extractor, tmp_path / "out", format)
    names = ["visible", "infrared"] if "model__streams" in changes else ["model"]
    assert [each.path.stem for each in done] == names
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(names)
    for side, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        paths = sorted((roots / "regdb" / folder).rglob("*.*"))[:3]
        path = done[names.index(side) if len(names) == 2 else 0].path
        _, about = features(path, np.zeros((1, 3, *extractor.size), np.float32))
        mean, std = (np.array(json.loads(about[key]), np.float32)[:, None, None] for key in ("mean", "std"))
        height, width = extractor.size
        pixels = [np.array(Image.open(path).convert("RGB").resize((width, height), 2)) for path in paths]
        images = [(each.transpose(2, 0, 1) / np.float32(255) - mean) / std for each in pixels]
        found, about = features(path, np.stack(images).astype(np.float32))
        np.testing.assert_allclose(found, extractor(paths, side), atol=1e-4)
        assert about["modality"] == (side if len(names) == 2 else "visible or infrared")
        assert about["weights_sha256"] == extractor.weights_sha256
        assert f"{height} × {width}" in about["preprocessing"]
        assert about["interpolation"] == extractor.interpolation
    if len(names) == 2:
        one, other = (features(each.path, np.stack(images).astype(np.float32))[0] for each in done)
        assert not np.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(("more", "said"), [(2e-4, "0.0002"), (float("nan"), "nan")])
def test_what_differs_is_not_written(trained, tmp_path, monkeypatch, more, said):
    write, suffix = FORMATS["torch"]
    monkeypatch.setitem(FORMATS, "torch", (lambda *of: lambda images: write(*of)(images) + more, suffix))
    with pytest.raises(InputError, match=rf"differs from PyTorch by {said}: it was not written"):
        export(trained(), tmp_path, "torch")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_no_text_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match="is no text in UTF-8"):
        export(trained(), tmp_path / os.fsdecode(b"M\xfcller"), "torch")
    assert list(tmp_path.iterdir()) == []


def test_the_tool_says_what_it_wrote_and_what_is_wrong(trained, tmp_path):
    def written(*arguments):
        return call("export.py", "--weights", trained().weights, *arguments, cwd=tmp_path)

    done = written("--out", "out", "--format", "torch")
    assert done.returncode == 0, done.stderr
    assert "Written: out/model.pt2" in done.stderr and (tmp_path / "out" / "model.pt2").is_file()
    again = written("--out", "out", "--format", "torch")
    assert again.returncode == 2 and again.stderr.startswith("error: out/model.pt2 is there")
    assert "did you mean 'onnx'" in written("--out", "out", "--format", "onxx").stderr


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.8"), reason="its exporter cannot write these models"
)
@pytest.mark.parametrize("opset", [18, 20])
def test_onnx_is_of_the_opset_that_was_asked_for(trained, tmp_path, opset):
    (written,) = export(trained(), tmp_path, "onnx", opset)
    (found,) = [each.version for each in onnx.load(written.path).opset_import if not each.domain]
    assert found == opset


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.8"), reason="its exporter cannot write these models"
)
def test_an_opset_that_cannot_be_is_one_sentence(trained, tmp_path):
    with pytest.raises(InputError, match="with ONNX opset 99"):
        export(trained(), tmp_path, "onnx", 99)
    assert not list(tmp_path.iterdir())
