"""DDAG: attention between the parts of an image and between the images of an identity.

The weight of the graph attention's loss follows how well the rest is learnt.

Reference:
    Ye et al. Dynamic Dual-Attentive Aggregation Learning for Visible-Infrared Person Re-Identification.
    ECCV 2020.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.losses import IdentityLoss, register_loss
from torchreid_vi.methods.method import (
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    register_method,
)
from torchreid_vi.methods.supervised import Supervised, network_arguments
from torchreid_vi.modality import Rows
from torchreid_vi.models import VIModel
from torchreid_vi.models.vi import full_precision, neck

GRAPH = "graph_identity"  # the loss that is weighted


class PartIdentityLoss(IdentityLoss):
    """Cross-entropy of the part-attended feature's logits."""

    on = "part_logits"


class GraphIdentityLoss(IdentityLoss):
    """Cross-entropy of the graph-attended feature's logits."""

    on = "graph_logits"


class DDAGOutput(NamedTuple):
    """The output of :class:`DDAGModel` in training.

    Attributes:
        pooled: Features before the neck (B, D).
        embedding: Features after the neck (B, D).
        logits: Identity scores of the embedding (B, number of identities).
        part_logits: Identity scores of the part-attended feature, by the same classifier.
        graph_logits: Identity scores of the graph-attended feature.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor
    part_logits: Tensor
    graph_logits: Tensor


class PartAttention(nn.Module):
    """Add to an embedding what the horizontal parts of the image find in each other.

    softmax(queryᵀ key) over parts mixes the values, a learnt softmax over parts mixes those, and the sum
    with the embedding is normalised.

    Args:
        channels: C.
        parts: P, 3 in the paper.
        neck_std: Standard deviation of the normal start, around 1, of the neck's weight.
    """

    def __init__(self, channels: int, parts: int = 3, neck_std: float = 0.0) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv1d(channels, channels, 1) for _ in range(3))
        self.gate = nn.Parameter(torch.full((parts,), 1 / parts))
        self.neck = neck(channels, neck_std)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        """Return the attended feature (B, C) for maps (B, C, H, W) and the embedding (B, C)."""
        parts = F.adaptive_avg_pool2d(maps, (len(self.gate), 1))[..., 0]  # (B, C, P)
        with torch.autocast(maps.device.type, enabled=False):  # the products leave float16
            parts = full_precision(parts)
            attention = (self.query(parts).transpose(1, 2) @ self.key(parts)).softmax(2)  # (B, P, P)
            contexts = self.value(parts) @ attention.transpose(1, 2)  # (B, C, P)
            return self.neck(contexts @ self.gate.softmax(0) + full_precision(embedding))


class GraphAttentionLayer(nn.Module):
    """Each node becomes a mean of its neighbours, weighted by softmax(LeakyReLU(a·[h_i, h_j])), h = xW.

    Args:
        inputs, outputs: Widths.
        dropout: Dropout of the weights.

    Reference:
        Veličković et al. Graph Attention Networks. ICLR 2018.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs), gain=1.414))
        pair = nn.init.xavier_uniform_(torch.empty(2 * outputs, 1), gain=1.414)
        self.pair = nn.Parameter(pair.view(2, outputs))
        self.dropout = dropout

    def forward(self, nodes: Tensor, linked: Tensor) -> Tensor:
        """Nodes (B, outputs) of nodes (B, inputs) and which are linked to which (B, B)."""
        hidden = nodes @ self.weight
        own, other = hidden @ self.pair[0], hidden @ self.pair[1]
        scores = F.leaky_relu(own[:, None] + other[None, :], 0.2).masked_fill(~linked, -torch.inf)
        return F.dropout(scores.softmax(1), self.dropout, self.training) @ hidden


