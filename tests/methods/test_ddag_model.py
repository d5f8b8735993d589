"""DDAG's heads against plain loops, and what the model returns."""

import math

import pytest
import torch
from torch.nn import functional as F

from torchreid_vi.methods.ddag import (
    DDAGModel,
    DDAGOutput,
    GraphAttention,
    GraphAttentionLayer,
    PartAttention,
)


def randomised(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            draw = torch.rand(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(draw + 0.5 if "running_var" in name else draw - 0.5)
    return module


def test_part_attention_is_its_formula():
    head = randomised(PartAttention(4, parts=3))
    maps, embedding = torch.randn(2, 4, 6, 2).double(), torch.randn(2, 4).double()

    def project(conv, part):
        return [sum(conv.weight[o, c, 0] * part[c] for c in range(4)) + conv.bias[o] for o in range(4)]

    gates = [math.exp(g) for g in head.gate.tolist()]
    expected = embedding.clone()
    for b in range(2):
        parts = [maps[b, :, 2 * p : 2 * p + 2].mean((1, 2)) for p in range(3)]
        queries, keys, values = (
            [project(conv, part) for part in parts] for conv in (head.query, head.key, head.value)
        )
        for p in range(3):
            scores = [math.exp(sum(q * k for q, k in zip(queries[p], key, strict=True))) for key in keys]
            for c in range(4):
                context = sum(s / sum(scores) * v[c] for s, v in zip(scores, values, strict=True))
                expected[b, c] += gates[p] / sum(gates) * context
    scale = head.neck.weight / (head.neck.running_var + head.neck.eps).sqrt()
    expected = (expected - head.neck.running_mean) * scale
    with torch.no_grad():
        torch.testing.assert_close(head(maps, embedding), expected.detach())


def test_both_necks_start_around_one_where_asked():
    model = DDAGModel("resnet18", 5, neck_std=0.01)
    for neck in (model.neck, model.parts.neck):
        assert 0.009 < neck.weight.std() < 0.011 and abs(neck.weight.mean() - 1) < 0.002


def test_graph_attention_is_its_formula():
    layer = randomised(GraphAttentionLayer(3, 2, dropout=0.5))  # in evaluation nothing is dropped
    nodes = torch.randn(4, 3).double()
    linked = torch.tensor([0, 1, 0, 1])[:, None] == torch.tensor([0, 1, 0, 1])
    hidden = [[sum(x[i] * layer.weight[i, o] for i in range(3)) for o in range(2)] for x in nodes]
    expected = torch.zeros(4, 2, dtype=torch.float64)
    for i in range(4):
        scores = {}
        for j in range(4):
            if linked[i, j]:
                pair = sum(
                    layer.pair[0, o] * hidden[i][o] + layer.pair[1, o] * hidden[j][o] for o in range(2)
                )
                scores[j] = math.exp(pair if pair > 0 else 0.2 * pair)
        for o in range(2):
            expected[i, o] = sum(s / sum(scores.values()) * hidden[j][o] for j, s in scores.items())
    with torch.no_grad():
        torch.testing.assert_close(layer(nodes, linked), expected)


def test_graph_attention_looks_at_the_images_of_an_identity_alone_in_any_order():
    head = randomised(GraphAttention(6, 3, width=4, heads=2))
    pooled, pids = torch.randn(6, 6).double(), torch.tensor([0, 0, 1, 1, 2, 2])
    with torch.no_grad():
        scores = head(pooled, pids)
        changed = pooled.clone()
        changed[pids == 2] += 1
        assert torch.equal(head(changed, pids)[:4], head(pooled, pids)[:4])
        order = torch.randperm(6)
        torch.testing.assert_close(head(pooled[order], pids[order]), scores[order], atol=1e-12, rtol=1e-9)


def test_the_model_returns_all_logits_in_training_and_the_attended_feature_in_evaluation():
    model = DDAGModel("osnet_x0_25", 5, streams=2, pooling="avg")
    x, modality, pids = torch.rand(4, 3, 64, 32), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 3, 3])
    out = model(x, modality, pids)
    assert isinstance(out, DDAGOutput)
    assert [tuple(part.shape) for part in out[2:]] == [(4, 5)] * 3
    with pytest.raises(ValueError, match="identity"):
        model(x, modality)
    model.eval()
    with torch.no_grad():
        maps = model.backbone(x, modality)
        embedding = model.neck(maps.mean((2, 3)))
        torch.testing.assert_close(model(x, modality), model.parts(maps, embedding))


def test_half_precision_keeps_the_attention_in_float32():
    model = DDAGModel("osnet_x0_25", 5)
    x, modality, pids = torch.rand(4, 3, 64, 32), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 3, 3])
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x, modality, pids)
    assert out.graph_logits.dtype is torch.float32
    assert all(torch.isfinite(part).all() for part in out)
    F.cross_entropy(out.part_logits.float(), pids).backward()
    assert model.parts.query.weight.grad is not None
