"""Features of an engine: averaged over mirrored images, of one channel, and re-ranked."""

import numpy as np
import torch
from engine_helpers import run
from PIL import Image

from torchreid_vi.data.images import read_image


def test_flip_averages_the_normalised_features_of_an_image_and_its_mirror_image(make):
    engine, _ = make(test__flip=True)
    engine.set_model_mode("eval")
    loader = engine.test_loader["regdb"]["query"]
    features, test_set = engine.evaluator.features([loader])
    batch = next(iter(loader))
    with torch.no_grad():
        both = [engine.model(x, batch["modality"]) for x in (batch["img"], batch["img"].flip(-1))]
    both = [features / features.norm(dim=1, keepdim=True) for features in both]
    expected = (both[0] + both[1]) / 2
    torch.testing.assert_close(torch.from_numpy(features[: len(expected)]), expected, atol=1e-5, rtol=1e-4)
    assert len(test_set.pids) == len(features) == len(loader.dataset)


def test_reranking_reports_beside_every_protocol_with_the_features_of_each_channel(make):
    engine, cfg = make(data__sources=["vi_synthetic"], test__rerank=True, test__mser=True)
    run(engine, cfg, test_only=True)
    said = [(result.name, result.settings["reranking"].split(" (")[0]) for result in engine.results]
    assert said == [
        (name, how)
        for name in ("all/1-shot/official", "indoor/1-shot/official")
        for how in ("none", "k-reciprocal", "MSER")
    ]
    loaders = list(engine.test_loader["vi_synthetic"].values())
    engine.model.eval()
    green, _ = engine.evaluator.features(loaders, channel=1)
    dataset = loaders[1].dataset
    plain = dataset.transform
    pixels = np.asarray(read_image(dataset.data[0][0]))
    copied = Image.fromarray(np.repeat(pixels[..., 1:2], 3, axis=2))
    with torch.no_grad():
        expected = engine.model(plain(copied)[None], torch.zeros(1, dtype=torch.long))[0]
    torch.testing.assert_close(torch.from_numpy(green[0]), expected, atol=1e-4, rtol=1e-3)
    assert len(green) == len(dataset)
