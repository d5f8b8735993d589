"""Exported models compute what they come from, on both modalities and in batches of any size."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_lines import call
from packaging.version import Version
from PIL import Image

from torchreid_vi import FeatureExtractor, InputError
from torchreid_vi.retrieval.export import FORMATS, export

#: Mark of tests that export to ONNX.
OLD = pytest.mark.skipif(Version(torch.__version__) < Version("2.8"), reason="PyTorch cannot write ONNX")


@pytest.fixture(scope="module")
def extractor(trained):
    return FeatureExtractor(trained(), device="cpu")


def features(path, images):
    """Return the features that an exported file computes, and its metadata."""
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"images": images})[0], session.get_modelmeta().custom_metadata_map
    content = {"about.json": ""}
    program = torch.export.load(path, extra_files=content)
    found = program.module()(torch.from_numpy(images)).detach().numpy()
    return found, json.loads(content["about.json"])


def test_a_model_that_pytorch_cannot_write_is_one_sentence(extractor, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise torch.onnx.OnnxExporterError("no")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(InputError, match=r"cannot write this model as ONNX: update it \(2\.8 can\)"):
        export(extractor, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "format"),
    [
        pytest.param({}, "onnx", marks=OLD),
        pytest.param({"model__streams": 2, "test__flip": True}, "onnx", marks=OLD),
        pytest.param({"loss__name": "ddag"}, "onnx", marks=OLD),
        ({"loss__name": "softmax"}, "torch"),
    ],
    ids=str,
)
def test_files_compute_the_features_of_real_images(trained, roots, tmp_path, changes, format):
    extractor = FeatureExtractor(trained(**changes), device="cpu")
    paths = list(export(extractor, tmp_path / "out", format))
    two = "model__streams" in changes
    assert [path.stem for path in paths] == (["visible", "infrared"] if two else ["model"])
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    height, width = extractor.decoder.size
    for side, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        photos = sorted((roots / "regdb" / folder).rglob("*.*"))[:3]
        path = next(path for path in paths if path.stem in (side, "model"))
        _, about = features(path, np.zeros((1, 3, height, width), np.float32))
        mean, std = (np.array(json.loads(about[key]), np.float32)[:, None, None] for key in ("mean", "std"))
        pixels = [np.array(Image.open(path).convert("RGB").resize((width, height), 2)) for path in photos]
        images = np.stack([(each.transpose(2, 0, 1) / np.float32(255) - mean) / std for each in pixels])
        np.testing.assert_allclose(features(path, images)[0], extractor(photos, side), atol=1e-4)
        assert about["modality"] == (side if two else "visible or infrared")
        assert about["weights_sha256"] == extractor.weights_sha256
        assert f"{height} × {width}" in about["preprocessing"]
        assert about["interpolation"] == extractor.decoder.interpolation
    if two:
        assert not np.allclose(*(features(path, images)[0] for path in paths), atol=1e-4)


@pytest.mark.parametrize(("more", "said"), [(2e-4, "0.0002"), (float("nan"), "nan")])
def test_what_differs_is_not_written(extractor, tmp_path, monkeypatch, more, said):
    write, suffix = FORMATS["torch"]
    monkeypatch.setitem(FORMATS, "torch", (lambda *of: lambda images: write(*of)(images) + more, suffix))
    with pytest.raises(InputError, match=rf"differs from PyTorch by {said}: it was not written"):
        export(extractor, tmp_path, "torch")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_no_text_is_refused(extractor, tmp_path):
    with pytest.raises(InputError, match="is no text in UTF-8"):
        export(extractor, tmp_path / os.fsdecode(b"M\xfcller"), "torch")
    assert list(tmp_path.iterdir()) == []


def test_the_tool_says_what_it_wrote_and_what_is_wrong(trained, tmp_path):
    def written(*arguments):
        return call("export.py", "--weights", trained(), *arguments, cwd=tmp_path)

    done = written("--out", "out", "--format", "torch")
    assert done.returncode == 0, done.stderr
    assert "Written: out/model.pt2" in done.stderr and (tmp_path / "out" / "model.pt2").is_file()
    again = written("--out", "out", "--format", "torch")
    assert again.returncode == 2 and again.stderr.startswith("error: out/model.pt2 is there")
    assert "did you mean 'onnx'" in written("--out", "out", "--format", "onxx").stderr


@OLD
@pytest.mark.parametrize("opset", [18, 20])
def test_onnx_is_of_the_opset_that_was_asked_for(extractor, tmp_path, opset):
    (written,) = export(extractor, tmp_path, "onnx", opset)
    (found,) = [each.version for each in onnx.load(written).opset_import if not each.domain]
    assert found == opset


@OLD
def test_an_opset_that_cannot_be_is_one_sentence(extractor, tmp_path):
    with pytest.raises(InputError, match="ONNX opset 99 cannot be written: choose --opset"):
        export(extractor, tmp_path, "onnx", 99)
    assert not list(tmp_path.iterdir())