class GraphAttention(nn.Module):
    """Identity scores of each image from the images of its identity in the batch; for training alone.

    Args:
        channels: Width of the pooled features.
        num_classes: Number of identities.
        width: Width of each head.
        heads: Number of heads.
        dropout: Dropout of features and weights.
    """

    def __init__(
        self, channels: int, num_classes: int, width: int = 512, heads: int = 4, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(GraphAttentionLayer(channels, width, dropout) for _ in range(heads))
        self.out = GraphAttentionLayer(heads * width, num_classes, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pooled: Tensor, pids: Tensor) -> Tensor:
        """Logits (B, number of identities) of pooled features (B, C) and identities (B,), in float32."""
        linked = pids[:, None] == pids[None, :]
        with torch.autocast(pooled.device.type, enabled=False):
            nodes = self.dropout(full_precision(pooled))
            nodes = torch.cat([F.elu(head(nodes, linked)) for head in self.heads], 1)
            return F.elu(self.out(self.dropout(nodes), linked))


class DDAGModel(VIModel):
    """Base with part attention and graph attention.

    ``model(images, modality)`` returns in evaluation the part-attended feature, which the paper reports;
    ``model(images, modality, pids)`` in training a :class:`DDAGOutput`.

    Args:
        backbone: Name of a torchreid model.
        num_classes: Number of training identities.
        parts: Number of horizontal parts.
        **kwargs: Arguments of :class:`~torchreid_vi.models.VIModel`.
    """

    run_graph_weight: Tensor  # of the graph's loss
    run_others: Tensor  # the sum of the other losses over the steps of the epoch
    run_steps: Tensor  # their number

    def __init__(self, backbone: str, num_classes: int, parts: int = 3, **kwargs: Any) -> None:
        super().__init__(backbone, num_classes, **kwargs)
        self.parts = PartAttention(self.feature_dim, parts, kwargs.get("neck_std", 0.0))
        self.graph = GraphAttention(self.feature_dim, num_classes)
        self.register_buffer("run_graph_weight", torch.zeros(()))
        self.register_buffer("run_others", torch.zeros((), dtype=torch.float64))
        self.register_buffer("run_steps", torch.zeros(()))

    def forward(
        self, images: Tensor, modality: Tensor | Rows | None = None, pids: Tensor | None = None
    ) -> Any:
        maps = self.backbone(images, modality)
        pooled = self.pooling(maps)
        embedding = self.neck(pooled)
        attended = self.parts(maps, embedding)
        if not self.training:
            return attended
        if pids is None:
            raise ValueError("in training the graph attention needs the identity of each image")
        return DDAGOutput(
            pooled,
            embedding,
            self.classifier(embedding),
            self.classifier(attended),
            self.graph(pooled, pids),
        )


class DDAG(Supervised):
    """Trains a :class:`DDAGModel`.

    The loss named ``graph_identity`` is multiplied by 1/(1 + m), m being the mean over the epoch before of the
    weighted sum of all others, and by zero in the first epoch.

    Args:
        settings: Settings of the network.
        losses: Losses by name, each with its weight.
        parts: Number of horizontal parts that attend to each other.
    """

    network: DDAGModel

    def __init__(self, settings: NetworkSettings, losses: WeightedLosses, parts: int = 3) -> None:
        if parts < 1:
            raise ValueError(f"parts is {parts}: it must be at least 1")
        network = DDAGModel(**network_arguments(settings), parts=parts)
        Method.__init__(self, network, losses, DDAGOutput._fields)

    def begin_epoch(self) -> None:
        network = self.network
        mean = network.run_others / network.run_steps
        network.run_graph_weight.copy_(torch.where(network.run_steps > 0, 1 / (1 + mean), 0.0))
        network.run_others.zero_()
        network.run_steps.zero_()

    def predict(self, batch: Batch) -> DDAGOutput:
        return self.network(batch.images, batch.rows, batch.pids)

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        losses, metrics = super().training_step(batch)
        others = [value.detach() * self.losses[name][1] for name, value in losses.items() if name != GRAPH]
        if others:
            self.network.run_others += torch.stack(others).sum()
        self.network.run_steps += 1
        if GRAPH in losses:
            losses[GRAPH] = losses[GRAPH] * self.network.run_graph_weight
        return losses, metrics


register_method("ddag", DDAG)
register_loss("part_identity", PartIdentityLoss)
register_loss(GRAPH, GraphIdentityLoss)
